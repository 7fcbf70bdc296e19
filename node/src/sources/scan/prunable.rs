//! Predicates over columns as they are stored, for what a reader leaves out by
//! its statistics (`spec/5-data-plane.md#D-191`).

use arrow::datatypes::{DataType, Schema};
use datafusion::common::Column;
use datafusion::logical_expr::expr::{BinaryExpr, InList};
use datafusion::logical_expr::{Expr, Operator, and, binary_expr, col, or};
use datafusion::scalar::ScalarValue;

/// What holds for every row, as it is stored, for which `filter` holds. `None`
/// where nothing can be said.
///
/// A value that has no exact place on the wire is compared as it is stored, too:
/// cut to a microsecond, half a microsecond after noon is not after noon, and the
/// row would be left out where it has to be an error.
pub(super) fn over_stored(filter: &Expr, stored: &Schema) -> Option<Expr> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => {
                let (left, right) = (over_stored(left, stored), over_stored(right, stored));
                match (left, right) {
                    (Some(left), Some(right)) => Some(and(left, right)),
                    (one, other) => one.or(other),
                }
            }
            Operator::Or => Some(or(over_stored(left, stored)?, over_stored(right, stored)?)),
            op => match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(value, _)) => {
                    comparison(column, *op, value, stored)
                }
                (Expr::Literal(value, _), Expr::Column(column)) => {
                    comparison(column, op.swap()?, value, stored)
                }
                _ => None,
            },
        },
        Expr::InList(InList {
            expr,
            list,
            negated: false,
        }) => {
            let Expr::Column(column) = expr.as_ref() else {
                return None;
            };
            let equal = |value: &Expr| match value {
                Expr::Literal(value, _) => comparison(column, Operator::Eq, value, stored),
                _ => None,
            };
            let all = list.iter().map(equal).collect::<Option<Vec<_>>>()?;
            all.into_iter().reduce(or)
        }
        _ => None,
    }
}

fn comparison(column: &Column, op: Operator, value: &ScalarValue, stored: &Schema) -> Option<Expr> {
    use Operator as O;
    if !matches!(op, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq) {
        return None;
    }
    let kind = stored.field_with_name(&column.name).ok()?.data_type();
    let ordered_alike = match (kind, value.data_type()) {
        (kind, wire) if *kind == wire => true,
        (DataType::Timestamp(..), DataType::Timestamp(..))
        | (DataType::Time32(_) | DataType::Time64(_), DataType::Time64(_))
        | (DataType::Date64, DataType::Date32)
        | (DataType::LargeUtf8 | DataType::Utf8View, DataType::Utf8) => true,
        _ => false,
    };
    // Only a value with an exact place among the stored ones.
    let literal = value.cast_to(kind).ok().filter(|_| ordered_alike)?;
    let back = literal.cast_to(&value.data_type()).ok()?;
    let column = col(Column::new_unqualified(&column.name));
    (back == *value && !literal.is_null())
        .then(|| binary_expr(column, op, Expr::Literal(literal, None)))
}
