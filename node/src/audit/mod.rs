//! What the journal proves, for auditors: read as files, without the node.
//!
//! ```text
//! keys     whose keys counted when, as the journal recorded it
//! claim    the checkpoints of this journal that anybody signed
//! deliveries  do receipts state what was recorded, and no more than was agreed?
//! verify   does the journal hold what it was claimed to hold?
//! words    records as people read them, and which of them they look for
//! bundle   one agreement with everything that proves it
//! erase    a member's personal data, without breaking the proofs
//! ```
//!
//! Nothing here trusts this organization: its administrators can write any
//! bytes into its files. What convinces is a signature of another organization,
//! or of this one in another's hands (A33).

mod bundle;
mod claim;
mod deliveries;
mod erase;
mod keys;
mod verify;
mod words;

#[cfg(test)]
mod tests;

pub use bundle::{Bundle, Proven, export};
pub use claim::{Held, MAX_HELD_BYTES, read_held};
pub use erase::{Erasure, erase_member};
pub use verify::{Problem, Report, Verdict, verify};
pub use words::{Filter, Line, show};

use std::path::Path;

use comity_identity::Digest;
use comity_protocol::checkpoint::Checkpoint;

use crate::clock;
use crate::failure::Failure;
use crate::home::Home;
use crate::journal::{Journal, JournalError, Walk};
use crate::keys::Keys;

/// Signs what the journal of `home` is at this moment: for a partner or an
/// auditor to keep (`spec/6-evidence.md#V-5`). A journal that does not verify
/// gets no checkpoint.
pub fn checkpoint(home: &Home) -> Result<String, Failure> {
    let mut keys = keys::Recorded::default();
    let walk = walk(&home.journal(), |_, record| keys.take_json(record))?;
    sign(home, &keys, &walk)
}

fn sign(home: &Home, keys: &keys::Recorded, walk: &Walk) -> Result<String, Failure> {
    if let Some(broken) = &walk.broken {
        return Err(Failure::own("journal-broken", broken).next("run 'comity audit verify'"));
    }
    let size = walk.tree.size();
    let root = walk.tree.root(size).unwrap_or_default();
    let org = keys.own().ok_or_else(nobody)?;
    let checkpoint = Checkpoint {
        v: 1,
        org,
        size,
        root: Digest::from_bytes(root),
        at: clock::now(),
    };
    let signer = Keys::open(home.path()).map_err(|e| Failure::own("keys", e))?;
    checkpoint
        .sign(&*signer.issuer)
        .map_err(|e| Failure::own("checkpoint", e))
}

/// Gives the JSON of every record that is there to `visit`, in order.
fn walk(journal: &Path, mut visit: impl FnMut(u64, &[u8])) -> Result<Walk, Failure> {
    Journal::walk(journal, |position, entry| {
        if let crate::journal::Entry::Kept { record, .. } = entry {
            visit(position, record);
        }
    })
    .map_err(unreadable)
}

fn unreadable(error: JournalError) -> Failure {
    Failure::own("journal", error)
}

fn nobody() -> Failure {
    Failure::own("not-founded", "the journal holds no organization")
        .next("name the organization's folder with --home")
}
