//! What the operator asks about policies.

use std::sync::Arc;

use comity_protocol::negotiation::Side;

use super::Node;
use crate::access::policy::{Asked, Explanation, Named};
use crate::access::{Agreement, OutOfScope, Standing, new_trace};
use crate::admin::api;
use crate::clock;
use crate::failure::{Failure, Fault};

impl Node {
    /// Whether policy lets `role` make this call of the admin API.
    pub fn permit_call(&self, role: &str, call: &str) -> Result<(), OutOfScope> {
        let asked = Asked::administer(role, call, clock::now());
        self.policies.permit(asked).map(drop).inspect_err(|why| {
            self.metrics.refused(why.code);
            let (own, policy) = (self.own.org(), self.policies.digest());
            self.refusals
                .by_policy(own, &new_trace(), &why.reason, policy);
        })
    }

    /// Says what the policies in force decide of a request, and why.
    pub fn explain_policy(&self, ask: api::ExplainPolicy) -> Result<Explanation, Failure> {
        let asked = match ask {
            api::ExplainPolicy::Request(asked) => *asked,
            api::ExplainPolicy::Named(names) => self.named(names)?,
        };
        Ok(self.policies.explain(asked))
    }

    /// `ok`, or what the owner must know though the node works: the policies in
    /// force are not the ones that lie there. No reason to restart it, so the
    /// health check does not fail.
    pub(super) fn policy_health(&self) -> &'static str {
        match self.policies.status().refused {
            None => "ok",
            Some(_) => {
                "new policies are refused, those before them decide: 'comity policy check' says why"
            }
        }
    }

    /// Fills in what the node knows of these names.
    fn named(&self, names: api::PolicyNames) -> Result<Asked, Failure> {
        let now = clock::now();
        let partner = match &names.partner {
            Some(alias) => Some(
                self.partners
                    .by_alias(alias)
                    .ok_or_else(|| Failure::no_partner(alias))?,
            ),
            None => None,
        };
        // A member reads a partner's product, a partner ours.
        let theirs = partner.as_ref().filter(|_| names.member.is_some());
        let product = match (&names.product, theirs) {
            (None, _) => None,
            (Some(address), Some(partner)) => {
                let found = self.catalog.foreign_product(&partner.org, address);
                Some(found.map(|p| p.descriptor().clone()))
            }
            (Some(address), None) => {
                let found = self.catalog.own_product(address);
                Some(found.map(|p| p.descriptor.clone()))
            }
        };
        let unknown = || {
            let address = names.product.as_deref().unwrap_or_default();
            let message = format!("no product is called '{address}' there");
            Failure::new(Fault::Unknown, "unknown-product", message).next("see 'comity search'")
        };
        let product = product.map(|p| p.ok_or_else(unknown)).transpose()?;
        let address = names.product.as_deref().unwrap_or_default();
        let agreement = partner.as_ref().and_then(|partner| match theirs {
            Some(_) => self.agreements.opening(&partner.org, address, now),
            None => {
                let ours = self.agreements.about(Side::Provider, &partner.org, address);
                let counts = |a: &Arc<Agreement>| a.standing(now) == Standing::InForce;
                ours.into_iter().find(counts)
            }
        });
        Asked::named(
            &Named {
                action: names.action,
                partner: partner.as_ref(),
                member: names.member.as_deref(),
                product: product.as_ref(),
                agreement: agreement.as_deref(),
                purpose: names.purpose.as_deref(),
            },
            now,
        )
    }
}
