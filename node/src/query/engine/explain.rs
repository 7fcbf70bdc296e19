//! `EXPLAIN` and `EXPLAIN ANALYZE`: what is asked of which partner, under which
//! agreement, and what came (`spec/5-data-plane.md#D-224`).

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;

use crate::query::gate::Explain;
use crate::query::parts::{self, Part};
use crate::query::reduction::Narrowing;

/// The columns of such an answer, one row for each statement to a partner and
/// one for each reason why something is computed here.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let column = |name: &str, kind: DataType| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        column("partner", DataType::Utf8),
        column("agreement", DataType::Utf8),
        column("statement", DataType::Utf8),
        column("terms", DataType::Utf8),
        column("rows", DataType::Int64),
        column("bytes", DataType::Int64),
        column("first_rows_ms", DataType::Int64),
        column("keys_told", DataType::Int64),
        column("note", DataType::Utf8),
    ]))
});

pub(super) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The rows. After a run they have what it brought.
pub(super) fn told(
    plan: &Arc<dyn ExecutionPlan>,
    kept: &[String],
    explain: Explain,
) -> Result<RecordBatch> {
    let parts = parts::of(plan);
    let ran = explain == Explain::Analyze;
    let texts = |of: &dyn Fn(&Part) -> Option<String>,
                 of_kept: &dyn Fn(&String) -> Option<String>| {
        let all = parts.iter().map(of).chain(kept.iter().map(of_kept));
        Arc::new(all.collect::<StringArray>()) as ArrayRef
    };
    let numbers = |of: &dyn Fn(&Part) -> Option<u64>| {
        let all = parts.iter().map(|part| of(part).filter(|_| ran));
        let all = all.map(|n| n.and_then(|n| i64::try_from(n).ok()));
        let all = all.chain(kept.iter().map(|_| None));
        Arc::new(all.collect::<Int64Array>()) as ArrayRef
    };
    let clauses = |part: &Part| Some(part.partner.clauses().join("; ")).filter(|c| !c.is_empty());
    let noted = |part: &Part| {
        let refused = part.received.is_refused();
        let refused = refused.then_some("the partner does not compute it; see the next statements");
        let told = part.narrowings.iter().map(Narrowing::shown);
        let notes: Vec<_> = told.chain(refused.map(str::to_owned)).collect();
        Some(notes.join("; ")).filter(|notes| !notes.is_empty())
    };
    let columns = vec![
        texts(&|part| Some(part.partner.name().to_owned()), &|_| None),
        texts(&|part| part.partner.scope(), &|_| None),
        texts(&|part| Some(part.sql.clone()), &|_| None),
        texts(&clauses, &|_| None),
        numbers(&|part| Some(part.received.rows())),
        numbers(&|part| Some(part.received.bytes())),
        numbers(&|part| part.received.first_millis()),
        numbers(&|part| Some(part.received.keys())),
        texts(&noted, &|why| Some(format!("computed here: {why}"))),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
