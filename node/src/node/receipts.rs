//! Stating what was delivered, and asking for the countersignatures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use comity_identity::OrgId;
use comity_protocol::negotiation::Side;
use comity_protocol::receipt::Receipt;
use comity_protocol::wire::{Receipted, RefusalCode, Request, Response};

use super::Node;
use super::exchange::ask;
use crate::access::{Agreement, Issuers};
use crate::admin::api;
use crate::clock;
use crate::failure::{Failure, Fault};
use crate::network::RequestError;

/// How long the node waits before it makes receipts again when the journal took none.
const AGAIN: Duration = Duration::from_secs(5);

/// After so long a receipt is sent again that the partner was too busy for:
/// most likely its member still reads the answer.
const BUSY_TIME: Duration = Duration::from_secs(2);

/// How often a partner may ask for another proof of one receipt. Twice happens
/// when it takes another receipt in between; more is a partner that plays.
const MAX_PROOFS: usize = 3;

/// Why a receipt stays unanswered for now.
enum Later {
    /// The partner is busy: soon again.
    Busy,
    /// It is not there, or it refuses: with the next visit.
    NextVisit,
}

impl Node {
    /// How partners acknowledge what they received, by agreement.
    pub fn receipts(&self) -> Vec<api::Receipts> {
        let ours = self.agreements.of_side(Side::Provider);
        let view = |a: &Arc<Agreement>| {
            let standing = self.given.standing(&a.id());
            api::Receipts {
                agreement: a.id(),
                partner: self.partners.alias(&a.peer()),
                product: a.product().to_owned(),
                open: standing.open,
                made: standing.made,
                unanswered: standing.unanswered,
                disputed: standing.disputes.len(),
                disputes: standing.disputes,
                paused: standing.paused,
            }
        };
        ours.iter().map(view).collect()
    }

    /// Accepts, for this organization, what the partner disputes of a receipt.
    pub async fn accept_dispute(
        &self,
        ask: api::AcceptDispute,
        by: String,
    ) -> Result<api::Receipts, Failure> {
        let agreement = self.agreements.find(&ask.agreement)?.id();
        let target = format!("{agreement} {}", ask.receipt);
        self.administered_by(by, "accept-dispute", target).await?;
        if !self.given.accept_dispute(agreement, ask.receipt).await? {
            let message = format!("receipt {} of this agreement is not disputed", ask.receipt);
            return Err(Failure::new(Fault::Unknown, "no-dispute", message)
                .next("see 'comity receipts' for those that are"));
        }
        let all = self.receipts().into_iter();
        let mut of_it = all.filter(|r| r.agreement == agreement);
        of_it
            .next()
            .ok_or_else(|| Failure::own("receipts", "the agreement is not one of this provider's"))
    }

    /// Makes receipts when they are due, and has them sent, until the node stops.
    pub(super) async fn make_receipts_in_time(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.given.until_due() => {}
                () = self.stop.cancelled() => return,
            }
            match self.given.make_due(Instant::now()).await {
                Ok(agreements) => {
                    let made = agreements.iter().filter_map(|id| self.agreements.get(id));
                    for agreement in made {
                        self.want_receipts(agreement.peer());
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "a receipt could not be written down; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN) => {}
                        () = self.stop.cancelled() => return,
                    }
                }
            }
        }
    }

    /// Wants the unanswered receipts of `org` to be sent. Does not wait for it.
    fn want_receipts(self: &Arc<Self>, org: OrgId) {
        if self.errands.want_receipts(org) {
            self.begin_errand(org);
        }
    }

    /// Sends `org` the receipts that it has not answered, oldest first: it
    /// refuses one whose former it does not have.
    pub(super) async fn send_receipts(self: &Arc<Self>, org: &OrgId) {
        let ours = self.agreements.of_side(Side::Provider);
        for agreement in ours.iter().filter(|a| a.peer() == *org) {
            for seq in self.given.unanswered(&agreement.id()) {
                match self.send_receipt(org, agreement, seq).await {
                    Ok(()) => {}
                    Err(Later::NextVisit) => break,
                    Err(Later::Busy) => {
                        self.send_soon(*org);
                        break;
                    }
                }
            }
        }
    }

    async fn send_receipt(
        &self,
        org: &OrgId,
        agreement: &Agreement,
        seq: u64,
    ) -> Result<(), Later> {
        let (partner, id) = (|| self.partners.alias(org), agreement.id());
        let mut held = self.given.held_by(org);
        for _ in 0..MAX_PROOFS {
            let message = self.given.message(org, &id, seq, held).map_err(|error| {
                tracing::error!(%error, "a receipt could not be read");
                Later::NextVisit
            })?;
            let Some((message, sent)) = message else {
                return Ok(());
            };
            let request = Request::Receipt(Box::new(message));
            match ask(&self.network, &self.partners, org, request).await {
                Ok(Response::Receipt(answer)) => {
                    let (keys, now) = (self.issuers(), clock::now());
                    let answered =
                        self.given
                            .answered(agreement.signed(), sent, &answer, &keys, now);
                    return answered.await.map(drop).map_err(|error| {
                        tracing::warn!(partner = partner(), agreement = %id, seq, %error, "the answer to a receipt is refused");
                        Later::NextVisit
                    });
                }
                Ok(Response::ProveFrom(from)) => held = from,
                Ok(_) => {
                    tracing::warn!(
                        partner = partner(),
                        "answered a receipt with something else"
                    );
                    return Err(Later::NextVisit);
                }
                Err(RequestError::Refused {
                    code: RefusalCode::Busy,
                    ..
                }) => return Err(Later::Busy),
                Err(error @ RequestError::Refused { .. }) => {
                    // Its owner's log has the reason, and the same trace.
                    tracing::error!(partner = partner(), agreement = %id, seq, %error, "the partner refuses a receipt");
                    return Err(Later::NextVisit);
                }
                Err(error) => {
                    tracing::info!(partner = partner(), %error, "a receipt was not delivered; it is sent again");
                    return Err(Later::NextVisit);
                }
            }
        }
        tracing::warn!(partner = partner(), agreement = %id, seq, "the partner asks for ever other proofs");
        Err(Later::NextVisit)
    }

    /// Sends again after a while; one wait for each organization at a time.
    fn send_soon(self: &Arc<Self>, org: OrgId) {
        if !self.errands.wait_for(org) {
            return;
        }
        let node = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(BUSY_TIME) => {}
                () = node.stop.cancelled() => return,
            }
            node.errands.waited_for(&org);
            node.want_receipts(org);
        });
    }

    /// A partner states what it delivered to this node.
    pub(super) async fn on_receipt(
        &self,
        org: &OrgId,
        asked: &Receipted,
    ) -> Result<Response, RefusalCode> {
        // Only to find the agreement: nothing of it is believed yet.
        let (claimed, _) = Receipt::recall(&asked.text).map_err(|_| RefusalCode::Malformed)?;
        let agreement = self.agreements.get(&claimed.agreement);
        let agreement = agreement.filter(|a| a.peer() == *org && a.side() == Side::Consumer);
        let agreement = agreement.ok_or(RefusalCode::Malformed)?;
        let (keys, now) = (self.issuers(), clock::now());
        let signed = agreement.signed();
        self.taken.answer(org, signed, asked, &keys, now).await
    }

    /// A receipt has two signatures, of which one is ours.
    fn issuers(&self) -> Issuers<'_> {
        Issuers {
            own: &self.own,
            keyring: self.partners.keyring(),
        }
    }
}
