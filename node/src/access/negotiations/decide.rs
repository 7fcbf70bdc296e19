//! What a person decides.

use comity_identity::Timestamp;
use comity_protocol::negotiation::{
    Negotiation, NegotiationError, Proposal, Proposing, Side, State,
};
use comity_protocol::terms::Terms;

use super::terms::countered;
use super::view::read_as;
use super::{Negotiations, no_negotiation};
use crate::admin::api;
use crate::clock;
use crate::failure::{Failure, Fault};
use crate::ledger::Approved;

impl Negotiations {
    /// A person agrees to what the other side proposes; as provider to no more
    /// than the product offers, unless they say so.
    pub async fn approve(
        &self,
        beginning: &str,
        approve: &api::Approve,
        by: &str,
    ) -> Result<api::Negotiation, Failure> {
        self.decide(beginning, |service, n, now| {
            // Judged with nobody else at the table: what is agreed to is what was read.
            service.is_meant(n, approve)?;
            let refused = |e: &NegotiationError, n: &Negotiation| service.refused(n, e);
            if n.side() == Side::Consumer {
                service.may_replace(n, now).map_err(|e| refused(&e, n))?;
                let before = n.clone();
                let said = n.accept(now, &*service.own.keys().issuer);
                return said.map(|_| None).map_err(|e| refused(&e, &before));
            }
            service.may_be_asked(n).map_err(|e| refused(&e, n))?;
            let approved = match service.needs_two(n).is_empty() {
                true => None,
                false => Some(service.first_or_second(n, by, now)?),
            };
            // What was offered is signed when the consumer has accepted it.
            let last = approved.is_none() || !service.approvals(n).is_empty();
            let signs = last && (approved.is_none() || n.state() != State::Offered);
            if signs {
                let before = n.clone();
                service.agree(n, now).map_err(|e| refused(&e, &before))?;
            }
            Ok(approved)
        })
        .await
    }

    /// Whether this is what somebody approves who read it and knows the offer.
    fn is_meant(&self, n: &Negotiation, approve: &api::Approve) -> Result<(), Failure> {
        let short: String = n.id().to_string().chars().take(8).collect();
        let read = approve.read.as_deref().unwrap_or_default();
        if !read_as(n).starts_with(&read.to_ascii_lowercase()) {
            let message = "other terms are on the table than those that were read";
            return Err(Failure::new(Fault::Conflict, "other-terms", message)
                .next(format!("read them with 'comity requests {short}'")));
        }
        let beyond = self.beyond_offer(n);
        if approve.beyond_offer || beyond.is_empty() {
            return Ok(());
        }
        let message = format!("the request goes beyond the offer: {}", beyond.join("; "));
        let next = format!(
            "agree all the same with 'comity approve {short} --beyond-offer', or offer less with 'comity counter {short} …'"
        );
        Err(Failure::new(Fault::Conflict, "beyond-offer", message).next(next))
    }

    /// A person offers other terms.
    pub async fn counter(
        &self,
        beginning: &str,
        counter: api::Counter,
        by: &str,
    ) -> Result<api::Negotiation, Failure> {
        let now = clock::now();
        let id = self.find(beginning).await?;
        let proposal = {
            let all = self.all.lock().await;
            let n = all.get(&id).ok_or_else(|| no_negotiation(beginning))?;
            if n.side() != Side::Provider {
                return Err(Failure::new(
                    Fault::Conflict,
                    "not-yours",
                    "only the provider offers terms",
                )
                .next("decline, and ask again with 'comity request'"));
            }
            countered(n.proposal(), &counter, now)?
        };
        let offers = Proposing {
            proposal,
            until: self.open_until(counter.open_days, now)?,
            note: counter.note,
        };
        self.decide(beginning, move |service, n, now| {
            let before = n.clone();
            let refused = |e| service.refused(&before, &e);
            service.may_be_asked(n).map_err(refused)?;
            let signer = &*service.own.keys().issuer;
            n.offer(offers.clone(), now, signer).map_err(refused)?;
            // Whoever offers it has approved it.
            match service.needs_two(n).is_empty() {
                true => Ok(None),
                false => service.approval_by(n, by, now).map(Some),
            }
        })
        .await
    }

