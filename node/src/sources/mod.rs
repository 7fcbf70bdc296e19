//! Where the owner's data lies: files and folders, read through DataFusion.

mod files;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::prelude::{SessionConfig, SessionContext};
use serde::{Deserialize, Serialize};

use self::files::Files;
use crate::products;

/// The most files of one folder.
pub const MAX_FILES: usize = 10_000;

/// Where one table's data lies, from the owner's configuration and never from a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// How the files are written.
    pub format: Format,
    /// A file, or a folder of files; relative to the root of the node's data.
    pub path: PathBuf,
}

/// How files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated text with a header line.
    Csv,
    /// JSON, one object a line.
    Json,
    /// Arrow IPC files.
    Arrow,
}

impl From<&Self> for SourceSpec {
    fn from(spec: &Self) -> Self {
        spec.clone()
    }
}

impl From<&products::SourceSpec> for SourceSpec {
    fn from(spec: &products::SourceSpec) -> Self {
        let format = match spec.format {
            products::Format::Parquet => Format::Parquet,
            products::Format::Csv => Format::Csv,
            products::Format::Json => Format::Json,
            products::Format::Arrow => Format::Arrow,
        };
        Self {
            format,
            path: PathBuf::from(&spec.path),
        }
    }
}

impl Format {
    /// The ending of the names of such files, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }

    fn reader(self) -> Arc<dyn FileFormat> {
        match self {
            Self::Parquet => Arc::new(ParquetFormat::default().with_force_view_types(false)),
            Self::Csv => Arc::new(CsvFormat::default().with_has_header(true)),
            Self::Json => Arc::new(JsonFormat::default()),
            Self::Arrow => Arc::new(ArrowFormat),
        }
    }
}

/// Why a source cannot be read. For the owner: it names files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file, the folder or the root is not there or not readable.
    #[error("cannot open {path}: {reason}; check the path in the product's file and that this user may read it", path = path.display())]
    Missing {
        /// The path that was tried.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The path leads out of the root (A28).
    #[error("{path} lies outside the data folder {root}; move the file there or change the data folder", path = path.display(), root = root.display())]
    Outside {
        /// The path after links were followed.
        path: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// A folder without a file of the format.
    #[error("the folder {path} has no .{extension} file; put one there or name another folder", path = path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
        /// The ending that was looked for.
        extension: &'static str,
    },
    /// A folder with too many files.
    #[error("the folder {path} has more than {MAX_FILES} files; merge them or split the product", path = path.display())]
    TooManyFiles {
        /// The folder.
        path: PathBuf,
    },
    /// The file is not of the format it is said to be.
    #[error("cannot read {path} as {format:?}: {reason}", path = path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The declared format.
        format: Format,
        /// What the reader said.
        reason: String,
    },
    /// A file of a folder has other columns than the first one.
    #[error("{path} has other columns, or other types of columns, than {first}; files of one folder must have the same, in the same order", path = path.display(), first = first.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// The file it was compared with.
        first: PathBuf,
    },
    /// A declared column is not in the file.
    #[error("{path} has no column {column}; it has: {found}; correct the product's schema or the file", path = path.display())]
    MissingColumn {
        /// The file or folder.
        path: PathBuf,
        /// The declared column.
        column: String,
        /// The columns that are there.
        found: String,
    },
}

