//! Reading a known list of files, wherever they lie.
//!
//! The folder of a contract, a bucket and a lake's log all come down to this: a
//! store, files that are pinned to what they were when they were listed, the
//! values of the columns that stand in their paths or in a log, and a schema.

pub(super) mod hive;
mod ipc;
mod listed;
mod pinned;
mod prunable;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::{FieldRef, Fields, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, Partitioning, PhysicalExpr};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use futures::stream::{self, StreamExt};
use object_store::ObjectMeta;

use self::hive::Partitions;

pub(crate) use self::listed::Listed;
pub(super) use self::listed::{Listing, State};
pub(super) use self::pinned::Store;
pub(crate) use self::pinned::without_addresses;
use crate::products::Format;
use crate::sources::wire::{self, Exact};

/// One file of a table.
#[derive(Clone, Debug)]
pub(super) struct DataFile {
    /// Where it lies in its store, and what it was when it was listed. Without an
    /// `e_tag` only its size is held on to.
    pub(super) meta: ObjectMeta,
    /// The values of [`Scan::partition_columns`], in their order.
    pub(super) values: Vec<ScalarValue>,
}

/// Why files are not one table. For the owner: it names them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A file is not of the format it is said to be, or cannot be read.
    #[error("cannot read {path} as {format:?}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The declared format.
        format: Format,
        /// What the reader said.
        reason: String,
    },
    /// A file has other columns than the first one.
    #[error(
        "{path} has other columns, or other types of columns, than {first}; files of one folder must have the same, in the same order"
    )]
    Differs {
        /// The file.
        path: String,
        /// The file it was compared with.
        first: String,
    },
    /// The names of folders do not fit each other, the files or the contract.
    #[error("{0}")]
    Partitions(String),
}

/// How many files are looked into at a time.
const LOOKED_INTO: usize = 16;

/// One table of files: `found` is the path of each below the table's folder and
/// what it is now, `declared` are the contract's columns. No file is no table.
pub(super) async fn table(
    store: &Store,
    format: Format,
    found: Vec<(String, ObjectMeta)>,
    declared: &Schema,
) -> Result<(Scan, Vec<DataFile>), TableError> {
    let (paths, metas): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let partitions = Partitions::read(&paths, declared);
    let partitions = partitions.map_err(|e| TableError::Partitions(e.to_string()))?;
    let unreadable = |path: &str, reason: DataFusionError| TableError::Unreadable {
        path: path.to_owned(),
        format,
        reason: plainly(format, &reason),
    };
    let inferred = metas.clone().into_iter().map(|meta| {
        let store = store.clone();
        async move { infer(&store, format, &meta).await }
    });
    let mut inferred = stream::iter(inferred).buffered(LOOKED_INTO);
    let first = paths.first().map_or("", String::as_str);
    let mut schema = None;
    for path in &paths {
        let columns = inferred.next().await.transpose();
        let columns = columns.map_err(|e| unreadable(path, e))?;
        let columns = columns.unwrap_or_else(|| Arc::new(Schema::empty()));
        if !alike(
            format,
            schema.get_or_insert_with(|| Arc::clone(&columns)),
            &columns,
        ) {
            return Err(TableError::Differs {
                path: path.clone(),
                first: first.to_owned(),
            });
        }
    }
    let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
    let (schema, wire) = wire::columns(&schema, declared, format);
    for column in &partitions.columns {
        let mut fields = schema.fields().iter();
        if fields.any(|f| f.name().eq_ignore_ascii_case(column.name())) {
            return Err(TableError::Partitions(format!(
                "the column {} stands in the names of folders and in the files; leave it out of the files",
                column.name()
            )));
        }
    }
    let scan = Scan::new(store.clone(), format, schema, partitions.columns);
    let scan = scan.map(|scan| scan.shown_as(&wire));
    let scan = scan.map_err(|e| unreadable(first, e))?;
    let files = metas.into_iter().zip(partitions.values);
    let files = files.map(|(meta, values)| DataFile { meta, values });
    Ok((scan, files.collect()))
}

/// How the files of a table are read.
#[derive(Debug)]
pub(super) struct Scan {
    store: Store,
    format: Format,
    columns: TableSchema,
    partitions: DFSchema,
    /// Of the columns as they leave: those of the files in their types on the wire.
    shown: SchemaRef,
}

