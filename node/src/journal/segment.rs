//! One file of the journal: its header, its records, and how damage is told from a torn tail.
//!
//! ```text
//! segment = header record*
//! header  = "comityjl" ‖ u32 version ‖ u32 seed ‖ u64 first position ‖ u32 crc32c of these 24 bytes
//! record  = u32 (flags ‖ len) xor seed ‖ u32 crc32c(seed ‖ flags, len ‖ body) ‖ body
//! body    = 16 bytes of salt ‖ the record, or 32 bytes that are left of an erased one
//! flags   = bit 31: first of its group; bit 30: last of its group; bit 28: erased
//! ```
//! All numbers are little-endian; `len` counts the body.
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
use super::entry::{Entry, SALT_BYTES};

/// The longest record, in bytes (`store.md` 4.2); checked before anything is allocated.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 28;

/// Bytes before a body: length and checksum.
const PREFIX_BYTES: usize = 8;

/// Bytes before a record's content: length, checksum and salt.
pub(super) const FRAME_BYTES: usize = PREFIX_BYTES + SALT_BYTES;

const MAGIC: &[u8; 8] = b"comityjl";
/// Version 1 hashed records without salt: its leaves are others, so it is refused, not converted.
const VERSION: u32 = 2;
const FIRST: u32 = 1 << 31;
const LAST: u32 = 1 << 30;
const ERASED: u32 = 1 << 28;
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

/// Appends `entries` to `out` as one group. No record may be empty or over [`MAX_RECORD_BYTES`].
pub(super) fn encode_group<'a>(
    seed: u32,
    entries: impl ExactSizeIterator<Item = Entry<'a>>,
    out: &mut Vec<u8>,
) {
    let last = entries.len().saturating_sub(1);
    for (i, entry) in entries.enumerate() {
        let place = Place {
            first_of_group: i == 0,
            last_of_group: i == last,
        };
        encode(seed, place, entry, out);
    }
}

/// Where in its group a record stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    first_of_group: bool,
    last_of_group: bool,
}

fn encode(seed: u32, place: Place, entry: Entry<'_>, out: &mut Vec<u8>) {
    let (salt, bytes, erased): (&[u8], &[u8], u32) = match entry {
        Entry::Kept { salt, record } => (salt, record, 0),
        Entry::Erased(inner) => (&[], inner, ERASED),
    };
    let mut word = (salt.len() + bytes.len()) as u32 | erased;
    if place.first_of_group {
        word |= FIRST;
    }
    if place.last_of_group {
        word |= LAST;
    }
    let crc = crc32c::crc32c_append(checksum(seed, word, salt), bytes);
    out.extend_from_slice(&(word ^ mask(seed)).to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(salt);
    out.extend_from_slice(bytes);
}

/// A valid record within a segment's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) entry: Entry<'a>,
    place: Place,
}

impl<'a> Frame<'a> {
    /// Bytes in the file, frame included.
    pub(super) fn len(&self) -> usize {
        match self.entry {
            Entry::Kept { record, .. } => FRAME_BYTES + record.len(),
            Entry::Erased(inner) => PREFIX_BYTES + inner.len(),
        }
    }

    /// The valid record at `offset`; `None` when there is none.
    pub(super) fn at(seed: u32, file: &'a [u8], offset: usize) -> Option<Self> {
        let word = u32_at(file, offset)? ^ mask(seed);
        let crc = u32_at(file, offset.checked_add(4)?)?;
        let len = (word & !(FIRST | LAST | ERASED)) as usize;
        if len == 0 || len > SALT_BYTES + MAX_RECORD_BYTES {
            return None;
        }
        let start = offset.checked_add(PREFIX_BYTES)?;
        let body = file.get(start..start.checked_add(len)?)?;
        if checksum(seed, word, body) != crc {
            return None;
        }
        let entry = if word & ERASED == 0 {
            let (salt, record) = body.split_first_chunk()?;
            (!record.is_empty()).then_some(Entry::Kept { salt, record })?
        } else {
            Entry::Erased(body.try_into().ok()?)
        };
        Some(Self {
            entry,
            place: Place {
                first_of_group: word & FIRST != 0,
                last_of_group: word & LAST != 0,
            },
        })
    }
}

/// The segment `file` with every record that `erase` chooses replaced by what
/// its leaf needs; `None` when it chooses none. Groups stay as they were.
///
/// `end` is where the last complete group ends; what follows is not kept.
pub(super) fn without(
    seed: u32,
    file: &[u8],
    end: usize,
    mut erase: impl FnMut(&[u8]) -> bool,
) -> Option<(Vec<u8>, u64)> {
    let mut out = file.get(..HEADER_BYTES)?.to_vec();
    let (mut offset, mut erased) = (HEADER_BYTES, 0);
    while offset < end {
        let frame = Frame::at(seed, file, offset)?;
        offset += frame.len();
        let inner = frame.entry.inner();
        let entry = match frame.entry {
            Entry::Kept { record, .. } if erase(record) => {
                erased += 1;
                Entry::Erased(&inner)
            }
            entry => entry,
        };
        encode(seed, frame.place, entry, &mut out);
    }
    (erased > 0).then_some((out, erased))
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
pub(super) fn scan(seed: u32, file: &[u8], mut visit: impl FnMut(Entry<'_>)) -> Scan {
    let mut scan = Scan {
        offsets: Vec::new(),
        end: HEADER_BYTES,
        tail: None,
    };
    let mut group: Vec<(u32, Entry<'_>)> = Vec::new();
    let mut offset = HEADER_BYTES;
    while offset < file.len() {
        let frame = Frame::at(seed, file, offset)
            .filter(|frame| frame.place.first_of_group == group.is_empty());
        let Some(frame) = frame else {
            scan.tail = Some(judge(seed, file, offset));
            return scan;
        };
        group.push((offset as u32, frame.entry));
        offset += frame.len();
        if frame.place.last_of_group {
            scan.end = offset;
            for (start, entry) in group.drain(..) {
                scan.offsets.push(start);
                visit(entry);
            }
        }
    }
    if !group.is_empty() {
        scan.tail = Some(Tail::Torn);
    }
    scan
}

/// The offset of the first record from `offset` on that is there in full, by
/// its length, and is not what its checksum says. A crash cuts the end of a
/// file off; it seldom changes what stands before the end, so whoever judges a
/// journal takes this for damage. Opening cannot: a power loss may also leave
/// holes in a group that was never acknowledged, and a node must start then.
pub(super) fn bad_record(seed: u32, file: &[u8], mut offset: usize) -> Option<usize> {
    while offset < file.len() {
        if let Some(frame) = Frame::at(seed, file, offset) {
            offset += frame.len();
            continue;
        }
        let word = u32_at(file, offset)? ^ mask(seed);
        let len = (word & !(FIRST | LAST | ERASED)) as usize;
        let possible = (1..=SALT_BYTES + MAX_RECORD_BYTES).contains(&len);
        let whole = offset + PREFIX_BYTES + len <= file.len();
        return (whole || !possible).then_some(offset);
    }
    None
}

/// Whether the bad bytes at `offset` are a torn tail or damage.
fn judge(seed: u32, file: &[u8], offset: usize) -> Tail {
    let later_group = (offset..file.len()).any(|at| {
        Frame::at(seed, file, at).is_some_and(|frame| frame.place.first_of_group && at > offset)
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
