//! Grants for people, services and jobs that have a key of their own.
//!
//! They leave the node, so they are written down before they do, and what was
//! handed out is known after a restart: it can be listed, renewed, taken back,
//! and vouched for in receipts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use comity_identity::grant::{Chain, Grant, GrantError};
use comity_identity::organization::Revoked;
use comity_identity::{Digest, LEEWAY, Timestamp};
use comity_protocol::product::Descriptor;
use data_encoding::HEXLOWER;

use super::agreements::Agreement;
use super::policy::{Asked, Policies, Principal};
use crate::clock;
use crate::failure::{Failure, Fault};
use crate::index::Table;
use crate::ledger::{self, GrantIssued, Ledger, OPERATOR, Record, grant_hour};
use crate::own::Own;

/// The most grants that live at one time, handed out.
const MAX_LIVE: usize = 4096;

/// The grants that this node handed out and that have not ended.
#[derive(Debug)]
pub struct HandedOut {
    own: Arc<Own>,
    ledger: Arc<Ledger>,
    /// By `jti`.
    live: Mutex<BTreeMap<String, Handed>>,
}

/// One grant that was handed out.
#[derive(Clone, Debug)]
pub struct Handed {
    /// The member who answers for it.
    pub member: String,
    /// What it permits.
    pub grant: Grant,
}

impl HandedOut {
    /// Reads those that live at `now` from the ledger. `who` tells members by
    /// their pseudonyms: their names are not written down with grants.
    pub fn load(
        own: Arc<Own>,
        ledger: Arc<Ledger>,
        who: impl Fn(&Grant) -> Option<String>,
        now: Timestamp,
    ) -> Result<Self, ledger::Error> {
        let document = own.current();
        let mut live = BTreeMap::new();
        let hour = std::time::Duration::from_secs(3600);
        // Those that end in this hour or the next, or have just ended: none lives longer.
        for at in [now.saturating_sub(hour), now, now.saturating_add(hour)] {
            for (_, record) in ledger.scan(Table::Grants, &grant_hour(at))? {
                let Record::GrantIssued(issued) = record else {
                    continue;
                };
                let chain = Chain::from_links(vec![issued.text]);
                let Ok(Some(grant)) = chain.danger_unverified().map(|mut g| g.pop()) else {
                    continue;
                };
                let revoked = |d: &comity_identity::organization::VerifiedDocument| {
                    d.is_revoked(Revoked::Grant, &issued.jti, now)
                };
                if counts(&grant, now) && !revoked(&document.document) {
                    let member = who(&grant).unwrap_or_else(|| grant.sub.clone());
                    live.insert(issued.jti, Handed { member, grant });
                }
            }
        }
        Ok(Self {
            own,
            ledger,
            live: Mutex::new(live),
        })
    }

    /// Signs `grant`, whose `jti` is chosen here, for `member`, writes it down
    /// and gives its link. `still` says whether the member has a token.
    ///
    /// # Errors
    /// The caller's fault where a rule of grants is broken or the member is
    /// gone; ours where it cannot be written down: then nothing is handed out
    /// (`spec/5-data-plane.md#D-135`).
    pub async fn issue(
        &self,
        member: &str,
        mut grant: Grant,
        still: &(dyn Fn() -> bool + Sync),
        now: Timestamp,
    ) -> Result<String, Failure> {
        clock::check()?;
        let mut jti = [0; 16];
        getrandom::fill(&mut jti).map_err(|e| Failure::own("no-randomness", e))?;
        grant.jti = HEXLOWER.encode(&jti);
        let chain = Chain::issue(&grant, &*self.own.keys().issuer).map_err(|e| match e {
            GrantError::Envelope { .. } => Failure::own("grant", e),
            e => Failure::caller("bad-grant", e.to_string()),
        })?;
        let text = chain.links().concat();
        let record = GrantIssued {
            jti: grant.jti.clone(),
            agreement: grant.agr,
            text: text.clone(),
            by: OPERATOR.to_owned(),
            expires: grant.exp,
            at: now,
        };
        let jti = grant.jti.clone();
        {
            let mut live = self.lock();
            live.retain(|_, handed| counts(&handed.grant, now));
            if live.len() >= MAX_LIVE {
                let full = format!("{MAX_LIVE} grants live already");
                return Err(Failure::own("too-many-grants", full));
            }
            // spec/5-data-plane.md#D-128, as for the node's own: known before it
            // exists, so that a removal in between takes it back.
            if !still() {
                return Err(gone(member));
            }
            let member = member.to_owned();
            live.insert(jti.clone(), Handed { member, grant });
        }
        let written = self.ledger.commit(&Record::GrantIssued(record)).await;
        if let Err(error) = written {
            self.lock().remove(&jti);
            return Err(error.into());
        }
        if !self.lock().contains_key(&jti) {
            return Err(gone(member));
        }
        Ok(text)
    }

    /// The grant with this `jti`, if it lives at `now`.
    pub fn get(&self, jti: &str, now: Timestamp) -> Option<Handed> {
        let live = self.lock();
        live.get(jti).filter(|h| now < h.grant.exp).cloned()
    }

