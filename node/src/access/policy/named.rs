//! Requests out of names, for whoever asks what would be decided.

use std::collections::{BTreeMap, BTreeSet};

use comity_identity::Timestamp;
use comity_protocol::product::Descriptor;
use comity_protocol::terms::{RowFilter, TableTerms};

use super::asked::{self, Action, Asked, Circumstances, Principal, Resource};
use super::subject::opened;
use crate::access::agreements::Agreement;
use crate::access::partners::Partner;
use crate::failure::Failure;

/// What was named, with what the node knows of it.
#[derive(Debug)]
pub struct Named<'a> {
    /// What is to happen.
    pub action: Action,
    /// The partner.
    pub partner: Option<&'a Partner>,
    /// The member.
    pub member: Option<&'a str>,
    /// The product.
    pub product: Option<&'a Descriptor>,
    /// The agreement between the two about it, if there is one.
    pub agreement: Option<&'a Agreement>,
    /// The purpose stated.
    pub purpose: Option<&'a str>,
}

impl Asked {
    /// The request that these names stand for at `now`: of everything that the
    /// agreement opens, or, without one, everything that the product has. What a
    /// grant would add (roles, login, pseudonym) is not known here.
    pub fn named(named: &Named<'_>, now: Timestamp) -> Result<Self, Failure> {
        let principal = match (named.action, named.member, named.partner) {
            (Action::Administer | Action::Export, None, _) => Principal::administrator("owner"),
            (_, Some(member), _) => Principal::member(member),
            (_, None, Some(partner)) => Principal::partner(partner),
            (_, None, None) => return Err(missing("--partner or --member")),
        };
        let resource = match (named.action, named.product, named.agreement) {
            (Action::Discover | Action::Administer, _, _) => Resource::Node,
            (Action::Export, _, Some(agreement)) => Resource::Agreement {
                id: agreement.id().to_string(),
                purposes: agreement.terms().purposes.clone(),
            },
            (Action::Export, _, None) => Resource::Node,
            (_, Some(product), _) => {
                let theirs = named.member.is_some() && named.partner.is_some();
                Resource::product(product, !theirs)
            }
            (_, None, _) => return Err(missing("--product")),
        };
        let agreed = named.agreement.map(Agreement::terms);
        let (columns, classifications) = match (named.product, agreed) {
            (Some(product), Some(terms)) => opened(product, terms.tables.iter()),
            (Some(product), None) => opened(product, whole(product).iter()),
            (None, _) => Default::default(),
        };
        let purposes = match named.purpose {
            Some(purpose) => BTreeSet::from([purpose.to_owned()]),
            None => agreed.map(|t| t.purposes.clone()).unwrap_or_default(),
        };
        Ok(Self {
            action: named.action,
            principal,
            resource,
            context: Circumstances {
                purposes,
                columns,
                classifications,
                agreement: named.agreement.map(asked::Agreement::of),
                ..Circumstances::at(now)
            },
        })
    }
}

fn missing(what: &str) -> Failure {
    let message = format!("the action needs {what}");
    Failure::caller("bad-request", message).next("see 'comity policy explain --help'")
}

fn whole(product: &Descriptor) -> BTreeMap<String, TableTerms> {
    let tables = product.tables.iter().map(|table| {
        let terms = TableTerms {
            columns: table.columns.iter().map(|c| c.name.clone()).collect(),
            filter: RowFilter::default(),
            masks: BTreeMap::new(),
            protection: None,
        };
        (table.name.to_string(), terms)
    });
    tables.collect()
}
