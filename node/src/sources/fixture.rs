//! A source as a governed table of an engine, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use comity_protocol::terms::{RowFilter, TableTerms};
use datafusion::catalog::TableProvider;
use futures::TryStreamExt as _;

use crate::query::{Engine, EngineSettings, GovernedTable, QueryError, TableName, View};

pub(super) static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::start(EngineSettings::default()).unwrap());

/// A view in which everything of `source` is shown as `t`, under `filter`.
pub(super) fn view(source: &Arc<dyn TableProvider>, filter: RowFilter) -> Arc<View> {
    let columns = source.schema();
    let columns = columns.fields().iter().map(|f| f.name().clone());
    let terms = TableTerms {
        columns: columns.collect::<BTreeSet<_>>(),
        filter,
        masks: BTreeMap::new(),
    };
    governed(source, &terms)
}

/// A view in which `terms` show `source` as `t`.
pub(super) fn governed(source: &Arc<dyn TableProvider>, terms: &TableTerms) -> Arc<View> {
    let name = TableName {
        catalog: "own".into(),
        schema: "p".into(),
        table: "t".into(),
    };
    let governed = GovernedTable::new(Arc::clone(source), terms).unwrap();
    View::builder("own").governed(name, governed).build()
}

async fn batches(view: &Arc<View>, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
    let prepared = ENGINE.prepare(Arc::clone(view), sql).await?;
    let stream = prepared.run().await?;
    stream.try_collect().await.map_err(|e| QueryError::of(&e))
}

/// The rows of an answer as text, values parted by a bar.
pub(super) async fn rows(view: &Arc<View>, sql: &str) -> Result<Vec<String>, QueryError> {
    let mut rows = Vec::new();
    for batch in batches(view, sql).await? {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter();
            let values: Vec<_> = values
                .map(|c| array_value_to_string(c, row).unwrap())
                .collect();
            rows.push(values.join("|"));
        }
    }
    Ok(rows)
}
