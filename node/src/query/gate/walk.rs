//! The walk over the logical plan, before anything of it is evaluated:
//! constant folding runs functions (A51), so it must come later
//! (`spec/5-data-plane.md#D-6`).

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition};

use super::{Gate, MAX_TABLES, patterns, windows};
use crate::query::dictionary::DictionaryTable;
use crate::query::governed::groups_only;
use crate::query::{GovernedTable, QueryError, TableName, View};

/// The most nodes of the plan.
pub(super) const MAX_NODES: usize = 2_000;
/// The most expressions of the plan.
pub(super) const MAX_EXPRESSIONS: usize = 100_000;

/// The walk over the plan: an allow-list, so that what the engine learns later is refused.
pub(super) struct Walk<'a> {
    gate: &'a Gate,
    view: &'a View,
    tables: Vec<TableName>,
    nodes: usize,
    expressions: usize,
    /// Whether a table is read in groups only.
    protected: bool,
    /// Whether an aggregate is over distinct values.
    distinct: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(gate: &'a Gate, view: &'a View) -> Self {
        Self {
            gate,
            view,
            tables: Vec::new(),
            nodes: 0,
            expressions: 0,
            protected: false,
            distinct: false,
        }
    }

    /// The tables that were met, each once and in the order of their names; an
    /// error when one of them is not read as it must be.
    pub(super) fn tables(self) -> Result<Vec<TableName>, QueryError> {
        // The engine makes two groupings of it, of which the lower one would
        // lose its small groups: a wrong number, and not a refusal.
        if self.protected && self.distinct {
            return Err(groups_only("DISTINCT values of it cannot be counted"));
        }
        let tables: BTreeSet<_> = self.tables.into_iter().collect();
        Ok(tables.into_iter().collect())
    }

    pub(super) fn node(&mut self, node: &LogicalPlan) -> Result<TreeNodeRecursion, QueryError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(QueryError::too_large("steps", MAX_NODES));
        }
        match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Distinct(_) => {}
            // `LIMIT CASE WHEN …` would answer by the number of rows (A19,
            // spec/5-data-plane.md#D-21).
            LogicalPlan::Limit(limit) => {
                let counts = [&limit.skip, &limit.fetch].into_iter().flatten();
                let literal = |e: &Expr| matches!(e, Expr::Literal(..));
                if !counts.into_iter().all(|e| literal(e)) {
                    return Err(QueryError::not_permitted(
                        "LIMIT or OFFSET of an expression",
                    ));
                }
            }
            LogicalPlan::TableScan(scan) => {
                let provider: Arc<dyn TableProvider> = source_as_provider(&scan.source)
                    .map_err(|_| QueryError::not_permitted("this table"))?;
                let any = provider.as_ref() as &dyn Any;
                // One of the dictionary is made of the view itself, where members ask.
                let dictionary = || Some(&any.downcast_ref::<DictionaryTable>()?.name);
                let name = self.view.name_of(&provider).or_else(dictionary);
                let name = name.ok_or_else(|| QueryError::not_permitted("this table"))?;
                self.tables.push(name.clone());
                let governed = any.downcast_ref::<GovernedTable>();
                self.protected |= governed.is_some_and(GovernedTable::is_protected);
                if self.tables.len() > MAX_TABLES {
                    return Err(QueryError::too_large("tables", MAX_TABLES));
                }
            }
            _ => return Err(QueryError::not_permitted("this kind of statement")),
        }
        node.apply_expressions(|top| {
            top.apply(|e| self.expression(e).map_err(DataFusionError::from))
        })
        .map_err(|e| QueryError::of(&e))?;
        Ok(TreeNodeRecursion::Continue)
    }

    fn expression(&mut self, e: &Expr) -> Result<TreeNodeRecursion, QueryError> {
        self.expressions += 1;
        if self.expressions > MAX_EXPRESSIONS {
            return Err(QueryError::too_large("expressions", MAX_EXPRESSIONS));
        }
        patterns::check(e)?;
        let name = match e {
            Expr::ScalarFunction(f) => {
                if f.name() == "arrow_cast" && !plain_cast(&f.args) {
                    return Err(QueryError::not_permitted("arrow_cast to this type"));
                }
                f.name()
            }
            // spec/5-data-plane.md#D-4. The engine looks for a regular expression anywhere
            // in the text, and SQL asks for one of another kind, over all of it.
            Expr::SimilarTo(_) => {
                return Err(QueryError::not_permitted("SIMILAR TO (write LIKE or ~)"));
            }
            Expr::Like(like) if like.escape_char.is_some_and(|c| c != '\\') => {
                return Err(QueryError::not_permitted(
                    "ESCAPE with another sign than \\",
                ));
            }
            Expr::AggregateFunction(f) => {
                self.distinct |= f.params.distinct;
                f.func.name()
            }
            Expr::WindowFunction(w) => {
                windows::check(w)?;
                match &w.fun {
                    WindowFunctionDefinition::AggregateUDF(f) => f.name(),
                    WindowFunctionDefinition::WindowUDF(f) => f.name(),
                }
            }
            Expr::HigherOrderFunction(_)
            | Expr::Lambda(_)
            | Expr::LambdaVariable(_)
            | Expr::ScalarVariable(..)
            | Expr::Placeholder(_)
            | Expr::Unnest(_) => return Err(QueryError::not_permitted("this kind of expression")),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        if !self.gate.permits(name) {
            return Err(QueryError::not_permitted(format_args!(
                "the function {name}"
            )));
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

/// `arrow_cast` names types that SQL cannot, among them lists of a fixed size,
/// which allocate without bound. Numbers, dates, times and text are permitted.
fn plain_cast(args: &[Expr]) -> bool {
    let Some(Expr::Literal(value, _)) = args.get(1) else {
        return false;
    };
    let name = value.try_as_str().flatten().unwrap_or_default();
    [
        "Int",
        "UInt",
        "Float",
        "Decimal128(",
        "Date",
        "Timestamp(",
        "Utf8",
        "LargeUtf8",
        "Boolean",
    ]
    .iter()
    .any(|plain| name.starts_with(plain))
}
