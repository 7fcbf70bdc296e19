//! Leak-proof predicates as SQL text, written here, never by an unparser.

use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::scalar::ScalarValue;

use super::predicate::{chain, literal_value};

/// How one engine writes what a leak-proof predicate is made of. `None` is what
/// it cannot say, or would not answer exactly as this node's engine does.
pub(crate) trait Dialect {
    /// A column, to be tested for null or, a column of booleans, for truth.
    fn column(&self, name: &str) -> Option<String>;

    /// A column compared with a value of its type.
    fn comparison(&self, name: &str, op: Operator, value: &ScalarValue) -> Option<String>;

    /// A column among values of its type, at least one.
    fn membership(&self, name: &str, values: &[&ScalarValue], negated: bool) -> Option<String>;
}

/// The predicate as SQL, and how many operators it costs to read: a quoted name
/// counts as a word, a sign of a number as an operator.
pub(crate) fn write(expr: &Expr, dialect: &dyn Dialect) -> Option<(String, usize)> {
    let mut writer = Writer {
        sql: String::new(),
        operators: 0,
        dialect,
    };
    writer.predicate(expr)?;
    Some((writer.sql, writer.operators))
}

/// A name in double quotes.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes, for engines that give the backslash no meaning.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

struct Writer<'a> {
    sql: String,
    operators: usize,
    dialect: &'a dyn Dialect,
}

impl Writer<'_> {
    fn predicate(&mut self, expr: &Expr) -> Option<()> {
        self.operators += 1;
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                op: op @ (Operator::And | Operator::Or),
                ..
            }) => {
                for (i, part) in chain(expr, *op).into_iter().enumerate() {
                    if i > 0 {
                        self.sql.push_str(if *op == Operator::And {
                            " AND "
                        } else {
                            " OR "
                        });
                        self.operators += 1;
                    }
                    self.sql.push('(');
                    self.predicate(part)?;
                    self.sql.push(')');
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                self.operators += 2;
                let written = match (left.as_ref(), right.as_ref()) {
                    (Expr::Column(c), value) => {
                        self.dialect.comparison(&c.name, *op, literal_value(value)?)
                    }
                    (value, Expr::Column(c)) => {
                        self.dialect
                            .comparison(&c.name, op.swap()?, literal_value(value)?)
                    }
                    _ => None,
                };
                self.sql.push_str(&written?);
            }
            Expr::Not(inner) => {
                self.sql.push_str("NOT (");
                self.predicate(inner)?;
                self.sql.push(')');
            }
            Expr::IsNull(e) => {
                self.column(e)?;
                self.sql.push_str(" IS NULL");
            }
            Expr::IsNotNull(e) => {
                self.operators += 1;
                self.column(e)?;
                self.sql.push_str(" IS NOT NULL");
            }
            Expr::InList(list) if !list.list.is_empty() => {
                self.operators += 2 + list.list.len();
                let Expr::Column(c) = list.expr.as_ref() else {
                    return None;
                };
                let values = list.list.iter().map(literal_value);
                let values = values.collect::<Option<Vec<_>>>()?;
                let written = self.dialect.membership(&c.name, &values, list.negated)?;
                self.sql.push_str(&written);
            }
            Expr::Between(between) => {
                self.operators += 7;
                let Expr::Column(c) = between.expr.as_ref() else {
                    return None;
                };
                let bound = |op, value| self.dialect.comparison(&c.name, op, literal_value(value)?);
                let low = bound(Operator::GtEq, &between.low)?;
                let high = bound(Operator::LtEq, &between.high)?;
                let not = if between.negated { "NOT " } else { "" };
                self.sql.push_str(&format!("{not}(({low}) AND ({high}))"));
            }
            Expr::Column(_) => self.column(expr)?,
            Expr::Literal(ScalarValue::Boolean(value), _) => self.sql.push_str(match value {
                None => "CAST(NULL AS BOOLEAN)",
                Some(true) => "TRUE",
                Some(false) => "FALSE",
            }),
            _ => return None,
        }
        Some(())
    }

    fn column(&mut self, expr: &Expr) -> Option<()> {
        self.operators += 1;
        let Expr::Column(c) = expr else {
            return None;
        };
        self.sql.push_str(&self.dialect.column(&c.name)?);
        Some(())
    }
}
