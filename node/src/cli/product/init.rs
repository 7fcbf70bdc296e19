//! `comity product init`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use serde_json::json;
use tokio_postgres::config::Host;

use crate::cli::output::{Output, Problem, printable};
use crate::config::Config;
use crate::home::Home;
use crate::products::draft::{Draft, Origin, dbt, draft, draft_noted, slug};
use crate::products::{PostgresServer, PostgresSpec, Travel};
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
                drafted.map_err(|e| Problem::failed(e.to_string()))?
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
        let at = address(location)?;
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
        let (format, table) = open(&real).await?;
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
async fn open(real: &Path) -> Result<(&'static str, Arc<dyn TableProvider>), Problem> {
    let failed = |e: String| Problem::failed(e);
    if real.join("_delta_log").is_dir() {
        let table = delta::open_local(real, Travel::Newest).await;
        return Ok(("delta", table.map_err(|e| failed(e.to_string()))?));
    }
    let described = files::describe(real).await;
    let (format, table) = described.map_err(|e| failed(e.to_string()))?;
    Ok((format.name(), table))
}

/// `postgres://USER@HOST:PORT/DATABASE` and no more: what else the driver knows
/// there would be ignored, and stands in comity.toml.
fn address(location: &str) -> Result<tokio_postgres::Config, Problem> {
    const FORM: &str = "postgres://USER@HOST:PORT/DATABASE";
    if let Some((_, parameters)) = location.split_once('?') {
        let names: Vec<_> = parameters
            .split('&')
            .filter_map(|parameter| parameter.split('=').next())
            .collect();
        let message = format!(
            "the address has parameters, which are not read: {}",
            names.join(", ")
        );
        return Err(Problem::usage(message).next(format!(
            "{FORM}, with `tls`, `ca_file` and `timeout_seconds` in [sources.{WAREHOUSE}] of comity.toml"
        )));
    }
    let at: tokio_postgres::Config = location
        .parse()
        .map_err(|e| Problem::usage(format!("the address is not {FORM}: {e}")))?;
    if at.get_password().is_some() {
        let message = "a password on the command line can be read by others";
        return Err(
            Problem::usage(message).next("leave it out, and set DATACONTRACT_POSTGRES_PASSWORD")
        );
    }
    if at.get_hosts().len() > 1 {
        return Err(Problem::usage("the address names several hosts").next(FORM));
    }
    match at.get_dbname() {
        Some(name) if !name.contains('/') => Ok(at),
        Some(name) => {
            let message = format!("the database of the address would be called '{name}'");
            let plain = location.trim_end_matches('/');
            Err(Problem::usage(message).next(format!("{plain}, without what follows the database")))
        }
        None => Err(Problem::usage("the address names no database").next(FORM)),
    }
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
    match draft.rows {
        Some(rows) => text.push_str(&format!(
            "  values of {} of {} rows were looked at\n",
            grouped(draft.sampled as u64),
            grouped(rows)
        )),
        None if draft.sampled > 0 => text.push_str(&format!(
            "  values of {} rows were looked at; counting all of them took too long\n",
            grouped(draft.sampled as u64)
        )),
        None => text.push_str("  the data was not looked at\n"),
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
    let file = out.display();
    let served = draft.columns > draft.review.len();
    text.push_str(&match (served, draft.active) {
        (false, _) => format!(
            "\nNo column can be served yet.\nNext: decide on the columns under review in {file}\n\
             Then: comity product lint {file}\n"
        ),
        (true, true) => {
            format!("\nNext: comity product preview {file}\nThen: comity product publish {file}\n")
        }
        (true, false) => format!(
            "\nNext: comity product preview {file}\n\
             Then: review {file}, write 'status: active' there, and comity product publish {file}\n"
        ),
    });
    text
}

/// A number as people read it: `20,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(active: bool, review: usize) -> Draft {
        let review = vec![("a".to_owned(), "income (its name)".to_owned()); review];
        Draft {
            name: "orders".to_owned(),
            text: String::new(),
            rows: Some(1_234_567),
            sampled: 10_000,
            columns: 2,
            active,
            review,
            left_out: Vec::new(),
        }
    }

    #[test]
    fn the_next_step_is_one_that_is_not_refused() {
        let said = |draft| said(Path::new("orders.odcs.yaml"), &draft, false);
        let ready = said(draft(true, 1));
        assert!(ready.contains("\nThen: comity product publish"), "{ready}");
        let unready = said(draft(false, 1));
        assert!(
            !unready.contains("Then: comity product publish"),
            "{unready}"
        );
        assert!(unready.contains("status: active"), "{unready}");
        let unserved = said(draft(true, 2));
        assert!(
            !unserved.contains("preview") && unserved.contains("decide"),
            "{unserved}"
        );
        let counted = "values of 10,000 of 1,234,567 rows were looked at";
        assert!(ready.contains(counted), "{ready}");
    }

    #[test]
    fn an_address_is_read_whole_or_refused() {
        assert!(address("postgres://reader@db.example.org:5433/shop").is_ok());
        for (wrong, said) in [
            ("postgres://reader@localhost/shop/", "shop/"),
            (
                "postgres://reader@localhost/shop?sslmode=require",
                "sslmode",
            ),
            ("postgres://reader@localhost/shop?a=1&b=secret", "a, b"),
            ("postgres://reader@a,b/shop", "several hosts"),
            ("postgres://reader@localhost", "no database"),
        ] {
            let refused = format!("{:?}", address(wrong).unwrap_err());
            assert!(
                refused.contains(said) && !refused.contains("secret"),
                "{refused}"
            );
        }
    }

    #[test]
    fn thousands_are_told_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
