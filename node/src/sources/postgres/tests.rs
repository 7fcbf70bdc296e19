//! Over a real server: what is read, what it is asked, and what fails how.

mod failures;
mod laws;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use comity_protocol::terms::{RowFilter, TableTerms};
use futures::TryStreamExt;

use super::*;
use crate::lab::Postgres;
use crate::products;
use crate::query::{Engine, EngineSettings, GovernedTable, QueryError, TableName, View};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::start(EngineSettings::default()).unwrap());

/// How the reader connects.
fn access() -> Source {
    Source {
        username: Some(Postgres::READER.to_owned()),
        password_file: Some("password".into()),
        ..Source::default()
    }
}

/// The servers of a node whose home is the server's folder.
fn servers(access: Source, postgres: &Postgres) -> Servers {
    let password = postgres.dir().join("password");
    std::fs::write(password, Postgres::PASSWORD).unwrap();
    let access = BTreeMap::from([("warehouse".to_owned(), access)]);
    Servers::new(access, postgres.dir().to_owned())
}

/// A contract over the table `t`, whose columns are given as `name: type` of ODCS.
fn contract(postgres: &Postgres, columns: &[(&str, &str)]) -> (PostgresSpec, Table) {
    let columns: Vec<_> = columns
        .iter()
        .map(|(name, kind)| format!("      - {{ name: \"{name}\", {kind} }}\n"))
        .collect();
    let text = format!(
        "apiVersion: v3.1.0
kind: DataContract
id: t-1
name: t
version: \"1.0.0\"
status: active
{}
schema:
  - name: t
    properties:
{}",
        postgres.servers(),
        columns.concat()
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let contract = products::read(file.path()).unwrap_or_else(|e| panic!("{e}"));
    let products::SourceSpec::Postgres(spec) = &contract.sources()["t"] else {
        panic!("the server is a PostgreSQL one");
    };
    (spec.clone(), contract.tables()[0].clone())
}

async fn open(
    postgres: &Postgres,
    columns: &[(&str, &str)],
) -> Result<Arc<dyn TableProvider>, PostgresError> {
    let (spec, table) = contract(postgres, columns);
    servers(access(), postgres).open(&spec, &table).await
}

/// A view in which everything of `source` is shown as `t`, under `filter`.
fn view(source: &Arc<dyn TableProvider>, filter: RowFilter) -> Arc<View> {
    let columns = source.schema();
    let columns = columns.fields().iter().map(|f| f.name().clone());
    let terms = TableTerms {
        columns: columns.collect::<BTreeSet<_>>(),
        filter,
        masks: BTreeMap::new(),
    };
    let name = TableName {
        catalog: "own".into(),
        schema: "p".into(),
        table: "t".into(),
    };
    let governed = GovernedTable::new(Arc::clone(source), &terms).unwrap();
    View::builder("own").governed(name, governed).build()
}

async fn batches(view: &Arc<View>, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
    let prepared = ENGINE.prepare(Arc::clone(view), sql).await?;
    let stream = prepared.run().await?;
    stream.try_collect().await.map_err(|e| QueryError::of(&e))
}

/// The rows of an answer as text, values parted by a bar.
async fn rows(view: &Arc<View>, sql: &str) -> Result<Vec<String>, QueryError> {
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