    /// A person refuses.
    pub async fn decline(&self, beginning: &str, note: &str) -> Result<api::Negotiation, Failure> {
        self.decide(beginning, |service, n, now| {
            let before = n.clone();
            let ended = n.terminate(note.to_owned(), now, &*service.own.keys().issuer);
            ended
                .map(|_| None)
                .map_err(|e| service.refused(&before, &e))
        })
        .await
    }

    /// What no person need notice: columns that the consumer cannot know, and a
    /// contract or descriptor that we never published. Such a request is only
    /// declined (`spec/4-negotiation.md#N-28`, `#N-29`).
    pub(super) fn may_be_asked(&self, n: &Negotiation) -> Result<(), NegotiationError> {
        let Proposal::Access {
            product: _,
            range,
            descriptor,
            contract,
            terms,
            replaces,
        } = n.requested()
        else {
            return Ok(());
        };
        let rule = |text| Err(NegotiationError::Rule(text));
        let address = n.requested().address().map(|a| a.to_string());
        let Some(own) = self.catalog.own_product(&address.unwrap_or_default()) else {
            return rule("the product is no longer announced; decline the request");
        };
        // spec/4-negotiation.md#N-61
        if !range.covers(own.descriptor.version) {
            return rule("the request is for versions that are not announced; decline it");
        }
        if *contract != own.descriptor.contract_digest {
            return rule("the request is for another contract than the one announced; decline it");
        }
        if *descriptor != own.digest && own.descriptor.prev != Some(*descriptor) {
            return rule("the request is for a descriptor that is not announced; decline it");
        }
        // What the provider itself put into the agreement is no guess.
        let old = replaces.and_then(|old| self.agreements.get(&old));
        let asked = beyond(terms, old.as_ref().map(|old| old.signed_terms()));
        if !own.descriptor.may_be_asked(&asked) {
            return rule(
                "the request names or filters by columns that the product does not announce; decline it",
            );
        }
        Ok(())
    }

    /// A refused step in the words of whoever took it.
    fn why_not(&self, n: &Negotiation, error: &NegotiationError) -> String {
        match error {
            NegotiationError::OutOfOrder { .. } if n.state().is_final() => {
                format!("it has ended: {}", n.state().name())
            }
            NegotiationError::Expired { until } => {
                format!("it has expired: it could be accepted until {until}; propose anew")
            }
            NegotiationError::OutOfOrder { .. } if !n.waits_for_us() => {
                let partner = self.partners.get(&n.peer()).map(|p| p.alias);
                let partner = partner.unwrap_or_else(|| n.peer().to_string());
                format!("{partner} must answer first ({})", n.state().name())
            }
            error => error.to_string(),
        }
    }

    fn refused(&self, before: &Negotiation, error: &NegotiationError) -> Failure {
        Failure::new(Fault::Conflict, "negotiation", self.why_not(before, error))
            .next("see how it stands with 'comity requests --all'")
    }

    /// The approval of `by`, the first or the second, of what this side is to sign.
    fn first_or_second(
        &self,
        n: &Negotiation,
        by: &str,
        now: Timestamp,
    ) -> Result<Approved, Failure> {
        if !Self::is_ours_to_sign(n) {
            let (step, state) = ("approve", n.state());
            return Err(self.refused(n, &NegotiationError::OutOfOrder { step, state }));
        }
        if n.is_expired(now) {
            let until = n.until();
            return Err(self.refused(n, &NegotiationError::Expired { until }));
        }
        self.approval_by(n, by, now)
    }

    async fn decide(
        &self,
        beginning: &str,
        step: impl Fn(&Self, &mut Negotiation, Timestamp) -> Result<Option<Approved>, Failure> + Send,
    ) -> Result<api::Negotiation, Failure> {
        let id = self.find(beginning).await?;
        {
            let mut all = self.all.lock().await;
            let before = all
                .get(&id)
                .cloned()
                .ok_or_else(|| no_negotiation(beginning))?;
            let mut after = before.clone();
            let approved = step(self, &mut after, clock::now())?;
            self.keep(&mut all, Some(&before), after, approved).await?;
        }
        self.drive(id).await;
        self.view_of(&id).await
    }
}

/// `terms` without the row conditions that `old` has already.
fn beyond(terms: &Terms, old: Option<&Terms>) -> Terms {
    let mut beyond = terms.clone();
    for (name, table) in &mut beyond.tables {
        let old = old.and_then(|old| old.tables.get(name));
        table
            .filter
            .0
            .retain(|predicate| !old.is_some_and(|old| old.filter.0.contains(predicate)));
    }
    beyond
}
