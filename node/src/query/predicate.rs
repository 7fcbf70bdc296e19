//! Which predicates may cross the barrier, or travel to a partner.

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::scalar::ScalarValue;

/// The deepest nesting of `NOT` and of alternating `AND`/`OR` that is accepted;
/// well under the recursion limit of the gate that reads it at a partner.
pub(crate) const MAX_DEPTH: usize = 12;

/// Whether a predicate is leak-proof over the open columns of `schema`: a
/// column against non-null literals of exactly its type, and `AND`, `OR`, `NOT`
/// of such. It cannot fail and it calls nothing, so evaluating it on a hidden
/// row shows nothing (A18, `spec/5-data-plane.md#D-14`). A cast around the column can fail, and is not.
pub(crate) fn leak_proof(expr: &Expr, schema: &Schema, open: &dyn Fn(&str) -> bool) -> bool {
    Check { schema, open }.predicate(expr, MAX_DEPTH)
}

struct Check<'a> {
    schema: &'a Schema,
    open: &'a dyn Fn(&str) -> bool,
}

impl Check<'_> {
    fn predicate(&self, expr: &Expr, depth: usize) -> bool {
        if depth == 0 {
            return false;
        }
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                op: op @ (Operator::And | Operator::Or),
                ..
            }) => chain(expr, *op)
                .into_iter()
                .all(|part| self.predicate(part, depth - 1)),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
                self.matches(left, right) || self.matches(right, left)
            }
            Expr::IsNull(e) | Expr::IsNotNull(e) => self.column(e).is_some(),
            Expr::Not(e) => self.predicate(e, depth - 1),
            Expr::InList(list) => list
                .list
                .iter()
                .all(|value| self.matches(&list.expr, value)),
            Expr::Between(between) => {
                self.matches(&between.expr, &between.low)
                    && self.matches(&between.expr, &between.high)
            }
            // What the optimizer makes of `flag = true` and of `x = 1 AND x = 2`
            // after the table has said that it takes them.
            Expr::Column(_) => self
                .column(expr)
                .is_some_and(|field| *field.data_type() == DataType::Boolean),
            Expr::Literal(ScalarValue::Boolean(_), _) => true,
            _ => false,
        }
    }

    fn matches(&self, column: &Expr, literal: &Expr) -> bool {
        let (Some(field), Some(value)) = (self.column(column), literal_value(literal)) else {
            return false;
        };
        // Equal types: otherwise the inner plan would cast one side to the other.
        value.data_type() == *field.data_type()
    }

    fn column(&self, expr: &Expr) -> Option<&arrow::datatypes::Field> {
        match expr {
            Expr::Column(c) if (self.open)(&c.name) => self.schema.field_with_name(&c.name).ok(),
            _ => None,
        }
    }
}

/// The operands of a chain of one operator (`a AND b AND c`), without recursion
/// along the left side, which is the deep one.
pub(crate) fn chain(expr: &Expr, operator: Operator) -> Vec<&Expr> {
    let (mut parts, mut rest) = (Vec::new(), vec![expr]);
    while let Some(next) = rest.pop() {
        match next {
            Expr::BinaryExpr(b) if b.op == operator => {
                rest.push(&b.right);
                rest.push(&b.left);
            }
            other => parts.push(other),
        }
    }
    parts
}

/// The non-null value of a literal.
pub(crate) fn literal_value(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        _ => None,
    }
}

fn compares(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
    )
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;
    use datafusion::prelude::{cast, col, lit};

    use super::*;

    fn accepts(expr: &Expr) -> bool {
        let schema = Schema::new(vec![
            Field::new("x", DataType::Int64, true),
            Field::new("m", DataType::Int64, true),
        ]);
        leak_proof(expr, &schema, &|name| name == "x")
    }

    #[test]
    fn only_a_column_against_literals_of_its_type_passes() {
        assert!(accepts(&col("x").eq(lit(1i64))));
        assert!(accepts(&lit(1i64).lt(col("x")).or(!col("x").is_null())));
        assert!(accepts(&col("x").between(lit(1i64), lit(2i64))));
        assert!(accepts(&col("x").in_list(vec![lit(1i64), lit(2i64)], true)));
        assert!(!accepts(&cast(col("x"), DataType::Int32).eq(lit(1i32))));
        assert!(!accepts(&(lit(1i64) / col("x")).eq(lit(1i64))));
        assert!(!accepts(&col("x").eq(col("x"))));
        assert!(!accepts(&col("x").eq(lit(1i32))));
        assert!(!accepts(&col("x").eq(lit(ScalarValue::Int64(None)))));
        assert!(!accepts(&col("x").like(lit("a"))));
    }

    #[test]
    fn a_closed_column_is_never_open_to_predicates() {
        assert!(!accepts(&col("m").eq(lit(1i64))));
        assert!(!accepts(&col("m").is_null()));
    }

    #[test]
    fn nesting_passes_at_its_limit_and_not_beyond() {
        let nested = |n: usize| (0..n).fold(col("x").eq(lit(1i64)), |e, _| Expr::Not(Box::new(e)));
        assert!(accepts(&nested(MAX_DEPTH - 1)));
        assert!(!accepts(&nested(MAX_DEPTH)));
    }
}
