//! Files and folders in the file system, read through DataFusion.

mod describe;
mod listing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use object_store::path::Path as Location;

pub use self::describe::describe;
use self::listing::Files;
use super::scan::hive::{self, MAX_LEVELS};
use super::scan::{self, Listed, Store, TableError};
use crate::products::{FileSpec, Format};

/// The most files of one table.
const MAX_FILES: usize = 10_000;
/// The most folders of one table.
const MAX_FOLDERS: usize = 10_000;

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
    /// Nothing that this release reads.
    #[error("{path} is no .parquet, .csv, .json or .arrow file, and no folder with such files in it or in folders like year=2025", path = path.display())]
    Unknown {
        /// The file or folder.
        path: PathBuf,
    },
    /// A folder with files of several formats, of which no contract is drafted.
    #[error("the folder {path} has .{one} files and .{other} files; a table has one format: keep one kind there, or name a single file", path = path.display())]
    Mixed {
        /// The folder.
        path: PathBuf,
        /// One format.
        one: &'static str,
        /// Another.
        other: &'static str,
    },
    /// A folder with too many files or folders.
    #[error("the folder {path} has more than {MAX_FILES} files or folders, or folders more than {MAX_LEVELS} levels deep; merge them or split the product", path = path.display())]
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
    /// The folders of a partitioned table do not fit each other or the contract.
    #[error("the folder {path} cannot be read as one table: {reason}", path = path.display())]
    Partitions {
        /// The folder.
        path: PathBuf,
        /// Which folder, and what is wrong with it.
        reason: String,
    },
}

/// Opens files inside `root`; `declared` are the contract's columns.
///
/// A folder is read with the folders in it whose names are columns, such as
/// `year=2013`; a column that is named so and that the contract has is read from
/// there, with the contract's type. Other folders and hidden files are not read.
/// Each file is checked to lie within the root, and each of a partitioned folder
/// within that folder, after links are followed. Files added later are seen when
/// the source is opened again.
///
/// # Errors
/// Any [`FileError`].
pub async fn open(
    spec: &FileSpec,
    root: &Path,
    declared: &Schema,
) -> Result<Arc<dyn TableProvider>, FileError> {
    let root = canonical(root)?;
    let path = confined(&root.join(&spec.path), &root)?;
    let (within, found) = if path.is_dir() {
        folder(&path, spec.format, &root)?
    } else {
        let name = path.file_name().unwrap_or_default();
        let found = Found {
            relative: name.to_string_lossy().into_owned(),
            file: path.clone(),
        };
        (root, vec![found])
    };
    let unreadable = |path: &Path, reason: String| FileError::Unreadable {
        path: path.to_owned(),
        format: spec.format,
        reason,
    };
    let store = Store::local(within);
    let mut files = Vec::with_capacity(found.len());
    for file in &found {
        let location = Location::from_absolute_path(&file.file);
        let location = location.map_err(|e| unreadable(&file.file, e.to_string()))?;
        let meta = store.head(&location).await;
        let meta = meta.map_err(|e| unreadable(&file.file, e.to_string()))?;
        files.push((file.relative.clone(), meta));
    }
    let whole = |relative: &str| {
        let file = found.iter().find(|f| f.relative == relative);
        file.map_or_else(|| path.clone(), |f| f.file.clone())
    };
    let table = scan::table(&store, spec.format, files, declared).await;
    let (scan, files) = table.map_err(|e| match e {
        TableError::Unreadable {
            path: file, reason, ..
        } => unreadable(&whole(&file), reason),
        TableError::Differs { path: file, first } => FileError::Differs {
            path: whole(&file),
            first: whole(&first),
        },
        TableError::Partitions(reason) => FileError::Partitions {
            path: path.clone(),
            reason,
        },
    })?;
    Ok(Arc::new(Listed::new(Files::new(scan, store, files))))
}

/// A file of a table.
struct Found {
    /// Below the table's folder, with `/` between names, before links are followed.
    relative: String,
    /// After links are followed.
    file: PathBuf,
}

/// The files of a folder, and the folder that they lie in.
fn folder(path: &Path, format: Format, root: &Path) -> Result<(PathBuf, Vec<Found>), FileError> {
    let missing = |e: std::io::Error| FileError::Missing {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let too_many = || FileError::TooManyFiles {
        path: path.to_owned(),
    };
    let mut files = Vec::new();
    let mut folders = VecDeque::from([(path.to_owned(), String::new(), 0)]);
    let (mut seen, mut within) = (0, root);
    while let Some((folder, prefix, level)) = folders.pop_front() {
        for entry in std::fs::read_dir(&folder).map_err(missing)? {
            let entry = entry.map_err(missing)?.path();
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            let relative = format!("{prefix}{name}");
            let of_format = entry.extension();
            let of_format = of_format.is_some_and(|e| e.eq_ignore_ascii_case(format.name()));
            if hive::is_partition(&name) && entry.is_dir() {
                seen += 1;
                if seen > MAX_FOLDERS || level == MAX_LEVELS {
                    return Err(too_many());
                }
                // One table is one folder: a link to another's files is not a partition of it.
                within = path;
                let inner = confined(&entry, within)?;
                folders.push_back((inner, format!("{relative}/"), level + 1));
            } else if of_format {
                let file = confined(&entry, if level == 0 { root } else { path })?;
                if file.is_file() {
                    files.push(Found { relative, file });
                }
                if files.len() > MAX_FILES {
                    return Err(too_many());
                }
            }
        }
    }
    if files.is_empty() {
        return Err(FileError::Empty {
            path: path.to_owned(),
            extension: format.name(),
        });
    }
    files.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok((within.to_owned(), files))
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