impl Scan {
    /// `file_schema` is what stands in the files, `partition_columns` what their
    /// list says about each.
    pub(super) fn new(
        store: Store,
        format: Format,
        file_schema: SchemaRef,
        partition_columns: Vec<FieldRef>,
    ) -> Result<Self> {
        let partitions = Schema::new(partition_columns.clone());
        let columns = TableSchema::builder(file_schema)
            .with_table_partition_cols(partition_columns)
            .build();
        Ok(Self {
            store: match format {
                Format::Arrow => store.spooled(),
                _ => store,
            },
            format,
            shown: Arc::clone(columns.table_schema()),
            columns,
            partitions: DFSchema::try_from(partitions)?,
        })
    }

    /// The same files, whose columns are read in the types of `wire`.
    fn shown_as(mut self, wire: &Schema) -> Self {
        let fields = wire.fields().iter();
        let partitions = self.partitions.fields().iter();
        self.shown = Arc::new(Schema::new(
            fields.chain(partitions).cloned().collect::<Fields>(),
        ));
        self
    }

    /// The columns of the files, then those of the list.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shown)
    }

    /// A filter over the list's columns decides which files are read; every other
    /// one is judged again after the reading.
    pub(super) fn pushdown(&self, filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
        let judge = |filter: &&Expr| match self.is_pruning(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        filters.iter().map(judge).collect()
    }

    /// A plan that reads those of `files` that can have rows for `filters`.
    pub(super) async fn plan(
        &self,
        state: &dyn Session,
        files: &[DataFile],
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let pruning = filters.iter().filter(|f| self.is_pruning(f)).cloned();
        let kept = self.prune(state, files, pruning.collect())?;
        let engine = state.runtime_env();
        let (url, lease) = self
            .store
            .register(engine)
            .ok_or_else(|| DataFusionError::Internal("a store without an engine".into()))?;
        let kept = kept.map(|f| {
            let mut one = PartitionedFile::new_from_meta(self.store.pinned(&f.meta)?);
            one.partition_values.clone_from(&f.values);
            one.extensions.insert(Arc::clone(&lease));
            Ok(one)
        });
        let kept: Vec<PartitionedFile> = kept.collect::<Result<_>>()?;
        let schema = self.schema();
        if kept.is_empty() {
            let all: Vec<usize> = (0..schema.fields().len()).collect();
            let schema = schema.project(projection.unwrap_or(&all))?;
            return Ok(Arc::new(EmptyExec::new(Arc::new(schema))));
        }
        let format = reader(self.format);
        let groups = FileGroup::new(kept).split_files(state.config().target_partitions().max(1));
        // A part of an Arrow file is read into memory whole by the engine; a whole one batch by batch.
        let whole = Partitioning::UnknownPartitioning(groups.len());
        let whole = (self.format == Format::Arrow).then_some(whole);
        let source = self.pruned(state, format.file_source(self.columns.clone()), filters)?;
        let config = FileScanConfigBuilder::new(url, source)
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_output_partitioning(whole)
            .build();
        self.exactly(format.create_physical_plan(state, config).await?)
    }

    /// The source with what it can leave out by its statistics. Columns that are
    /// not stored as they are shown are compared as they are stored
    /// (`spec/5-data-plane.md#D-191`); all others the engine hands down itself.
    fn pruned(
        &self,
        state: &dyn Session,
        source: Arc<dyn FileSource>,
        filters: &[Expr],
    ) -> Result<Arc<dyn FileSource>> {
        let stored = self.columns.table_schema();
        if *stored == self.shown {
            return Ok(source);
        }
        let schema = DFSchema::try_from(Arc::clone(stored))?;
        let filters = filters.iter();
        let filters = filters.filter_map(|f| prunable::over_stored(f, stored));
        let filters = filters.map(|f| state.create_physical_expr(f, &schema));
        let filters = filters.collect::<Result<Vec<_>>>()?;
        let pruned = source.try_pushdown_filters(filters, state.config_options())?;
        Ok(pruned.updated_node.unwrap_or(source))
    }

    /// `stored` in the types of the wire.
    fn exactly(&self, stored: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = stored.schema();
        let mut as_it_is = true;
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (i, field) in schema.fields().iter().enumerate() {
            let name = field.name();
            let to = self.shown.field_with_name(name)?.data_type();
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, i));
            let column = if to == field.data_type() {
                column
            } else {
                as_it_is = false;
                Arc::new(Exact::new(column, name, to.clone()))
            };
            columns.push(ProjectionExpr::new(column, name.clone()));
        }
        if as_it_is {
            return Ok(stored);
        }
        Ok(Arc::new(ProjectionExec::try_new(columns, stored)?))
    }

    fn is_pruning(&self, filter: &Expr) -> bool {
        let columns = self.partitions.fields().iter();
        let columns: Vec<&str> = columns.map(|f| f.name().as_str()).collect();
        !filter.column_refs().is_empty() && expr_applicable_for_cols(&columns, filter)
    }

    fn prune<'a>(
        &self,
        state: &dyn Session,
        files: &'a [DataFile],
        filters: Vec<Expr>,
    ) -> Result<impl Iterator<Item = &'a DataFile> + use<'a>> {
        let keep = match conjunction(filters) {
            Some(filter) if !files.is_empty() => {
                let filter = crate::query::unqualified(&filter)?;
                let filter = state.create_physical_expr(filter, &self.partitions)?;
                let column = |i: usize| {
                    let values = files.iter().filter_map(|f| f.values.get(i).cloned());
                    ScalarValue::iter_to_array(values)
                };
                let columns = (0..self.partitions.fields().len()).map(column);
                let columns = columns.collect::<Result<Vec<_>>>()?;
                let schema = Arc::clone(self.partitions.inner());
                let batch = RecordBatch::try_new(schema, columns)?;
                let judged = filter.evaluate(&batch)?.into_array(files.len())?;
                let judged = judged.as_any().downcast_ref::<BooleanArray>();
                let judged = judged.ok_or_else(|| {
                    DataFusionError::Internal("a filter over the list is no truth value".into())
                })?;
                // As in SQL: neither false nor unknown.
                Some(judged.iter().map(|v| v == Some(true)).collect::<Vec<_>>())
            }
            _ => None,
        };
        let kept = move |i: usize| keep.as_ref().is_none_or(|k| k.get(i) == Some(&true));
        let files = files.iter().enumerate();
        Ok(files.filter(move |(i, _)| kept(*i)).map(|(_, f)| f))
    }
}

