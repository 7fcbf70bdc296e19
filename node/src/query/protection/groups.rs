//! From cells to the caller's groups; those of too few units vanish.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array,
};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{StreamExt as _, stream};

use super::cells::{ROWS, UNIT, count_of, sum_of};
use super::disclosed::Disclosed;
use super::{Guarded, measures};
use crate::query::QueryError;
use crate::query::pushdown::{Grouping, Measure};

/// The most cells with a unit that one statement may make: each is held in memory.
const MAX_CELLS: usize = 4_000_000;

/// Fingerprints of rows and units: keyed anew in each process, so that nobody
/// can make two sets of rows look alike.
static FINGERPRINT: LazyLock<RandomState> = LazyLock::new(RandomState::new);

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
    min_units: u64,
    schema: SchemaRef,
    disclosed: Arc<Disclosed>,
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
            min_units: guarded.protection.min_units,
            schema: Arc::clone(&grouping.schema),
            disclosed: Arc::clone(&guarded.disclosed),
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
        let cells = self.cells.execute(partition, context)?;
        let (work, schema) = (Arc::clone(&self.work), self.cells.schema());
        let groups = stream::once(async move {
            let cells = collected(cells, &schema).await?;
            work.groups(&cells)
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
) -> Result<RecordBatch> {
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = cells.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        if rows > MAX_CELLS {
            return Err(QueryError::budget("memory for the cells of a protected table").into());
        }
        batches.push(batch);
    }
    Ok(concat_batches(schema, &batches)?)
}

/// One group, while it is gathered.
#[derive(Default)]
struct Group {
    /// Its cells, as rows of the batch.
    cells: Vec<u64>,
    /// Of each unit in it: rows, and the fingerprint of its cells.
    units: HashMap<usize, (u64, u64)>,
}

impl Work {
    fn groups(&self, cells: &RecordBatch) -> Result<RecordBatch> {
        let units = numbers(cells, &[UNIT.to_owned()])?;
        let rows = column(cells, ROWS)?.as_primitive::<Int64Type>().clone();
        let count = |i: usize| u64::try_from(rows.value(i)).unwrap_or(0);
        let mut all: HashMap<usize, u64> = HashMap::new();
        for (i, unit) in units.of_rows.iter().enumerate() {
            *all.entry(*unit).or_default() += count(i);
        }
        let cell = keys(cells, &self.group_by)?;
        let key = keys(cells, &self.keys)?;
        let meant = self.meant(cells)?;
        // In the order of their keys: the order of the rows would tell of hidden ones.
        let mut groups: BTreeMap<OwnedRow, Group> = BTreeMap::new();
        for i in (0..cells.num_rows()).filter(|i| meant[*i]) {
            let group = groups.entry(key[i].clone()).or_default();
            group.cells.push(i as u64);
            let (taken, print) = group.units.entry(units.of_rows[i]).or_default();
            *taken += count(i);
            // Added up, so that the order of the cells does not matter.
            let of_cell = FINGERPRINT.hash_one((&cell[i], count(i)));
            *print = print.wrapping_add(of_cell);
        }
        let shown: Vec<Vec<u64>> = groups
            .into_values()
            .filter(|group| self.is_large_enough(group, &all, &units))
            .map(|group| group.cells)
            .collect();
        self.answer(cells, &shown)
    }

    /// Enough units in the group, none or enough outside of it, and no earlier
    /// answer that differs by few (`spec/5-data-plane.md#D-142`, `#D-143`).
    fn is_large_enough(&self, group: &Group, all: &HashMap<usize, u64>, units: &Numbered) -> bool {
        let inside = group.units.len() as u64;
        // A unit is outside as well if it has a row outside.
        let wholly = |(unit, (rows, _)): &(&usize, &(u64, u64))| all.get(unit) == Some(rows);
        let only_inside = group.units.iter().filter(wholly).count() as u64;
        let outside = all.len() as u64 - only_inside;
        if inside < self.min_units || (1..self.min_units).contains(&outside) {
            return false;
        }
        let prints = group.units.iter();
        let mut prints: Vec<(u64, u64)> = prints
            .map(|(unit, (_, print))| (FINGERPRINT.hash_one(&units.values[*unit]), *print))
            .collect();
        prints.sort_unstable();
        self.disclosed.admit(prints, self.min_units)
    }

    /// For which cells the caller's predicates hold.
    fn meant(&self, cells: &RecordBatch) -> Result<Vec<bool>> {
        let mut meant = vec![true; cells.num_rows()];
        for predicate in &self.predicates {
            let holds = predicate.evaluate(cells)?.into_array(cells.num_rows())?;
            let holds = holds.as_boolean_opt().ok_or_else(|| {
                DataFusionError::Internal("a predicate is not a truth value".to_owned())
            })?;
            for (i, meant) in meant.iter_mut().enumerate() {
                *meant &= holds.is_valid(i) && holds.value(i);
            }
        }
        Ok(meant)
    }

    /// The keys and measures of the groups whose cells these are.
    fn answer(&self, cells: &RecordBatch, groups: &[Vec<u64>]) -> Result<RecordBatch> {
        let first = groups.iter().filter_map(|group| group.first().copied());
        let first = UInt64Array::from_iter_values(first);
        let mut columns: Vec<ArrayRef> = Vec::new();
        for key in &self.keys {
            columns.push(take(column(cells, key)?, &first, None)?);
        }
        for (measure, field) in self
            .measures
            .iter()
            .zip(self.schema.fields().iter().skip(self.keys.len()))
        {
            let counts = match &measure.column {
                None => column(cells, ROWS)?,
                Some(name) => column(cells, &count_of(name))?,
            };
            let sums = measure
                .column
                .as_ref()
                .and_then(|name| cells.column_by_name(&sum_of(name)));
            columns.push(measures::computed(
                measure.function,
                counts,
                sums,
                groups,
                field.data_type(),
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

/// Each different value has a number.
struct Numbered {
    of_rows: Vec<usize>,
    values: Vec<OwnedRow>,
}

fn numbers(cells: &RecordBatch, columns: &[String]) -> Result<Numbered> {
    let (mut known, mut values) = (HashMap::new(), Vec::new());
    let of_rows = keys(cells, columns)?
        .into_iter()
        .map(|row| {
            *known.entry(row.clone()).or_insert_with(|| {
                values.push(row);
                values.len() - 1
            })
        })
        .collect();
    Ok(Numbered { of_rows, values })
}

/// The values of `names` in each row, comparable as one. Without a name all are equal.
fn keys(cells: &RecordBatch, names: &[String]) -> Result<Vec<OwnedRow>> {
    let mut columns = names
        .iter()
        .map(|n| column(cells, n).cloned())
        .collect::<Result<Vec<_>>>()?;
    if columns.is_empty() {
        let all_alike = vec![true; cells.num_rows()];
        columns.push(Arc::new(BooleanArray::from(all_alike)));
    }
    let fields = columns
        .iter()
        .map(|c| SortField::new(c.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let rows = converter.convert_columns(&columns)?;
    Ok(rows.iter().map(|row| row.owned()).collect())
}

fn column<'a>(cells: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    cells
        .column_by_name(name)
        .ok_or_else(|| DataFusionError::Internal("the cells lack a column".to_owned()))
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
