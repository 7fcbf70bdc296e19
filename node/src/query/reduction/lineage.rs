//! Where the values of a column come from.

use std::any::Any;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{Column, JoinType};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan};

use super::egress::KeyForm;
use super::source::{SourceTable, Telling};
use super::told::Narrowing;
use crate::query::federation::AskedTable;
use crate::query::finished::FinishedTable;
use crate::query::{PartnerTable, TableName, View};

/// A partner's part of a plan.
pub(in crate::query) enum Leaf {
    /// Rows of a table.
    Table(Box<PartnerTable>),
    /// What it computes.
    Asked(Box<AskedTable>),
}

impl Leaf {
    pub(in crate::query) fn of(provider: &Arc<dyn TableProvider>) -> Option<Self> {
        let any = provider.as_ref() as &dyn Any;
        if let Some(table) = any.downcast_ref::<PartnerTable>() {
            return Some(Self::Table(Box::new(table.clone())));
        }
        let asked = any.downcast_ref::<FinishedTable<AskedTable>>()?;
        Some(Self::Asked(Box::new(asked.0.clone())))
    }

    /// The part that gives `column`, if leaving out its rows by that column
    /// leaves out the same rows of the plan and no others. Sides on the way, which
    /// tell keys of their own, are added to `crossed`.
    pub(super) fn below(
        plan: &LogicalPlan,
        column: &Column,
        crossed: &mut Vec<Telling>,
    ) -> Option<Self> {
        if let LogicalPlan::TableScan(scan) = plan {
            let provider = source_as_provider(&scan.source).ok()?;
            let Some(side) = side(&provider) else {
                return Self::of(&provider);
            };
            crossed.extend(side.tellings.iter().cloned());
            let place = scan.projected_schema.maybe_index_of_column(column)?;
            let column = side.plan.schema().columns().into_iter().nth(place)?;
            return Self::below(&side.plan, &column, crossed);
        }
        let (input, column) = step(plan, column)?;
        Self::below(plan.inputs().get(input)?, &column, crossed)
    }

    /// The partner's alias.
    pub(super) fn partner(&self) -> &str {
        match self {
            Self::Table(table) => table.partner().name(),
            Self::Asked(asked) => asked.partner().name(),
        }
    }

    /// The same, without an answer where the partner gives none.
    pub(in crate::query) fn missable(self) -> Arc<dyn TableProvider> {
        match self {
            Self::Table(table) => Arc::new(table.missable()),
            Self::Asked(asked) => Arc::new(FinishedTable(asked.missable())),
        }
    }

    /// The same, told more keys.
    pub(super) fn told(self, narrowing: Narrowing) -> Arc<dyn TableProvider> {
        match self {
            Self::Table(table) => Arc::new(table.told(narrowing)),
            Self::Asked(asked) => Arc::new(FinishedTable(asked.told(narrowing))),
        }
    }
}

/// Which input of a node gives one of its columns, and as which one, if a
/// condition on the column may as well be asked of that input's rows.
pub(super) fn step(plan: &LogicalPlan, column: &Column) -> Option<(usize, Column)> {
    let place = plan.schema().maybe_index_of_column(column)?;
    let of = |input: &LogicalPlan, place: usize| input.schema().columns().get(place).cloned();
    let below = match plan {
        LogicalPlan::SubqueryAlias(node) => of(&node.input, place)?,
        LogicalPlan::Projection(node) => plain(node.expr.get(place)?)?,
        LogicalPlan::Filter(node) => of(&node.input, place)?,
        LogicalPlan::Sort(node) if node.fetch.is_none() => of(&node.input, place)?,
        LogicalPlan::Distinct(Distinct::All(input)) => of(input, place)?,
        LogicalPlan::Aggregate(node) => plain(node.group_expr.get(place)?)?,
        LogicalPlan::Join(node) => {
            let lefts = node.left.schema().fields().len();
            let (left, right) = match node.join_type {
                JoinType::Inner => (true, true),
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => (true, false),
                JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => (false, true),
                _ => (false, false),
            };
            let only_right = matches!(node.join_type, JoinType::RightSemi | JoinType::RightAnti);
            return match place.checked_sub(if only_right { 0 } else { lefts }) {
                None => left.then_some((0, of(&node.left, place)?)),
                Some(place) => right.then_some((1, of(&node.right, place)?)),
            };
        }
        _ => return None,
    };
    Some((0, below))
}

