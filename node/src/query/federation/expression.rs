//! Expressions as the SQL of a partner's gate. What is written means there what
//! it means here: the engine is this one, every literal has its type, and what
//! has no form that is sure to be read so is not written at all
//! (`spec/5-data-plane.md#D-221`).

use datafusion::common::Column;
use datafusion::logical_expr::expr::{AggregateFunction, BinaryExpr, Case, InList, Like};
use datafusion::logical_expr::{Between, Cast, Expr, Operator};
use datafusion::scalar::ScalarValue;

use super::written::Written;
use crate::query::functions;
use crate::query::predicate_sql::text;
use crate::query::remote_sql::{literal, type_name};

/// The most operators of one statement: half of what a gate reads.
pub(super) const MAX_OPERATORS: usize = 128;
/// How deep an expression may be; a gate reads 50 brackets in each other.
const MAX_DEPTH: usize = 16;

/// The aggregates that are asked of partners: what they give depends on no order.
const AGGREGATES: [&str; 5] = ["avg", "count", "max", "min", "sum"];

/// What a column is called in the statement; `None` if it is not one of the inputs'.
pub(super) type Names<'a> = &'a dyn Fn(&Column) -> Option<String>;

/// Writes expressions, and counts what they cost to read.
#[derive(Default)]
pub(super) struct Writer {
    /// Operators, calls, names and literals so far.
    pub(super) operators: usize,
    depth: usize,
    /// The queries inside of the expressions.
    pub(super) within: Vec<Written>,
}

impl Writer {
    /// The expression, in brackets where it could be read otherwise; `None` if
    /// it cannot be asked of a partner.
    pub(super) fn expression(&mut self, expr: &Expr, names: Names<'_>) -> Option<String> {
        self.operators += 1;
        if self.depth >= MAX_DEPTH || self.operators > MAX_OPERATORS {
            return None;
        }
        self.depth += 1;
        let written = self.written(expr, names);
        self.depth -= 1;
        written
    }

