//! `comity product init`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use serde_json::json;
use tokio_postgres::config::Host;

use crate::cli::output::{Output, Problem, printable};
use crate::config::Config;
use crate::home::Home;
use crate::products::draft::{Draft, Origin, draft, slug};
use crate::products::{FileSpec, Format, PostgresServer, PostgresSpec};
use crate::sources::{Warehouses, files};

/// Write the contract of a table that is there.
///
/// Reads the table's columns, counts, and looks at its first rows, and writes a
/// complete ODCS file for you to go on with: types, keys, nulls, rules that hold
/// today, and a freshness. Columns that may hold personal data are marked for
/// review and are not served until you have decided. Nothing is announced.
///
/// A password is never taken from the command line, which other users can read:
/// put it into DATACONTRACT_POSTGRES_PASSWORD, or into a file that
/// [sources.warehouse] of comity.toml names.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    comity product init postgres://reader@db.example.org/shop --table public.orders\n  \
    comity product init data/weather.parquet --name weather")]
pub(super) struct Init {
    /// postgres://USER@HOST:PORT/DATABASE, or a Parquet, CSV, JSON or Arrow file or a folder of them.
    location: String,
    /// SCHEMA.TABLE in the database; the schema is public when absent.
    #[arg(long)]
    table: Option<String>,
    /// The product's name; the table's or file's when absent.
    #[arg(long)]
    name: Option<String>,
    /// The file to write; NAME.odcs.yaml when absent. Never overwritten.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write 'status: active' instead of draft, to publish it as it is.
    #[arg(long)]
    active: bool,
}

/// What a contract calls the database; `[sources.warehouse]` has its login.
const WAREHOUSE: &str = "warehouse";

/// A table, with what its contract will say about where it is.
type Found = (String, Origin, Arc<dyn TableProvider>);

