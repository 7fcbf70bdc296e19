//! The narrow trait in front of the embedded store.
//!
//! Small and object-safe on purpose: the default store is one line to change
//! (`store.md`, section 6), and every implementation passes one conformance suite.

use std::borrow::Cow;

/// The longest value, in bytes.
///
/// sled moves larger pages into files of their own that it never syncs and may
/// leak; up to 7 KiB it makes none (`store.md` 3.1). What is longer goes to
/// [`Content`](super::Content) and the index keeps its digest.
pub const MAX_VALUE: usize = 6 << 10;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1 << 10;

/// Where a record of the index belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Organizations we know: key histories, high-water marks.
    Organizations = 1,
    /// Organization documents.
    Documents = 2,
    /// Own products.
    Products = 3,
    /// Descriptors, own and foreign.
    Descriptors = 4,
    /// Heads, own and foreign.
    Heads = 5,
    /// Negotiations and their states.
    Negotiations = 6,
    /// Signed agreements.
    Agreements = 7,
    /// Members of the own organization and the hashes of their tokens.
    Members = 8,
    /// Invitations given out.
    Invitations = 9,
    /// Grants issued and revoked.
    Grants = 10,
    /// What the index records about itself.
    Meta = 11,
    /// What was measured of products, own and foreign.
    Results = 12,
    /// Deliveries that no receipt settled yet, sent and received.
    Deliveries = 13,
    /// Receipts that something is still to be done with.
    Receipts = 14,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 14] = [
        Self::Organizations,
        Self::Documents,
        Self::Products,
        Self::Descriptors,
        Self::Heads,
        Self::Negotiations,
        Self::Agreements,
        Self::Members,
        Self::Invitations,
        Self::Grants,
        Self::Meta,
        Self::Results,
        Self::Deliveries,
        Self::Receipts,
    ];

    /// The name of the table on disk and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organizations => "organizations",
            Self::Documents => "documents",
            Self::Products => "products",
            Self::Descriptors => "descriptors",
            Self::Heads => "heads",
            Self::Negotiations => "negotiations",
            Self::Agreements => "agreements",
            Self::Members => "members",
            Self::Invitations => "invitations",
            Self::Grants => "grants",
            Self::Meta => "meta",
            Self::Results => "results",
            Self::Deliveries => "deliveries",
            Self::Receipts => "receipts",
        }
    }
}

/// One change to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The key has this value from now on.
    Put {
        /// At most [`MAX_KEY`] bytes.
        key: Vec<u8>,
        /// At most [`MAX_VALUE`] bytes.
        value: Vec<u8>,
    },
    /// The key has no value from now on.
    Delete {
        /// At most [`MAX_KEY`] bytes.
        key: Vec<u8>,
    },
}

impl Op {
    /// `key` gets `value`.
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
        }
    }

    /// `key` loses its value.
    pub fn delete(key: impl Into<Vec<u8>>) -> Self {
        Self::Delete { key: key.into() }
    }

    /// The key that changes.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// The value that the key gets, if any.
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Put { value, .. } => Some(value),
            Self::Delete { .. } => None,
        }
    }
}

/// A key with its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A key-value store with ordered keys. Calls may block on the disk.
pub trait Store: Send + Sync {
    /// The value of `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` entries with `from <= key < to`, in key order. An empty
    /// `to` means no upper end.
    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Makes every change of `batch`, in order, or none. A key or value over
    /// [`MAX_KEY`] or [`MAX_VALUE`] refuses the batch.
    fn apply(&self, table: Table, batch: &[Op]) -> Result<(), StoreError>;

    /// Returns when everything applied before the call is on the device.
    fn barrier(&self) -> Result<(), StoreError>;
}

/// Why a store refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The value is longer than [`MAX_VALUE`].
    #[error(
        "a value of {bytes} bytes is over the {MAX_VALUE} that the index takes: store it by its digest"
    )]
    ValueTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The key is longer than [`MAX_KEY`].
    #[error("a key of {bytes} bytes is over the {MAX_KEY} that the index takes")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The store failed or panicked; the index is rebuilt at the next start.
    #[error("the index failed ({0}): restart the node, which rebuilds it from the journal")]
    Failed(Cow<'static, str>),
}

/// Refuses a batch with a key or value that is too long.
pub(super) fn check(batch: &[Op]) -> Result<(), StoreError> {
    for op in batch {
        let key = op.key().len();
        if key > MAX_KEY {
            return Err(StoreError::KeyTooLong { bytes: key });
        }
        let value = op.value().map_or(0, <[u8]>::len);
        if value > MAX_VALUE {
            return Err(StoreError::ValueTooLong { bytes: value });
        }
    }
    Ok(())
}
