//! What one request may see. Everything that is served passes through here.

use std::collections::{BTreeMap, BTreeSet};

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
        /// The purpose: see [`purpose_of`].
        purpose: &'a str,
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
                covers(agreement, grant, purpose)?;
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
            hide(terms, |c| only.contains(c));
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
            let Some(terms) = tables.get_mut(&name) else {
                continue;
            };
            // Rows that the consumer chooses itself would be groups of any size.
            if terms.protection.is_some() {
                let why =
                    format!("a filter of the grant is for {name}, which is read in groups only");
                return Err(out("grant-invalid", why));
            }
            terms.filter = terms.filter.and(&filter);
        }
    }
    Ok(())
}

/// Hides the columns that `keep` does not hold. Of a table that is read in
/// groups only they go on making its cells: with other cells for every grant
/// answers could be subtracted (`spec/5-data-plane.md#D-145`).
fn hide(terms: &mut TableTerms, keep: impl Fn(&str) -> bool) {
    match terms.protection.clone() {
        None => terms.retain_columns(keep),
        Some(protection) => {
            let by = &protection.group_by;
            terms.columns.retain(|column| keep(column));
            terms
                .masks
                .retain(|column, _| keep(column) || by.contains(column));
        }
    }
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

/// The purpose of a query: the one that is stated, or the only one of `named`.
/// Where several are named nobody guesses which is meant (`spec/5-data-plane.md#D-108`).
pub(super) fn purpose_of<'a>(
    named: &'a BTreeSet<String>,
    stated: Option<&'a str>,
) -> Option<&'a str> {
    let mut names = named.iter().map(String::as_str);
    let only = names.next().filter(|_| names.next().is_none());
    stated.or(only)
}

/// The grant is for this agreement and this partner, and the purpose is
/// permitted by both (`spec/5-data-plane.md#D-108`).
fn covers(agreement: &Agreement, grant: &VerifiedGrant, purpose: &str) -> Result<(), OutOfScope> {
    // A3: a grant for another agreement or by another organization is worthless here.
    if grant.agreement() != agreement.id() || grant.issuer() != agreement.peer() {
        return Err(out("grant-invalid", "the grant is for another agreement"));
    }
    let agreed = &agreement.terms().purposes;
    if agreed.contains(purpose) && grant.purposes().contains(purpose) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_stated_or_the_only_one_and_never_guessed() {
        let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let (one, two): (BTreeSet<String>, BTreeSet<String>) = (named(&["a"]), named(&["a", "b"]));
        assert_eq!(purpose_of(&one, None), Some("a"));
        assert_eq!(purpose_of(&two, Some("b")), Some("b"));
        assert_eq!(purpose_of(&two, None), None);
        assert_eq!(purpose_of(&BTreeSet::new(), None), None);
    }
}
