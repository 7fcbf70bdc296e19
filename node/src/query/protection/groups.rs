//! From cells to the caller's groups.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::SchemaRef;
use arrow::row::Row;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{StreamExt as _, stream};

use super::cells::{ROWS, count_of, measured, sum_of, wrong};
use super::disclosed::{Disclosed, other_partition};
use super::judged::{Cell, Judge, column, named};
use super::{Guarded, measures};
use crate::query::QueryError;
use crate::query::guard::Budget;
use crate::query::pushdown::{Grouping, Measure};

/// The most cells with a unit that one statement may make: each is held in memory.
const MAX_CELLS: usize = 4_000_000;

/// What a cell with a unit takes in memory beside its columns while it is
/// judged: its name, that of its unit, places in two maps, two fingerprints.
const BYTES_A_CELL: usize = 256;

/// Computes the groups of a protected table from its cells.
pub(super) struct GroupsExec {
    cells: Arc<dyn ExecutionPlan>,
    work: Arc<Work>,
    properties: Arc<PlanProperties>,
}

/// What is asked of the cells.
struct Work {
    /// The caller's predicates, over cells.
    predicates: Vec<Arc<dyn PhysicalExpr>>,
    keys: Vec<String>,
    measures: Vec<Measure>,
    /// All group columns of the terms.
    group_by: Vec<String>,
    /// The columns that are counted, summed or averaged.
    measured: Vec<String>,
    min_units: u64,
    schema: SchemaRef,
    disclosed: Arc<Disclosed>,
    /// See [`Disclosed::is_by`].
    partition: u64,
}

impl GroupsExec {
    pub(super) fn new(
        cells: Arc<dyn ExecutionPlan>,
        guarded: &Guarded,
        grouping: &Grouping,
        state: &dyn Session,
    ) -> Result<Self> {
        let over = DFSchema::try_from(cells.schema().as_ref().clone())?;
        let predicates = grouping.predicates.iter();
        let predicates = predicates.map(|p| state.create_physical_expr(p.clone(), &over));
        let work = Work {
            predicates: predicates.collect::<Result<_>>()?,
            keys: grouping.keys.clone(),
            measures: grouping.measures.clone(),
            group_by: guarded.protection.group_by.iter().cloned().collect(),
            measured: measured(grouping),
            min_units: guarded.protection.min_units,
            schema: Arc::clone(&grouping.schema),
            disclosed: Arc::clone(&guarded.disclosed),
            partition: guarded.partition(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&grouping.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Self {
            cells,
            work: Arc::new(work),
            properties: Arc::new(properties),
        })
    }
}

impl ExecutionPlan for GroupsExec {
    fn name(&self) -> &str {
        "GroupsExec"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.work.schema)
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        // It stands behind the barrier, where no rule comes.
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        // No budget in the context means a plan that was not started by the engine: refuse.
        let budget = context.session_config().get_extension::<Budget>();
        let budget = budget.ok_or_else(|| wrong("groups were asked for without a budget"))?;
        let memory = MemoryConsumer::new("GroupsExec").register(context.memory_pool());
        let cells = self.cells.execute(partition, context)?;
        let (work, schema) = (Arc::clone(&self.work), self.cells.schema());
        let groups = stream::once(async move {
            // Held until the answer is made.
            let mut memory = memory;
            let cells = collected(cells, &schema, &mut memory).await?;
            work.groups(&cells, &budget).await
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            groups,
        )))
    }
}

async fn collected(
    mut cells: SendableRecordBatchStream,
    schema: &SchemaRef,
    memory: &mut MemoryReservation,
) -> Result<RecordBatch> {
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = cells.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        if rows > MAX_CELLS {
            return Err(QueryError::budget("memory for the cells of a protected table").into());
        }
        // Twice, for they are put together.
        let bytes = 2 * batch.get_array_memory_size();
        memory.try_grow(bytes + batch.num_rows() * BYTES_A_CELL)?;
        batches.push(batch);
    }
    Ok(concat_batches(schema, &batches)?)
}

impl Work {
    async fn groups(&self, cells: &RecordBatch, budget: &Budget) -> Result<RecordBatch> {
        if !self.disclosed.is_by(self.partition) {
            return Err(other_partition().into());
        }
        let meant = self.meant(cells)?;
        let judge = Judge::new(cells, &self.measured, &self.disclosed, self.min_units)?;
        let told = judge.cells(&self.group_by, &meant, budget).await?;
        self.disclosed.keep().await?;
        let keys = named(cells, &self.keys)?;
        // In the order of their keys: the order of the rows would tell of hidden ones.
        let mut groups: BTreeMap<Row<'_>, Vec<&Cell>> = BTreeMap::new();
        for cell in &told {
            let first = cell.rows.first().and_then(|row| usize::try_from(*row).ok());
            let key = keys.row(first.ok_or_else(|| wrong("a cell without rows"))?);
            groups.entry(key).or_default().push(cell);
        }
        let groups: Vec<Vec<&Cell>> = groups.into_values().collect();
        self.answer(cells, &groups)
    }

    /// For which cells the caller's predicates hold.
    fn meant(&self, cells: &RecordBatch) -> Result<Vec<bool>> {
        let mut meant = vec![true; cells.num_rows()];
        for predicate in &self.predicates {
            let holds = predicate.evaluate(cells)?.into_array(cells.num_rows())?;
            let holds = holds.as_boolean_opt();
            let holds = holds.ok_or_else(|| wrong("a predicate is not a truth value"))?;
            for (i, meant) in meant.iter_mut().enumerate() {
                *meant &= holds.is_valid(i) && holds.value(i);
            }
        }
        Ok(meant)
    }

    /// The keys and measures of the groups that these cells make.
    fn answer(&self, cells: &RecordBatch, groups: &[Vec<&Cell>]) -> Result<RecordBatch> {
        let first = groups.iter().filter_map(|group| group.first());
        let first = first.filter_map(|cell| cell.rows.first().copied());
        let first = UInt64Array::from_iter_values(first);
        let mut columns: Vec<ArrayRef> = Vec::new();
        for key in &self.keys {
            columns.push(take(column(cells, key)?, &first, None)?);
        }
        let fields = self.schema.fields().iter().skip(self.keys.len());
        for (measure, field) in self.measures.iter().zip(fields) {
            let of = measure.column.as_ref();
            let counts = match of {
                None => column(cells, ROWS)?,
                Some(name) => column(cells, &count_of(name))?,
            };
            let sums = of.and_then(|name| cells.column_by_name(&sum_of(name)));
            let place = of.and_then(|name| self.measured.iter().position(|m| m == name));
            let counted = |cell: &&&Cell| of.is_none() || place.is_some_and(|p| cell.values[p]);
            let rows = |group: &Vec<&Cell>| -> Vec<u64> {
                let cells = group.iter().filter(counted);
                cells.flat_map(|cell| cell.rows.iter().copied()).collect()
            };
            let rows: Vec<Vec<u64>> = groups.iter().map(rows).collect();
            let shown = field.data_type();
            columns.push(measures::computed(
                measure.function,
                counts,
                sums,
                &rows,
                shown,
            )?);
        }
        let columns = columns.iter().zip(self.schema.fields());
        let columns = columns.map(|(c, field)| cast(c, field.data_type()));
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &options,
        )?)
    }
}

impl DisplayAs for GroupsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupsExec")
    }
}

impl fmt::Debug for GroupsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupsExec")
    }
}
