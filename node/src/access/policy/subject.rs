//! Requests, made of what was verified: the one place where partners, grants,
//! products and terms become what a policy looks at (`spec/7-policy.md#R-5`).

use std::collections::BTreeSet;

use comity_identity::Timestamp;
use comity_identity::grant::VerifiedGrant;
use comity_protocol::product::Descriptor;
use comity_protocol::terms::{TableTerms, Terms};

use super::asked::{self, Action, Asked, Circumstances, Principal, Resource};
use crate::access::agreements::Agreement;
use crate::access::members::VerifiedMember;
use crate::access::partners::Partner;

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

impl Asked {
    /// A partner's node fetches our catalog.
    pub fn discover(partner: &Partner, now: Timestamp) -> Self {
        Self {
            action: Action::Discover,
            principal: Principal::partner(partner),
            resource: Resource::Node,
            context: Circumstances::at(now),
        }
    }

    /// A partner asks for `terms` of a product: [`Action::Negotiate`] or
    /// [`Action::AutoApprove`].
    pub(in crate::access) fn terms(
        action: Action,
        partner: &Partner,
        product: &Descriptor,
        terms: &Terms,
        now: Timestamp,
    ) -> Self {
        let (columns, classifications) = opened(product, terms.tables.iter());
        let days = terms.expires.since(now).as_secs().div_ceil(SECONDS_A_DAY);
        Self {
            action,
            principal: Principal::partner(partner),
            resource: Resource::product(product, true),
            context: Circumstances {
                purposes: terms.purposes.clone(),
                columns,
                classifications,
                days: Some(days),
                ..Circumstances::at(now)
            },
        }
    }

    /// A partner reads `tables` of an own product under an agreement and a grant.
    pub(in crate::access) fn query_of_partner<'a>(
        partner: &Partner,
        (agreement, grant, purpose): (&Agreement, &VerifiedGrant, &str),
        product: &Descriptor,
        tables: impl Iterator<Item = (&'a String, &'a TableTerms)>,
        now: Timestamp,
    ) -> Self {
        let (columns, classifications) = opened(product, tables);
        Self {
            action: Action::Query,
            principal: Principal::partner(partner),
            resource: Resource::product(product, true),
            context: Circumstances {
                purposes: BTreeSet::from([purpose.to_owned()]),
                columns,
                classifications,
                roles: partner.recognizes(grant.roles()),
                authentication: grant.authentication().clone(),
                on_behalf: Some(grant.subject().to_owned()),
                agreement: Some(asked::Agreement::of(agreement)),
                ..Circumstances::at(now)
            },
        }
    }

    /// A member reads an own product.
    pub(in crate::access) fn query_of_member<'a>(
        member: &VerifiedMember,
        purpose: Option<&str>,
        product: &Descriptor,
        tables: impl Iterator<Item = (&'a String, &'a TableTerms)>,
        now: Timestamp,
    ) -> Self {
        let (columns, classifications) = opened(product, tables);
        Self {
            action: Action::Query,
            principal: Principal::of_member(member),
            resource: Resource::product(product, true),
            context: Circumstances {
                purposes: purpose.map(str::to_owned).into_iter().collect(),
                columns,
                classifications,
                authentication: member.authentication().clone(),
                ..Circumstances::at(now)
            },
        }
    }

    /// A grant is made out for the member `principal`, who logged in as
    /// `authentication` says, to read a partner's product.
    pub(in crate::access) fn issue_grant(
        (principal, authentication): (Principal, &BTreeSet<String>),
        purpose: Option<&str>,
        agreement: &Agreement,
        product: &Descriptor,
        now: Timestamp,
    ) -> Self {
        let terms = agreement.terms();
        let (columns, classifications) = opened(product, terms.tables.iter());
        Self {
            action: Action::IssueGrant,
            principal,
            resource: Resource::product(product, false),
            context: Circumstances {
                purposes: purposes(purpose, &terms.purposes),
                columns,
                classifications,
                authentication: authentication.clone(),
                agreement: Some(asked::Agreement::of(agreement)),
                ..Circumstances::at(now)
            },
        }
    }

    /// The admin API is called by `role`.
    pub fn administer(role: &str, call: &str, now: Timestamp) -> Self {
        Self {
            action: Action::Administer,
            principal: Principal::administrator(role),
            resource: Resource::Node,
            context: Circumstances {
                call: Some(call.to_owned()),
                ..Circumstances::at(now)
            },
        }
    }

    /// `role` takes the evidence of one agreement out, or that of all.
    pub fn export(role: &str, agreement: Option<&Agreement>, now: Timestamp) -> Self {
        Self {
            action: Action::Export,
            principal: Principal::administrator(role),
            resource: agreement.map_or(Resource::Node, |a| Resource::Agreement {
                id: a.id().to_string(),
                purposes: a.terms().purposes.clone(),
            }),
            context: Circumstances::at(now),
        }
    }
}

