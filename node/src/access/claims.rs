//! What this organization knows of whoever asks, for the row filters that refer to it.

use std::collections::{BTreeMap, BTreeSet};

use comity_identity::OrgId;
use comity_identity::grant::VerifiedGrant;
use comity_protocol::terms::{Literal, Predicate, RowFilter};

/// The values of claims, by name, of one request (`spec/4-negotiation.md#N-80`).
///
/// `peer.*` is what this organization's own configuration says of the partner;
/// the rest is what the partner's grant states, which the partner chooses
/// itself within what the agreement permits.
#[derive(Clone, Debug, Default)]
pub struct AskerClaims(BTreeMap<String, BTreeSet<String>>);

impl AskerClaims {
    /// The claims of a request of `org`, of which this organization's
    /// configuration says `attributes`, with `grant` and for `purpose`; of its roles, those
    /// that the federation recognizes.
    pub fn new(
        org: &OrgId,
        attributes: &BTreeMap<String, String>,
        grant: &VerifiedGrant,
        purpose: &str,
        roles: BTreeSet<String>,
    ) -> Self {
        let one = |name: &str, value: &str| (name.to_owned(), BTreeSet::from([value.to_owned()]));
        let named = attributes.iter().map(|(k, v)| one(&format!("peer.{k}"), v));
        let mut claims: BTreeMap<_, _> = named.collect();
        // After the attributes: none of them can stand for the id.
        claims.extend([
            one("peer.org", &org.to_string()),
            one("grant.subject", grant.subject()),
            one("purpose", purpose),
        ]);
        if !roles.is_empty() {
            claims.insert("grant.roles".to_owned(), roles);
        }
        Self(claims)
    }

    /// `filter` with the values in the place of the claims.
    ///
    /// # Errors
    /// The name of a claim that is not there: a filter whose value is unknown
    /// hides everything, so the request is refused.
    pub fn bind(&self, filter: &RowFilter) -> Result<RowFilter, String> {
        filter
            .0
            .iter()
            .map(|p| self.predicate(p))
            .collect::<Result<_, _>>()
            .map(RowFilter)
    }

    /// Recursion is bounded: terms were checked when they were signed (N-5).
    fn predicate(&self, predicate: &Predicate) -> Result<Predicate, String> {
        let all = |inner: &BTreeSet<Predicate>| {
            let bound = inner.iter().map(|p| self.predicate(p));
            bound.collect::<Result<BTreeSet<_>, _>>()
        };
        Ok(match predicate {
            Predicate::Compare { column, op, value } => {
                let values = self.values(value)?;
                let [value] = values.as_slice() else {
                    return Err(format!(
                        "{value} has several values, so only 'in' can compare it"
                    ));
                };
                Predicate::Compare {
                    column: column.clone(),
                    op: *op,
                    value: value.clone(),
                }
            }
            Predicate::In { column, values } => {
                let bound = values.iter().map(|v| self.values(v));
                let bound = bound.collect::<Result<Vec<_>, _>>()?;
                Predicate::In {
                    column: column.clone(),
                    values: bound.into_iter().flatten().collect(),
                }
            }
            Predicate::IsNull { column } => Predicate::IsNull {
                column: column.clone(),
            },
            Predicate::Not(inner) => Predicate::Not(Box::new(self.predicate(inner)?)),
            Predicate::Any(inner) => Predicate::Any(all(inner)?),
            Predicate::All(inner) => Predicate::All(all(inner)?),
        })
    }

    fn values(&self, literal: &Literal) -> Result<Vec<Literal>, String> {
        let Literal::Claim(name) = literal else {
            return Ok(vec![literal.clone()]);
        };
        let values = self.0.get(name);
        let values = values.ok_or_else(|| format!("nothing is known of {literal}"))?;
        Ok(values.iter().cloned().map(Literal::Text).collect())
    }
}

#[cfg(test)]
mod tests {
    use comity_protocol::terms::Comparison;

    use super::*;

    fn claims() -> AskerClaims {
        let set = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
        AskerClaims(BTreeMap::from([
            ("peer.country".to_owned(), set(&["DE"])),
            ("grant.roles".to_owned(), set(&["analyst", "auditor"])),
        ]))
    }

    fn compare(value: Literal) -> Predicate {
        Predicate::Compare {
            column: "country".to_owned(),
            op: Comparison::Eq,
            value,
        }
    }

    fn claim(name: &str) -> Literal {
        Literal::Claim(name.to_owned())
    }

    fn is_in(values: impl IntoIterator<Item = Literal>) -> Predicate {
        Predicate::In {
            column: "role".to_owned(),
            values: values.into_iter().collect(),
        }
    }

    fn text(value: &str) -> Literal {
        Literal::Text(value.to_owned())
    }

    #[test]
    fn claims_become_values_wherever_they_stand() {
        let deep = Predicate::Not(Box::new(Predicate::Any(
            [
                compare(claim("peer.country")),
                is_in([claim("grant.roles"), text("x")]),
            ]
            .into(),
        )));
        let bound = claims().bind(&RowFilter([deep].into())).unwrap();
        let expected = Predicate::Not(Box::new(Predicate::Any(
            [
                compare(text("DE")),
                is_in([text("analyst"), text("auditor"), text("x")]),
            ]
            .into(),
        )));
        assert_eq!(bound, RowFilter([expected].into()));
        let plain = RowFilter([compare(text("DE"))].into());
        assert_eq!(claims().bind(&plain).unwrap(), plain);
    }

    #[test]
    fn a_claim_that_is_missing_or_has_several_values_refuses() {
        for bad in [
            compare(claim("peer.region")),
            is_in([text("x"), claim("purpose")]),
            Predicate::All([Predicate::Not(Box::new(compare(claim("purpose"))))].into()),
            compare(claim("grant.roles")),
        ] {
            assert!(
                claims().bind(&RowFilter([bad.clone()].into())).is_err(),
                "{bad}"
            );
        }
    }
}
