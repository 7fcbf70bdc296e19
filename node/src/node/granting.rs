//! Handing out grants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use comity_identity::grant::{Grant, MAX_LIFETIME};
use comity_identity::{Der, Timestamp};
use comity_protocol::negotiation::Side;
use comity_protocol::product::Descriptor;
use comity_protocol::terms::{Predicate, RowFilter};

use super::Node;
use crate::access::{Agreement, Standing, permit_grant};
use crate::admin::api::{GrantFile, IssueGrant};
use crate::clock;
use crate::failure::{Failure, Fault};

/// How the subject of a handed-out grant was authenticated: the operator says who it is.
const BY_OPERATOR: &str = "local-operator";

/// The longest life of a link, in minutes (`spec/2-identity.md#I-34`).
const MAX_MINUTES: u64 = MAX_LIFETIME.as_secs() / 60;

impl Node {
    /// Hands out a grant as `ask` says.
    pub async fn issue_grant(&self, ask: IssueGrant) -> Result<GrantFile, Failure> {
        let now = clock::now();
        let agreement = self.agreements.find(&ask.agreement)?;
        let member = ask.member.clone();
        let grant = self.grant_of(ask, &agreement, now)?;
        self.hand_out(&member, grant, &agreement, now).await
    }

    /// Hands out the same grant again, for as long again, while agreement,
    /// member and policy permit it as on the first day.
    pub async fn renew_grant(&self, jti: &str) -> Result<GrantFile, Failure> {
        let now = clock::now();
        let handed = self.handed.get(jti, now).ok_or_else(|| {
            let message = "no grant with this id lives that was handed out here";
            Failure::new(Fault::Unknown, "unknown-grant", message)
                .next("see 'comity revoke grant' for those that live, or issue a new one with 'comity grant issue'")
        })?;
        let agreement = self.agreements.get(&handed.grant.agr);
        let agreement =
            agreement.ok_or_else(|| Failure::own("grant", "its agreement is not known"))?;
        let life = handed.grant.exp.since(handed.grant.nbf);
        let mut grant = handed.grant;
        (grant.nbf, grant.exp) = (now, now.saturating_add(life));
        self.hand_out(&handed.member, grant, &agreement, now).await
    }

    async fn hand_out(
        &self,
        member: &str,
        grant: Grant,
        agreement: &Arc<Agreement>,
        now: Timestamp,
    ) -> Result<GrantFile, Failure> {
        if agreement.side() != Side::Consumer {
            let message = "under this agreement the partner reads; it issues the grants";
            return Err(Failure::caller("no-agreement", message));
        }
        if agreement.standing(now) != Standing::InForce {
            let message = "the agreement is not in force";
            return Err(Failure::new(Fault::Conflict, "no-agreement", message)
                .next("see 'comity agreements'"));
        }
        let product = self.described(agreement)?;
        permit_grant(&self.policies, member, &grant, (agreement, &product), now)?;
        let still = || self.members.answers(member, now);
        let link = self.handed.issue(member, grant, &still, now).await?;
        let provider = agreement.peer();
        let known = self.partners.keyring().get(&provider);
        let known = known.ok_or_else(|| Failure::not_known(&provider))?;
        let nodes = known.document().nodes(now);
        Ok(GrantFile {
            v: 1,
            links: vec![link],
            provider,
            product: agreement.product().to_owned(),
            addresses: nodes.flat_map(|n| n.flight.clone()).collect(),
            tls_ca: Der::new(known.document().tls_ca().to_vec()),
        })
    }

