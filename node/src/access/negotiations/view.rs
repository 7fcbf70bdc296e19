//! A negotiation as the admin API shows it.

use std::sync::Arc;

use comity_identity::Timestamp;
use comity_protocol::negotiation::{Negotiation, Proposal, Side, State};
use comity_protocol::terms::Terms;

use super::Negotiations;
use super::amend::ends;
use crate::access::Agreement;
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
            replaces: n.proposal().replaces(),
            ends: self.replaced_by(n).is_some_and(|old| ends(n, &old)),
            product,
            state: n.state().name().to_owned(),
            expired,
            until: n.until(),
            waits_for_us: self.waits_here(n, now),
            read_as: read_as(n),
            terms,
            changes,
            compared: self.compared(n),
            needs_two: self.still_needs_two(n),
            approvals: self.told_approvals(n),
            beyond_offer: self.beyond_offer(n),
            note: n.note().to_owned(),
            agreement: n.document().map(|d| d.digest()),
            at: n.at(),
        }
    }

    /// How the terms on the table differ from those before, from what the
    /// consumer asked for, and from what is announced.
    fn compared(&self, n: &Negotiation) -> Vec<api::Compared> {
        let (Proposal::Access { terms, .. }, Some(address)) =
            (n.proposal(), n.proposal().address())
        else {
            return Vec::new();
        };
        let of = |proposal: &Proposal| match proposal {
            Proposal::Access { terms, .. } => Some(terms.clone()),
            Proposal::Federation { .. } => None,
        };
        let previous = n.previous().and_then(of);
        let asked =
            of(n.requested()).filter(|asked| asked != terms && Some(asked) != previous.as_ref());
        let address = address.to_string();
        let announced = match n.side() {
            Side::Provider => {
                let own = self.catalog.own_product(&address);
                own.and_then(|own| own.descriptor.offer.clone())
            }
            Side::Consumer => {
                let theirs = self.catalog.foreign_product(&n.peer(), &address);
                theirs.and_then(|product| product.descriptor().offer.clone())
            }
        };
        // An offer says what, not when: the time is that on the table.
        let announced = announced.map(|offer| Terms {
            not_before: terms.not_before,
            expires: terms.expires,
            ..offer
        });
        let replaced = self.replaced_by(n).map(|old| old.signed_terms().clone());
        let all = [
            (api::ComparedWith::Agreement, replaced),
            (api::ComparedWith::Previous, previous),
            (api::ComparedWith::Asked, asked),
            (api::ComparedWith::Announced, announced),
        ];
        let compared = all.into_iter().filter_map(|(with, other)| {
            let differences = terms.difference(&other?).into_iter();
            let differences = differences.map(|d| api::Difference {
                change: d.change.to_string(),
                was: d.was,
                direction: d.direction,
            });
            Some(api::Compared {
                with,
                differences: differences.collect(),
            })
        });
        compared.collect()
    }

    /// The agreement that `n` is to replace.
    fn replaced_by(&self, n: &Negotiation) -> Option<Arc<Agreement>> {
        self.agreements.get(&n.proposal().replaces()?)
    }

    /// For what two persons must approve, while there is something to approve.
    fn still_needs_two(&self, n: &Negotiation) -> Vec<String> {
        match Self::is_ours_to_sign(n) {
            true => self.needs_two(n),
            false => Vec::new(),
        }
    }

    fn told_approvals(&self, n: &Negotiation) -> Vec<api::Approval> {
        let approvals = self.approvals(n).into_iter();
        let told = approvals.map(|a| api::Approval { by: a.by, at: a.at });
        told.collect()
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

/// What names the proposal on the table: the digest of the message that put it there.
pub(super) fn read_as(n: &Negotiation) -> String {
    data_encoding::HEXLOWER.encode(n.proposed_by().as_bytes())
}
