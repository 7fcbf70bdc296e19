//! The owner's data as the terms show it.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use comity_protocol::terms::{Mask, Protection, TableTerms};
use data_encoding::HEXLOWER;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    Expr, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, cast, lit,
};
use datafusion::physical_plan::ExecutionPlan;

use super::barrier::BarrierExec;
use super::mask::{Salts, masked};
use super::predicate::leak_proof;
use super::protection::{Disclosed, Guarded};
use super::pushdown::{Answer, Grouping, Pushdown, Restricted, WithPushdown};
use super::schema::planned;
use super::{QueryError, filter, guard};

/// A table of the owner's with the terms compiled in: the columns outside the
/// terms do not exist, hidden rows are never met by a caller's expression, and
/// masks are applied before anything leaves (`spec/5-data-plane.md`, 5.4).
pub struct GovernedTable {
    source: Arc<dyn TableProvider>,
    row_filter: Expr,
    /// One expression over the source per column of `schema`, in its order.
    columns: Vec<Expr>,
    schema: SchemaRef,
    /// Columns whose stored values the caller may see, hence may filter on inside;
    /// masked ones are not among them (`spec/5-data-plane.md#D-16`).
    open: BTreeSet<String>,
    /// Set when the table is read in groups only.
    guarded: Option<Guarded>,
    /// Whether there is anything in the source that whoever reads the table does not see.
    hides: bool,
}

impl GovernedTable {
    /// Compiles the terms of one table over its source.
    ///
    /// # Errors
    /// `terms-mismatch` if the terms name a column the source does not have,
    /// compare a column with a value that does not fit its type, permit no
    /// column, or ask for a mask this node cannot apply (`spec/5-data-plane.md#D-17`).
    pub fn new(source: Arc<dyn TableProvider>, terms: &TableTerms) -> Result<Self, QueryError> {
        Self::asked(source, terms, &Salts::draw(b"", None)?, Arc::default())
    }

    /// [`GovernedTable::new`] for one request: values of two tables that one
    /// salt hashes can be joined, and `disclosed` is what its partner was told
    /// of the table before.
    pub fn asked(
        source: Arc<dyn TableProvider>,
        terms: &TableTerms,
        salts: &Salts,
        disclosed: Arc<Disclosed>,
    ) -> Result<Self, QueryError> {
        let stored = source.schema();
        let row_filter = filter::compile(&terms.filter, &stored)?;
        let by = terms.protection.iter().flat_map(|p| &p.group_by);
        for name in terms.columns.iter().chain(terms.masks.keys()).chain(by) {
            if stored.fields().iter().filter(|f| f.name() == name).count() != 1 {
                return Err(QueryError::terms_mismatch(format!(
                    "the terms name the column {name}, which the source does not have exactly once"
                )));
            }
        }
        if terms.columns.is_empty() {
            return Err(QueryError::terms_mismatch(
                "the terms permit no column of the table",
            ));
        }
        // spec/5-data-plane.md#D-11: what the terms do not name is not in the schema.
        let by = terms.protection.as_ref().map(|p| &p.group_by);
        let is_shown = |name: &String| terms.columns.contains(name);
        // A column that a grant took away goes on making cells.
        let is_used = |name: &String| is_shown(name) || by.is_some_and(|by| by.contains(name));
        let used = stored.fields().iter().filter(|f| is_used(f.name()));
        let used = as_shown(&used.cloned().collect::<Vec<_>>(), terms, salts)?;
        let shown = stored.fields().iter().filter(|f| is_shown(f.name()));
        let schema = planned(&shown.cloned().collect::<Vec<_>>());
        let columns = used.iter().filter(|(name, _)| is_shown(name));
        let columns = columns.map(|(_, value)| value.clone()).collect();
        let unmasked = |name: &&String| !terms.masks.contains_key(*name);
        let mut open: BTreeSet<String> = terms.columns.iter().filter(unmasked).cloned().collect();
        let guarded = match &terms.protection {
            None => None,
            Some(protection) => {
                can_be_counted(protection, terms, &stored)?;
                let unmasked = open.iter().cloned().collect();
                // Row by row nothing is asked: predicates are over groups.
                open.retain(|column| protection.group_by.contains(column));
                Some(Guarded {
                    shape: shape(protection, terms, salts),
                    protection: protection.clone(),
                    source: Arc::clone(&source),
                    row_filter: row_filter.clone(),
                    columns: used,
                    unmasked,
                    disclosed,
                })
            }
        };
        Ok(Self {
            source,
            row_filter,
            columns,
            schema,
            open,
            guarded,
            hides: !terms.filter.0.is_empty()
                || !terms.masks.is_empty()
                || terms.columns.len() < stored.fields().len(),
        })
    }

