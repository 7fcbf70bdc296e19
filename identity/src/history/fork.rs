//! Two histories of one organization: equal, one longer, or a fork.

use serde::{Deserialize, Serialize};

use super::{History, HistoryError};
use crate::{Digest, OrgId};

/// How one verified history relates to another.
#[derive(Clone, Debug)]
pub enum Comparison {
    /// Both have the same events.
    Same,
    /// The other history continues this one.
    Ahead,
    /// This history continues the other one.
    Behind,
    /// The organization signed two different events with one sequence number (A12).
    Fork(Box<ForkProof>),
    /// The histories belong to different organizations.
    Unrelated,
}

pub(super) fn compare(ours: &History, theirs: &History) -> Comparison {
    if ours.org != theirs.org {
        return Comparison::Unrelated;
    }
    let split = ours
        .digests
        .iter()
        .zip(&theirs.digests)
        .position(|(a, b)| a != b);
    match split {
        Some(at) => Comparison::Fork(Box::new(ForkProof {
            shared: ours.texts[..at].to_vec(),
            left: ours.texts[at].clone(),
            right: theirs.texts[at].clone(),
        })),
        None => match ours.digests.len().cmp(&theirs.digests.len()) {
            core::cmp::Ordering::Equal => Comparison::Same,
            core::cmp::Ordering::Less => Comparison::Ahead,
            core::cmp::Ordering::Greater => Comparison::Behind,
        },
    }
}

/// Evidence that an organization signed two different events with one sequence
/// number. Anyone can check it with nothing else at hand
/// (`spec/2-identity.md#I-11`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkProof {
    /// The events that both branches share, oldest first.
    shared: Vec<String>,
    /// One continuation.
    left: String,
    /// The other continuation.
    right: String,
}

/// What a [`ForkProof`] proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The organization that forked its history.
    pub org: OrgId,
    /// The sequence number that was used twice.
    pub seq: u64,
    /// The digests of the two events.
    pub events: [Digest; 2],
}

impl ForkProof {
    /// Verifies both branches and that they differ.
    pub fn verify(&self) -> Result<Fork, NotAFork> {
        let shared = History::verify(&self.shared)?;
        let left = shared.extend(&self.left)?;
        let right = shared.extend(&self.right)?;
        if left.head() == right.head() {
            return Err(NotAFork::SameEvent);
        }
        Ok(Fork {
            org: shared.org(),
            seq: left.seq(),
            events: [left.head(), right.head()],
        })
    }
}

/// Why evidence of a fork proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAFork {
    /// One of the branches is not a valid history.
    #[error("a branch of the alleged fork is refused: {0}")]
    Branch(#[from] HistoryError),
    /// Both branches hold the same event, perhaps with other signatures.
    #[error("both branches of the alleged fork hold the same event")]
    SameEvent,
}
