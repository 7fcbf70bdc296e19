//! What was told of a protected table, on the disk: a restart must not let a
//! partner ask for the next version of what it knows (A21).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::disclosed::{Fact, Version};

/// What a file begins with. Another number means that fingerprints are taken of
/// something else: all would look new.
const HEADER: &[u8; 16] = b"comity-told-v1\0\0";

/// Bytes in front of an entry: its length, the checksum of that, and its own. A
/// damaged length must not look like an entry that was not finished.
const FRAME: usize = 12;

/// One thing to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// By which cells the table was told first.
    Partition(u64),
    /// A state of a fact that was told.
    Told(Fact, Version),
}

/// Why what was told cannot be read. For the owner: it names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// The file cannot be opened, read or written.
    #[error("what a partner was told of a protected table cannot be read from {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("what a partner was told of a protected table is damaged in {}; without the file the partner could be told more than is good", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl KeptError {
    /// The system refused something about `path`.
    pub(crate) fn of(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { path, source }
    }
}

/// The file of one partner and table; entries are only added.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    file: File,
    /// How much of it is on the device.
    len: u64,
}

impl Kept {
    /// Opens or creates the file, and gives what is in it. An entry that was
    /// begun and not finished was never told, and is cut off.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Entry>), KeptError> {
        let failed = |source| KeptError::of(path, source);
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() < HEADER.len() && HEADER.starts_with(&bytes) {
            file.set_len(0).map_err(failed)?;
            file.write_all(HEADER).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            bytes = HEADER.to_vec();
        }
        let damaged = || KeptError::Damaged {
            path: path.to_owned(),
        };
        let mut rest = bytes.strip_prefix(HEADER).ok_or_else(damaged)?;
        let mut entries = Vec::new();
        while let Some((payload, after)) = frame(rest).ok_or_else(damaged)? {
            entries.push(Entry::read(payload).ok_or_else(damaged)?);
            rest = after;
        }
        let len = (bytes.len() - rest.len()) as u64;
        if !rest.is_empty() {
            file.set_len(len).map_err(failed)?;
        }
        let path = path.to_owned();
        Ok((Self { path, file, len }, entries))
    }

    /// A file without a beginning.
    #[cfg(test)]
    pub(super) fn on(path: &str) -> Self {
        let file = OpenOptions::new().append(true).open(path).unwrap();
        let path = path.into();
        Self { path, file, len: 0 }
    }

    /// Adds entries; they are on the device when it returns.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), KeptError> {
        let mut bytes = Vec::new();
        for entry in entries {
            let payload = entry.written();
            let len = (payload.len() as u32).to_le_bytes();
            bytes.extend(len);
            bytes.extend(crc32c::crc32c(&len).to_le_bytes());
            bytes.extend(crc32c::crc32c(&payload).to_le_bytes());
            bytes.extend(payload);
        }
        let written = self.file.write_all(&bytes);
        let written = written.and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // What comes next must not stand behind half an entry.
            let cut = self.file.set_len(self.len);
            let source = cut.err().unwrap_or(source);
            return Err(KeptError::of(&self.path, source));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// The next payload and what follows it: nothing inside when it was not finished,
/// nothing at all when it is damaged.
fn frame(bytes: &[u8]) -> Option<Option<(&[u8], &[u8])>> {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME>() else {
        return Some(None);
    };
    let number = |at: usize| {
        let bytes = head.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map(u32::from_le_bytes)
    };
    let (len, sum_of_len, sum) = (number(0)?, number(4)?, number(8)?);
    if crc32c::crc32c(&len.to_le_bytes()) != sum_of_len {
        // Blocks that never reached the device are read as zeros.
        return bytes.iter().all(|b| *b == 0).then_some(None);
    }
    let Some((payload, after)) = rest.split_at_checked(len as usize) else {
        return Some(None);
    };
    match crc32c::crc32c(payload) == sum {
        true => Some(Some((payload, after))),
        // Blocks of the last entry that never reached the device.
        false if after.is_empty() => Some(None),
        false => None,
    }
}

impl Entry {
    /// A number that says which; then for a fact its cell, the length of its
    /// column's name and that, and the units in pairs; all little-endian.
    fn written(&self) -> Vec<u8> {
        match self {
            Self::Partition(partition) => [&[0][..], &partition.to_le_bytes()].concat(),
            Self::Told(fact, version) => {
                let kind = 1 + u8::from(fact.column.is_some());
                let column = fact.column.as_deref().unwrap_or_default();
                let mut bytes = vec![kind];
                bytes.extend(fact.cell.to_le_bytes());
                bytes.extend((column.len() as u32).to_le_bytes());
                bytes.extend(column.as_bytes());
                for (unit, adds) in version {
                    bytes.extend(unit.to_le_bytes());
                    bytes.extend(adds.to_le_bytes());
                }
                bytes
            }
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, bytes) = bytes.split_first()?;
        let (number, bytes) = bytes.split_first_chunk::<8>()?;
        let number = u64::from_le_bytes(*number);
        if *kind == 0 {
            return bytes.is_empty().then_some(Self::Partition(number));
        }
        let (len, bytes) = bytes.split_first_chunk::<4>()?;
        let (column, units) = bytes.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let column = match kind {
            1 => column.is_empty().then_some(None)?,
            2 => Some(String::from_utf8(column.to_vec()).ok()?),
            _ => return None,
        };
        let (pairs, rest) = units.as_chunks::<16>();
        let half = |half: &[u8]| half.try_into().map(u64::from_le_bytes).ok();
        let pairs = pairs.iter().map(|pair| {
            let (unit, adds) = pair.split_at(8);
            Some((half(unit)?, half(adds)?))
        });
        let version = pairs.collect::<Option<Version>>()?;
        let fact = Fact {
            cell: number,
            column,
        };
        rest.is_empty().then_some(Self::Told(fact, version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let fact = |column: Option<&str>| Fact {
            cell: 7,
            column: column.map(str::to_owned),
        };
        vec![
            Entry::Partition(9),
            Entry::Told(fact(None), vec![(1, 2), (3, u64::MAX)]),
            Entry::Told(fact(Some("amount")), vec![(1, 2)]),
            Entry::Told(fact(Some("")), Vec::new()),
        ]
    }

    #[test]
    fn what_was_added_is_there_after_a_restart_and_half_an_entry_is_not() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("told");
        let (mut kept, none) = Kept::open(&path).unwrap();
        assert!(none.is_empty());
        for entry in entries() {
            kept.append(&[entry]).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(Kept::open(&path).unwrap().1, entries());
        // Cut anywhere, what is left is a beginning, and can be added to.
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let (mut kept, left) = Kept::open(&path).unwrap();
            assert!(entries().starts_with(&left));
            kept.append(&[Entry::Partition(1)]).unwrap();
            let again = Kept::open(&path).unwrap().1;
            assert_eq!(again, [left, vec![Entry::Partition(1)]].concat());
        }
    }

    #[test]
    fn a_changed_byte_is_never_a_state_that_was_not_told() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("told");
        let (mut kept, _) = Kept::open(&path).unwrap();
        kept.append(&entries()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            match Kept::open(&path) {
                Err(KeptError::Damaged { .. }) => {}
                Err(other) => panic!("{other}"),
                // In the last entry only, which looks unfinished.
                Ok((_, left)) => assert_eq!(left, entries()[..3], "byte {at}"),
            }
        }
    }
}