    /// The groups of the visible rows, from a source that can answer them; else
    /// why they are computed here (`spec/5-data-plane.md#D-157`).
    pub(super) fn grouped(&self, mut grouping: Grouping) -> Answer {
        let arguments = grouping.measures.iter().filter_map(|m| m.column.as_ref());
        let columns = grouping.keys.iter().chain(arguments);
        let rows = self.restricted(columns, std::mem::take(&mut grouping.predicates))?;
        grouping.predicates = rows.predicates;
        let plan = rows.source.grouped(&grouping)?;
        let plan = guard::deadline_on_leaves(plan).map_err(|e| e.to_string())?;
        Ok(Arc::new(BarrierExec::new(plan, grouping.schema)))
    }

    /// The groups of a table that is read in groups only, or why the terms do
    /// not permit them; nothing of another table.
    pub(super) fn guarded_groups(
        &self,
        grouping: impl FnOnce() -> Result<Grouping, String>,
    ) -> Option<Result<Arc<dyn TableProvider>, String>> {
        let guarded = self.guarded.as_ref()?;
        let shown = |p: &Expr| leak_proof(p, &self.schema, &|name| self.open.contains(name));
        Some(grouping().and_then(|grouping| {
            if !grouping.predicates.iter().all(shown) {
                return Err("a predicate is not leak-proof".to_owned());
            }
            guarded.groups(grouping)
        }))
    }

    /// Whether the table is read in groups only.
    pub(super) fn is_protected(&self) -> bool {
        self.guarded.is_some()
    }

    /// Whether the source can compute over its rows. Files cannot: of them there
    /// is nothing to tell.
    pub(super) fn computes(&self) -> bool {
        self.pushdown().is_some()
    }

    fn pushdown(&self) -> Option<&Arc<dyn Pushdown>> {
        // What a source computes over rows of a protected table nobody would judge.
        if self.guarded.is_some() {
            return None;
        }
        let source = self.source.as_ref() as &dyn Any;
        source.downcast_ref().map(|WithPushdown(source)| source)
    }

    /// The visible rows for which the predicates hold, at a source that computes
    /// over `columns`; else why that is done here.
    pub(super) fn restricted<'a>(
        &self,
        columns: impl Iterator<Item = &'a String>,
        mut predicates: Vec<Expr>,
    ) -> Result<Restricted, String> {
        let source = self.pushdown().ok_or("the source gives rows only")?;
        let stored = self.source.schema();
        for column in columns {
            if !self.open.contains(column) {
                return Err(format!("the terms mask the column {column}"));
            }
            let stored = stored.field_with_name(column).map(|f| f.data_type());
            let shown = self.schema.field_with_name(column).map(|f| f.data_type());
            if stored.ok() != shown.ok() {
                return Err(format!("the column {column} is not shown as it is stored"));
            }
        }
        for predicate in &predicates {
            if !leak_proof(predicate, &self.schema, &|name| self.open.contains(name)) {
                return Err("a predicate is not leak-proof".to_owned());
            }
        }
        if self.row_filter != lit(true) {
            predicates.insert(0, self.row_filter.clone());
        }
        Ok(Restricted {
            source: Arc::clone(source),
            predicates,
        })
    }
}

