//! Other terms for an agreement that there is: amended, renewed, ended by consent.

use comity_identity::Timestamp;
use comity_protocol::address::Range;
use comity_protocol::negotiation::{
    Negotiation, NegotiationError, NegotiationId, Proposal, Proposing, Side,
};
use comity_protocol::product::Descriptor;
use comity_protocol::terms::{TableTerms, Terms};

use super::terms::DAY;
use super::{Negotiations, unknown_product};
use crate::access::Agreement;
use crate::admin::api;
use crate::clock;
use crate::failure::{Failure, Fault};

/// The longest that terms may be proposed for, in days.
const MAX_DAYS: u32 = 3650;

/// The longest notice with which an end is proposed, in hours.
const MAX_HOURS: u32 = 365 * 24;

impl Negotiations {
    /// Proposes other terms for an agreement, to whichever side is the other.
    pub async fn amend(
        &self,
        beginning: &str,
        amend: api::Amend,
        by: &str,
    ) -> Result<api::Negotiation, Failure> {
        let now = clock::now();
        let old = self.agreements.find(beginning)?;
        let (mut proposal, descriptor) = self.again(&old, now)?;
        let Proposal::Access { terms, .. } = &mut proposal else {
            return Err(Failure::caller("not-amended", "only access is amended"));
        };
        amended(terms, &amend, &descriptor, now)?;
        if terms == old.signed_terms() {
            let failure = Failure::caller("nothing-amended", "an amendment changes something");
            return Err(failure.next("name --columns, --filter, --purpose or --days"));
        }
        let until = self.open_until(amend.open_days, now)?;
        let note = amend.note;
        self.propose(&old, proposal, note, until, by).await
    }

    /// Proposes that an agreement ends, or confirms that the other side proposed it.
    pub async fn end_by_consent(
        &self,
        beginning: &str,
        end: api::End,
        by: &str,
    ) -> Result<api::Negotiation, Failure> {
        let now = clock::now();
        let old = self.agreements.find(beginning)?;
        let proposed = {
            let all = self.all.lock().await;
            let mut waiting = all.values().filter(|n| self.waits_here(n, now));
            waiting
                .find(|n| n.proposal().replaces() == Some(old.id()) && ends(n, &old))
                .map(Negotiation::id)
        };
        if let Some(id) = proposed {
            let approve = api::Approve {
                beyond_offer: true,
                read: None,
            };
            return self.approve(&id.to_string(), &approve, by).await;
        }
        let hours = u32::try_from(end.hours).ok();
        let hours = hours.filter(|hours| (1..=MAX_HOURS).contains(hours));
        let hours = hours
            .ok_or_else(|| Failure::caller("bad-hours", "an end is 1 to 8760 hours from now"))?;
        let (mut proposal, _) = self.again(&old, now)?;
        let until = self.open_until(None, now)?;
        let at = now.saturating_add(DAY / 24 * hours);
        match &mut proposal {
            Proposal::Access { terms, .. } if at < terms.expires => terms.expires = at,
            _ => {
                let text = format!("it ends by itself before: {}", old.signed_terms().expires);
                return Err(Failure::new(Fault::Conflict, "ends-before", text));
            }
        }
        self.propose(&old, proposal, end.reason, until.min(at), by)
            .await
    }

    /// Whether what `n` replaces can be replaced (`spec/4-negotiation.md#N-100`).
    pub(super) fn may_replace(
        &self,
        n: &Negotiation,
        now: Timestamp,
    ) -> Result<(), NegotiationError> {
        let (Some(old), Some(address)) = (n.proposal().replaces(), n.proposal().address()) else {
            return Ok(());
        };
        let of = (&n.peer(), n.side(), address.to_string());
        let found = self.agreements.replaceable(&old, (of.0, of.1, &of.2), now);
        found.map(drop).map_err(NegotiationError::Rule)
    }

    /// Whether an agreement takes the place of an agreement and permits no more:
    /// nothing is opened by it.
    pub(super) fn only_takes_away(&self, n: &Negotiation) -> bool {
        let old = n
            .proposal()
            .replaces()
            .and_then(|old| self.agreements.get(&old));
        let terms = n.proposal().terms();
        old.zip(terms)
            .is_some_and(|(old, terms)| terms.narrows(old.signed_terms()))
    }

