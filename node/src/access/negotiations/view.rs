//! A negotiation as the admin API shows it.

use comity_protocol::negotiation::{Negotiation, Proposal, Side};

use super::Negotiations;
use crate::admin::api;

impl Negotiations {
    pub(super) fn view(&self, n: &Negotiation) -> api::Negotiation {
        let (kind, product, terms) = match n.proposal() {
            Proposal::Access { product, terms, .. } => {
                ("access", Some(product.to_string()), Some(terms.clone()))
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
            waits_for_us: n.waits_for_us(),
            terms,
            changes,
            note: n.note().to_owned(),
            agreement: n.document().map(|d| d.digest()),
            at: n.at(),
        }
    }
}
