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
use crate::products::draft::{Draft, Origin, dbt, draft, draft_noted, slug};
use crate::products::{FileSpec, Format, PostgresServer, PostgresSpec, Travel};
use crate::sources::{Warehouses, delta, files};

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
    comity product init data/weather.parquet --name weather\n  \
    comity product init postgres://reader@db.example.org/shop --from-dbt target/manifest.json --model orders")]
pub(super) struct Init {
    /// postgres://USER@HOST:PORT/DATABASE, a Parquet, CSV, JSON or Arrow file, a folder of them, or a Delta table.
    #[arg(required_unless_present = "from_dbt")]
    location: Option<String>,
    /// SCHEMA.TABLE in the database; the schema is public when absent.
    #[arg(long)]
    table: Option<String>,
    /// The manifest of a dbt project: descriptions, tests, tags and versions come from there.
    #[arg(long, value_name = "target/manifest.json", requires = "model")]
    from_dbt: Option<PathBuf>,
    /// The dbt model: its name, NAME.vN, or its whole id.
    #[arg(long, requires = "from_dbt", conflicts_with = "table")]
    model: Option<String>,
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
        let model = match (&self.from_dbt, &self.model) {
            (Some(manifest), Some(model)) => {
                Some(dbt::read(manifest, model).map_err(|e| Problem::failed(e.to_string()))?)
            }
            _ => None,
        };
        let location = self.location.as_deref();
        let is_database = location.is_none_or(|l| l.starts_with("postgres"));
        let found = match location.map(|location| (location, location.split_once("://"))) {
            Some((_, Some(("postgres" | "postgresql", _)))) => {
                let table = model
                    .as_ref()
                    .map(|m| (m.schema.as_str(), m.table.as_str()));
                Some(self.database(home, table).await?)
            }
            Some((_, Some((scheme, _)))) => {
                return Err(Problem::usage(format!("'{scheme}://' is not read here"))
                    .next("name a postgres:// address, a file or a folder"));
            }
            Some((path, None)) => Some(self.files(path).await?),
            None => None,
        };
        let found_name = match (&model, &found) {
            (Some(model), _) => &model.name,
            (None, Some((name, ..))) => name,
            // The arguments ask for one of the two.
            (None, None) => "",
        };
        let name = match &self.name {
            Some(name) => slug(name).filter(|slug| slug == name),
            None => slug(found_name),
        };
        let name = name.ok_or_else(|| {
            Problem::usage("a product's name is [a-z][a-z0-9_-]{0,62}").next("--name orders")
        })?;
        let drafted = match (found, &model) {
            (Some((_, origin, table)), model) => {
                let notes = model.as_ref().map(|m| m.notes.clone()).unwrap_or_default();
                let drafted = draft(&name, &origin, &notes, table).await;
                drafted.map_err(|e| Problem::failed(format!("the data cannot be read: {e}")))?
            }
            (None, Some(model)) => draft_noted(&name, self.noted(model)?, &model.notes),
            (None, None) => return Err(Problem::usage("where is the data?")),
        };
        let out = self
            .out
            .unwrap_or_else(|| PathBuf::from(format!("{name}.odcs.yaml")));
        write(&out, &drafted.text)?;
        let told = json!({"file": out, "product": drafted});
        output.answer(&told, |_| said(&out, &drafted, is_database));
        Ok(())
    }

    /// Where a model is that was not looked at.
    fn noted(&self, model: &dbt::Model) -> Result<Origin, Problem> {
        if model.adapter != "postgres" {
            let message = format!("dbt builds {} in {}", model.name, model.adapter);
            return Err(Problem::usage(message)
                .next("name the file or the postgres:// address where the data can be read"));
        }
        Ok(Origin {
            server: vec![
                ("server", json!(WAREHOUSE)),
                ("type", json!("postgres")),
                ("host", json!("localhost")),
                ("port", json!(5432)),
                ("database", json!(model.database)),
                ("schema", json!(model.schema)),
            ],
            remark: Some("dbt does not write down where the database is: give its host and port."),
            physical_name: Some(model.table.clone()),
            primary_key: Vec::new(),
            never_null: None,
            types: model.types(),
            unread: Vec::new(),
            active: self.active,
        })
    }

    /// A table of the database at the location: that of a dbt model, or the one named.
    async fn database(&self, home: &Home, model: Option<(&str, &str)>) -> Result<Found, Problem> {
        let location = self.location.as_deref().unwrap_or_default();
        let at: tokio_postgres::Config = location.parse().map_err(|e| {
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
        let named = self.table.as_deref();
        let named = named.map(|table| table.split_once('.').unwrap_or(("public", table)));
        let (schema, table) = model.or(named).ok_or_else(|| {
            Problem::usage("which table of the database?").next("--table public.orders")
        })?;
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
            remark: None,
            physical_name: Some(table.to_owned()),
            primary_key: described.primary_key,
            never_null: Some(described.never_null),
            types: described.types,
            unread: described.unread,
            active: self.active,
        };
        Ok((table.to_owned(), origin, described.table))
    }

    async fn files(&self, path: &str) -> Result<Found, Problem> {
        let path = Path::new(path);
        let real = path.canonicalize().map_err(|e| {
            Problem::failed(format!("{}: {e}", path.display()))
                .next("name a postgres:// address, a file or a folder")
        })?;
        let (format, table) = open(path, &real).await?;
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
}

/// The data at a path, with its format as a contract names it.
async fn open(path: &Path, real: &Path) -> Result<(&'static str, Arc<dyn TableProvider>), Problem> {
    let failed = |e: String| Problem::failed(e);
    if real.join("_delta_log").is_dir() {
        let table = delta::open_local(real, Travel::Newest).await;
        return Ok(("delta", table.map_err(|e| failed(e.to_string()))?));
    }
    let format = format(real).ok_or_else(|| {
        Problem::usage(format!("{}: no file of a known format", path.display()))
            .next("name a .parquet, .csv, .json or .arrow file, a folder of them, or a Delta table")
    })?;
    let spec = FileSpec {
        format,
        path: real.to_owned(),
    };
    let table = files::open(&spec, Path::new("/"), &Schema::empty()).await;
    Ok((format.name(), table.map_err(|e| failed(e.to_string()))?))
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
