//! Opening: every record is read and checked before the node promises anything new.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Append, Disk, sync_dir};
use super::segment::{self, HEADER_BYTES, Header, Tail};
use super::{JournalError, MAX_APPEND_BYTES, SEGMENT_BYTES_RANGE, Segment, State};

/// What opening a journal found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Records in the journal.
    pub records: u64,
    /// Segment files.
    pub segments: usize,
    /// The torn tail that was cut off, if there was one.
    pub torn: Option<TornTail>,
}

/// Bytes at the end of the last segment that a crash cut short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// Where the last complete record ends.
    pub offset: u64,
    /// How many bytes were cut off.
    pub bytes: u64,
}

/// The segment that the writer goes on with.
pub(super) struct Current {
    pub(super) file: Box<dyn Append>,
    pub(super) path: Arc<PathBuf>,
    pub(super) seed: u32,
    pub(super) end: u64,
}

/// The largest file that can be a segment: the last group may end past the roll size.
pub(super) const MAX_SEGMENT_FILE_BYTES: u64 =
    *SEGMENT_BYTES_RANGE.end() + 2 * (MAX_APPEND_BYTES as u64);

/// Reads the journal in `dir`, cutting off a torn tail.
pub(super) fn open(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<(State, Option<Current>, OpenReport), JournalError> {
    let files = segment_files(dir)?;
    let mut state = State::default();
    let mut report = OpenReport {
        segments: files.len(),
        ..OpenReport::default()
    };
    let mut current = None;
    for (i, path) in files.iter().enumerate() {
        let is_last = i + 1 == files.len();
        let (file, bytes) = read_bounded(path)?;
        let header = Header::decode(&bytes, path)?;
        if header.first != state.tree.size() || segment::file_name(dir, header.first) != *path {
            return Err(JournalError::corrupt(
                path,
                16,
                "the segment does not follow the one before it; a segment file is missing or renamed",
            ));
        }
        let scan = segment::scan(header.seed, &bytes, |entry| {
            state.tree.push(entry.leaf());
        });
        let end = scan.end as u64;
        match scan.tail {
            None => {}
            Some(Tail::Torn) if is_last => {
                report.torn = Some(TornTail {
                    file: path.clone(),
                    offset: end,
                    bytes: bytes.len() as u64 - end,
                });
            }
            Some(Tail::Torn) => {
                return Err(JournalError::corrupt(
                    path,
                    end,
                    "the segment ends within a record, and a later segment exists",
                ));
            }
            Some(Tail::Damaged(offset)) => {
                return Err(JournalError::corrupt(
                    path,
                    offset as u64,
                    "the record's checksum or length is wrong, and valid records follow it",
                ));
            }
        }
        let path = Arc::new(path.clone());
        if is_last {
            current = Some(reopen(disk, &path, header, end, report.torn.is_some())?);
        }
        state.segments.push(Segment {
            path,
            file: Arc::new(file),
            seed: header.seed,
            first: header.first,
            offsets: scan.offsets,
            end,
        });
    }
    report.records = state.tree.size();
    Ok((state, current, report))
}

/// The last segment, open for writing, without its torn tail.
fn reopen(
    disk: &dyn Disk,
    path: &Arc<PathBuf>,
    header: Header,
    end: u64,
    torn: bool,
) -> Result<Current, JournalError> {
    let failed = |source| JournalError::io(path, source);
    let mut file = disk.open(path).map_err(failed)?;
    if torn {
        file.truncate(end).map_err(failed)?;
    }
    // Also without a tear: the process that wrote the last group may have been
    // killed before its sync, and from now on that group counts.
    file.sync().map_err(failed)?;
    Ok(Current {
        file,
        path: Arc::clone(path),
        seed: header.seed,
        end,
    })
}

/// The segments of `dir` by name, which is by position. Leftovers of an
/// interrupted creation are removed.
fn segment_files(dir: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let failed = |source| JournalError::io(dir, source);
    let mut files = Vec::new();
    let mut removed = false;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if segment::is_segment(&path) {
            files.push(path);
        } else if path.extension().is_some_and(|ext| ext == "tmp") {
            fs::remove_file(&path).map_err(|source| JournalError::io(&path, source))?;
            removed = true;
        }
    }
    if removed {
        sync_dir(dir).map_err(failed)?;
    }
    files.sort();
    Ok(files)
}

pub(super) fn read_bounded(path: &Path) -> Result<(File, Vec<u8>), JournalError> {
    let failed = |source| JournalError::io(path, source);
    let file = File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    if len > MAX_SEGMENT_FILE_BYTES {
        return Err(JournalError::corrupt(
            path,
            MAX_SEGMENT_FILE_BYTES,
            "the file is longer than a segment can be",
        ));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(HEADER_BYTES));
    (&file)
        .take(MAX_SEGMENT_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok((file, bytes))
}
