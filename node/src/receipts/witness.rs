//! Partners' checkpoints: each partner is a witness against the other's
//! rewriting of its journal (A33).

use std::sync::Arc;

use comity_identity::{Digest, OrgId, Timestamp};

use crate::admin::Metrics;
use crate::index::Table;
use crate::journal::merkle::{self, Hash};
use crate::ledger::{self, Facet, JournalRewritten, Ledger, Record, Witnessed, org_key};

/// How far a journal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How many entries it has.
    pub size: u64,
    /// The Merkle root over them.
    pub root: Digest,
}

/// The largest proven checkpoint of every partner.
#[derive(Clone, Debug)]
pub struct Witnesses {
    ledger: Arc<Ledger>,
    metrics: Metrics,
}

impl Witnesses {
    /// Those in `ledger`.
    pub fn new(ledger: Arc<Ledger>, metrics: Metrics) -> Self {
        Self { ledger, metrics }
    }

    /// The checkpoint of `org` that is held here.
    pub fn held(&self, org: &OrgId) -> Result<Option<Held>, ledger::Error> {
        let key = org_key(org, Facet::Witnessed);
        let record = self.ledger.get(Table::Organizations, &key)?;
        Ok(match record {
            Some(Record::Witnessed(w)) => Some(Held {
                size: w.size,
                root: w.root,
            }),
            _ => None,
        })
    }

    /// The size of the checkpoint of `org` that is held here; 0 for none.
    pub fn held_size(&self, org: &OrgId) -> Result<u64, ledger::Error> {
        Ok(self.held(org)?.map_or(0, |h| h.size))
    }

    /// The record to commit for `stated`, a checkpoint that was proven: none if
    /// a larger one is held.
    pub fn record(
        org: OrgId,
        held: Option<Held>,
        stated: Held,
        text: Option<&str>,
        at: Timestamp,
    ) -> Option<Record> {
        let newer = held.is_none_or(|h| h.size < stated.size);
        newer.then(|| {
            Record::Witnessed(Witnessed {
                org,
                size: stated.size,
                root: stated.root,
                text: text.map(str::to_owned),
                at,
            })
        })
    }

    /// Whether `proof` shows that the journals of `held` and of `stated` are one
    /// (`spec/4-negotiation.md#N-68`). Nothing contradicts a first checkpoint.
    pub fn is_consistent(held: Option<Held>, stated: Held, proof: &[Digest]) -> bool {
        let Some(held) = held else {
            return true;
        };
        let (old, new) = match held.size <= stated.size {
            true => (held, stated),
            // An older receipt that comes late: the other way round.
            false => (stated, held),
        };
        let hash = |d: &Digest| -> Hash { *d.as_bytes() };
        let proof: Vec<Hash> = proof
            .iter()
            .take(merkle::MAX_PROOF_HASHES + 1)
            .map(hash)
            .collect();
        merkle::verify_consistency(
            old.size,
            new.size,
            &proof,
            &hash(&old.root),
            &hash(&new.root),
        )
    }

    /// Keeps the evidence that `org` rewrote its journal, and raises the alarm
    /// (`spec/4-negotiation.md#N-69`). Said again it is written down once: a
    /// partner that repeats itself must not fill the disk.
    pub async fn alarm(
        &self,
        org: OrgId,
        held: Option<Held>,
        stated: Held,
        text: &str,
        proof: &[Digest],
        at: Timestamp,
    ) -> Result<(), ledger::Error> {
        self.metrics.alarm("journal-rewritten");
        let Some(held) = held else {
            return Ok(());
        };
        tracing::error!(
            %org, held = held.size, held_root = %held.root, stated = stated.size, root = %stated.root,
            "ALARM: a partner's journal is not the one that it showed before; it was rewritten or cut"
        );
        let key = org_key(&org, Facet::Rewritten);
        if let Some(Record::JournalRewritten(known)) =
            self.ledger.get(Table::Organizations, &key)?
            && (known.size, known.root, known.held_size) == (stated.size, stated.root, held.size)
        {
            return Ok(());
        }
        let record = Record::JournalRewritten(JournalRewritten {
            org,
            held_size: held.size,
            held_root: held.root,
            size: stated.size,
            root: stated.root,
            text: text.to_owned(),
            proof: proof
                .iter()
                .take(merkle::MAX_PROOF_HASHES)
                .copied()
                .collect(),
            at,
        });
        self.ledger.commit(&record).await.map(drop)
    }

    /// The proof that this node's own journal at the smaller of two sizes is a
    /// beginning of that at the larger; empty when there is none, because the
    /// journal has fewer entries.
    pub fn own_proof(&self, held: u64, size: u64) -> Vec<Digest> {
        if held == 0 {
            return Vec::new();
        }
        let (old, new) = (held.min(size), held.max(size));
        self.ledger.consistency(old, new).unwrap_or_else(|| {
            tracing::error!(
                held, size,
                "a partner holds a checkpoint that this node's journal does not reach: was an old copy of it restored?"
            );
            Vec::new()
        })
    }
}
