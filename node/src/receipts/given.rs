//! The provider's side: deliveries become receipts, and receipts are answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::checkpoint::{Checkpoint, MAX_PROOF_HASHES};
use comity_protocol::keys::IssuerKeys;
use comity_protocol::negotiation::SignedDocument;
use comity_protocol::receipt::{
    Delivered, Dispute, INTERRUPTED, MAX_DELIVERIES, Place, Receipt, ReceiptError, SignedReceipt,
};
use comity_protocol::wire::{ReceiptAnswer, Receipted};
use tokio::sync::Notify;

use super::witness::{Held, Witnesses};
use crate::admin::Metrics;
use crate::clock;
use crate::index::Table;
use crate::ledger::{
    self, Delivery, DisputeAccepted, Ledger, ReceiptAnswered, ReceiptFacet, Record, receipt_key,
};
use crate::own::Own;

/// While a receipt is unanswered, the next one of its agreement waits so many
/// times as long: a consumer that still reads one answer refuses the receipt
/// with it, and must not be paused for that in seconds.
const UNANSWERED_FACTOR: u32 = 12;

/// How receipts are made.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a delivery waits for others to share its receipt.
    pub wait: Duration,
    /// Receipts of one agreement that may be unanswered; then it pauses.
    pub max_unanswered: usize,
}

/// What partners received of this node, stated in receipts.
#[derive(Debug)]
pub struct Given {
    own: Arc<Own>,
    ledger: Arc<Ledger>,
    witnesses: Witnesses,
    metrics: Metrics,
    settings: Settings,
    chains: Mutex<BTreeMap<Digest, Chain>>,
    /// One receipt is made at a time: each names the one before it.
    making: tokio::sync::Mutex<()>,
    more: Notify,
    /// The largest checkpoint of ours that each partner has proven to hold, as
    /// far as this run knows: the partner says so when it is another.
    held_by: Mutex<BTreeMap<OrgId, u64>>,
}

/// The receipts of one agreement.
#[derive(Debug, Default)]
struct Chain {
    /// Deliveries that ended and are in no receipt, in that order.
    open: Vec<Delivered>,
    /// Since when the first of them waits.
    since: Option<Instant>,
    last: Option<Place>,
    unanswered: BTreeMap<u64, Digest>,
    disputed: BTreeSet<u64>,
}

/// How the receipts of an agreement stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Deliveries in no receipt yet.
    pub open: usize,
    /// Receipts made.
    pub made: u64,
    /// Of these, unanswered.
    pub unanswered: usize,
    /// The numbers of those that are disputed, and the dispute not accepted.
    pub disputes: BTreeSet<u64>,
    /// Whether queries are refused.
    pub paused: bool,
}

/// What a receipt was sent with, to judge the answer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The receipt's number.
    pub seq: u64,
    /// The size of the consumer's checkpoint that this node holds.
    pub witness: u64,
    /// The size of the receipt's own checkpoint.
    pub size: u64,
}

/// Why an answer to a receipt is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The consumer's fault: it is neither countersigned nor a dispute.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The consumer's fault: what it sent beside the answer is not its checkpoint.
    #[error("its checkpoint is not believed: {0}")]
    Checkpoint(comity_protocol::keys::StatementError),
    /// Ours.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
}

