//! One file of the journal: its header, its records, and how damage is told from a torn tail.
//!
//! ```text
//! segment = header record*
//! header  = "comityjl" ‖ u32 version ‖ u32 seed ‖ u64 first position ‖ u32 crc32c of these 24 bytes
//! record  = u32 (flags ‖ len) xor seed ‖ u32 crc32c(seed ‖ flags, len ‖ bytes) ‖ bytes
//! flags   = bit 31: first of its group; bit 30: last of its group         (all little-endian)
//! ```
//!
//! A group is what one sync made durable. The flags make a group appear whole
//! or not at all, and they tell a torn tail from damage without a guess: a torn
//! write may leave any pages of the *last* group missing, but a valid record
//! that begins a later group proves that the bad one had been synced.
//!
//! The seed is random for each segment, so that bytes inside a record, which a
//! partner may have chosen, cannot pose as a record, nor make the search for one
//! slow with lengths that look possible.

use std::path::{Path, PathBuf};

use super::JournalError;

/// The longest record, in bytes (`store.md` 4.2); checked before anything is allocated.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 28;

/// Bytes before a record's content: length and checksum.
pub(super) const FRAME_BYTES: usize = 8;

const MAGIC: &[u8; 8] = b"comityjl";
const VERSION: u32 = 1;
const FIRST: u32 = 1 << 31;
const LAST: u32 = 1 << 30;
const EXTENSION: &str = "journal";

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Random start value of the segment's checksums.
    pub(super) seed: u32,
    /// Position of the segment's first record.
    pub(super) first: u64,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.seed.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..24]);
        bytes[24..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header that `bytes` begin with. `file` is for the message only.
    pub(super) fn decode(bytes: &[u8], file: &Path) -> Result<Self, JournalError> {
        let damaged = |what| JournalError::corrupt(file, 0, what);
        let header = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or_else(|| damaged("the header is cut short"))?;
        if &header[..8] != MAGIC {
            return Err(damaged("this is not a journal segment"));
        }
        if crc32c::crc32c(&header[..24]) != u32_at(header, 24).unwrap_or_default() {
            return Err(damaged("the header's checksum is wrong"));
        }
        let version = u32_at(header, 8).unwrap_or_default();
        if version != VERSION {
            return Err(JournalError::Version {
                file: file.to_owned(),
                found: version,
                known: VERSION,
            });
        }
        Ok(Self {
            seed: u32_at(header, 12).unwrap_or_default(),
            first: header[16..24].try_into().map_or(0, u64::from_le_bytes),
        })
    }
}

/// The file of the segment that begins with record `first`.
pub(super) fn file_name(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.{EXTENSION}"))
}

/// Whether `path` is named like a segment.
pub(super) fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == EXTENSION)
}

/// Appends `records` to `out` as one group. None may be empty or over [`MAX_RECORD_BYTES`].
pub(super) fn encode_group<'a>(
    seed: u32,
    records: impl ExactSizeIterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) {
    let last = records.len().saturating_sub(1);
    for (i, bytes) in records.enumerate() {
        let mut word = bytes.len() as u32;
        if i == 0 {
            word |= FIRST;
        }
        if i == last {
            word |= LAST;
        }
        out.extend_from_slice(&(word ^ mask(seed)).to_le_bytes());
        out.extend_from_slice(&checksum(seed, word, bytes).to_le_bytes());
        out.extend_from_slice(bytes);
    }
}

/// A valid record within a segment's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) bytes: &'a [u8],
    first_of_group: bool,
    last_of_group: bool,
}

impl<'a> Frame<'a> {
    /// Bytes in the file, frame included.
    pub(super) fn len(&self) -> usize {
        FRAME_BYTES + self.bytes.len()
    }

    /// The valid record at `offset`; `None` when there is none.
    pub(super) fn at(seed: u32, file: &'a [u8], offset: usize) -> Option<Self> {
        let word = u32_at(file, offset)? ^ mask(seed);
        let crc = u32_at(file, offset.checked_add(4)?)?;
        let len = (word & !(FIRST | LAST)) as usize;
        if len == 0 || len > MAX_RECORD_BYTES {
            return None;
        }
        let start = offset.checked_add(FRAME_BYTES)?;
        let bytes = file.get(start..start.checked_add(len)?)?;
        (checksum(seed, word, bytes) == crc).then_some(Self {
            bytes,
            first_of_group: word & FIRST != 0,
            last_of_group: word & LAST != 0,
        })
    }
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    /// Offset of each record of a complete group.
    pub(super) offsets: Vec<u32>,
    /// Where the last complete group ends.
    pub(super) end: usize,
    /// Why the bytes after `end` are not a complete group; `None` when there are none.
    pub(super) tail: Option<Tail>,
}

/// What follows the last complete group before the first bad byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// A group that was never acknowledged: it may be cut off.
    Torn,
    /// Bad bytes at this offset, followed by a group that was written later.
    Damaged(usize),
}

/// Reads every record of `file`, giving each complete one to `visit` in order.
pub(super) fn scan(seed: u32, file: &[u8], mut visit: impl FnMut(&[u8])) -> Scan {
    let mut scan = Scan {
        offsets: Vec::new(),
        end: HEADER_BYTES,
        tail: None,
    };
    let mut group: Vec<(u32, &[u8])> = Vec::new();
    let mut offset = HEADER_BYTES;
    while offset < file.len() {
        let frame =
            Frame::at(seed, file, offset).filter(|frame| frame.first_of_group == group.is_empty());
        let Some(frame) = frame else {
            scan.tail = Some(judge(seed, file, offset));
            return scan;
        };
        group.push((offset as u32, frame.bytes));
        offset += frame.len();
        if frame.last_of_group {
            scan.end = offset;
            for (start, bytes) in group.drain(..) {
                scan.offsets.push(start);
                visit(bytes);
            }
        }
    }
    if !group.is_empty() {
        scan.tail = Some(Tail::Torn);
    }
    scan
}

/// Whether the bad bytes at `offset` are a torn tail or damage.
fn judge(seed: u32, file: &[u8], offset: usize) -> Tail {
    let later_group = (offset..file.len()).any(|at| {
        Frame::at(seed, file, at).is_some_and(|frame| frame.first_of_group && at > offset)
    });
    if later_group || Frame::at(seed, file, offset).is_some() {
        Tail::Damaged(offset)
    } else {
        Tail::Torn
    }
}

/// What length words are combined with. The fixed bit keeps zeros, which a
/// crash leaves behind, from being a possible length.
const fn mask(seed: u32) -> u32 {
    seed | 1 << 29
}

fn checksum(seed: u32, word: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &word.to_le_bytes()), bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let chunk = bytes.get(offset..offset.checked_add(4)?)?;
    chunk.try_into().ok().map(u32::from_le_bytes)
}
