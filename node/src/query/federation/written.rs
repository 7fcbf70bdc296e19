//! A part of a plan as one statement of a partner's.
//!
//! Each node becomes one `SELECT` over those of its inputs, as derived tables
//! whose columns are called `c0`, `c1`, …: no name has to be looked up over
//! more than one level, and nothing is flattened here that could be flattened
//! wrongly. The partner's optimizer does that, with the partner's rules.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, Filter, Join, Limit, LogicalPlan, Projection, SkipType,
    Sort, SortExpr, TableScan, Union,
};

use super::expression::{MAX_OPERATORS, Names, Writer};
use crate::query::predicate_sql::identifier;
use crate::query::{Partner, PartnerTable};

/// The most text of one statement, in bytes: half of what a gate reads.
const MAX_TEXT: usize = 32 * 1024;
/// The most levels of a statement; a gate reads 50.
const MAX_LEVELS: usize = 24;
/// The most tables of a statement, half of what a gate permits.
const MAX_TABLES: usize = 16;

/// A statement that gives what a part of a plan gives.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) partner: Arc<dyn Partner>,
    /// A `SELECT` with the columns `c0`, `c1`, … of the part's schema.
    pub(super) sql: String,
    /// Whether it asks for less than the rows of its tables.
    pub(super) gains: bool,
    operators: usize,
    levels: usize,
    tables: usize,
}

impl Written {
    /// A node of a plan over what its inputs are written as; `None` if it
    /// cannot be asked, or not in one statement.
    pub(super) fn of(node: &LogicalPlan, inputs: &[Option<Self>]) -> Option<Self> {
        let inputs: Option<Vec<&Self>> = inputs.iter().map(Option::as_ref).collect();
        let written = match (node, &inputs?[..]) {
            (LogicalPlan::TableScan(node), []) => scan(node),
            (LogicalPlan::SubqueryAlias(_), [input]) => Some((*input).clone()),
            (LogicalPlan::Projection(node), [input]) => projection(node, input),
            (LogicalPlan::Filter(node), [input]) => filter(node, input),
            (LogicalPlan::Aggregate(node), [input]) => aggregate(node, input),
            (LogicalPlan::Distinct(Distinct::All(plan)), [input]) => {
                let columns = numbered("t", plan.schema());
                input.over(
                    format!("SELECT DISTINCT {columns} FROM ({}) AS \"t\"", input.sql),
                    Writer::default(),
                )
            }
            (LogicalPlan::Sort(node), [input]) => top(node, input),
            (LogicalPlan::Limit(node), [input]) => limit(node, input),
            (LogicalPlan::Join(node), [left, right]) => join(node, left, right),
            (LogicalPlan::Union(node), inputs) => union(node, inputs),
            _ => None,
        }?;
        let fits = written.sql.len() <= MAX_TEXT
            && written.operators <= MAX_OPERATORS
            && written.levels <= MAX_LEVELS
            && written.tables <= MAX_TABLES;
        fits.then_some(written)
    }

    /// A whole plan as one statement.
    pub(super) fn whole(plan: &LogicalPlan) -> Option<Self> {
        let inputs: Vec<_> = plan.inputs().into_iter().map(Self::whole).collect();
        Self::of(plan, &inputs)
    }

    /// One level more, which leaves something out, with what `writer` wrote.
    fn over(&self, sql: String, writer: Writer) -> Option<Self> {
        let mut written = self.clone();
        (written.sql, written.gains) = (sql, true);
        written.operators += writer.operators;
        for within in writer.within {
            written.take(&within)?;
        }
        written.levels += 1;
        Some(written)
    }

    fn with(&self, other: &Self, sql: String, writer: Writer) -> Option<Self> {
        let mut written = self.clone();
        written.take(other)?;
        written.over(sql, writer)
    }

    /// Takes another statement in: both under one partner and one agreement.
    fn take(&mut self, other: &Self) -> Option<()> {
        let one = Arc::ptr_eq(&self.partner, &other.partner)
            || self.partner.scope().is_some() && self.partner.scope() == other.partner.scope();
        self.operators += other.operators;
        self.levels = self.levels.max(other.levels);
        self.tables += other.tables;
        one.then_some(())
    }
}

/// The columns of an input, under the names that they have.
fn numbered(alias: &str, schema: &DFSchema) -> String {
    let columns = (0..schema.fields().len()).map(|n| format!("\"{alias}\".\"c{n}\" AS \"c{n}\""));
    some(columns.collect())
}

/// A list of columns. Rows without columns are asked with a constant.
fn some(columns: Vec<String>) -> String {
    match columns.is_empty() {
        true => "1 AS \"one\"".to_owned(),
        false => columns.join(", "),
    }
}