    /// The grants that live at `now`: `jti`, member, agreement, end.
    pub fn live(&self, now: Timestamp) -> Vec<(String, String, Digest, Timestamp)> {
        let live = self.lock();
        let shown = live.iter().filter(|(_, h)| now < h.grant.exp);
        shown
            .map(|(jti, h)| (jti.clone(), h.member.clone(), h.grant.agr, h.grant.exp))
            .collect()
    }

    /// Forgets the grants of `member` and gives their `jti`s, to be taken back.
    pub fn forget_member(&self, member: &str, now: Timestamp) -> Vec<String> {
        let mut live = self.lock();
        let gone = live.extract_if(.., |_, handed| handed.member == member);
        gone.filter(|(_, handed)| counts(&handed.grant, now))
            .map(|(jti, _)| jti)
            .collect()
    }

    /// Forgets the grant with this `jti`: it is not renewed.
    pub fn forget_grant(&self, jti: &str) {
        self.lock().remove(jti);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Handed>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the owner's policies for `grant`, which `member` is to answer for.
///
/// # Errors
/// A policy refuses; the node's log says which one.
pub fn permit(
    policies: &Policies,
    member: &str,
    grant: &Grant,
    (agreement, product): (&Agreement, &Descriptor),
    now: Timestamp,
) -> Result<(), Failure> {
    let principal = Principal::Member {
        name: member.to_owned(),
        roles: grant.roles.clone(),
    };
    let mut asked = Asked::issue_grant((principal, &grant.amr), None, agreement, product, now);
    asked.context.purposes.clone_from(&grant.purpose);
    asked.context.roles.clone_from(&grant.roles);
    policies.permit(asked).map(drop).map_err(|why| {
        tracing::info!(reason = why.reason, "a grant was refused by policy");
        let message = "a policy of this node does not permit the grant";
        Failure::new(Fault::Conflict, "policy", message)
            .next("the node's log says which one; 'comity policy explain' says why")
    })
}

/// Whether a grant may count for anybody at `now`: clocks differ by the leeway.
fn counts(grant: &Grant, now: Timestamp) -> bool {
    now < grant.exp.saturating_add(LEEWAY)
}

fn gone(member: &str) -> Failure {
    Failure::caller(
        "unknown-member",
        format!("no member is called '{member}', or not any more"),
    )
    .next("the member answers for the grant; see 'comity member list' and 'comity member add'")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use comity_identity::{OrgId, SecretKey, Signer as _};

    use super::*;
    use crate::fixture;

    fn grant(own: &Own, now: Timestamp) -> Grant {
        Grant {
            v: 1,
            iss: own.org(),
            aud: OrgId::from_inception(Digest::of(b"provider")),
            agr: Digest::of(b"agreement"),
            sub: "pseudonym".to_owned(),
            act: Vec::new(),
            roles: BTreeSet::new(),
            amr: BTreeSet::new(),
            cnf: SecretKey::from_seed(&[7; 32]).public(),
            cert: None,
            tables: None,
            cols: None,
            filter: Vec::new(),
            purpose: BTreeSet::new(),
            max_rows: None,
            nbf: now,
            exp: now.saturating_add(Duration::from_secs(600)),
            jti: String::new(),
            prt: None,
        }
    }

    #[tokio::test]
    async fn what_was_handed_out_is_known_after_a_restart_and_ends_with_its_member() {
        let founded = tokio::task::spawn_blocking(|| fixture::own("port-authority"));
        let (own, dir) = founded.await.unwrap();
        let journal = dir.path().join("handed");
        let ledger = Arc::new(Ledger::create(&journal).unwrap());
        let now = clock::now();
        let load = |now| {
            let who = |_: &Grant| Some("analyst".to_owned());
            HandedOut::load(Arc::clone(&own), Arc::clone(&ledger), who, now).unwrap()
        };
        let handed = load(now);
        let refused = handed.issue("analyst", grant(&own, now), &|| false, now);
        assert_eq!(refused.await.unwrap_err().code(), "unknown-member");
        assert!(load(now).live(now).is_empty(), "nothing was written either");

        let link = handed.issue("analyst", grant(&own, now), &|| true, now);
        let link = Digest::of(link.await.unwrap().as_bytes());
        let agreement = Digest::of(b"agreement");
        let key = ledger::grant_key(&agreement, &link);
        let record = ledger.get(Table::Grants, &key).unwrap();
        assert!(matches!(record, Some(Record::GrantIssued(g)) if g.agreement == agreement));

        let again = load(now);
        assert_eq!(again.live(now), handed.live(now));
        let (jti, ..) = again.live(now).remove(0);
        assert!(again.get(&jti, now).is_some());
        let end = now.saturating_add(Duration::from_secs(600));
        assert!(again.get(&jti, end).is_none(), "what ended is not renewed");
        assert!(
            load(end.saturating_add(LEEWAY))
                .live
                .lock()
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            again.forget_member("analyst", now),
            std::slice::from_ref(&jti)
        );
        assert!(again.forget_member("analyst", now).is_empty());
        assert!(again.get(&jti, now).is_none());
    }
}
