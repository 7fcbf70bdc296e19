//! What both sides say to each other, and what of it is kept.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use comity_identity::{OrgId, Timestamp};
use comity_protocol::negotiation::{
    Due, Message, Negotiation, NegotiationError, NegotiationId, Proposal, Received, Side, State,
};
use comity_protocol::wire::RefusalCode;

use super::Negotiations;
use super::terms::DAY;
use crate::access::issuers::Issuers;
use crate::access::policy::{Action, CODE};
use crate::clock;
use crate::ledger::{self, Approved, Record, Replaced, Signed, SignedKind};

/// The most negotiations of one partner that are open at one time (A31).
const MAX_OPEN_PER_PARTNER: usize = 100;

/// The most that one partner may begin or move in a day, ended ones included:
/// each stays in the journal for good, and requesting and ending in a loop
/// would fill memory and disk though never two are open (A31).
const MAX_PER_PARTNER_AND_DAY: usize = 200;

/// What is said to whoever accepts too late.
const EXPIRED: &str = "expired";

/// For how long an ended negotiation is still told to a partner that comes back.
const TELL_ENDED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Negotiations {
    /// A partner says `text`. Gives this side's messages that follow.
    pub async fn hear(&self, from: &OrgId, text: &str) -> Result<Vec<String>, RefusalCode> {
        let now = clock::now();
        let (claimed, id) = Message::claimed(text).map_err(|_| RefusalCode::Malformed)?;
        if claimed != *from {
            return Err(RefusalCode::Malformed);
        }
        let mut all = self.all.lock().await;
        let keys = Issuers {
            own: &self.own,
            keyring: self.partners.keyring(),
        };
        let known = all.get(&id).cloned();
        let mut negotiation = match known {
            Some(known) => {
                let mut copy = known.clone();
                match copy.receive(text, &keys, now) {
                    Ok(Received::Again(texts)) => return Ok(texts),
                    Ok(Received::New) => copy,
                    Err(error @ NegotiationError::Expired { .. }) => {
                        self.refuse(from, &error);
                        return self.end_late(&mut all, &known, now).await;
                    }
                    Err(error) => return Err(self.refuse(from, &error)),
                }
            }
            None => {
                let theirs = || all.values().filter(|n| n.peer() == *from);
                let is_open = |n: &&Negotiation| !n.state().is_final() && !n.is_expired(now);
                let open = theirs().filter(is_open).count();
                let recent = theirs().filter(|n| now.since(n.at()) < DAY).count();
                if open >= MAX_OPEN_PER_PARTNER || recent >= MAX_PER_PARTNER_AND_DAY {
                    tracing::warn!(
                        partner = self.partners.alias(from),
                        open,
                        recent,
                        "refused one more negotiation"
                    );
                    return Err(RefusalCode::Busy);
                }
                let answered = Negotiation::answer(self.own.org(), from, text, &keys, now)
                    .map_err(|error| self.refuse(from, &error))?;
                let federated = self.partners.get(from).is_some_and(|p| p.is_federated(now));
                if !federated && matches!(answered.proposal(), Proposal::Access { .. }) {
                    return Err(RefusalCode::NotFederated);
                }
                self.may_replace(&answered, now)
                    .map_err(|error| self.refuse(from, &error))?;
                answered
            }
        };
        let heard = negotiation.entries().len();
        self.end_by_policy(&mut negotiation, now)
            .map_err(|error| self.refuse(from, &error))?;
        self.proceed(&mut negotiation, now)
            .map_err(|error| self.refuse(from, &error))?;
        let answers: Vec<String> = negotiation
            .entries()
            .iter()
            .skip(heard)
            .map(|e| e.text.clone())
            .collect();
        let before = all.get(&id).cloned();
        self.keep(&mut all, before.as_ref(), negotiation, None)
            .await
            .map_err(|_| RefusalCode::Unavailable)?;
        Ok(answers)
    }

    /// Sends again what `org` has not answered. Duplicates change nothing there.
    pub async fn resume(&self, org: &OrgId) {
        let now = clock::now();
        let ids: Vec<NegotiationId> = {
            let all = self.all.lock().await;
            let recent = |n: &&Negotiation| {
                n.peer() == *org
                    && !n.unanswered().is_empty()
                    // An acceptance that is late is answered, a proposal is not.
                    && (n.state() == State::Accepted || !n.is_expired(now))
                    && (!n.state().is_final() || now.since(n.at()) < TELL_ENDED_FOR)
            };
            all.values().filter(recent).map(Negotiation::id).collect()
        };
        for id in ids {
            self.drive(id).await;
        }
    }

    /// Exchanges messages until neither side has more to say. What could not
    /// be delivered is sent again when the partner is back.
    pub(super) async fn drive(&self, id: NegotiationId) {
        let (peer, mut texts) = {
            let all = self.all.lock().await;
            let Some(n) = all.get(&id) else { return };
            (n.peer(), n.unanswered())
        };
        // Each round hears something new or ends; a hostile peer cannot prolong it.
        for _ in 0..comity_protocol::negotiation::MAX_MESSAGES {
            if texts.is_empty() {
                return;
            }
            let answers = match self.post.deliver(&peer, &texts).await {
                Ok(answers) => answers,
                Err(error) => {
                    tracing::info!(negotiation = %id, partner = self.partners.alias(&peer), error, "not delivered; it is sent again when the partner is back");
                    return;
                }
            };
            texts.clear();
            for answer in answers {
                match self.hear(&peer, &answer).await {
                    Ok(follow) => texts.extend(follow),
                    Err(code) => {
                        tracing::warn!(negotiation = %id, %code, "an answer was refused");
                        return;
                    }
                }
            }
        }
    }

    /// Ends a negotiation whose proposal was accepted too late: the other side
    /// must not stay bound by it (`spec/4-negotiation.md#N-93`).
    async fn end_late(
        &self,
        all: &mut BTreeMap<NegotiationId, Negotiation>,
        known: &Negotiation,
        now: Timestamp,
    ) -> Result<Vec<String>, RefusalCode> {
        let mut ended = known.clone();
        let text = ended
            .terminate(EXPIRED.to_owned(), now, &*self.own.keys().issuer)
            .map_err(|error| self.refuse(&known.peer(), &error))?;
        self.keep(all, Some(known), ended, None)
            .await
            .map_err(|_| RefusalCode::Unavailable)?;
        Ok(vec![text])
    }

    /// Ends a request that policy does not let be taken up: the partner is told
    /// at once, with a code and no reason, and no person need look at it
    /// (`spec/7-policy.md#R-11`).
    fn end_by_policy(&self, n: &mut Negotiation, now: Timestamp) -> Result<(), NegotiationError> {
        let asks = n.side() == Side::Provider && n.state() == State::Requested;
        if !asks || self.policy_permits(Action::Negotiate, n, now) {
            return Ok(());
        }
        n.terminate(CODE.to_owned(), now, &*self.own.keys().issuer)
            .map(drop)
    }

    /// Takes every step that needs no person.
    fn proceed(&self, n: &mut Negotiation, now: Timestamp) -> Result<(), NegotiationError> {
        let signer = &*self.own.keys().issuer;
        loop {
            match n.due() {
                // The person who offered it does not sign alone what takes two.
                Some(Due::Agree) if !self.may_sign(n) => return Ok(()),
                Some(Due::Agree) => self.agree(n, now)?,
                // Bound by nothing yet: a replacement of what ended meanwhile is not signed.
                Some(Due::Verify) if self.may_replace(n, now).is_err() => {
                    drop(n.terminate(EXPIRED.to_owned(), now, signer)?);
                }
                Some(Due::Verify) => drop(n.verify(now, signer)?),
                Some(Due::Finalize) => drop(n.finalize(now, signer)?),
                None if self.agrees_by_rule(n, now) => self.agree(n, now)?,
                None => return Ok(()),
            }
        }
    }

    pub(super) fn agree(
        &self,
        n: &mut Negotiation,
        now: Timestamp,
    ) -> Result<(), NegotiationError> {
        self.may_replace(n, now)?;
        self.claim(n)?;
        let peer = self.partners.keyring().get(&n.peer());
        let peer = peer.ok_or(NegotiationError::Stranger)?;
        let heads = (self.own.current().history.head(), peer.history().head());
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| NegotiationError::Rule("no randomness"))?;
        n.agree(heads, nonce, now, &*self.own.keys().issuer)
            .map(drop)
    }

    /// Of two proposals to replace one agreement the provider signs one.
    fn claim(&self, n: &Negotiation) -> Result<(), NegotiationError> {
        let Some(old) = n.proposal().replaces() else {
            return Ok(());
        };
        let mut replacing = self
            .replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match *replacing.entry(old).or_insert_with(|| n.id()) == n.id() {
            true => Ok(()),
            false => Err(NegotiationError::Rule(
                "another proposal to replace the agreement is being signed",
            )),
        }
    }

    /// Journals what is new in `after` as one unit, then makes it the state.
    /// Whoever says or answers something does so after this (`spec/4-negotiation.md#N-22`).
    pub(super) async fn keep(
        &self,
        all: &mut BTreeMap<NegotiationId, Negotiation>,
        before: Option<&Negotiation>,
        after: Negotiation,
        approved: Option<Approved>,
    ) -> Result<(), ledger::Error> {
        let known = before.map_or(0, |n| n.entries().len());
        let at = clock::now();
        let mut records: Vec<Record> = after
            .entries()
            .iter()
            .skip(known)
            .map(|entry| {
                Record::Message(ledger::Message {
                    negotiation: after.id().to_string(),
                    peer: after.peer(),
                    sent: entry.sent,
                    text: entry.text.clone(),
                    at,
                })
            })
            .collect();
        records.extend(approved.clone().map(Record::Approved));
        let finalized = after.state() == State::Finalized
            && before.is_none_or(|n| n.state() != State::Finalized);
        let signed = after.document().filter(|_| finalized).cloned();
        if let Some(signed) = &signed {
            records.push(Record::Signed(Signed {
                kind: match after.proposal() {
                    Proposal::Access { .. } => SignedKind::Agreement,
                    Proposal::Federation { .. } => SignedKind::Federation,
                },
                id: signed.digest(),
                peer: after.peer(),
                negotiation: after.id().to_string(),
                text: signed.text().to_owned(),
            }));
        }
        let replaced = signed.as_ref().and_then(|new| {
            let (old, address) = (after.proposal().replaces()?, after.proposal().address()?);
            let (peer, address) = (after.peer(), address.to_string());
            let of = (&peer, after.side(), address.as_str());
            self.agreements.replaceable(&old, of, at).ok()?;
            Some(Replaced {
                agreement: old,
                by: new.digest(),
                at,
            })
        });
        records.extend(replaced.clone().map(Record::Replaced));
        self.ledger.commit_all(&records).await?;
        if let (State::Terminated, Some(old)) = (after.state(), after.proposal().replaces()) {
            let mut replacing = self
                .replacing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            replacing.retain(|agreement, by| *agreement != old || *by != after.id());
        }
        if let Some(approved) = approved {
            self.approved()
                .entry(after.id())
                .or_default()
                .push(approved);
        }
        if let Some(signed) = signed {
            match after.proposal() {
                Proposal::Access { .. } => self.agreements.add(signed, replaced),
                Proposal::Federation { .. } => {
                    self.partners.federated(&after.peer(), signed.digest());
                    // A full queue means that a fetch is under way; the timer catches up.
                    let _ = self.federated.try_send(after.peer());
                }
            }
        }
        if before.map(Negotiation::state) != Some(after.state()) {
            self.metrics.negotiation(after.state().name());
        }
        all.insert(after.id(), after);
        Ok(())
    }

    /// Logs why a partner's message is refused; the partner gets the code alone.
    fn refuse(&self, from: &OrgId, error: &NegotiationError) -> RefusalCode {
        tracing::warn!(partner = self.partners.alias(from), %error, "refused a negotiation message");
        match error {
            NegotiationError::Broken { .. } | NegotiationError::OutOfOrder { .. } => {
                RefusalCode::OutOfOrder
            }
            _ => RefusalCode::Malformed,
        }
    }
}