impl Init {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let is_database = self.location.starts_with("postgres");
        let (found_name, origin, table) = match self.location.split_once("://") {
            Some(("postgres" | "postgresql", _)) => self.database(home).await?,
            Some((scheme, _)) => {
                return Err(Problem::usage(format!("'{scheme}://' is not read here"))
                    .next("name a postgres:// address, a file or a folder"));
            }
            None => self.files().await?,
        };
        let name = match &self.name {
            Some(name) => slug(name).filter(|slug| slug == name),
            None => slug(&found_name),
        };
        let name = name.ok_or_else(|| {
            Problem::usage("a product's name is [a-z][a-z0-9_-]{0,62}").next("--name orders")
        })?;
        let drafted = draft(&name, &origin, table)
            .await
            .map_err(|e| Problem::failed(format!("the data cannot be read: {e}")))?;
        let out = self
            .out
            .unwrap_or_else(|| PathBuf::from(format!("{name}.odcs.yaml")));
        write(&out, &drafted.text)?;
        let told = json!({"file": out, "product": drafted});
        output.answer(&told, |_| said(&out, &drafted, is_database));
        Ok(())
    }

    async fn database(&self, home: &Home) -> Result<Found, Problem> {
        let at: tokio_postgres::Config = self.location.parse().map_err(|e| {
            Problem::usage(format!(
                "the address is not postgres://USER@HOST:PORT/DATABASE: {e}"
            ))
        })?;
        if at.get_password().is_some() {
            return Err(
                Problem::usage("a password on the command line can be read by others")
                    .next("leave it out, and set DATACONTRACT_POSTGRES_PASSWORD"),
            );
        }
        let table = self.table.as_deref().ok_or_else(|| {
            Problem::usage("which table of the database?").next("--table public.orders")
        })?;
        let (schema, table) = table.split_once('.').unwrap_or(("public", table));
        let host = match at.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => "localhost".to_owned(),
        };
        let server = PostgresServer {
            name: WAREHOUSE.to_owned(),
            host,
            port: at.get_ports().first().copied().unwrap_or(5432),
            database: at
                .get_dbname()
                .ok_or_else(|| Problem::usage("the address names no database"))?
                .to_owned(),
        };
        // The node may not be founded yet: then its configuration has nothing to add.
        let configured = Config::load(&home.config()).ok();
        let mut access = configured
            .and_then(|config| config.sources.get(WAREHOUSE).cloned())
            .unwrap_or_default();
        if let Some(user) = at.get_user() {
            access.username = Some(user.to_owned());
        }
        let warehouses = Warehouses::new(
            [(WAREHOUSE.to_owned(), access)].into(),
            home.path().to_owned(),
        );
        let spec = PostgresSpec {
            server: server.clone(),
            schema: schema.to_owned(),
            table: table.to_owned(),
        };
        let described = warehouses
            .describe(&spec)
            .await
            .map_err(|e| Problem::failed(e.to_string()))?;
        let origin = Origin {
            server: vec![
                ("server", json!(server.name)),
                ("type", json!("postgres")),
                ("host", json!(server.host)),
                ("port", json!(server.port)),
                ("database", json!(server.database)),
                ("schema", json!(schema)),
            ],
            physical_name: Some(table.to_owned()),
            primary_key: described.primary_key,
            never_null: Some(described.never_null),
            types: described.types,
            unread: described.unread,
            active: self.active,
        };
        Ok((table.to_owned(), origin, described.table))
    }

    async fn files(&self) -> Result<Found, Problem> {
        let path = Path::new(&self.location);
        let real = path.canonicalize().map_err(|e| {
            Problem::failed(format!("{}: {e}", path.display()))
                .next("name a postgres:// address, a file or a folder")
        })?;
        let format = format(&real).ok_or_else(|| {
            Problem::usage(format!("{}: no file of a known format", path.display()))
                .next("name a .parquet, .csv, .json or .arrow file, or a folder of them")
        })?;
        let spec = FileSpec {
            format,
            path: real.clone(),
        };
        let table = files::open(&spec, Path::new("/"), &Schema::empty())
            .await
            .map_err(|e| Problem::failed(e.to_string()))?;
        // Paths in a contract count from its folder: as typed only where both are this one.
        let beside = self.out.as_ref().is_none_or(|out| {
            out.parent()
                .is_none_or(|folder| folder.as_os_str().is_empty())
        });
        let shown = if beside && path.is_relative() {
            path
        } else {
            &real
        };
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let origin = Origin {
            server: vec![
                ("server", json!("files")),
                ("type", json!("local")),
                ("path", json!(shown)),
                ("format", json!(format.name())),
            ],
            physical_name: None,
            primary_key: Vec::new(),
            never_null: None,
            types: BTreeMap::new(),
            unread: Vec::new(),
            active: self.active,
        };
        Ok((stem.unwrap_or_default().to_owned(), origin, table))
    }
}

/// The format of a file, or of the first file of a folder that has one.
fn format(path: &Path) -> Option<Format> {
    if path.is_dir() {
        let mut names: Vec<PathBuf> = std::fs::read_dir(path)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_file())
            .collect();
        names.sort();
        return names.iter().find_map(|name| format(name));
    }
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    [Format::Parquet, Format::Csv, Format::Json, Format::Arrow]
        .into_iter()
        .find(|format| format.name() == ending)
}

/// A file that is there may have been worked on for days.
fn write(path: &Path, text: &str) -> Result<(), Problem> {
    let written = std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|e| {
        Problem::failed(format!("{}: {e}", path.display()))
            .next("name another file with --out, or move this one away")
    })
}

fn said(out: &Path, draft: &Draft, is_database: bool) -> String {
    let mut text = format!("wrote {}\n", out.display());
    if let Some(rows) = draft.rows {
        text.push_str(&format!("  {rows} rows counted\n"));
    }
    for (column, why) in &draft.review {
        text.push_str(&printable(format!("  review {column}: {why}\n")));
    }
    for (column, why) in &draft.left_out {
        text.push_str(&printable(format!("  left out {column}: {why}\n")));
    }
    if is_database {
        text.push_str(&format!(
            "\nThe node logs in as [sources.{WAREHOUSE}] of its comity.toml says, or with\n\
             DATACONTRACT_POSTGRES_USERNAME and DATACONTRACT_POSTGRES_PASSWORD.\n"
        ));
    }
    text.push_str(&format!(
        "\nNext: comity product preview {0}\nThen: comity product publish {0}\n",
        out.display()
    ));
    text
}