/// Opens a source inside `root`.
///
/// A folder is read flat: its files of the format, not hidden ones and not
/// folders inside it; each is checked to lie within the root after links are
/// followed. Files added later are seen when the source is opened again.
///
/// # Errors
/// Any [`SourceError`] but `MissingColumn`.
pub async fn open(
    spec: impl Into<SourceSpec>,
    root: &Path,
) -> Result<Arc<dyn TableProvider>, SourceError> {
    let spec: SourceSpec = spec.into();
    let root = canonical(root)?;
    let path = confined(&root.join(&spec.path), &root)?;
    let files = if path.is_dir() {
        folder(&path, spec.format, &root)?
    } else {
        vec![path.clone()]
    };
    let unreadable = |reason: String| SourceError::Unreadable {
        path: path.clone(),
        format: spec.format,
        reason,
    };
    let mut urls = Vec::with_capacity(files.len());
    for file in &files {
        urls.push(url(file).map_err(&unreadable)?);
    }
    let mut config = SessionConfig::new();
    config
        .options_mut()
        .execution
        .parquet
        .schema_force_view_types = false;
    let state = SessionContext::new_with_config(config).state();
    let options = ListingOptions::new(spec.format.reader()).with_file_extension("");
    let first = urls.first().ok_or_else(|| SourceError::Empty {
        path: path.clone(),
        extension: spec.format.extension(),
    })?;
    let infer = |url| {
        let (options, state, unreadable) = (&options, &state, &unreadable);
        async move {
            let schema = options.infer_schema(state, url).await;
            schema.map_err(|e| unreadable(e.to_string()))
        }
    };
    let schema = infer(first).await?;
    for (file, url) in files.iter().zip(&urls).skip(1) {
        if !alike(spec.format, &schema, &*infer(url).await?) {
            return Err(SourceError::Differs {
                path: file.clone(),
                first: files.first().unwrap_or(&path).clone(),
            });
        }
    }
    let listing = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options)
        .with_schema(schema);
    let table = ListingTable::try_new(listing).map_err(|e| unreadable(e.to_string()))?;
    Ok(Arc::new(Files::new(table, files)))
}

/// Checks that a source has every declared column.
///
/// # Errors
/// [`SourceError::MissingColumn`] for the first that is not there.
pub fn require_columns<'a>(
    spec: &SourceSpec,
    source: &dyn TableProvider,
    columns: impl IntoIterator<Item = &'a str>,
) -> Result<(), SourceError> {
    let schema = source.schema();
    for column in columns {
        if schema.field_with_name(column).is_err() {
            let found: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(SourceError::MissingColumn {
                path: spec.path.clone(),
                column: column.to_owned(),
                found: found.join(", "),
            });
        }
    }
    Ok(())
}

fn folder(path: &Path, format: Format, root: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let missing = |e: std::io::Error| SourceError::Missing {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(missing)? {
        let name = entry.map_err(missing)?.path();
        let hidden = name
            .file_name()
            .is_none_or(|n| n.to_string_lossy().starts_with('.'));
        if hidden
            || name
                .extension()
                .is_none_or(|e| !e.eq_ignore_ascii_case(format.extension()))
        {
            continue;
        }
        let file = confined(&name, root)?;
        if file.is_file() {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(SourceError::TooManyFiles {
                path: path.to_owned(),
            });
        }
    }
    if files.is_empty() {
        return Err(SourceError::Empty {
            path: path.to_owned(),
            extension: format.extension(),
        });
    }
    files.sort();
    Ok(files)
}

/// Whether a file can be read with the columns of another. CSV is read by position
/// and a column that is not in a file is filled with nulls: both would be wrong
/// answers that nobody sees. A text's types are guessed from its values, so they
/// are judged when it is read; an object of JSON may leave out what is null.
fn alike(format: Format, one: &Schema, other: &Schema) -> bool {
    let names = |schema: &Schema| -> Vec<_> {
        let fields = schema.fields().iter();
        fields.map(|f| f.name().clone()).collect()
    };
    let types = |schema: &Schema| -> Vec<_> {
        let fields = schema.fields().iter();
        fields.map(|f| f.data_type().clone()).collect()
    };
    match format {
        Format::Parquet | Format::Arrow => names(one) == names(other) && types(one) == types(other),
        Format::Csv => names(one) == names(other),
        Format::Json => true,
    }
}

fn confined(path: &Path, root: &Path) -> Result<PathBuf, SourceError> {
    let path = canonical(path)?;
    if path.starts_with(root) {
        Ok(path)
    } else {
        Err(SourceError::Outside {
            path,
            root: root.to_owned(),
        })
    }
}

fn canonical(path: &Path) -> Result<PathBuf, SourceError> {
    path.canonicalize().map_err(|e| SourceError::Missing {
        path: path.to_owned(),
        reason: e.to_string(),
    })
}

/// As a `file:` address with every unusual byte escaped: a bare path would be read as a glob.
fn url(path: &Path) -> Result<ListingTableUrl, String> {
    let text = path.to_str().ok_or("the path is not UTF-8")?;
    let mut address = String::from("file://");
    for byte in text.bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                address.push(char::from(byte))
            }
            other => address.push_str(&format!("%{other:02X}")),
        }
    }
    ListingTableUrl::parse(address).map_err(|e| e.to_string())
}