/// What a file of the format is, before what its reader says of this one.
fn plainly(format: Format, reason: &DataFusionError) -> String {
    let expected = match format {
        Format::Parquet => "it is no Parquet file, or damaged, or not whole",
        Format::Csv => {
            "a CSV file has a header line, commas, as many fields on each line, and is UTF-8"
        }
        Format::Json => "a JSON file has one object on each line",
        Format::Arrow => "it is no Arrow IPC file, or damaged, or not whole",
    };
    format!("{expected} ({})", without_addresses(&reason.to_string()))
}

/// The columns of one file, as its format tells them.
async fn infer(store: &Store, format: Format, file: &ObjectMeta) -> Result<SchemaRef> {
    let mut config = SessionConfig::new();
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.schema_force_view_types = false;
    let state = SessionContext::new_with_config(config).state();
    let file = store.pinned(file)?;
    let store = store.as_object_store();
    match format {
        Format::Arrow => ipc::schema(&store, &file).await,
        _ => reader(format).infer_schema(&state, &store, &[file]).await,
    }
}

/// Whether a file can be read with the columns of another. CSV is read by position
/// and a column that is not in a file is filled with nulls: both would be wrong
/// answers that nobody sees. A text's types are guessed from its values, so they
/// are judged when it is read; an object of JSON may leave out what is null.
fn alike(format: Format, one: &Schema, other: &Schema) -> bool {
    let names = |schema: &Schema| -> Vec<_> {
        let fields = schema.fields().iter();
        fields.map(|f| f.name().clone()).collect()
    };
    let types = |schema: &Schema| -> Vec<_> {
        let fields = schema.fields().iter();
        fields.map(|f| f.data_type().clone()).collect()
    };
    match format {
        Format::Parquet | Format::Arrow => names(one) == names(other) && types(one) == types(other),
        Format::Csv => names(one) == names(other),
        Format::Json => true,
    }
}

fn reader(format: Format) -> Arc<dyn FileFormat> {
    match format {
        // Lakes promise microseconds; old writers use 96 bits, of which nanoseconds overflow.
        Format::Parquet => Arc::new(
            ParquetFormat::default()
                .with_force_view_types(false)
                .with_coerce_int96(Some("us".to_owned())),
        ),
        // A value in quotes may have several lines: a file that is cut at the end of
        // one would be cut within the value, and nobody would hear of it.
        Format::Csv => Arc::new(
            CsvFormat::default()
                .with_has_header(true)
                .with_newlines_in_values(true),
        ),
        Format::Json => Arc::new(JsonFormat::default()),
        Format::Arrow => Arc::new(ArrowFormat),
    }
}