impl Principal {
    /// A partner, as its federation says.
    pub fn partner(partner: &Partner) -> Self {
        let (roles, assurance) = partner.recognized();
        Self::Partner {
            id: partner.org.to_string(),
            alias: partner.own_name().map(str::to_owned),
            roles: roles.iter().cloned().collect(),
            assurance: assurance.iter().cloned().collect(),
        }
    }

    /// The member that is called so, of whose roles nothing is known: they are
    /// its token's.
    pub fn member(name: &str) -> Self {
        Self::Member {
            name: name.to_owned(),
            roles: BTreeSet::new(),
        }
    }

    /// A member, with the roles of its token.
    pub fn of_member(member: &VerifiedMember) -> Self {
        Self::Member {
            name: member.name().to_owned(),
            roles: member.roles().clone(),
        }
    }

    /// Whoever uses the admin API.
    pub fn administrator(role: &str) -> Self {
        Self::Administrator {
            role: role.to_owned(),
        }
    }
}

impl Resource {
    /// A product, as its descriptor says.
    pub fn product(descriptor: &Descriptor, own: bool) -> Self {
        let columns = descriptor.tables.iter().flat_map(|t| &t.columns);
        let tags = descriptor.contract.get("tags").and_then(|t| t.as_array());
        let tags = tags.into_iter().flatten().filter_map(|t| t.as_str());
        Self::Product {
            address: descriptor.address().to_string(),
            org: descriptor.org.to_string(),
            own,
            classifications: columns.filter_map(|c| c.classification.clone()).collect(),
            tags: tags.map(str::to_owned).collect(),
        }
    }
}

impl asked::Agreement {
    /// An agreement.
    pub(super) fn of(agreement: &Agreement) -> Self {
        Self {
            id: agreement.id().to_string(),
            purposes: agreement.terms().purposes.clone(),
        }
    }
}

/// The purpose stated, or all that count when none is.
fn purposes(stated: Option<&str>, all: &BTreeSet<String>) -> BTreeSet<String> {
    match stated {
        Some(purpose) => BTreeSet::from([purpose.to_owned()]),
        None => all.clone(),
    }
}

/// The columns that `tables` open, as `table.column`, and their classifications.
pub(super) fn opened<'a>(
    product: &Descriptor,
    tables: impl Iterator<Item = (&'a String, &'a TableTerms)>,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut columns, mut classifications) = (BTreeSet::new(), BTreeSet::new());
    for (name, terms) in tables {
        columns.extend(terms.columns.iter().map(|c| format!("{name}.{c}")));
        let table = product.tables.iter().find(|t| t.name.as_str() == name);
        let known = table.into_iter().flat_map(|t| &t.columns);
        let open = known.filter(|c| terms.columns.contains(&c.name));
        classifications.extend(open.filter_map(|c| c.classification.clone()));
    }
    (columns, classifications)
}
