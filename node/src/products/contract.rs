//! A product as its owner holds it: the contract file, past every gate.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use comity_identity::Digest;
use serde_json::Value;

use super::offer::{self, Offer};
use super::problem::{Problem, Problems};
use super::promised;
use super::public;
use super::quality::{self, SqlRule};
use super::rules::{self, Text};
use super::schema;
use super::source::{self, SourceSpec};
use super::table::{self, Table};
use super::yaml::{Document, MAX_FILE_BYTES};

/// The most bytes of a product's public JSON. Four thirds of it, the length in a
/// signed envelope, still fit into one message between nodes.
pub const MAX_PUBLIC_BYTES: usize = 256 * 1024;

/// A product that can be announced: valid, typed, and with a public part that
/// tells nothing of the house it comes from.
///
/// There is one way to get one, [`read`].
#[derive(Clone, Debug)]
pub struct Contract {
    folder: PathBuf,
    name: String,
    version: String,
    status: Status,
    tables: Vec<Table>,
    public: Value,
    digest: Digest,
    sources: BTreeMap<String, SourceSpec>,
    offers: Vec<Offer>,
    under_review: Vec<(String, String)>,
    sql_rules: Vec<SqlRule>,
    doubts: Vec<Problem>,
}

/// Where a product is in its life (ODCS `status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `proposed` or `draft`: not announced.
    Draft,
    /// `active`: announced.
    Active,
    /// `deprecated`: announced, and its end is near.
    Deprecated,
    /// `retired`: withdrawn.
    Retired,
}

impl Status {
    /// Whether a product in this state is in the organization's head.
    pub const fn announced(self) -> bool {
        matches!(self, Self::Active | Self::Deprecated)
    }
}

/// Reads a contract file (ODCS v3.0.0 to v3.2.0 in YAML).
///
/// Blocking; the file is at most [`MAX_FILE_BYTES`] long, and no byte beyond
/// that is read.
///
/// # Errors
///
/// Every problem that the first failing gate found, with its line and a remedy.
pub fn read(path: &Path) -> Result<Contract, Problems> {
    let bytes = bytes(path).map_err(|error| {
        let message = match error.kind() {
            ErrorKind::NotFound => "there is no such file; name an *.odcs.yaml file".to_owned(),
            ErrorKind::PermissionDenied => {
                "the file may not be read; check its permissions".to_owned()
            }
            _ => format!("the file cannot be read: {error}"),
        };
        Problem::of_file(path, message)
    })?;
    Contract::parse(path, &bytes)
}

/// Reads the copy of a contract file, whose relative paths count from the
/// folder of `file`, where it was. `None` when there is no such copy.
///
/// # Errors
///
/// As [`read`].
pub fn read_copy(copy: &Path, file: &Path) -> Option<Result<Contract, Problems>> {
    let bytes = bytes(copy).ok()?;
    Some(Contract::through(file, &bytes, false))
}

impl Contract {
    /// Takes a file's bytes through the gates; `file` is for messages and relative paths.
    pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, Problems> {
        Self::through(file, bytes, true)
    }

    /// Through the gates. What was announced before promises could be refused
    /// is not `new`: it stays announced.
    fn through(file: &Path, bytes: &[u8], new: bool) -> Result<Self, Problems> {
        let document = Document::parse(file, bytes)?;
        schema::check(&document)?;

        let mut found = Vec::new();
        rules::check(&document, &mut found);
        let status = status(&document, &mut found);
        let tables = table::tables(&document, &mut found);
        let sources = source::sources(&document, &tables, &mut found);
        let offers = offer::offers(&document, &tables, &mut found);
        let public = public::project(&document, &mut found);
        let doubts = match new {
            true => promised::check(&document, &tables, &mut found),
            false => Vec::new(),
        };
        Problems::check(found)?;

        let canonical = serde_json_canonicalizer::to_vec(&public).map_err(|error| {
            Problem::of_file(file, format!("the contract has no canonical form: {error}"))
        })?;
        if canonical.len() > MAX_PUBLIC_BYTES {
            let message = format!(
                "the public part is larger than {MAX_PUBLIC_BYTES} bytes; split the product"
            );
            return Err(Problem::of_file(file, message).into());
        }
        let root = document.value();
        Ok(Self {
            folder: folder(file),
            name: root.text("name").unwrap_or_default().to_owned(),
            version: root.text("version").unwrap_or_default().to_owned(),
            status,
            tables,
            public,
            digest: Digest::of(&canonical),
            sources,
            offers,
            under_review: table::reviews(document.value()),
            sql_rules: quality::sql_rules(document.value()),
            doubts,
        })
    }

    /// The product's name, unique within the organization: `[a-z][a-z0-9_-]{0,62}`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version, `major.minor.patch`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Columns that are not served until somebody has looked at them, with
    /// their tables (`spec/3-catalog.md#C-50`).
    pub fn under_review(&self) -> &[(String, String)] {
        &self.under_review
    }

    /// Its quality rules in SQL. Private.
    pub fn sql_rules(&self) -> &[SqlRule] {
        &self.sql_rules
    }

    /// What may be a mistake of the author: it is announced as it is.
    pub fn doubts(&self) -> &[Problem] {
        &self.doubts
    }

    /// Where it is in its life.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Its tables, in the contract's order; at least one.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// What peers may see: ODCS as JSON, without anything private.
    pub fn public(&self) -> &Value {
        &self.public
    }

    /// The digest of [`public`](Self::public) in canonical form (RFC 8785), at which the product is addressed.
    pub fn contract_digest(&self) -> Digest {
        self.digest
    }

    /// Where the data of each table lies, by table name. Private.
    ///
    /// Paths are as written: relative ones count from [`folder`](Self::folder).
    pub fn sources(&self) -> &BTreeMap<String, SourceSpec> {
        &self.sources
    }

    /// The folder of the contract file, from which relative source paths count.
    /// Absolute, however the file was named.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What each role of the contract may get, in its order.
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// What a partner is offered who asks for no role by name: the first role.
    /// `None` means that the product is announced but offered to nobody.
    pub fn offer(&self) -> Option<&Offer> {
        self.offers.first()
    }
}

/// The folder of a file, without links where the file is there: `publish` names
/// the file so to the node, and a preview must read what the node would.
fn folder(file: &Path) -> PathBuf {
    let whole = file
        .canonicalize()
        .or_else(|_| std::path::absolute(file))
        .unwrap_or_else(|_| file.to_owned());
    whole.parent().unwrap_or(&whole).to_owned()
}

/// At most one byte more than a contract may have, so that a longer file is seen to be longer.
fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn status(document: &Document, found: &mut Vec<Problem>) -> Status {
    match document.value().text("status") {
        Some("proposed" | "draft") => Status::Draft,
        Some("active") => Status::Active,
        Some("deprecated") => Status::Deprecated,
        Some("retired") => Status::Retired,
        // Optional since v3.2.0: what does not say that it is ready is not.
        None => Status::Draft,
        other => {
            let message = format!("{} is not a state of a product", other.unwrap_or_default());
            let instead = "status: draft, active, deprecated or retired".to_owned();
            found.push(document.problem("/status", message, Some(instead)));
            Status::Draft
        }
    }
}