fn plain(expr: &Expr) -> Option<Column> {
    match expr {
        Expr::Column(column) => Some(column.clone()),
        Expr::Alias(alias) => plain(&alias.expr),
        _ => None,
    }
}

/// The side of a join that is held, if a table is one.
pub(super) fn side(provider: &Arc<dyn TableProvider>) -> Option<&SourceTable> {
    let any = provider.as_ref() as &dyn Any;
    Some(&any.downcast_ref::<FinishedTable<SourceTable>>()?.0)
}

/// The same side with its plan changed, if a table is a side.
pub(in crate::query) fn within(
    provider: &Arc<dyn TableProvider>,
    change: impl FnOnce(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let Some(mut side) = side(provider).cloned() else {
        return Ok(None);
    };
    side.plan = change(side.plan)?;
    Ok(Some(Arc::new(FinishedTable(side))))
}

/// What a finished leaf stands for in the plan: what it computes.
pub(super) fn behind(scan: &TableScan) -> Option<LogicalPlan> {
    let provider = source_as_provider(&scan.source).ok()?;
    if let Some(side) = side(&provider) {
        return Some(side.plan.clone());
    }
    let any = provider.as_ref() as &dyn Any;
    let asked = any.downcast_ref::<FinishedTable<AskedTable>>()?;
    Some(asked.0.means().clone())
}

/// How keys of a column of `plan` may go to the partner `to`, and what they
/// are keys of; `None` if not at all.
///
/// A set of keys tells of every column that decided which keys are in it, a
/// predicate's for example. All of them must be permitted, and the strictest
/// form counts. What cannot be followed to columns of tables is not told
/// (`spec/5-data-plane.md#D-228`).
pub(super) fn permitted(
    plan: &LogicalPlan,
    key: &Column,
    to: &str,
    view: &View,
) -> Option<(String, KeyForm)> {
    let mut origins = Origins::new(view);
    origins.column(plan, key)?;
    let of: Vec<_> = origins
        .all
        .iter()
        .map(|(table, column)| {
            let TableName {
                catalog,
                schema,
                table,
            } = table;
            format!("{catalog}.{schema}.{table}.{column}")
        })
        .collect();
    origins.deciding(plan)?;
    let forms = origins
        .all
        .iter()
        .map(|(table, column)| view.egress().form(table, column, to));
    let form = forms.min().filter(|form| *form != KeyForm::Never)?;
    Some((of.join(", "), form))
}

/// Columns of tables that something depends on.
pub(super) struct Origins<'a> {
    view: &'a View,
    all: BTreeSet<(TableName, String)>,
}

impl<'a> Origins<'a> {
    fn new(view: &'a View) -> Self {
        Self {
            view,
            all: BTreeSet::new(),
        }
    }

    /// Where a column of a plan comes from, if it is one column of one table.
    pub(super) fn of_one(
        plan: &LogicalPlan,
        column: &Column,
        view: &'a View,
    ) -> Option<(TableName, String)> {
        let mut origins = Self::new(view);
        origins.column(plan, column)?;
        let mut all = origins.all.into_iter();
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }

    /// Adds where a column of a plan comes from; `None` if that cannot be told.
    fn column(&mut self, plan: &LogicalPlan, column: &Column) -> Option<()> {
        let place = plan.schema().maybe_index_of_column(column)?;
        self.place(plan, place)
    }