impl Given {
    /// Reads what is in no receipt, and what is not answered, from the ledger,
    /// for `agreements`: those in which this organization is the provider.
    /// A delivery whose end was never written, because the node ended first,
    /// ends now as interrupted (`spec/4-negotiation.md#N-71`).
    pub async fn load(
        own: Arc<Own>,
        ledger: Arc<Ledger>,
        metrics: Metrics,
        settings: Settings,
        agreements: &[Digest],
    ) -> Result<Self, ledger::Error> {
        let mut deliveries = Vec::new();
        let mut interrupted = Vec::new();
        // By agreement: the table also has what this node received of partners,
        // of whom one that never makes a receipt lets it grow.
        let mut unsettled = Vec::new();
        for agreement in agreements {
            unsettled.extend(ledger.scan(Table::Deliveries, agreement.as_bytes())?);
        }
        for (_, record) in unsettled {
            match record {
                Record::Delivery(d) if d.rows.is_some() => deliveries.push(d),
                Record::Delivery(d) => interrupted.push(Delivery {
                    rows: Some(0),
                    bytes: Some(0),
                    content: Some(Digest::of(b"")),
                    ended: Some(INTERRUPTED.to_owned()),
                    at: clock::now(),
                    ..d
                }),
                _ => {}
            }
        }
        for delivery in interrupted {
            ledger.commit(&Record::Delivery(delivery.clone())).await?;
            deliveries.push(delivery);
        }
        deliveries.sort_by(|a, b| (a.at, &a.trace).cmp(&(b.at, &b.trace)));
        let mut chains: BTreeMap<Digest, Chain> = BTreeMap::new();
        for (key, record) in ledger.scan(Table::Receipts, &[])? {
            match record {
                Record::Receipt(r) => {
                    let place = Place {
                        seq: r.seq,
                        id: r.id,
                    };
                    let chain = chains.entry(r.agreement).or_default();
                    match key == receipt_key(&r.agreement, ReceiptFacet::Last, 0) {
                        true => chain.last = Some(place),
                        false => drop(chain.unanswered.insert(r.seq, r.id)),
                    }
                }
                Record::ReceiptAnswered(r) => {
                    chains
                        .entry(r.agreement)
                        .or_default()
                        .disputed
                        .insert(r.seq);
                }
                _ => {}
            }
        }
        let given = Self {
            own,
            witnesses: Witnesses::new(Arc::clone(&ledger), metrics.clone()),
            ledger,
            metrics,
            settings,
            chains: Mutex::new(chains),
            making: tokio::sync::Mutex::new(()),
            more: Notify::new(),
            held_by: Mutex::default(),
        };
        deliveries.iter().for_each(|d| given.delivered(d));
        Ok(given)
    }

    /// A delivery ended, and its record is on the device.
    pub fn delivered(&self, delivery: &Delivery) {
        let Some((agreement, delivered)) = stated(delivery) else {
            return;
        };
        let mut chains = self.lock();
        let chain = chains.entry(agreement).or_default();
        chain.open.push(delivered);
        chain.since.get_or_insert_with(Instant::now);
        if chain.open.len() == 1 || chain.open.len() >= MAX_DELIVERIES {
            self.more.notify_one();
        }
    }

    /// Whether queries under `agreement` must be refused until receipts are
    /// acknowledged (`spec/4-negotiation.md#N-70`): fair exchange without a
    /// third party is impossible, so what can be lost is bounded.
    pub fn is_due(&self, agreement: &Digest) -> bool {
        self.lock().get(agreement).is_some_and(|c| self.pauses(c))
    }

    /// How the receipts of `agreement` stand.
    pub fn standing(&self, agreement: &Digest) -> Standing {
        let chains = self.lock();
        let none = Chain::default();
        let chain = chains.get(agreement).unwrap_or(&none);
        Standing {
            open: chain.open.len(),
            made: chain.last.map_or(0, |l| l.seq),
            unanswered: chain.unanswered.len(),
            disputes: chain.disputed.clone(),
            paused: self.pauses(chain),
        }
    }

