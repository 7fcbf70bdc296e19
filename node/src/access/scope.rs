//! What one request may see. Everything that is served passes through here.

use std::collections::BTreeMap;

use comity_identity::Timestamp;
use comity_identity::grant::VerifiedGrant;
use comity_protocol::negotiation::Side;
use comity_protocol::terms::{Predicate, RowFilter, TableTerms};

use super::agreements::{Agreement, Standing};
use super::claims::AskerClaims;
use crate::catalog::OwnProduct;

/// What one request may see of one product: the agreement AND the grant AND
/// what this organization announces today, intersected.
///
/// [`Scope::decide`] is its only constructor. Flight handlers never see names
/// or terms, only the view that is built from a scope.
#[derive(Clone, Debug)]
pub struct Scope {
    tables: BTreeMap<String, TableTerms>,
}

/// On what ground somebody asks.
#[derive(Clone, Copy, Debug)]
pub enum Basis<'a> {
    /// A partner, under an agreement, with a verified grant.
    Partner {
        /// The agreement.
        agreement: &'a Agreement,
        /// The grant.
        grant: &'a VerifiedGrant,
        /// The purpose stated, if any.
        purpose: Option<&'a str>,
        /// What is known of whoever asks.
        claims: &'a AskerClaims,
    },
    /// A member of this organization.
    Member,
}

/// Why nothing may be seen: the code for the caller, the reason for the owner's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfScope {
    /// The stable code.
    pub code: &'static str,
    /// The reason. It may name what the caller must not learn.
    pub reason: String,
}

impl Scope {
    /// Decides what `basis` gives of `product` at `now`.
    pub fn decide(
        basis: Basis<'_>,
        product: &OwnProduct,
        now: Timestamp,
    ) -> Result<Self, OutOfScope> {
        let mut tables = match basis {
            Basis::Member => whole(product),
            Basis::Partner {
                agreement,
                grant,
                purpose,
                claims: _,
            } => {
                in_force(agreement, product, now)?;
                stated(agreement, grant, purpose)?;
                agreement.terms().tables.clone()
            }
        };
        // What the owner serves today: a column that is no longer part of the
        // product is gone, whatever was once agreed.
        for (name, terms) in &mut tables {
            let table = product.table(name);
            let served = |c: &str| table.is_some_and(|t| t.columns.iter().any(|k| k.name == c));
            terms.retain_columns(served);
        }
        if let Basis::Partner { grant, claims, .. } = basis {
            narrow(&mut tables, grant)?;
            // Last: what is known of the asker is in no terms that are compared.
            for (name, terms) in &mut tables {
                let bound = claims.bind(&terms.filter);
                terms.filter = bound.map_err(|e| out("claim", format!("table {name}: {e}")))?;
            }
        }
        tables.retain(|_, terms| !terms.columns.is_empty());
        if tables.is_empty() {
            return Err(out(
                "nothing-left",
                "no column of the scope is served today",
            ));
        }
        Ok(Self { tables })
    }

    /// The tables of the scope, by name.
    pub fn tables(&self) -> &BTreeMap<String, TableTerms> {
        &self.tables
    }
}

/// Narrows what the agreement opens today by the grant (`spec/5-data-plane.md#D-109`).
fn narrow(
    tables: &mut BTreeMap<String, TableTerms>,
    grant: &VerifiedGrant,
) -> Result<(), OutOfScope> {
    let open = tables.clone();
    if let Some(only) = grant.tables() {
        tables.retain(|name, _| only.contains(name));
    }
    for (name, terms) in tables.iter_mut() {
        if let Some(only) = grant.columns(name) {
            terms.retain_columns(|c| only.contains(c));
        }
    }
    for link in grant.filters() {
        // {"TABLE": [PREDICATE, …]}; what cannot be read hides everything (A4).
        let more: BTreeMap<String, RowFilter> = serde_json::from_value(link.value().clone())
            .map_err(|e| out("grant-invalid", format!("a filter of the grant: {e}")))?;
        for (name, filter) in more {
            filter
                .check()
                .map_err(|e| out("grant-invalid", e.to_string()))?;
            if filter.0.iter().any(Predicate::has_claims) {
                return Err(out("grant-invalid", "a filter of the grant names a claim"));
            }
            // The consumer issues its grants itself: a filter over a column
            // that is hidden or masked would ask about its values, row by row.
            let visible = |column: &str| {
                open.get(&name).is_some_and(|terms| terms.shows(column))
                    && link.author_reads(&name, column)
            };
            let mut columns = filter.0.iter().flat_map(Predicate::columns);
            if let Some(hidden) = columns.find(|c| !visible(c)) {
                return Err(out(
                    "grant-invalid",
                    format!("a filter of the grant names {name}.{hidden}, which is not open"),
                ));
            }
            if let Some(terms) = tables.get_mut(&name) {
                terms.filter = terms.filter.and(&filter);
            }
        }
    }
    Ok(())
}

/// The agreement counts now, was given by this organization, and is for this product.
fn in_force(agreement: &Agreement, product: &OwnProduct, now: Timestamp) -> Result<(), OutOfScope> {
    if agreement.side() != Side::Provider || agreement.product() != product.address().to_string() {
        return Err(out(
            "no-agreement",
            "the agreement is not for this product of ours",
        ));
    }
    // A version never falls; if it did, what was promised would not be there.
    if !agreement.range().covers(product.descriptor.version) {
        return Err(out(
            "withdrawn",
            "no version that the agreement covers is announced",
        ));
    }
    match agreement.standing(now) {
        Standing::InForce => Ok(()),
        Standing::Revoked => Err(out("revoked", "the agreement was revoked")),
        Standing::Expired => Err(out("expired", "the agreement is not in force now")),
    }
}

/// The grant is for this agreement and this partner, and the purpose is
/// permitted by both (`spec/5-data-plane.md#D-108`).
fn stated(
    agreement: &Agreement,
    grant: &VerifiedGrant,
    purpose: Option<&str>,
) -> Result<(), OutOfScope> {
    // A3: a grant for another agreement or by another organization is worthless here.
    if grant.agreement() != agreement.id() || grant.issuer() != agreement.peer() {
        return Err(out("grant-invalid", "the grant is for another agreement"));
    }
    let agreed = &agreement.terms().purposes;
    let fits = match purpose {
        Some(purpose) => agreed.contains(purpose) && grant.purposes().contains(purpose),
        None => !grant.purposes().is_empty() && grant.purposes().is_subset(agreed),
    };
    if fits {
        Ok(())
    } else {
        Err(out("purpose", "the purpose is not one that was agreed"))
    }
}

/// Everything that is announced of a product: for the organization's own members.
fn whole(product: &OwnProduct) -> BTreeMap<String, TableTerms> {
    let tables = product.descriptor.tables.iter();
    tables
        .map(|table| {
            let columns = table.columns.iter().map(|c| c.name.clone()).collect();
            let terms = TableTerms {
                columns,
                filter: RowFilter::default(),
                masks: BTreeMap::new(),
                protection: None,
            };
            (table.name.to_string(), terms)
        })
        .collect()
}

fn out(code: &'static str, reason: impl Into<String>) -> OutOfScope {
    OutOfScope {
        code,
        reason: reason.into(),
    }
}