    fn written(&mut self, expr: &Expr, names: Names<'_>) -> Option<String> {
        let sql = match expr {
            Expr::Alias(alias) => return self.expression(&alias.expr, names),
            Expr::Column(column) => return names(column),
            Expr::Literal(value, _) => return constant(value),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let sign = sign(*op)?;
                let (left, right) = (
                    self.expression(left, names)?,
                    self.expression(right, names)?,
                );
                format!("{left} {sign} {right}")
            }
            Expr::Not(inner) => format!("NOT {}", self.expression(inner, names)?),
            Expr::Negative(inner) => format!("- {}", self.expression(inner, names)?),
            Expr::IsNull(inner) => format!("{} IS NULL", self.expression(inner, names)?),
            Expr::IsNotNull(inner) => format!("{} IS NOT NULL", self.expression(inner, names)?),
            Expr::IsTrue(inner) => format!("{} IS TRUE", self.expression(inner, names)?),
            Expr::IsFalse(inner) => format!("{} IS FALSE", self.expression(inner, names)?),
            Expr::IsNotTrue(inner) => format!("{} IS NOT TRUE", self.expression(inner, names)?),
            Expr::IsNotFalse(inner) => format!("{} IS NOT FALSE", self.expression(inner, names)?),
            Expr::Between(between) => self.between(between, names)?,
            Expr::InList(list) => self.membership(list, names)?,
            Expr::Like(like) => self.like(like, names)?,
            Expr::Case(case) => self.case(case, names)?,
            Expr::Cast(cast) => return self.cast(cast, names),
            // One value of a query of its own.
            Expr::ScalarSubquery(subquery) if subquery.outer_ref_columns.is_empty() => {
                let written = Written::whole(&subquery.subquery)?;
                let sql = written.sql.clone();
                self.within.push(written);
                sql
            }
            Expr::ScalarFunction(call) if functions::SCALAR.contains(&call.name()) => {
                // Patterns are judged by the gate; a refusal would cost a question.
                if call.name() == "regexp_like" {
                    return None;
                }
                let arguments = self.list(&call.args, names)?;
                return Some(format!("{}({arguments})", call.name()));
            }
            _ => return None,
        };
        Some(format!("({sql})"))
    }

    fn list(&mut self, all: &[Expr], names: Names<'_>) -> Option<String> {
        let all = all.iter().map(|e| self.expression(e, names));
        Some(all.collect::<Option<Vec<_>>>()?.join(", "))
    }

    fn between(&mut self, between: &Between, names: Names<'_>) -> Option<String> {
        self.operators += 2;
        let value = self.expression(&between.expr, names)?;
        let low = self.expression(&between.low, names)?;
        let high = self.expression(&between.high, names)?;
        let not = if between.negated { "NOT " } else { "" };
        Some(format!("{value} {not}BETWEEN {low} AND {high}"))
    }

    fn membership(&mut self, list: &InList, names: Names<'_>) -> Option<String> {
        let is_literal = |e: &Expr| matches!(e, Expr::Literal(..));
        if list.list.is_empty() || !list.list.iter().all(is_literal) {
            return None;
        }
        let value = self.expression(&list.expr, names)?;
        let not = if list.negated { "NOT " } else { "" };
        Some(format!(
            "{value} {not}IN ({})",
            self.list(&list.list, names)?
        ))
    }

    fn like(&mut self, like: &Like, names: Names<'_>) -> Option<String> {
        let Expr::Literal(ScalarValue::Utf8(Some(_)), _) = like.pattern.as_ref() else {
            return None;
        };
        if like.escape_char.is_some_and(|c| c != '\\') {
            return None;
        }
        let value = self.expression(&like.expr, names)?;
        let pattern = self.expression(&like.pattern, names)?;
        let not = if like.negated { "NOT " } else { "" };
        let kind = if like.case_insensitive {
            "ILIKE"
        } else {
            "LIKE"
        };
        Some(format!("{value} {not}{kind} {pattern}"))
    }

    fn case(&mut self, case: &Case, names: Names<'_>) -> Option<String> {
        let mut sql = "CASE".to_owned();
        if let Some(of) = &case.expr {
            sql.push(' ');
            sql.push_str(&self.expression(of, names)?);
        }
        for (when, then) in &case.when_then_expr {
            let (when, then) = (self.expression(when, names)?, self.expression(then, names)?);
            sql.push_str(&format!(" WHEN {when} THEN {then}"));
        }
        if let Some(other) = &case.else_expr {
            sql.push_str(&format!(" ELSE {}", self.expression(other, names)?));
        }
        sql.push_str(" END");
        Some(sql)
    }

    /// By the type's own name: SQL has none for some, and several for others.
    fn cast(&mut self, cast: &Cast, names: Names<'_>) -> Option<String> {
        let value = self.expression(&cast.expr, names)?;
        let kind = type_name(cast.field.data_type())?;
        Some(format!("arrow_cast({value}, {})", text(&kind)))
    }

    /// An aggregate.
    pub(super) fn aggregate(&mut self, expr: &Expr, names: Names<'_>) -> Option<String> {
        let mut expr = expr;
        while let Expr::Alias(alias) = expr {
            expr = &alias.expr;
        }
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
            return None;
        };
        let plain = params.order_by.is_empty() && params.null_treatment.is_none();
        if !plain || !AGGREGATES.contains(&func.name()) {
            return None;
        }
        self.operators += 1;
        let distinct = if params.distinct { "DISTINCT " } else { "" };
        let arguments = match &params.args[..] {
            [Expr::Literal(value, _)]
                if func.name() == "count" && !value.is_null() && !params.distinct =>
            {
                "*".to_owned()
            }
            arguments => self.list(arguments, names)?,
        };
        let mut sql = format!("{}({distinct}{arguments})", func.name());
        if let Some(filter) = &params.filter {
            sql.push_str(&format!(
                " FILTER (WHERE {})",
                self.expression(filter, names)?
            ));
        }
        Some(sql)
    }
}

fn sign(op: Operator) -> Option<&'static str> {
    Some(match op {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        Operator::And => "AND",
        Operator::Or => "OR",
        Operator::Plus => "+",
        Operator::Minus => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Modulo => "%",
        Operator::StringConcat => "||",
        Operator::IsDistinctFrom => "IS DISTINCT FROM",
        Operator::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
        _ => return None,
    })
}

/// A literal in its type, null included.
fn constant(value: &ScalarValue) -> Option<String> {
    if value.is_null() {
        let kind = type_name(&value.data_type())?;
        return Some(format!("arrow_cast(NULL, {})", text(&kind)));
    }
    literal(value)
}
