//! The consumer's side: receipts are compared with what came, and answered.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use comity_identity::grant::Chain;
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::checkpoint::{Checkpoint, MAX_PROOF_HASHES};
use comity_protocol::keys::IssuerKeys;
use comity_protocol::negotiation::SignedDocument;
use comity_protocol::receipt::{self, Answer, OutOfTurn, Place, StatedReceipt, Turn};
use comity_protocol::wire::{ReceiptAnswer, Receipted, RefusalCode, Response};

use super::reading::Reading;
use super::witness::{Held, Witnesses};
use crate::admin::Metrics;
use crate::index::Table;
use crate::ledger::{
    self, Ledger, ReceiptFacet, ReceiptTaken, Record, delivery_key, direct_key, grant_key,
    receipt_key,
};
use crate::own::Own;

/// What this node, as a consumer, answers to receipts.
#[derive(Debug)]
pub struct Taken {
    own: Arc<Own>,
    ledger: Arc<Ledger>,
    witnesses: Witnesses,
    reading: Arc<Reading>,
    metrics: Metrics,
    /// One receipt at a time: two of one number must not both be the next.
    turn: tokio::sync::Mutex<()>,
}

impl Taken {
    /// Answers with what is in `ledger`.
    pub fn new(own: Arc<Own>, ledger: Arc<Ledger>, metrics: Metrics) -> Self {
        Self {
            own,
            witnesses: Witnesses::new(Arc::clone(&ledger), metrics.clone()),
            reading: Arc::new(Reading::new(Arc::clone(&ledger))),
            ledger,
            metrics,
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// The answers that are being read.
    pub fn reading(&self) -> &Arc<Reading> {
        &self.reading
    }

    /// Answers a receipt that `provider` sent under `agreement`, whose provider
    /// it is. The answer is in the journal before it is given
    /// (`spec/4-negotiation.md#N-63`).
    ///
    /// # Errors
    /// The receipt is refused, with the code for the provider; the reason is logged.
    pub async fn answer(
        &self,
        provider: &OrgId,
        agreement: &SignedDocument,
        asked: &Receipted,
        keys: &(dyn IssuerKeys + Sync),
        now: Timestamp,
    ) -> Result<Response, RefusalCode> {
        let of = (agreement.digest(), agreement.document());
        if agreement.document().provider.org != *provider || asked.proof.len() > MAX_PROOF_HASHES {
            return Err(RefusalCode::Malformed);
        }
        // Whatever costs more than reading it comes after the signature.
        let stated = StatedReceipt::verify(&asked.text, of, keys, now).map_err(|error| {
            tracing::warn!(%provider, %error, "a receipt is not believed");
            RefusalCode::Malformed
        })?;
        let _turn = self.turn.lock().await;
        let held = self.witnesses.held(provider).map_err(unavailable)?;
        if asked.held != held.map_or(0, |h| h.size) {
            return Ok(Response::ProveFrom(held.map_or(0, |h| h.size)));
        }
        let shown = Held {
            size: stated.receipt().journal_size,
            root: stated.receipt().journal_root,
        };
        // Before the chain is looked at: a journal that was cut tells itself by
        // both, and this is what a court can check.
        if !Witnesses::is_consistent(held, shown, &asked.proof) {
            let (text, proof) = (&asked.text, &asked.proof);
            let alarm = self
                .witnesses
                .alarm(*provider, held, shown, text, proof, now);
            alarm.await.map_err(unavailable)?;
            return Err(RefusalCode::ConflictingEvidence);
        }
        let last = self.last(&of.0).map_err(unavailable)?;
        let place = last.as_ref().map(|l| Place {
            seq: l.seq,
            id: l.id,
        });
        match stated.receipt().turn(stated.digest(), place) {
            Ok(Turn::Next) => {}
            Ok(Turn::Again) => {
                let text = last.map(|l| l.text).unwrap_or_default();
                return self.respond(text, asked.witness, now);
            }
            Err(why) => {
                // spec/4-negotiation.md#N-67
                let seq = stated.receipt().seq;
                tracing::error!(%provider, agreement = %of.0, seq, ?place, %why, "a receipt is refused");
                return Err(match why {
                    OutOfTurn::Gap => RefusalCode::OutOfOrder,
                    OutOfTurn::Fork => RefusalCode::ConflictingEvidence,
                });
            }
        }
        let deliveries = &stated.receipt().deliveries;
        if deliveries
            .iter()
            .any(|d| self.reading.is_under_way(&d.trace))
        {
            return Err(RefusalCode::Busy);
        }
        let mut records = self.settle(stated, &of.0, asked, now)?;
        records.extend(Witnesses::record(*provider, held, shown, None, now));
        let text = match records.first() {
            Some(Record::ReceiptTaken(taken)) => taken.text.clone(),
            _ => return Err(RefusalCode::Unavailable),
        };
        self.ledger
            .commit_all(&records)
            .await
            .map_err(unavailable)?;
        self.respond(text, asked.witness, now)
    }

    /// Compares, signs, and gives the record of it.
    fn settle(
        &self,
        stated: StatedReceipt,
        agreement: &Digest,
        asked: &Receipted,
        now: Timestamp,
    ) -> Result<Vec<Record>, RefusalCode> {
        let (seq, id) = (stated.receipt().seq, stated.digest());
        let mut received = BTreeMap::new();
        for delivered in &stated.receipt().deliveries {
            let key = delivery_key(agreement, &delivered.trace);
            let record = self
                .ledger
                .get(Table::Deliveries, &key)
                .map_err(unavailable)?;
            if let Some(Record::Received(r)) = record {
                received.insert(r.trace.clone(), counted(&r));
            }
        }
        let mut issued = BTreeMap::new();
        // By each first link, the rows of all receipts with this one.
        let mut direct = BTreeMap::new();
        for delivered in &stated.receipt().deliveries {
            let Some(first) = delivered.direct else {
                continue;
            };
            if let Entry::Vacant(new) = direct.entry(first) {
                let before = self.direct(agreement, &first).map_err(unavailable)?;
                new.insert(before);
                let key = grant_key(agreement, &first);
                let record = self.ledger.get(Table::Grants, &key).map_err(unavailable)?;
                if let Some(Record::GrantIssued(g)) = record
                    && let Some(grant) = vouched(&g, before)
                {
                    issued.insert(first, grant);
                }
            }
            if let Some(rows) = direct.get_mut(&first) {
                *rows = rows.saturating_add(delivered.rows);
            }
        }
        let answer = stated.answer(
            |trace| received.get(trace).copied(),
            |first| issued.get(first).copied(),
            &*self.own.keys().issuer,
            now,
        );
        let answer = answer.map_err(|error| {
            tracing::error!(%agreement, seq, %error, "a receipt cannot be answered");
            RefusalCode::Unavailable
        })?;
        let (disputed, text) = match answer {
            Answer::Countersigned(text) => (false, text),
            Answer::Disputed(text) => (true, text),
        };
        self.metrics.receipt(match disputed {
            true => "disputed",
            false => "countersigned",
        });
        if disputed {
            tracing::error!(%agreement, seq, "a receipt states something else than was received; disputed");
        }
        Ok(vec![Record::ReceiptTaken(ReceiptTaken {
            agreement: *agreement,
            seq,
            id,
            disputed,
            text,
            receipt: disputed.then(|| asked.text.clone()),
            direct: match disputed {
                true => BTreeMap::new(),
                false => direct,
            },
            at: now,
        })])
    }

    /// The answer with this node's own checkpoint, which has the answer's record in it.
    fn respond(&self, text: String, witness: u64, now: Timestamp) -> Result<Response, RefusalCode> {
        let (size, root) = self.ledger.root();
        let checkpoint = Checkpoint {
            v: 1,
            org: self.own.org(),
            size,
            root,
            at: now,
        };
        let checkpoint = checkpoint.sign(&*self.own.keys().issuer).map_err(|error| {
            tracing::error!(%error, "a checkpoint cannot be signed");
            RefusalCode::Unavailable
        })?;
        Ok(Response::Receipt(Box::new(ReceiptAnswer {
            text,
            checkpoint,
            proof: self.witnesses.own_proof(witness, size),
        })))
    }

    /// The rows that holders of a grant were delivered directly, as far as they
    /// are countersigned.
    fn direct(&self, agreement: &Digest, first: &Digest) -> Result<u64, ledger::Error> {
        let key = direct_key(agreement, first);
        Ok(match self.ledger.get(Table::Grants, &key)? {
            Some(Record::ReceiptTaken(taken)) => taken.direct.get(first).copied().unwrap_or(0),
            _ => 0,
        })
    }

    fn last(&self, agreement: &Digest) -> Result<Option<ReceiptTaken>, ledger::Error> {
        let key = receipt_key(agreement, ReceiptFacet::Taken, 0);
        Ok(match self.ledger.get(Table::Receipts, &key)? {
            Some(Record::ReceiptTaken(taken)) => Some(taken),
            _ => None,
        })
    }
}

/// What is vouched for of a grant that this node handed out, under which so many
/// rows were `delivered`.
fn vouched(issued: &ledger::GrantIssued, delivered: u64) -> Option<receipt::Issued> {
    // Our own text, out of our own journal.
    let chain = Chain::from_links(vec![issued.text.clone()]);
    let grant = chain.danger_unverified().ok()?.pop()?;
    Some(receipt::Issued {
        not_before: grant.nbf,
        expires: grant.exp,
        max_rows: grant.max_rows,
        delivered,
    })
}

/// What this node counted of one answer.
pub(crate) fn counted(received: &ledger::Received) -> receipt::Received {
    receipt::Received {
        grant: received.grant,
        query: received.query,
        rows: received.rows,
        bytes: received.bytes,
        content: received.content,
        whole: received.ended.is_none(),
    }
}

fn unavailable(error: ledger::Error) -> RefusalCode {
    tracing::error!(%error, "a receipt cannot be answered now");
    RefusalCode::Unavailable
}
