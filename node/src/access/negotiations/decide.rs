//! What a person decides.

use comity_identity::Timestamp;
use comity_protocol::negotiation::{Negotiation, NegotiationError, Proposal, Side};

use super::terms::countered;
use super::{Negotiations, no_negotiation};
use crate::admin::api;
use crate::clock;
use crate::failure::{Failure, Fault};

impl Negotiations {
    /// A person agrees to what the other side proposes.
    pub async fn approve(&self, beginning: &str) -> Result<api::Negotiation, Failure> {
        self.decide(beginning, |service, n, now| match n.side() {
            Side::Provider => {
                service.may_be_asked(n)?;
                service.agree(n, now)
            }
            Side::Consumer => n.accept(now, &*service.own.keys().issuer).map(drop),
        })
        .await
    }

    /// A person offers other terms.
    pub async fn counter(
        &self,
        beginning: &str,
        counter: api::Counter,
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
        let note = counter.note;
        self.decide(beginning, move |service, n, now| {
            service.may_be_asked(n)?;
            n.offer(
                proposal.clone(),
                note.clone(),
                now,
                &*service.own.keys().issuer,
            )
            .map(drop)
        })
        .await
    }

    /// A person refuses.
    pub async fn decline(&self, beginning: &str, note: &str) -> Result<api::Negotiation, Failure> {
        self.decide(beginning, |service, n, now| {
            n.terminate(note.to_owned(), now, &*service.own.keys().issuer)
                .map(drop)
        })
        .await
    }

    /// No person need notice that a request filters by a column that it cannot
    /// know: such a request is only declined (`spec/4-negotiation.md#N-28`).
    fn may_be_asked(&self, n: &Negotiation) -> Result<(), NegotiationError> {
        let Proposal::Access { product, terms, .. } = n.requested() else {
            return Ok(());
        };
        match self.catalog.own_product(product.as_str()) {
            Some(own) if own.descriptor.may_be_asked(terms) => Ok(()),
            Some(_) => Err(NegotiationError::Rule(
                "the request names or filters by columns that the product does not announce; decline it",
            )),
            None => Err(NegotiationError::Rule(
                "the product is no longer announced; decline the request",
            )),
        }
    }

    async fn decide(
        &self,
        beginning: &str,
        step: impl Fn(&Self, &mut Negotiation, Timestamp) -> Result<(), NegotiationError> + Send,
    ) -> Result<api::Negotiation, Failure> {
        let id = self.find(beginning).await?;
        {
            let mut all = self.all.lock().await;
            let before = all
                .get(&id)
                .cloned()
                .ok_or_else(|| no_negotiation(beginning))?;
            let mut after = before.clone();
            step(self, &mut after, clock::now()).map_err(|e| {
                Failure::new(Fault::Conflict, "negotiation", e.to_string())
                    .next("see how it stands with 'comity requests --all'")
            })?;
            self.keep(&mut all, Some(&before), after).await?;
        }
        self.drive(id).await;
        self.view_of(&id).await
    }
}