    /// The grant that `ask` describes, which opens nothing that the agreement
    /// does not. The provider would refuse it; whoever asks is told here and why.
    fn grant_of(
        &self,
        ask: IssueGrant,
        agreement: &Agreement,
        now: Timestamp,
    ) -> Result<Grant, Failure> {
        let bad = |message: String| Failure::caller("bad-grant", message);
        if !(1..=MAX_MINUTES).contains(&ask.minutes) {
            return Err(bad(format!("a grant lives for 1 to {MAX_MINUTES} minutes"))
                .next("a job that runs for longer renews it with 'comity grant renew'"));
        }
        let terms = agreement.terms();
        let purpose = match ask.purposes.is_empty() {
            true => terms.purposes.clone(),
            false => ask.purposes,
        };
        if let Some(other) = purpose.iter().find(|p| !terms.purposes.contains(*p)) {
            return Err(bad(format!("'{other}' is not a purpose of the agreement")));
        }
        let named = ask.tables.iter().chain(ask.columns.keys());
        if let Some(other) = named
            .chain(ask.filter.keys())
            .find(|t| !terms.tables.contains_key(*t))
        {
            return Err(bad(format!("'{other}' is not a table of the agreement")));
        }
        for (table, columns) in &ask.columns {
            let open = terms.tables.get(table).map(|t| &t.columns);
            let other = columns
                .iter()
                .find(|c| !open.is_some_and(|o| o.contains(*c)));
            if let Some(other) = other {
                return Err(bad(format!("the agreement does not open {table}.{other}")));
            }
        }
        for (table, filter) in &ask.filter {
            filter.check().map_err(|e| bad(e.to_string()))?;
            let shows = |c: &str| terms.tables.get(table).is_some_and(|t| t.shows(c));
            let mut columns = filter.0.iter().flat_map(Predicate::columns);
            if let Some(hidden) = columns.find(|c| !shows(c)) {
                return Err(bad(format!(
                    "a filter names {table}.{hidden}, which is not open"
                )));
            }
            if filter.0.iter().any(Predicate::has_claims) {
                return Err(bad("a filter of a grant names no claim".to_owned()));
            }
        }
        let partner = self.partners.get(&agreement.peer());
        let roles: BTreeSet<String> = partner
            .map(|p| p.recognized().0.iter().cloned().collect())
            .unwrap_or_default();
        if let Some(other) = ask.roles.iter().find(|r| !roles.contains(*r)) {
            return Err(bad(format!("'{other}' is not a role of the federation")));
        }
        let tables: BTreeSet<String> = ask
            .tables
            .into_iter()
            .chain(ask.columns.keys().cloned())
            .collect();
        Ok(Grant {
            v: 1,
            iss: self.own.org(),
            aud: agreement.peer(),
            agr: agreement.id(),
            sub: self.grants.pseudonym(&ask.member, &agreement.peer()),
            act: ask.actors,
            roles: ask.roles,
            amr: BTreeSet::from([BY_OPERATOR.to_owned()]),
            cnf: ask.holder,
            cert: ask.certificate,
            tables: Some(tables).filter(|t| !t.is_empty()),
            cols: Some(ask.columns).filter(|c| !c.is_empty()),
            filter: filters(ask.filter)?,
            purpose,
            max_rows: ask.max_rows,
            nbf: now,
            exp: now.saturating_add(Duration::from_secs(60 * ask.minutes)),
            jti: String::new(),
            prt: None,
        })
    }

    /// What the agreement's product is, as it is announced or was when it was agreed to.
    fn described(&self, agreement: &Agreement) -> Result<Descriptor, Failure> {
        let (peer, product) = (agreement.peer(), agreement.product());
        if let Some(announced) = self.catalog.foreign_product(&peer, product) {
            return Ok(announced.descriptor().clone());
        }
        let read = agreement.descriptor();
        read.and_then(|id| self.catalog.remembered(&peer, &id))
            .ok_or_else(|| {
                let message = format!("{product} is not announced");
                Failure::new(Fault::Unknown, "unknown-product", message)
            })
    }
}

/// The filter of a link, as `spec/5-data-plane.md#D-109` writes it.
fn filters(filter: BTreeMap<String, RowFilter>) -> Result<Vec<serde_json::Value>, Failure> {
    if filter.is_empty() {
        return Ok(Vec::new());
    }
    let value = serde_json::to_value(filter).map_err(|e| Failure::own("grant", e))?;
    Ok(vec![value])
}
