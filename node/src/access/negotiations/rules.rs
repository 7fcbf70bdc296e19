//! Requests that are agreed to without a person.

use comity_identity::Timestamp;
use comity_protocol::negotiation::{Negotiation, Proposal, Side, State};
use comity_protocol::product::Descriptor;
use comity_protocol::terms::{Limits, Terms};

use super::terms::DAY;
use super::{FEDERATION_LIFETIME, Negotiations};
use crate::access::policy::{Action, Asked};
use crate::config::ApproveRule;

impl Negotiations {
    /// Whether a request is agreed to without a person: a federation that our
    /// own invitation promised, or access that a rule covers wholly.
    pub(super) fn agrees_by_rule(&self, n: &Negotiation, now: Timestamp) -> bool {
        if n.side() != Side::Provider || n.state() != State::Requested || n.is_expired(now) {
            return false;
        }
        match n.proposal() {
            Proposal::Federation { invitation, terms } => {
                // spec/4-negotiation.md#N-97
                let roles = self.partners.roles_of_guest(&n.peer(), invitation);
                let standard = roles.as_ref() == Some(&terms.roles)
                    && terms.assurance == ["local-token"]
                    && terms.expires <= now.saturating_add(FEDERATION_LIFETIME + DAY);
                // One invitation promises one federation (N-4).
                let partner = self.partners.get(&n.peer());
                let first = partner.is_some_and(|p| !p.is_federated(now));
                standard && first
            }
            Proposal::Access {
                descriptor, terms, ..
            } => {
                let address = n.proposal().address().map(|a| a.to_string());
                let address = address.unwrap_or_default();
                let Some(own) = self.catalog.own_product(&address) else {
                    return false;
                };
                let partner = self.partners.get(&n.peer());
                let Some(partner) = partner.filter(|p| p.is_federated(now)) else {
                    return false;
                };
                // Of an older descriptor a person decides: its columns may mean something else now.
                let current = own.digest == *descriptor
                    && self.may_be_asked(n).is_ok()
                    && self.may_replace(n, now).is_ok();
                let covers = |rule: &ApproveRule| {
                    let same = rule.product == address && partner.is_called(&rule.partner);
                    same && terms.narrows(&ceiling(rule, &own.descriptor, now))
                };
                // Where it takes two persons a rule is none of them.
                let one_is_enough = self.needs_two(n).is_empty();
                // Asked last: policy can make a rule wait for a person, and cannot
                // replace one (spec/7-policy.md#R-1).
                current
                    && one_is_enough
                    && self.rules.iter().any(covers)
                    && self.policy_permits(Action::AutoApprove, n, now)
            }
        }
    }

    /// Whether policy leaves it open to a partner to have this request taken up,
    /// or agreed to by rule. Of a federation the owner's invitation decided.
    pub(super) fn policy_permits(&self, action: Action, n: &Negotiation, now: Timestamp) -> bool {
        let Proposal::Access { terms, .. } = n.proposal() else {
            return true;
        };
        let address = n.proposal().address().map(|a| a.to_string());
        let product = self.catalog.own_product(&address.unwrap_or_default());
        // Without a product nobody can agree; a person sees why.
        let (Some(product), Some(partner)) = (product, self.partners.get(&n.peer())) else {
            return true;
        };
        let asked = Asked::terms(action, &partner, &product.descriptor, terms, now);
        match self.policies.permit(asked) {
            Ok(_) => true,
            Err(why) => {
                tracing::info!(negotiation = %n.id(), partner = partner.alias, reason = why.reason, "refused by policy");
                self.metrics.refused(why.code);
                let what = format!("{} {}", action.name(), n.id());
                let policy = self.policies.digest();
                self.refusals
                    .once_by_policy(partner.org, what, &why.reason, policy);
                false
            }
        }
    }
}

/// The widest terms that a rule agrees to: where it names no tables, what the
/// product offers.
fn ceiling(rule: &ApproveRule, descriptor: &Descriptor, now: Timestamp) -> Terms {
    let mut terms = rule.terms(now);
    if terms.tables.is_empty()
        && let Some(offer) = &descriptor.offer
    {
        terms.tables.clone_from(&offer.tables);
        if rule.limits == Limits::default() {
            terms.limits = offer.limits.clone();
        }
    }
    terms
}
