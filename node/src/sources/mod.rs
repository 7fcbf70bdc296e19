//! Where the owner's data lies: one module for each kind of source.
//!
//! A kind is a variant of [`SourceSpec`], which `products` reads out of the
//! `servers` of a contract, and a module here whose `open` makes a DataFusion
//! table of it. What a kind keeps open between queries (connections) is a field
//! of [`Warehouses`]; what it needs besides the contract (credentials) comes
//! from the node's configuration. A peer names neither.

mod access;
mod code;
pub mod delta;
mod described;
pub mod files;
#[cfg(test)]
pub(crate) mod fixture;
pub mod flight_sql;
pub mod postgres;
pub mod s3;
mod scan;
mod servers;
pub mod sqlite;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::TableProvider;

pub use self::described::Described;
pub(crate) use self::described::{NO_VALUE, SAMPLE_ROWS};
pub(crate) use self::scan::without_addresses;

use self::delta::DeltaError;
use self::files::FileError;
use self::flight_sql::FlightSqlError;
use self::postgres::PostgresError;
use self::s3::{Access, S3Error};
use self::servers::Servers;
use self::sqlite::SqliteError;
use crate::config::Source;
use crate::products::{PostgresSpec, SourceSpec, SqliteSpec, Table};

/// The ways to the owner's data.
#[derive(Debug, Default)]
pub struct Warehouses {
    postgres: Servers<postgres::Server>,
    flight_sql: Servers<flight_sql::Server>,
    sqlite: sqlite::Databases,
    /// The credentials for object stores.
    pub s3: Access,
}

/// Why a source cannot be read. For the owner: it names hosts and files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Files.
    #[error(transparent)]
    Files(#[from] FileError),
    /// A PostgreSQL database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// A Flight SQL server.
    #[error(transparent)]
    FlightSql(#[from] FlightSqlError),
    /// A SQLite file.
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
    /// Delta tables.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// Object stores.
    #[error(transparent)]
    S3(#[from] S3Error),
}

impl SourceError {
    /// Whether the contract names what is not there: then it has to be corrected.
    /// What else goes wrong at a source is said with its own remedy.
    pub fn is_of_contract(&self) -> bool {
        match self {
            Self::Postgres(error) => error.is_of_contract(),
            Self::FlightSql(FlightSqlError::Connect { .. } | FlightSqlError::Login { .. }) => false,
            Self::FlightSql(FlightSqlError::Busy { .. } | FlightSqlError::Timeout { .. }) => false,
            Self::Sqlite(SqliteError::Busy { .. } | SqliteError::Timeout { .. }) => false,
            Self::S3(S3Error::Access(_) | S3Error::Store { .. }) => false,
            _ => true,
        }
    }
}

impl Warehouses {
    /// As `[sources]` of the configuration says; relative paths in there count
    /// from the home folder.
    pub fn new(access: BTreeMap<String, Source>, home: PathBuf) -> Self {
        Self {
            sqlite: sqlite::Databases::new(access.clone()),
            flight_sql: Servers::new(access.clone(), home.clone()),
            postgres: Servers::new(access, home),
            s3: Access::from_variables(|name| std::env::var(name).ok()),
        }
    }

    /// A table of a PostgreSQL database that no contract describes yet.
    ///
    /// # Errors
    /// What the owner has to correct.
    pub async fn describe(&self, spec: &PostgresSpec) -> Result<Described, SourceError> {
        Ok(self.postgres.describe(spec).await?)
    }

    /// The tables of a SQLite file.
    ///
    /// # Errors
    /// What the owner has to correct.
    pub async fn sqlite_tables(&self, spec: &SqliteSpec) -> Result<Vec<String>, SourceError> {
        Ok(self.sqlite.tables(spec).await?)
    }

    /// A table of a SQLite file that no contract describes yet; its path is absolute.
    ///
    /// # Errors
    /// What the owner has to correct.
    pub async fn describe_sqlite(&self, spec: &SqliteSpec) -> Result<Described, SourceError> {
        Ok(self.sqlite.describe(spec).await?)
    }

    /// Opens the data of `table`, which lies where `spec` says; relative paths
    /// count from `folder`, the one of the contract.
    ///
    /// # Errors
    /// What the owner has to correct.
    pub async fn open(
        &self,
        spec: &SourceSpec,
        table: &Table,
        folder: &Path,
    ) -> Result<Arc<dyn TableProvider>, SourceError> {
        match spec {
            SourceSpec::Files(spec) => {
                // The contract is the owner's own file: its paths may lead anywhere that
                // this user may read, as the user's shell could. A peer names no path.
                let mut spec = spec.clone();
                spec.path = folder.join(spec.path);
                Ok(files::open(&spec, Path::new("/"), &table.schema()).await?)
            }
            SourceSpec::Postgres(spec) => Ok(self.postgres.open(spec, table).await?),
            SourceSpec::FlightSql(spec) => Ok(self.flight_sql.open(spec, table).await?),
            SourceSpec::Sqlite(spec) => Ok(self.sqlite.open(spec, table, folder).await?),
            SourceSpec::S3(spec) => Ok(s3::open(spec, &self.s3, &table.schema()).await?),
            SourceSpec::Delta(spec) => {
                Ok(delta::open_local(&folder.join(&spec.path), spec.travel).await?)
            }
        }
    }
}
