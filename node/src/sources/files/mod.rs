//! Files and folders in the file system, read through DataFusion.

mod listing;
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

use self::listing::Files;
use crate::products::{FileSpec, Format};

/// The most files of one folder.
const MAX_FILES: usize = 10_000;

/// Why files cannot be read. For the owner: it names them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
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
}

/// Opens files inside `root`.
///
/// A folder is read flat: its files of the format, not hidden ones and not
/// folders inside it; each is checked to lie within the root after links are
/// followed. Files added later are seen when the source is opened again.
///
/// # Errors
/// Any [`FileError`].
pub async fn open(spec: &FileSpec, root: &Path) -> Result<Arc<dyn TableProvider>, FileError> {
    let root = canonical(root)?;
    let path = confined(&root.join(&spec.path), &root)?;
    let files = if path.is_dir() {
        folder(&path, spec.format, &root)?
    } else {
        vec![path.clone()]
    };
    let unreadable = |reason: String| FileError::Unreadable {
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
    let options = ListingOptions::new(reader(spec.format)).with_file_extension("");
    let first = urls.first().ok_or_else(|| FileError::Empty {
        path: path.clone(),
        extension: spec.format.name(),
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
            return Err(FileError::Differs {
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

fn reader(format: Format) -> Arc<dyn FileFormat> {
    match format {
        Format::Parquet => Arc::new(ParquetFormat::default().with_force_view_types(false)),
        Format::Csv => Arc::new(CsvFormat::default().with_has_header(true)),
        Format::Json => Arc::new(JsonFormat::default()),
        Format::Arrow => Arc::new(ArrowFormat),
    }
}

fn folder(path: &Path, format: Format, root: &Path) -> Result<Vec<PathBuf>, FileError> {
    let missing = |e: std::io::Error| FileError::Missing {
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
                .is_none_or(|e| !e.eq_ignore_ascii_case(format.name()))
        {
            continue;
        }
        let file = confined(&name, root)?;
        if file.is_file() {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(FileError::TooManyFiles {
                path: path.to_owned(),
            });
        }
    }
    if files.is_empty() {
        return Err(FileError::Empty {
            path: path.to_owned(),
            extension: format.name(),
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

fn confined(path: &Path, root: &Path) -> Result<PathBuf, FileError> {
    let path = canonical(path)?;
    if path.starts_with(root) {
        Ok(path)
    } else {
        Err(FileError::Outside {
            path,
            root: root.to_owned(),
        })
    }
}

fn canonical(path: &Path) -> Result<PathBuf, FileError> {
    path.canonicalize().map_err(|e| FileError::Missing {
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
