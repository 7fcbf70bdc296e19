//! What is refused on the syntax tree, because the planner would ignore it or
//! do it without a trace in the plan (`spec/5-data-plane.md#D-4`).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, SetExpr, TableFactor, Visit, Visitor};

use super::MAX_TABLES;
use crate::query::QueryError;

/// Refuses what the planner would ignore or what is no plain query.
pub(super) fn check(query: &ast::Query) -> Result<(), QueryError> {
    match query.visit(&mut Syntax { tables: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Syntax {
    tables: usize,
}

impl Visitor for Syntax {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<QueryError> {
        let refused = [
            (!query.locks.is_empty(), "FOR UPDATE"),
            (query.for_clause.is_some(), "FOR"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (!query.pipe_operators.is_empty(), "pipe operators"),
            (query.fetch.is_some(), "FETCH (write LIMIT)"),
            (
                query.with.as_ref().is_some_and(|with| with.recursive),
                "WITH RECURSIVE",
            ),
        ];
        refuse(&refused)?;
        body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<QueryError> {
        refuse(&[
            (select.into.is_some(), "INTO"),
            (select.top.is_some(), "TOP (write LIMIT)"),
            (!select.optimizer_hints.is_empty(), "optimizer hints"),
            (select.select_modifiers.is_some(), "select modifiers"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.value_table_mode.is_some(), "AS VALUE or AS STRUCT"),
        ])
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<QueryError> {
        match factor {
            TableFactor::Table {
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => {
                self.tables += 1;
                if self.tables > MAX_TABLES {
                    return ControlFlow::Break(QueryError::too_large("tables", MAX_TABLES));
                }
                refuse(&[
                    (args.is_some() || *with_ordinality, "table functions"),
                    (sample.is_some(), "TABLESAMPLE"),
                    (version.is_some(), "FOR SYSTEM_TIME"),
                    (
                        !with_hints.is_empty() || !index_hints.is_empty(),
                        "table hints",
                    ),
                    (!partitions.is_empty(), "PARTITION"),
                    (json_path.is_some(), "paths into a table"),
                ])
            }
            TableFactor::Derived { sample, .. } => refuse(&[(sample.is_some(), "TABLESAMPLE")]),
            TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            _ => ControlFlow::Break(QueryError::not_permitted("table functions")),
        }
    }
}

fn refuse(cases: &[(bool, &str)]) -> ControlFlow<QueryError> {
    match cases.iter().find(|(present, _)| *present) {
        Some((_, what)) => ControlFlow::Break(QueryError::not_permitted(what)),
        None => ControlFlow::Continue(()),
    }
}

fn body(body: &SetExpr) -> ControlFlow<QueryError> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
        SetExpr::SetOperation { left, right, .. } => {
            self::body(left)?;
            self::body(right)
        }
        _ => ControlFlow::Break(QueryError::not_permitted("a statement that is not a query")),
    }
}