fn named(columns: impl IntoIterator<Item = Option<String>>) -> Option<String> {
    let columns = columns.into_iter().enumerate();
    let columns = columns.map(|(n, sql)| Some(format!("{} AS \"c{n}\"", sql?)));
    Some(some(columns.collect::<Option<_>>()?))
}

/// Where the columns of one input are.
fn column(alias: &str, schema: &DFSchema, column: &Column) -> Option<String> {
    let index = schema.maybe_index_of_column(column)?;
    Some(format!("\"{alias}\".\"c{index}\""))
}

fn scan(scan: &TableScan) -> Option<Written> {
    let provider = source_as_provider(&scan.source).ok()?;
    let any = provider.as_ref() as &dyn Any;
    let table = any.downcast_ref::<PartnerTable>()?;
    let stored = |c: &Column| Some(format!("\"t\".{}", identifier(&c.name)));
    let fields = scan.projected_schema.fields().iter();
    let columns = named(fields.map(|f| stored(&Column::from_name(f.name()))))?;
    let mut writer = Writer::default();
    let mut sql = format!("SELECT {columns} FROM {} AS \"t\"", table.address());
    condition(&mut sql, &mut writer, &scan.filters, &stored)?;
    if let Some(fetch) = scan.fetch {
        sql.push_str(&format!(" LIMIT {fetch}"));
    }
    let alone = Written {
        partner: Arc::clone(table.partner()),
        sql: String::new(),
        gains: false,
        operators: 0,
        levels: 0,
        tables: 1,
    };
    // As a scan it is asked the same, and takes filters of joins besides.
    let mut written = alone.over(sql, writer)?;
    written.gains = false;
    Some(written)
}

fn condition(sql: &mut String, writer: &mut Writer, all: &[Expr], names: Names<'_>) -> Option<()> {
    for (i, predicate) in all.iter().enumerate() {
        let word = if i == 0 { "WHERE" } else { "AND" };
        sql.push_str(&format!(" {word} {}", writer.expression(predicate, names)?));
    }
    Some(())
}

fn projection(node: &Projection, input: &Written) -> Option<Written> {
    let mut writer = Writer::default();
    let names = |c: &Column| column("t", node.input.schema(), c);
    let columns = named(node.expr.iter().map(|e| writer.expression(e, &names)))?;
    let sql = format!("SELECT {columns} FROM ({}) AS \"t\"", input.sql);
    let gains = input.gains || !writer.within.is_empty();
    let mut written = input.over(sql, writer)?;
    written.gains = gains;
    Some(written)
}

fn filter(node: &Filter, input: &Written) -> Option<Written> {
    let mut writer = Writer::default();
    let names = |c: &Column| column("t", node.input.schema(), c);
    let condition = writer.expression(&node.predicate, &names)?;
    let columns = numbered("t", node.input.schema());
    let sql = format!(
        "SELECT {columns} FROM ({}) AS \"t\" WHERE {condition}",
        input.sql
    );
    input.over(sql, writer)
}

fn aggregate(node: &Aggregate, input: &Written) -> Option<Written> {
    let mut writer = Writer::default();
    let names = |c: &Column| column("t", node.input.schema(), c);
    let keys = node.group_expr.iter().map(|e| writer.expression(e, &names));
    let keys = keys.collect::<Option<Vec<_>>>()?;
    let measures = node.aggr_expr.iter().map(|e| writer.aggregate(e, &names));
    let measures = measures.collect::<Option<Vec<_>>>()?;
    let columns = named(keys.iter().chain(&measures).cloned().map(Some))?;
    let mut sql = format!("SELECT {columns} FROM ({}) AS \"t\"", input.sql);
    if !keys.is_empty() {
        sql.push_str(&format!(" GROUP BY {}", keys.join(", ")));
    }
    input.over(sql, writer)
}

/// The first rows in some order. That they come in it is nobody's promise: the
/// node above sorts them again.
fn top(node: &Sort, input: &Written) -> Option<Written> {
    let fetch = node.fetch?;
    let mut writer = Writer::default();
    let names = |c: &Column| column("t", node.input.schema(), c);
    let order = node.expr.iter().map(
        |SortExpr {
             expr,
             asc,
             nulls_first,
         }| {
            let sql = writer.expression(expr, &names)?;
            let direction = if *asc { "ASC" } else { "DESC" };
            let nulls = if *nulls_first { "FIRST" } else { "LAST" };
            Some(format!("{sql} {direction} NULLS {nulls}"))
        },
    );
    let order = order.collect::<Option<Vec<_>>>()?.join(", ");
    let columns = numbered("t", node.input.schema());
    let sql = format!(
        "SELECT {columns} FROM ({}) AS \"t\" ORDER BY {order} LIMIT {fetch}",
        input.sql
    );
    input.over(sql, writer)
}

