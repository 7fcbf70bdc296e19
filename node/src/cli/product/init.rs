//! `comity product init`.

mod files;
mod postgres;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use serde_json::json;

use crate::cli::output::{Output, Problem, printable};
use crate::home::Home;
use crate::products::draft::{Draft, Origin, dbt, draft, draft_noted, slug};

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
    comity product init shop.sqlite --table orders\n  \
    comity product init postgres://reader@db.example.org/shop --from-dbt target/manifest.json --model orders")]
pub(super) struct Init {
    /// postgres://USER@HOST:PORT/DATABASE, a Parquet, CSV, JSON, Arrow or SQLite file, a folder of files of one format, or a Delta table.
    #[arg(required_unless_present = "from_dbt")]
    location: Option<String>,
    /// SCHEMA.TABLE in the database, where the schema is public when absent; TABLE of a SQLite file.
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
                    .next("name a postgres:// address, a file or a folder; for S3 and Flight SQL write the contract by hand: README, \"What a product is\""));
            }
            Some((path, None)) if files::is_sqlite(Path::new(path)) => {
                let table = model.as_ref().map(|m| m.table.as_str());
                Some(self.sqlite(Path::new(path), table).await?)
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
