//! Tables of files.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use serde_json::json;

use super::{Found, Init};
use crate::cli::output::Problem;
use crate::products::draft::Origin;
use crate::products::{SqliteSpec, Travel};
use crate::sources::{Warehouses, delta, files};

/// How every SQLite file begins.
const SQLITE: &[u8] = b"SQLite format 3\0";
/// What a contract calls a SQLite file.
const SERVER: &str = "database";
/// How many tables are named to choose from.
const SHOWN: usize = 10;

impl Init {
    /// A file, a folder of files, or a Delta table.
    pub(super) async fn files(&self, path: &str) -> Result<Found, Problem> {
        let path = Path::new(path);
        let real = canonical(path)?;
        let (format, table) = open(&real).await?;
        let shown = self.shown(path, &real);
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let origin = Origin {
            server: vec![
                ("server", json!("files")),
                ("type", json!("local")),
                ("path", json!(shown)),
                ("format", json!(format)),
            ],
            remark: None,
            physical_name: None,
            primary_key: Vec::new(),
            never_null: None,
            types: BTreeMap::new(),
            unread: Vec::new(),
            active: self.active,
        };
        Ok((stem.unwrap_or_default().to_owned(), origin, table))
    }

    /// A table of a SQLite file: that of a dbt model, or the one named.
    pub(super) async fn sqlite(&self, path: &Path, model: Option<&str>) -> Result<Found, Problem> {
        let real = canonical(path)?;
        let warehouses = Warehouses::default();
        let mut spec = SqliteSpec {
            server: SERVER.to_owned(),
            path: real.clone(),
            table: String::new(),
        };
        let failed = |e: crate::sources::SourceError| Problem::failed(e.to_string());
        let Some(table) = model.or(self.table.as_deref()) else {
            let tables = warehouses.sqlite_tables(&spec).await.map_err(failed)?;
            let tables: Vec<_> = tables.into_iter().take(SHOWN).collect();
            return Err(Problem::usage("which table of the file?")
                .next(format!("--table, and one of {}", tables.join(", "))));
        };
        spec.table = table.to_owned();
        let described = warehouses.describe_sqlite(&spec).await.map_err(failed)?;
        let shown = self.shown(path, &real);
        let origin = Origin {
            server: vec![
                ("server", json!(SERVER)),
                ("type", json!("custom")),
                ("path", json!(shown)),
                (
                    "customProperties",
                    json!([{"property": "comityProtocol", "value": "sqlite"}]),
                ),
            ],
            remark: None,
            physical_name: Some(spec.table.clone()),
            primary_key: described.primary_key,
            never_null: Some(described.never_null),
            types: described.types,
            unread: described.unread,
            active: self.active,
        };
        Ok((spec.table, origin, described.table))
    }

    /// A path as the contract has it. Paths there count from its folder: as typed
    /// only where both are this one.
    fn shown(&self, path: &Path, real: &Path) -> PathBuf {
        let folder = self.out.as_ref().and_then(|out| out.parent());
        let beside = folder.is_none_or(|folder| folder.as_os_str().is_empty());
        match beside && path.is_relative() {
            true => path.to_owned(),
            false => real.to_owned(),
        }
    }
}

/// Whether a file is one of SQLite, whatever it is called.
pub(super) fn is_sqlite(path: &Path) -> bool {
    let mut begin = [0; SQLITE.len()];
    let file = std::fs::File::open(path);
    let read = file.and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == SQLITE
}

fn canonical(path: &Path) -> Result<PathBuf, Problem> {
    path.canonicalize().map_err(|e| {
        Problem::failed(format!("{}: {e}", path.display()))
            .next("name a postgres:// address, a file or a folder")
    })
}

/// The data at a path, with its format as a contract names it.
async fn open(real: &Path) -> Result<(&'static str, Arc<dyn TableProvider>), Problem> {
    if real.join("_delta_log").is_dir() {
        let table = delta::open_local(real, Travel::Newest).await;
        return Ok(("delta", table.map_err(|e| Problem::failed(e.to_string()))?));
    }
    let described = files::describe(real).await;
    let (format, table) = described.map_err(|e| Problem::failed(e.to_string()))?;
    Ok((format.name(), table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::products::draft::{Notes, draft};
    use crate::products::read;

    fn init(table: Option<&str>, out: &Path) -> Init {
        Init {
            location: None,
            table: table.map(str::to_owned),
            from_dbt: None,
            model: None,
            name: None,
            out: Some(out.to_owned()),
            active: true,
        }
    }

    #[tokio::test]
    async fn a_table_of_a_sqlite_file_becomes_a_contract_that_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("shop.db");
        let sql = "CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL, reached TEXT); \
                   INSERT INTO orders VALUES (1, 2.5, 'ann@shop.example')";
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection.execute_batch(sql).unwrap();
        assert!(is_sqlite(&file) && !is_sqlite(dir.path()));

        let out = dir.path().join("orders.odcs.yaml");
        let asked = init(None, &out).sqlite(&file, None).await;
        let asked = format!("{:?}", asked.err().unwrap());
        assert!(asked.contains("one of orders"), "{asked}");
        let found = init(Some("orders"), &out).sqlite(&file, None).await;
        let (name, origin, table) = found.unwrap();
        let draft = draft(&name, &origin, &Notes::default(), table).await;
        let draft = draft.unwrap();
        assert_eq!(draft.review.len(), 1, "{:?}", draft.review);
        std::fs::write(&out, &draft.text).unwrap();
        let contract = read(&out).unwrap_or_else(|e| panic!("{e}\n{}", draft.text));
        let (table, spec) = (&contract.tables()[0], &contract.sources()["orders"]);
        let opened = Warehouses::default()
            .open(spec, table, contract.folder())
            .await;
        assert_eq!(opened.unwrap().schema().fields().len(), 2);
    }
}