fn limit(node: &Limit, input: &Written) -> Option<Written> {
    let (Ok(SkipType::Literal(0)), Ok(FetchType::Literal(Some(fetch)))) =
        (node.get_skip_type(), node.get_fetch_type())
    else {
        return None;
    };
    let columns = numbered("t", node.input.schema());
    let sql = format!(
        "SELECT {columns} FROM ({}) AS \"t\" LIMIT {fetch}",
        input.sql
    );
    input.over(sql, Writer::default())
}

fn join(node: &Join, left: &Written, right: &Written) -> Option<Written> {
    let mut writer = Writer::default();
    let (l, r) = (node.left.schema(), node.right.schema());
    let of_left = |c: &Column| column("l", l, c);
    let of_right = |c: &Column| column("r", r, c);
    let names = |c: &Column| match (of_left(c), of_right(c)) {
        (Some(one), None) | (None, Some(one)) => Some(one),
        _ => None,
    };
    let equal = match node.null_equality {
        NullEquality::NullEqualsNothing => "=",
        NullEquality::NullEqualsNull => "IS NOT DISTINCT FROM",
    };
    let keys = node.on.iter().map(|(a, b)| {
        let a = writer.expression(a, &of_left)?;
        Some((a, writer.expression(b, &of_right)?))
    });
    let keys = keys.collect::<Option<Vec<_>>>()?;
    let on = keys.iter().map(|(a, b)| format!("({a} {equal} {b})"));
    let mut on: Vec<_> = on.collect();
    if let Some(filter) = &node.filter {
        on.push(writer.expression(filter, &names)?);
    }
    // What is not of equal columns multiplies rows, unless one side has only one.
    let single = |plan: &LogicalPlan| plan.max_rows() == Some(1);
    if node.on.is_empty() && !single(&node.left) && !single(&node.right) {
        return None;
    }
    let on = match on.is_empty() {
        true => "TRUE".to_owned(),
        false => on.join(" AND "),
    };
    let fields = |alias: &'static str, schema: &DFSchema| {
        let columns = 0..schema.fields().len();
        columns.map(move |n| Some(format!("\"{alias}\".\"c{n}\"")))
    };
    let both = |word: &str| {
        let columns = named(fields("l", l).chain(fields("r", r)))?;
        let (l, r) = (&left.sql, &right.sql);
        Some(format!(
            "SELECT {columns} FROM ({l}) AS \"l\" {word} JOIN ({r}) AS \"r\" ON {on}"
        ))
    };
    let one = |not: &str, kept: (&'static str, &DFSchema, &str), other: (&str, &str)| {
        let columns = named(fields(kept.0, kept.1))?;
        Some(format!(
            "SELECT {columns} FROM ({}) AS \"{}\" WHERE {not}EXISTS (SELECT 1 FROM ({}) AS \"{}\" WHERE {on})",
            kept.2, kept.0, other.1, other.0
        ))
    };
    let (of_l, of_r) = (
        ("l", l.as_ref(), left.sql.as_str()),
        ("r", r.as_ref(), right.sql.as_str()),
    );
    // Where there are nulls, `NOT IN` differs from `NOT EXISTS`.
    let not_in = || {
        let ([(a, b)], None, JoinType::LeftAnti) = (&keys[..], &node.filter, node.join_type) else {
            return None;
        };
        let columns = named(fields("l", l))?;
        Some(format!(
            "SELECT {columns} FROM ({}) AS \"l\" WHERE {a} NOT IN (SELECT {b} FROM ({}) AS \"r\")",
            left.sql, right.sql
        ))
    };
    let sql = match node.join_type {
        _ if node.null_aware => not_in(),
        JoinType::Inner => both("INNER"),
        JoinType::Left => both("LEFT"),
        JoinType::Right => both("RIGHT"),
        JoinType::Full => both("FULL"),
        JoinType::LeftSemi => one("", of_l, ("r", &right.sql)),
        JoinType::LeftAnti => one("NOT ", of_l, ("r", &right.sql)),
        JoinType::RightSemi => one("", of_r, ("l", &left.sql)),
        JoinType::RightAnti => one("NOT ", of_r, ("l", &left.sql)),
        _ => None,
    }?;
    left.with(right, sql, writer)
}

fn union(node: &Union, inputs: &[&Written]) -> Option<Written> {
    let (first, rest) = inputs.split_first()?;
    let mut written = (*first).clone();
    // A select for each, so that no set operation is read as a part of another.
    let of = |input: &Written| {
        let columns = numbered("t", &node.schema);
        format!("SELECT {columns} FROM ({}) AS \"t\"", input.sql)
    };
    written.sql = of(first);
    for input in rest {
        let sql = format!("{} UNION ALL {}", written.sql, of(input));
        let gains = written.gains || input.gains;
        written = written.with(input, sql, Writer::default())?;
        written.gains = gains;
    }
    Some(written)
}
