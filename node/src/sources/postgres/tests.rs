//! Over a real server: what is read, what it is asked, and what fails how.

mod failures;
mod join_limits;
mod joins;
mod laws;
mod pushdown;
mod types;

use std::collections::BTreeMap;

use comity_protocol::terms::RowFilter;

use super::*;
use crate::config::Source;
use crate::lab::Postgres;
use crate::products;
use crate::sources::fixture::{ENGINE, rows, view};

/// How the reader connects.
fn access() -> Source {
    Source {
        username: Some(Postgres::READER.to_owned()),
        password_file: Some("password".into()),
        ..Source::default()
    }
}

/// The servers of a node whose home is the server's folder.
fn servers(access: Source, postgres: &Postgres) -> Servers<Server> {
    let password = postgres.dir().join("password");
    std::fs::write(password, Postgres::PASSWORD).unwrap();
    let access = BTreeMap::from([("warehouse".to_owned(), access)]);
    Servers::new(access, postgres.dir().to_owned())
}

/// A contract over the table `t`, whose columns are given as `name: type` of ODCS.
fn contract(postgres: &Postgres, columns: &[(&str, &str)]) -> (PostgresSpec, Table) {
    contract_of(postgres, "t", columns)
}

fn contract_of(
    postgres: &Postgres,
    table: &str,
    columns: &[(&str, &str)],
) -> (PostgresSpec, Table) {
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
  - name: {table}
    properties:
{}",
        postgres.servers(),
        columns.concat()
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let contract = products::read(file.path()).unwrap_or_else(|e| panic!("{e}"));
    let products::SourceSpec::Postgres(spec) = &contract.sources()[table] else {
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