#[async_trait]
impl TableProvider for GovernedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // `get_logical_plan`, `statistics` and `constraints` stay `None`: the
    // planner would inline the first, and the others describe hidden rows.

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Never `Inexact`: the predicate would run on both sides of the barrier.
        Ok(filters
            .iter()
            .map(
                |f| match leak_proof(f, &self.schema, &|name| self.open.contains(name)) {
                    true => TableProviderFilterPushDown::Exact,
                    false => TableProviderFilterPushDown::Unsupported,
                },
            )
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // spec/5-data-plane.md#D-140
        if self.guarded.is_some() {
            return Err(groups_only("it is read row by row").into());
        }
        let mut plan =
            LogicalPlanBuilder::scan("source", provider_as_source(Arc::clone(&self.source)), None)?
                .filter(self.row_filter.clone())?;
        for predicate in filters {
            if !leak_proof(predicate, &self.schema, &|name| self.open.contains(name)) {
                return Err(DataFusionError::Internal(
                    "a predicate that is not leak-proof reached the barrier".into(),
                ));
            }
            plan = plan.filter(unqualified(predicate)?)?;
        }
        // After the policy: a limit on the source would count hidden rows
        // (spec/5-data-plane.md#D-15).
        plan = plan.limit(0, limit)?;
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let wanted = projection.unwrap_or(&all);
        let chosen = wanted.iter().filter_map(|i| self.columns.get(*i).cloned());
        let plan = plan.project(chosen.collect::<Vec<_>>())?.build()?;
        // Planned on its own: no rule of the outer plan ever sees the inner one.
        let inner = guard::deadline_on_leaves(state.create_physical_plan(&plan).await?)?;
        let barrier = BarrierExec::new(inner, Arc::new(self.schema.project(wanted)?));
        Ok(Arc::new(barrier.hiding(self.hides)))
    }
}

impl fmt::Debug for GovernedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GovernedTable")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// Each of `stored` by name, with the expression over the source that the terms show.
fn as_shown(
    stored: &[FieldRef],
    terms: &TableTerms,
    salts: &Salts,
) -> Result<Vec<(String, Expr)>, QueryError> {
    let schema = planned(stored);
    let shown = stored.iter().zip(schema.fields()).map(|(stored, shown)| {
        let name = shown.name();
        let column = Expr::Column(Column::new_unqualified(name));
        let value = match terms.masks.get(name) {
            Some(mask) => masked(name, *mask, shown.data_type(), salts)?,
            None if stored.data_type() == shown.data_type() => column,
            None => cast(column, shown.data_type().clone()),
        };
        Ok((name.clone(), value.alias(name)))
    });
    shown.collect()
}

/// Whether the source has what cells are counted and made by.
fn can_be_counted(
    protection: &Protection,
    terms: &TableTerms,
    stored: &Schema,
) -> Result<(), QueryError> {
    if stored.field_with_name(&protection.unit).is_err() {
        return Err(QueryError::terms_mismatch(format!(
            "the terms count {} as units, which the source does not have",
            protection.unit
        )));
    }
    // Under new names in each query no cell could be known again (D-143).
    let changes = |name: &&String| terms.masks.get(*name) == Some(&Mask::Sha256QueryLocal);
    match protection.group_by.iter().find(changes) {
        None => Ok(()),
        Some(name) => Err(QueryError::terms_mismatch(format!(
            "the terms group by {name}, whose mask is another in each query"
        ))),
    }
}

/// What makes the cells of a protected table, in bytes that stay the same over
/// restarts and upgrades: another partition is refused for good.
fn shape(protection: &Protection, terms: &TableTerms, salts: &Salts) -> Vec<u8> {
    let by = &protection.group_by;
    let masks: Vec<_> = by.iter().map(|column| terms.masks.get(column)).collect();
    let mut shape = serde_json::json!([protection.unit, terms.filter, by, masks]).to_string();
    // Under other salts the cells have other names: nothing could be known again.
    for mask in masks.into_iter().flatten() {
        shape.push_str(&HEXLOWER.encode(&salts.of(*mask)));
    }
    shape.into_bytes()
}

/// A protected table asked for something else than its groups.
pub(super) fn groups_only(why: &str) -> QueryError {
    QueryError::not_permitted(format_args!(
        "the agreement gives this table in groups only: GROUP BY the columns it names, \
         with the aggregates it names ({why})"
    ))
}

/// The predicate with the caller's table names taken off its columns.
pub(crate) fn unqualified(predicate: &Expr) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let stripped = predicate.clone().transform(|e| {
        Ok(match e {
            Expr::Column(c) => Transformed::yes(Expr::Column(Column::new_unqualified(c.name))),
            other => Transformed::no(other),
        })
    })?;
    Ok(stripped.data)
}
