//! The way from a node of a plan down to one table.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, TableScan};

use crate::query::unqualified;

/// The most projections between a node and its table.
const MAX_PROJECTIONS: usize = 8;

/// One table, and what renames and tests its columns on the way up.
pub(super) struct Below<'a> {
    scan: &'a TableScan,
    projections: Vec<&'a Projection>,
    /// Whether a condition is left that only this node can test.
    tested: bool,
}

impl<'a> Below<'a> {
    /// What is below an input, if it is one table.
    pub(super) fn of(input: &'a LogicalPlan) -> Option<Self> {
        let (mut input, mut projections, mut tested) = (input, Vec::new(), false);
        loop {
            match input {
                LogicalPlan::TableScan(scan) => {
                    return Some(Self {
                        scan,
                        projections,
                        tested,
                    });
                }
                LogicalPlan::Projection(projection) if projections.len() < MAX_PROJECTIONS => {
                    projections.push(projection);
                    input = &projection.input;
                }
                LogicalPlan::SubqueryAlias(alias) => input = &alias.input,
                LogicalPlan::Filter(filter) => {
                    tested = true;
                    input = &filter.input;
                }
                _ => return None,
            }
        }
    }

    /// The table.
    pub(super) fn provider(&self) -> Option<Arc<dyn TableProvider>> {
        source_as_provider(&self.scan.source).ok()
    }

    /// The predicates of the scan, over columns without a table's name; else why
    /// not all of its rows are meant.
    pub(super) fn predicates(&self) -> Result<Vec<Expr>, String> {
        // What is left above the scan may not cross the barrier, or not be answered alike.
        if self.tested {
            return Err("a condition can only be tested here".to_owned());
        }
        if self.scan.fetch.is_some() {
            return Err("the rows are limited before".to_owned());
        }
        let predicates = self.scan.filters.iter();
        let predicates = predicates.map(|f| unqualified(f).map_err(|e| e.to_string()));
        predicates.collect()
    }

    /// The table's column that an expression is.
    pub(super) fn column(&self, expr: &Expr) -> Option<String> {
        match self.resolved(expr) {
            Some(Expr::Column(column)) => Some(column.name),
            _ => None,
        }
    }

    /// Whether the type of a column of the table has a property.
    pub(super) fn is(&self, column: &str, property: impl Fn(&DataType) -> bool) -> bool {
        let field = self
            .scan
            .projected_schema
            .field_with_unqualified_name(column);
        field.is_ok_and(|f| property(f.data_type()))
    }

    /// The expression over the table's own columns.
    pub(super) fn resolved(&self, expr: &Expr) -> Option<Expr> {
        resolved(expr, &self.projections)
    }
}

fn resolved(expr: &Expr, projections: &[&Projection]) -> Option<Expr> {
    match expr {
        Expr::Alias(alias) => resolved(&alias.expr, projections),
        Expr::Column(column) => {
            let Some((projection, below)) = projections.split_first() else {
                return Some(expr.clone());
            };
            resolved(produced(projection, column)?, below)
        }
        Expr::Cast(cast) => {
            let mut cast = cast.clone();
            cast.expr = Box::new(resolved(&cast.expr, projections)?);
            Some(Expr::Cast(cast))
        }
        Expr::Literal(..) => Some(expr.clone()),
        _ => None,
    }
}

/// The expression of a projection that has a column's name.
fn produced<'a>(projection: &'a Projection, column: &Column) -> Option<&'a Expr> {
    let named = || {
        let fields = projection.schema.iter().zip(&projection.expr);
        fields.filter(|((_, field), _)| *field.name() == column.name)
    };
    let mut exact = named().filter(|((qualifier, _), _)| *qualifier == column.relation.as_ref());
    if let Some((_, expr)) = exact.next() {
        return Some(expr);
    }
    // An alias of a sub-query in between has another qualifier.
    let mut found = named();
    match (found.next(), found.next()) {
        (Some((_, expr)), None) => Some(expr),
        _ => None,
    }
}
