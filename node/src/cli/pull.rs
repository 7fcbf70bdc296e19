//! `comity pull`.

mod file;
mod folder;

use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use futures::TryStreamExt as _;
use serde::Serialize;

use self::file::{Format, Partial, Whole};
use self::folder::Folder;
use super::output::{Output, Problem};
use super::progress::Progress;
use super::search::{own, split};
use super::sql::connect;
use crate::admin::{Client, api};
use crate::flight::{Inquiry, Reply, SqlClient};
use crate::home::Home;
use crate::query::identifier;

/// Read a table of a product into a file: Parquet, Arrow or CSV, by its name.
///
/// Rows are written as they come, in constant memory, beside the file, which
/// appears when all of them are there. A file that exists is not replaced.
///
/// With --partitions the answer comes in as many parts, each a file of its own in a
/// folder. After a cut the same command goes on with the parts that are not there
/// yet, as long as the data is in the same state. Each part counts as a query.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    comity pull weather-service/weather -o weather.parquet\n  \
    comity pull weather-service/weather --columns origin,temp --where \"temp > 90\" -o hot.csv\n  \
    comity pull weather-service/weather --partitions 16 --parallel 4 -o weather")]
pub(super) struct Pull {
    /// PARTNER/PRODUCT[@MAJOR], as `comity search` prints it; PRODUCT[@MAJOR] is your own.
    product: String,
    /// The table, where the product has several.
    #[arg(long)]
    table: Option<String>,
    /// These columns alone, separated by commas.
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// A condition in SQL. What of it the partner can test does not cross.
    #[arg(long = "where")]
    condition: Option<String>,
    /// Why: one of the purposes that the agreement names.
    #[arg(long)]
    purpose: Option<String>,
    /// The file to write: its name ends with .parquet, .arrow or .csv. With
    /// --partitions the folder.
    #[arg(long, short)]
    output: PathBuf,
    /// In how many parts, up to 128.
    #[arg(long, value_name = "COUNT")]
    partitions: Option<u16>,
    /// How many of them at a time, up to 16. Agreements may permit fewer queries at once.
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "partitions",
        value_parser = clap::value_parser!(u8).range(1..=16))]
    parallel: u8,
    /// The format of the parts.
    #[arg(long, value_enum, default_value_t = Format::Parquet, requires = "partitions")]
    format: Format,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Pulled {
    file: PathBuf,
    rows: u64,
    /// Of the file.
    bytes: u64,
}

impl Pull {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        if let Some(partitions) = self.partitions {
            return self.in_partitions(partitions, home, output).await;
        }
        let format = Format::of(&self.output)?;
        if self.output.exists() {
            return Err(Problem::failed(format!("{} exists", self.output.display()))
                .next("name another file, or move that one away"));
        }
        let statement = self.statement(home).await?;
        let client = connect(home).await.map_err(Problem::failed)?;
        let inquiry = Inquiry {
            statement: &statement,
            purpose: self.purpose.as_deref(),
            ..Inquiry::default()
        };
        let progress = Progress::new();
        let read = read(&client, &inquiry, (&self.output, format), &progress).await?;
        let whole = read.file.finish(&self.output)?;
        drop(progress);
        let pulled = Pulled::of(&self.output, whole);
        output.answer(&pulled, |p| {
            let file = p.file.display();
            format!("{} rows, {} bytes in {file}\n", p.rows, p.bytes)
        });
        Ok(())
    }

    async fn in_partitions(
        &self,
        partitions: u16,
        home: &Home,
        output: &Output,
    ) -> Result<(), Problem> {
        let statement = self.statement(home).await?;
        let client = connect(home).await.map_err(Problem::failed)?;
        let folder = Folder {
            statement,
            purpose: self.purpose.clone(),
            format: self.format,
            partitions,
        };
        let all = folder
            .pull(&self.output, &client, self.parallel.into())
            .await?;
        output.answer(&all, |all| all.to_string());
        Ok(())
    }

    async fn statement(&self, home: &Home) -> Result<String, Problem> {
        let client = Client::new(home.admin_socket());
        let named = match self.product.contains('/') {
            true => self.product.clone(),
            false => own(&client, &self.product).await?,
        };
        let (partner, address) = split(&named)?;
        let product: api::Product = client
            .get(&format!("/v1/products/{partner}/{address}"))
            .await?;
        let names: Vec<&str> = product.tables.iter().map(|t| t.name.as_str()).collect();
        let table = match (&self.table, &names[..]) {
            (Some(table), names) if names.contains(&table.as_str()) => table.as_str(),
            (None, [only]) => only,
            _ => {
                let message = format!("{named} has the tables {}", names.join(", "));
                return Err(Problem::usage(message).next("name one with --table"));
            }
        };
        let columns: Vec<String> = self.columns.iter().map(|c| identifier(c)).collect();
        let columns = match columns.is_empty() {
            true => "*".to_owned(),
            false => columns.join(", "),
        };
        let of = [partner, &address.to_string(), table]
            .map(identifier)
            .join(".");
        // In lines of its own: a comment in it must not take the bracket away.
        let condition = self.condition.iter();
        let condition = condition.map(|sql| format!(" WHERE (\n{sql}\n)"));
        Ok(format!(
            "SELECT {columns} FROM {of}{}",
            condition.collect::<String>()
        ))
    }
}

impl Pulled {
    fn of(file: &Path, whole: Whole) -> Self {
        Self {
            file: file.to_owned(),
            rows: whole.rows,
            bytes: whole.bytes,
        }
    }
}

/// An answer that was read.
struct Read {
    /// Still to be put in its place.
    file: Partial,
    schema: SchemaRef,
    /// The name of the states of the sources, if they have one.
    snapshot: Option<String>,
}

/// Reads an answer into a file beside `path`.
async fn read(
    client: &SqlClient,
    inquiry: &Inquiry<'_>,
    (path, format): (&Path, Format),
    progress: &Progress,
) -> Result<Read, Problem> {
    let failed = |e: &dyn std::error::Error| Problem::failed(e.to_string());
    let reply = client.inquire(inquiry).await;
    let Reply {
        schema,
        mut rows,
        ending,
    } = reply.map_err(|e| failed(&e))?;
    let mut file = Partial::create(path, format, &schema)?;
    while let Some(batch) = rows.try_next().await.map_err(|e| failed(&e))? {
        // Writing waits for the disk, and little else waits for this command.
        file.write(&batch)?;
        progress.add(batch.num_rows() as u64);
    }
    Ok(Read {
        file,
        schema,
        snapshot: ending.snapshot().map(str::to_owned),
    })
}