    fn place(&mut self, plan: &LogicalPlan, place: usize) -> Option<()> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                if let Some(here) = behind(scan) {
                    return self.place(&here, place);
                }
                let table = Self::table(scan, self.view)?;
                let column = scan.projected_schema.fields().get(place)?.name().clone();
                self.all.insert((table, column));
                Some(())
            }
            LogicalPlan::Projection(node) => self.expression(&node.input, node.expr.get(place)?),
            LogicalPlan::Aggregate(node) => {
                // Of several groupings the columns are at other places.
                if matches!(&node.group_expr[..], [Expr::GroupingSet(_)]) {
                    return None;
                }
                let mut all = node.group_expr.iter().chain(&node.aggr_expr);
                self.expression(&node.input, all.nth(place)?)
            }
            LogicalPlan::Join(node) => {
                let lefts = match node.join_type {
                    JoinType::RightSemi | JoinType::RightAnti => 0,
                    JoinType::LeftMark | JoinType::RightMark => return None,
                    _ => node.left.schema().fields().len(),
                };
                match place.checked_sub(lefts) {
                    None => self.place(&node.left, place),
                    Some(place) => self.place(&node.right, place),
                }
            }
            LogicalPlan::Union(node) => {
                let mut inputs = node.inputs.iter();
                inputs.try_for_each(|input| self.place(input, place))
            }
            LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Distinct(Distinct::All(_)) => self.place(plan.inputs().first()?, place),
            _ => None,
        }
    }

    /// Adds what an expression over a plan reads.
    fn expression(&mut self, plan: &LogicalPlan, expr: &Expr) -> Option<()> {
        let mut columns = columns(expr)?.into_iter();
        columns.try_for_each(|column| self.column(plan, column))
    }

    /// The name of a table that is scanned, if it is one of the view.
    pub(super) fn table(scan: &TableScan, view: &View) -> Option<TableName> {
        let provider = source_as_provider(&scan.source).ok()?;
        match Leaf::of(&provider) {
            // One that is told keys is not the view's own any more.
            Some(Leaf::Table(table)) => Some(table.name()),
            _ => view.name_of(&provider).cloned(),
        }
    }

    /// Adds what decides which rows a plan has, in every node of it.
    fn deciding(&mut self, plan: &LogicalPlan) -> Option<()> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                if let Some(here) = behind(scan) {
                    return self.deciding(&here);
                }
                let table = Self::table(scan, self.view)?;
                for filter in &scan.filters {
                    let columns = columns(filter)?.into_iter();
                    self.all
                        .extend(columns.map(|c| (table.clone(), c.name.clone())));
                }
            }
            LogicalPlan::Filter(node) => self.expression(&node.input, &node.predicate)?,
            LogicalPlan::Join(node) => {
                for (l, r) in &node.on {
                    self.expression(&node.left, l)?;
                    self.expression(&node.right, r)?;
                }
                let condition = node.filter.as_ref().map(columns);
                for column in condition.unwrap_or_else(|| Some(HashSet::new()))? {
                    let of_left = node.left.schema().maybe_index_of_column(column).is_some();
                    let side = if of_left { &node.left } else { &node.right };
                    self.column(side, column)?;
                }
            }
            LogicalPlan::Sort(node) => {
                let mut order = node.expr.iter();
                order.try_for_each(|by| self.expression(&node.input, &by.expr))?;
            }
            // Which groups there are, and which of them pass.
            LogicalPlan::Aggregate(node) => {
                let mut keys = node.group_expr.iter();
                keys.try_for_each(|key| self.expression(&node.input, key))?;
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let mut columns = 0..input.schema().fields().len();
                columns.try_for_each(|place| self.place(input, place))?;
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::EmptyRelation(_) => {}
            _ => return None,
        }
        let mut inputs = plan.inputs().into_iter();
        inputs.try_for_each(|input| self.deciding(input))
    }
}

/// What an expression reads; `None` where it has a query in it, whose reasons
/// are not followed.
fn columns(expr: &Expr) -> Option<HashSet<&Column>> {
    let is_query = |e: &Expr| {
        matches!(
            e,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        )
    };
    let queries = expr.exists(|e| Ok(is_query(e))).ok()?;
    (!queries).then(|| expr.column_refs())
}
