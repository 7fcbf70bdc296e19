//! A negotiation as the admin API shows it.

use comity_identity::Timestamp;
use comity_protocol::negotiation::{Negotiation, Proposal, Side, State};

use super::Negotiations;
use crate::admin::api;

impl Negotiations {
    pub(super) fn view(&self, n: &Negotiation, now: Timestamp) -> api::Negotiation {
        let expired = n.is_expired(now);
        let (kind, product, terms) = match n.proposal() {
            Proposal::Access { terms, .. } => {
                let address = n.proposal().address().map(|a| a.to_string());
                ("access", address, Some(terms.clone()))
            }
            Proposal::Federation { .. } => ("federation", None, None),
        };
        let changes = match (n.proposal(), n.requested()) {
            (Proposal::Access { terms, .. }, Proposal::Access { terms: asked, .. }) => terms
                .changes_from(asked)
                .iter()
                .map(ToString::to_string)
                .collect(),
            _ => Vec::new(),
        };
        api::Negotiation {
            id: n.id().to_string(),
            kind: kind.to_owned(),
            role: match n.side() {
                Side::Provider => "provider".to_owned(),
                Side::Consumer => "consumer".to_owned(),
            },
            partner: self.partners.alias(&n.peer()),
            product,
            state: n.state().name().to_owned(),
            expired,
            until: n.until(),
            waits_for_us: n.waits_for_us() && !expired,
            terms,
            changes,
            beyond_offer: self.beyond_offer(n),
            note: n.note().to_owned(),
            agreement: n.document().map(|d| d.digest()),
            at: n.at(),
        }
    }

    /// In what a request asks for more than the product offers, for the person
    /// who decides: a note may say what it likes.
    pub(super) fn beyond_offer(&self, n: &Negotiation) -> Vec<String> {
        let (Proposal::Access { terms, .. }, Some(address)) =
            (n.proposal(), n.proposal().address())
        else {
            return Vec::new();
        };
        if n.side() != Side::Provider || n.state() != State::Requested {
            return Vec::new();
        }
        let own = self.catalog.own_product(&address.to_string());
        let Some(mut offer) = own.and_then(|own| own.descriptor.offer.clone()) else {
            return Vec::new();
        };
        // An offer says what, not when: the time is the request's.
        (offer.not_before, offer.expires) = (terms.not_before, terms.expires);
        let exceeds = terms.exceed(&offer);
        exceeds.iter().map(ToString::to_string).collect()
    }
}
