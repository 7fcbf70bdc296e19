//! A partner's table as a table of ours.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::barrier::BarrierExec;
use super::partial::Missing;
use super::partition::OfPartner;
use super::parts::Part;
use super::pushdown::{Answer, Grouping};
use super::reduction::{KeysTold, Narrowing, narrowed};
use super::statement::{Statement, StatementExec};
use super::{Partition, QueryError, Snapshots, TableName, advertised, remote_sql};

/// The way to one partner organization.
#[async_trait]
pub trait Partner: Send + Sync + fmt::Debug {
    /// The partner's local alias, for messages.
    fn name(&self) -> &str;

    /// Tables of partners with the same scope may stand in one statement: one
    /// agreement opens them. Without a scope, only those of one and the same.
    fn scope(&self) -> Option<String> {
        None
    }

    /// What of the agreement shapes every answer, line by line, for members.
    fn clauses(&self) -> Vec<String> {
        Vec::new()
    }

    /// Writes down which keys the next statement tells the partner, before it is
    /// asked (`spec/5-data-plane.md#D-229`).
    ///
    /// # Errors
    /// Nothing is told if it cannot be written down.
    async fn telling(&self, told: &[KeysTold]) -> Result<(), QueryError> {
        let _ = told;
        Ok(())
    }

    /// Asks the partner one statement.
    async fn open(&self, question: Question) -> Result<Opened, QueryError>;
}

/// One statement to a partner.
#[derive(Clone, Debug)]
pub struct Question {
    /// The statement.
    pub sql: String,
    /// The schema that the answer must have.
    pub expected: SchemaRef,
    /// The partition of the answer that is wanted; without, all of it.
    pub partition: Option<Partition>,
}

/// What a partner began to answer.
pub struct Opened {
    /// The rows, with their schema.
    pub rows: SendableRecordBatchStream,
    /// What the partner calls the states of its sources that it reads
    /// (`spec/5-data-plane.md#D-233`), if it says so.
    pub snapshot: Option<String>,
}

impl From<SendableRecordBatchStream> for Opened {
    fn from(rows: SendableRecordBatchStream) -> Self {
        Self {
            rows,
            snapshot: None,
        }
    }
}

/// What a table is called at the partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteTable {
    /// The product's address: its name, and `@MAJOR` unless that is 1.
    pub product: String,
    /// The table's name within the product.
    pub table: String,
}

/// A table served by a partner. Projection, simple predicates and the limit
/// travel to the partner as SQL that our own code writes; the rest is done here.
#[derive(Clone, Debug)]
pub struct PartnerTable {
    partner: Arc<dyn Partner>,
    remote: RemoteTable,
    schema: SchemaRef,
    /// The keys that the partner is told; columns of the schema.
    narrowings: Vec<Narrowing>,
    /// Whether answers may be without it.
    missable: bool,
}

impl PartnerTable {
    /// A partner's table with the schema that the agreement pinned.
    pub fn new(partner: Arc<dyn Partner>, remote: RemoteTable, schema: SchemaRef) -> Self {
        Self {
            partner,
            remote,
            schema: advertised(&schema),
            narrowings: Vec::new(),
            missable: false,
        }
    }

    /// Its full name here.
    pub(super) fn name(&self) -> TableName {
        TableName {
            catalog: self.partner.name().to_owned(),
            schema: self.remote.product.clone(),
            table: self.remote.table.clone(),
        }
    }

    /// The same table, without rows where the partner does not answer.
    pub(super) fn missable(self) -> Self {
        let missable = true;
        Self { missable, ..self }
    }

    /// The same table, with keys that the partner is told: the column is the
    /// place in what is read of the table.
    pub(super) fn told(mut self, narrowing: Narrowing) -> Self {
        self.narrowings.push(narrowing);
        self
    }

    /// The groups, computed by the partner: its engine is this one, so every
    /// type is answered alike. What the terms forbid is decided there.
    pub(super) fn grouped(&self, grouping: &Grouping) -> Answer {
        let predicates = grouping.predicates.iter();
        let predicates: Option<Vec<_>> = predicates
            .map(|f| remote_sql::predicate(f, &self.schema))
            .collect();
        let predicates = predicates.ok_or("a predicate cannot travel to the partner")?;
        let sql = remote_sql::group(&self.remote, grouping, &predicates);
        // A partner announces every column as nullable, counts as well.
        let plan = self.leaf(sql, advertised(&grouping.schema));
        let schema = Arc::clone(&grouping.schema);
        Ok(Arc::new(BarrierExec::new(plan, schema)))
    }

    /// The way to the partner.
    pub(super) fn partner(&self) -> &Arc<dyn Partner> {
        &self.partner
    }

    /// What the table is called in a statement to the partner.
    pub(super) fn address(&self) -> String {
        remote_sql::address(&self.remote)
    }

    fn leaf(&self, sql: String, schema: SchemaRef) -> Arc<dyn ExecutionPlan> {
        let part = Part::new(Arc::clone(&self.partner), sql)
            .telling(&self.narrowings)
            .missable(self.missable);
        Arc::new(StatementExec::new(Asked { part, schema }))
    }
}