    /// Waits until a receipt is due, or may be due earlier than was known.
    pub async fn until_due(&self) {
        let due = {
            let chains = self.lock();
            chains.values().filter_map(|c| self.due_at(c)).min()
        };
        match due {
            Some(due) => {
                let due = tokio::time::Instant::from_std(due);
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = self.more.notified() => {}
                }
            }
            None => self.more.notified().await,
        }
    }

    /// Makes every receipt that is due at `now`, writes each down, and gives
    /// their agreements.
    ///
    /// # Errors
    /// The journal does not take it: the deliveries stay where they are.
    pub async fn make_due(&self, now: Instant) -> Result<Vec<Digest>, ledger::Error> {
        let due: Vec<Digest> = {
            let chains = self.lock();
            let is_due = |c: &Chain| self.due_at(c).is_some_and(|due| due <= now);
            let due = chains.iter().filter(|(_, c)| is_due(c));
            due.map(|(agreement, _)| *agreement).collect()
        };
        for agreement in &due {
            self.make(*agreement).await?;
        }
        Ok(due)
    }

    /// The unanswered receipts of `agreement`, oldest first.
    pub fn unanswered(&self, agreement: &Digest) -> Vec<u64> {
        let chains = self.lock();
        let chain = chains.get(agreement);
        chain.map_or_else(Vec::new, |c| c.unanswered.keys().copied().collect())
    }

    /// The size of this node's checkpoint that `consumer` holds, as far as is known.
    pub fn held_by(&self, consumer: &OrgId) -> u64 {
        let held = self.held_by.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(consumer).copied().unwrap_or(0)
    }

    /// The message with the unanswered receipt `seq`, proven from the
    /// checkpoint of the size `held`; none when it was answered meanwhile.
    pub fn message(
        &self,
        consumer: &OrgId,
        agreement: &Digest,
        seq: u64,
        held: u64,
    ) -> Result<Option<(Receipted, Sent)>, ledger::Error> {
        let key = receipt_key(agreement, ReceiptFacet::Unanswered, seq);
        let Some(Record::Receipt(receipt)) = self.ledger.get(Table::Receipts, &key)? else {
            return Ok(None);
        };
        let Ok((stated, _)) = Receipt::recall(&receipt.text) else {
            return Ok(None);
        };
        let sent = Sent {
            seq,
            witness: self.witnesses.held_size(consumer)?,
            size: stated.journal_size,
        };
        let message = Receipted {
            text: receipt.text,
            held,
            proof: self.witnesses.own_proof(held, sent.size),
            witness: sent.witness,
        };
        Ok(Some((message, sent)))
    }

    /// Takes the consumer's answer to receipt `seq` of `agreement`; gives
    /// whether it is countersigned.
    ///
    /// # Errors
    /// The answer is not believed, or cannot be recorded: the receipt stays unanswered.
    pub async fn answered(
        &self,
        agreement: &SignedDocument,
        Sent { seq, witness, size }: Sent,
        answer: &ReceiptAnswer,
        keys: &(dyn IssuerKeys + Sync),
        now: Timestamp,
    ) -> Result<bool, AnswerError> {
        let of = (agreement.digest(), agreement.document());
        let consumer = agreement.document().consumer.org;
        let Some(id) = self
            .lock()
            .get(&of.0)
            .and_then(|c| c.unanswered.get(&seq).copied())
        else {
            return Ok(true);
        };
        // A general envelope is a JSON object; a compact one never begins so.
        let disputed = !answer.text.starts_with('{');
        if disputed {
            Dispute::verify(&answer.text, &consumer, (of.0, id), keys, now)?;
        } else if SignedReceipt::verify(&answer.text, of, keys, now)?.digest() != id {
            return Err(ReceiptError::OtherReceipt.into());
        }
        let mut records = vec![Record::ReceiptAnswered(ReceiptAnswered {
            agreement: of.0,
            seq,
            id,
            disputed,
            text: answer.text.clone(),
            at: now,
        })];
        // Believed or not, a countersignature counts; the checkpoint is apart.
        let witnessed = self.witness(&consumer, witness, answer, keys, now).await;
        if let Ok(witnessed) = &witnessed {
            records.extend(witnessed.clone());
        }
        self.ledger.commit_all(&records).await?;
        {
            let mut held = self.held_by.lock().unwrap_or_else(PoisonError::into_inner);
            let known = held.entry(consumer).or_default();
            *known = size.max(*known);
        }
        {
            let mut chains = self.lock();
            let chain = chains.entry(of.0).or_default();
            chain.unanswered.remove(&seq);
            if disputed {
                chain.disputed.insert(seq);
            }
        }
        self.metrics.receipt(match disputed {
            true => "disputed",
            false => "countersigned",
        });
        if disputed {
            tracing::error!(agreement = %of.0, seq, "the partner disputes a receipt; its agreement pauses until the dispute is accepted");
        }
        // The next receipt need not wait any longer.
        self.more.notify_one();
        witnessed?;
        Ok(!disputed)
    }

    /// The operator accepts what the partner disputed of receipt `seq`: the
    /// agreement goes on. Gives whether there was such a dispute.
    pub async fn accept_dispute(&self, agreement: Digest, seq: u64) -> Result<bool, ledger::Error> {
        let disputes = |c: &Chain| c.disputed.contains(&seq);
        if !self.lock().get(&agreement).is_some_and(disputes) {
            return Ok(false);
        }
        let record = Record::DisputeAccepted(DisputeAccepted {
            agreement,
            seq,
            at: clock::now(),
        });
        self.ledger.commit(&record).await?;
        if let Some(chain) = self.lock().get_mut(&agreement) {
            chain.disputed.remove(&seq);
        }
        Ok(true)
    }

    /// The record of the consumer's checkpoint, if it is proven and news.
    async fn witness(
        &self,
        consumer: &OrgId,
        witness: u64,
        answer: &ReceiptAnswer,
        keys: &(dyn IssuerKeys + Sync),
        now: Timestamp,
    ) -> Result<Option<Record>, AnswerError> {
        let text = &answer.checkpoint;
        let checkpoint = Checkpoint::verify(text, consumer, keys, now);
        let checkpoint = checkpoint.map_err(AnswerError::Checkpoint)?;
        let held = self.witnesses.held(consumer)?;
        if held.map_or(0, |h| h.size) != witness || answer.proof.len() > MAX_PROOF_HASHES {
            // Another answer came in between: its proof was for the former.
            return Ok(None);
        }
        let stated = Held {
            size: checkpoint.size,
            root: checkpoint.root,
        };
        if Witnesses::is_consistent(held, stated, &answer.proof) {
            return Ok(Witnesses::record(*consumer, held, stated, Some(text), now));
        }
        let proof = &answer.proof;
        let alarm = self
            .witnesses
            .alarm(*consumer, held, stated, text, proof, now);
        alarm.await?;
        Ok(None)
    }

    /// Makes one receipt of the oldest open deliveries of `agreement`.
    async fn make(&self, agreement: Digest) -> Result<(), ledger::Error> {
        let _one = self.making.lock().await;
        let (deliveries, last) = {
            let chains = self.lock();
            let Some(chain) = chains.get(&agreement) else {
                return Ok(());
            };
            let oldest = chain.open.iter().take(MAX_DELIVERIES);
            (oldest.cloned().collect::<Vec<_>>(), chain.last)
        };
        let taken = deliveries.len();
        let (journal_size, journal_root) = self.ledger.root();
        let receipt = Receipt {
            v: 1,
            agreement,
            seq: last.map_or(0, |l| l.seq) + 1,
            prev: last.map(|l| l.id),
            deliveries,
            at: clock::now(),
            journal_size,
            journal_root,
        };
        let signed = receipt.sign(&*self.own.keys().issuer);
        let signed = signed.and_then(|text| Ok((Receipt::recall(&text)?.1, text)));
        let (id, text) = match signed {
            Ok(signed) => signed,
            Err(error) => {
                // Deliveries are checked when they come: what is wrong is ours,
                // and must not be tried in a loop.
                tracing::error!(%agreement, %error, "a receipt cannot be made");
                if let Some(chain) = self.lock().get_mut(&agreement) {
                    chain.since = Some(Instant::now() + self.settings.wait);
                }
                return Ok(());
            }
        };
        let record = Record::Receipt(ledger::Receipt {
            agreement,
            seq: receipt.seq,
            id,
            text,
            at: receipt.at,
        });
        // Recorded before it is sent (spec/4-negotiation.md#N-63).
        self.ledger.commit(&record).await?;
        self.metrics.receipt("made");
        let mut chains = self.lock();
        let chain = chains.entry(agreement).or_default();
        chain.open.drain(..taken);
        chain.since = (!chain.open.is_empty()).then(Instant::now);
        chain.last = Some(Place {
            seq: receipt.seq,
            id,
        });
        chain.unanswered.insert(receipt.seq, id);
        Ok(())
    }

    /// When the next receipt of `chain` is due.
    fn due_at(&self, chain: &Chain) -> Option<Instant> {
        let since = chain.since?;
        if chain.open.len() >= MAX_DELIVERIES {
            return Some(since);
        }
        let factor = match chain.unanswered.is_empty() {
            true => 1,
            false => UNANSWERED_FACTOR,
        };
        Some(since + self.settings.wait * factor)
    }

    fn pauses(&self, chain: &Chain) -> bool {
        chain.unanswered.len() >= self.settings.max_unanswered || !chain.disputed.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Chain>> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a receipt says of `delivery`; nothing of one that is not a partner's,
/// or has not ended (`spec/4-negotiation.md#N-62`).
pub(crate) fn stated(delivery: &Delivery) -> Option<(Digest, Delivered)> {
    let delivered = Delivered {
        trace: delivery.trace.clone(),
        grant: delivery.grant?,
        direct: delivery.direct,
        query: delivery.query,
        policy: delivery.policy,
        plan: delivery.plan,
        snapshot: delivery.snapshot.clone(),
        rows: delivery.rows?,
        bytes: delivery.bytes?,
        content: delivery.content?,
        ended: delivery.ended.clone(),
        at: delivery.at,
    };
    Some((delivery.agreement?, delivered))
}