    /// What would be signed to go on as before, of the product as it is announced today.
    fn again(&self, old: &Agreement, now: Timestamp) -> Result<(Proposal, Descriptor), Failure> {
        let of = (&old.peer(), old.side(), old.product());
        let found = self.agreements.replaceable(&old.id(), of, now);
        found.map_err(|why| {
            Failure::new(Fault::Conflict, "not-replaceable", why).next("see 'comity agreements'")
        })?;
        let found = match old.side() {
            Side::Provider => {
                let own = self.catalog.own_product(old.product());
                own.map(|own| (own.digest, own.descriptor.clone()))
            }
            Side::Consumer => {
                let theirs = self.catalog.foreign_product(&old.peer(), old.product());
                theirs.map(|product| (product.digest(), product.descriptor().clone()))
            }
        };
        let alias = self.partners.alias(&old.peer());
        let (digest, descriptor) = found.ok_or_else(|| unknown_product(&alias, old.product()))?;
        let covers = old.range().covers(descriptor.version);
        let proposal = Proposal::Access {
            product: descriptor.product.clone(),
            range: match covers {
                true => old.range(),
                false => Range::from(descriptor.version),
            },
            descriptor: digest,
            contract: descriptor.contract_digest,
            terms: old.signed_terms().clone(),
            replaces: Some(old.id()),
        };
        Ok((proposal, descriptor))
    }

    async fn propose(
        &self,
        old: &Agreement,
        proposal: Proposal,
        note: String,
        until: Timestamp,
        by: &str,
    ) -> Result<api::Negotiation, Failure> {
        let asks = Proposing {
            proposal,
            note,
            until,
        };
        if old.side() == Side::Consumer {
            return self.start(old.peer(), asks).await;
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|e| Failure::own("no-randomness", e))?;
        let (id, now) = (NegotiationId::from_bytes(id), clock::now());
        let (own, signer) = (self.own.org(), &*self.own.keys().issuer);
        let begun = Negotiation::propose(id, own, old.peer(), asks, now, signer);
        let (n, _) = begun.map_err(|e| Failure::caller("bad-request", e.to_string()))?;
        // Whoever offers it has approved it.
        let approved = match self.needs_two(&n).is_empty() {
            true => None,
            false => Some(self.approval_by(&n, by, now)?),
        };
        self.begin(n, approved).await
    }
}

/// Whether the proposal is the agreement as it is, but for an earlier end
/// (`spec/4-negotiation.md#N-104`).
pub(super) fn ends(n: &Negotiation, old: &Agreement) -> bool {
    let Some(terms) = n.proposal().terms() else {
        return false;
    };
    let mut as_long = terms.clone();
    as_long.expires = old.signed_terms().expires;
    as_long == *old.signed_terms() && terms.expires < as_long.expires
}

/// `terms` as somebody wants them.
fn amended(
    terms: &mut Terms,
    amend: &api::Amend,
    descriptor: &Descriptor,
    now: Timestamp,
) -> Result<(), Failure> {
    let offered = descriptor.offer.as_ref();
    for (name, columns) in &amend.columns {
        let announced = descriptor.tables.iter();
        let mut announced = announced.filter(|t| t.name.to_string() == *name);
        let table = announced.next().ok_or_else(|| {
            Failure::caller(
                "unknown-table",
                format!("the product has no table '{name}'"),
            )
        })?;
        let known = |column: &String| table.columns.iter().any(|c| c.name == *column);
        if let Some(unknown) = columns.iter().find(|column| !known(column)) {
            let text = format!("table {name} has no column '{unknown}'");
            return Err(Failure::caller("unknown-column", text));
        }
        let offer = offered.and_then(|offer| offer.tables.get(name));
        let fresh = || TableTerms {
            columns: columns.clone(),
            filter: offer.map(|o| o.filter.clone()).unwrap_or_default(),
            masks: Default::default(),
            protection: offer.and_then(|o| o.protection.clone()),
        };
        let table = terms.tables.entry(name.clone()).or_insert_with(fresh);
        let before = std::mem::replace(&mut table.columns, columns.clone());
        // A column that is new is masked as it is offered.
        let masks = offer.into_iter().flat_map(|offer| &offer.masks);
        let new = masks.filter(|(c, _)| columns.contains(*c) && !before.contains(*c));
        table.masks.extend(new.map(|(c, m)| (c.clone(), *m)));
        table.retain_columns(|column| columns.contains(column));
    }
    for (name, filter) in &amend.filters {
        let table = terms.tables.get_mut(name).ok_or_else(|| {
            Failure::caller("unknown-table", format!("'{name}' is not permitted"))
        })?;
        table.filter = table.filter.and(filter);
    }
    if !amend.purposes.is_empty() {
        terms.purposes.clone_from(&amend.purposes);
    }
    if let Some(days) = amend.days {
        let days = u32::try_from(days).ok();
        let days = days.filter(|days| (1..=MAX_DAYS).contains(days));
        let days =
            days.ok_or_else(|| Failure::caller("bad-days", "terms hold for 1 to 3650 days"))?;
        terms.expires = now.saturating_add(DAY * days);
    }
    terms
        .check()
        .map_err(|e| Failure::caller("bad-terms", e.to_string()))
}