#[async_trait]
impl TableProvider for PartnerTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let mut room = remote_sql::MAX_TEXT;
        Ok(filters
            .iter()
            .map(|f| match remote_sql::predicate(f, &self.schema) {
                Some(sql) if sql.len() <= room => {
                    room -= sql.len();
                    TableProviderFilterPushDown::Exact
                }
                _ => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(wanted) => Arc::new(self.schema.project(wanted)?),
            None => Arc::clone(&self.schema),
        };
        let predicates = filters
            .iter()
            .map(|f| remote_sql::predicate(f, &self.schema))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                DataFusionError::Internal(
                    "a predicate that cannot travel reached a partner's table".into(),
                )
            })?;
        let sql = remote_sql::select(&self.remote, &schema, &predicates, limit);
        Ok(self.leaf(sql, schema))
    }
}

/// One statement to one partner.
pub(super) struct Asked {
    pub(super) part: Part,
    schema: SchemaRef,
}

impl Statement for Asked {
    const NAME: &'static str = "PartnerExec";

    fn shown(&self) -> &str {
        self.part.partner.name()
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn read(&self, run: &Arc<TaskContext>) -> BoxStream<'static, Result<RecordBatch>> {
        let (part, schema, run) = (self.part.clone(), Arc::clone(&self.schema), Arc::clone(run));
        let answer = async move { open(part, schema, &run).await };
        futures::stream::once(answer).try_flatten().boxed()
    }
}

/// Asks a partner, checks that the answer has the schema that is expected, and
/// counts what comes. Where rows may be missing, a partner that fails is noted
/// and the answer ends, unless the partner refused to plan it.
pub(super) async fn open(
    part: Part,
    schema: SchemaRef,
    run: &Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    // What fails on the other side of a join is not this partner's.
    let asked = narrowed(&part.sql, &schema, &part.narrowings, run).await?;
    let missing = run.session_config().get_extension::<Missing>();
    let Some(missing) = missing.filter(|_| part.missable) else {
        return told(part, asked, schema, run).await;
    };
    let name = part.partner.name().to_owned();
    let rows = match told(part, asked, Arc::clone(&schema), run).await {
        Ok(rows) => rows,
        Err(error) => {
            let error = QueryError::of(&error);
            if error.is_not_planned() {
                return Err(error.into());
            }
            missing.note(&name, error)?;
            Box::pin(EmptyRecordBatchStream::new(Arc::clone(&schema)))
        }
    };
    let rows = rows.scan(false, move |ended, batch| {
        let item = match batch {
            _ if *ended => None,
            Err(error) => {
                *ended = true;
                let noted = missing.note(&name, QueryError::of(&error));
                noted.err().map(|error| Err(error.into()))
            }
            batch => Some(batch),
        };
        futures::future::ready(item)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
}

/// Asks with the keys that may be told.
async fn told(
    part: Part,
    (sql, told): (String, Vec<KeysTold>),
    schema: SchemaRef,
    run: &TaskContext,
) -> Result<SendableRecordBatchStream> {
    if !told.is_empty() {
        part.partner.telling(&told).await?;
        part.received.tell(&told);
        match ask(part.clone(), sql, Arc::clone(&schema), run).await {
            // What it did not begin to answer is asked without keys.
            Err(error) if QueryError::of(&error).is_not_planned() => {}
            answer => return answer,
        }
    }
    let sql = part.sql.clone();
    ask(part, sql, schema, run).await
}

async fn ask(
    part: Part,
    sql: String,
    schema: SchemaRef,
    run: &TaskContext,
) -> Result<SendableRecordBatchStream> {
    // What is asked of the partner; `sql` may have keys besides, salted anew each time.
    let Part {
        partner,
        received,
        sql: asked_for,
        ..
    } = part;
    let asked = Instant::now();
    let expected = match schema.fields().is_empty() {
        true => Arc::new(Schema::new(vec![Field::new("one", DataType::Int64, true)])),
        false => Arc::clone(&schema),
    };
    let name = partner.name().to_owned();
    let config = run.session_config();
    let question = Question {
        sql,
        expected: Arc::clone(&expected),
        partition: OfPartner::of(run),
    };
    let Opened {
        rows: answer,
        snapshot,
    } = partner.open(question).await?;
    if let (Some(snapshots), Some(snapshot)) = (config.get_extension::<Snapshots>(), snapshot) {
        snapshots.meet_at_partner(&name, &asked_for, &snapshot)?;
    }
    // spec/5-data-plane.md#D-9. Before the first batch: a partner that changed its table must not reach a join.
    if *answer.schema() != *expected {
        return Err(QueryError::partner_unavailable(
            &name,
            "the answer has another schema than agreed",
        )
        .into());
    }
    let out = Arc::clone(&schema);
    let stream = answer.map(move |batch| {
        let batch = batch.map_err(|e| of_partner(&name, &e))?;
        received.add(&batch, asked);
        if batch.schema().fields() != expected.fields() {
            return Err(QueryError::partner_unavailable(
                &name,
                "a batch has another schema than announced",
            )
            .into());
        }
        let columns = if out.fields().is_empty() {
            Vec::new()
        } else {
            batch.columns().to_vec()
        };
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&out),
            columns,
            &options,
        )?)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
}

/// A failure inside a partner's stream is the partner's, whatever its form.
fn of_partner(name: &str, error: &DataFusionError) -> QueryError {
    match QueryError::of(error) {
        own if ["partner-unavailable", "partner-refused", "policy"].contains(&own.code()) => own,
        other => QueryError::partner_unavailable(
            name,
            other.owner_detail().unwrap_or_else(|| other.code()),
        ),
    }
}
