//! Grants for our own members: "this person of ours acts under that agreement".

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use comity_identity::grant::{Chain, Grant, MAX_LIFETIME};
use comity_identity::{Digest, LEEWAY, OrgId, Signer as _, Timestamp};
use data_encoding::HEXLOWER;

use super::agreements::Agreement;
use super::members::VerifiedMember;
use crate::clock;
use crate::failure::Failure;
use crate::own::Own;

/// A grant with less than this left is issued anew.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// The most grants that live at one time. No more are issued then: one that
/// was forgotten before its end could not be taken back with its member.
const MAX_KEPT: usize = 4096;

/// Issues grants to this node's key for members, and keeps them while they last.
#[derive(Debug)]
pub struct Grants {
    own: Arc<Own>,
    /// By use, oldest first: a renewed grant does not end the one before it.
    kept: Mutex<HashMap<Use, Vec<Kept>>>,
}

/// What a grant is for and says of its holder. A member's grant for one login
/// does not serve another login with other roles.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Use {
    member: String,
    agreement: Digest,
    purpose: String,
    roles: BTreeSet<String>,
    authentication: BTreeSet<String>,
}

/// A grant that was issued.
#[derive(Debug)]
struct Kept {
    jti: String,
    links: Vec<String>,
    expires: Timestamp,
}

impl Grants {
    /// Grants of this organization.
    pub fn new(own: Arc<Own>) -> Self {
        Self {
            own,
            kept: Mutex::default(),
        }
    }

    /// The grant chain for `member` under `agreement`: one link, held by this
    /// node's key, for `purpose`. Of the member's roles it states those of
    /// `negotiated`, which the federation with the partner names: others mean
    /// nothing there and are none of its business (`spec/5-data-plane.md#D-210`).
    /// It ends with the member's token at the latest. `still` says whether the
    /// member has not been removed since it asked.
    pub fn for_member(
        &self,
        member: &VerifiedMember,
        (agreement, negotiated): (&Agreement, &[String]),
        purpose: &str,
        still: &dyn Fn() -> bool,
        now: Timestamp,
    ) -> Result<Vec<String>, Failure> {
        clock::check()?;
        let roles = member.roles().iter();
        let key = Use {
            member: member.name().to_owned(),
            agreement: agreement.id(),
            purpose: purpose.to_owned(),
            roles: roles.filter(|r| negotiated.contains(r)).cloned().collect(),
            authentication: member.authentication().clone(),
        };
        let longest = now.saturating_add(MAX_LIFETIME);
        let expires = member.until().map_or(longest, |end| end.min(longest));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // spec/5-data-plane.md#D-128. With the grants locked: a removal takes back those that are kept after
        // it ended the token, so none slips in between.
        if !still() {
            return Err(Failure::caller("unauthenticated", "the member was removed"));
        }
        // One that ends with the token cannot be renewed by issuing it anew.
        let serves = |known: &&Kept| {
            let long = known.expires.since(now) > RENEW_BEFORE || known.expires == expires;
            long && known.expires <= expires
        };
        let known = kept.get(&key).and_then(|all| all.iter().rev().find(serves));
        if let Some(known) = known {
            return Ok(known.links.clone());
        }
        kept.retain(|_, all| {
            all.retain(|grant| counts(grant, now));
            !all.is_empty()
        });
        if kept.values().map(Vec::len).sum::<usize>() >= MAX_KEPT {
            let full = format!("{MAX_KEPT} grants live already");
            return Err(Failure::own("too-many-grants", full));
        }
        let mut jti = [0; 16];
        getrandom::fill(&mut jti).map_err(|e| Failure::own("no-randomness", e))?;
        let grant = Grant {
            v: 1,
            iss: self.own.org(),
            aud: agreement.peer(),
            agr: agreement.id(),
            sub: self.pseudonym(member.name(), &agreement.peer()),
            act: Vec::new(),
            roles: key.roles.clone(),
            amr: key.authentication.clone(),
            cnf: self.own.keys().node.public(),
            cert: None,
            tables: None,
            cols: None::<BTreeMap<String, BTreeSet<String>>>,
            filter: Vec::new(),
            purpose: BTreeSet::from([purpose.to_owned()]),
            max_rows: None,
            nbf: now,
            exp: expires,
            jti: HEXLOWER.encode(&jti),
            prt: None,
        };
        let jti = grant.jti.clone();
        let chain =
            Chain::issue(&grant, &*self.own.keys().issuer).map_err(|e| Failure::own("grant", e))?;
        let links = chain.links().to_vec();
        let issued = Kept {
            jti,
            links: links.clone(),
            expires,
        };
        kept.entry(key).or_default().push(issued);
        Ok(links)
    }

    /// Forgets the grants of `member` and gives their `jti`s, to be taken back.
    ///
    /// Those of an earlier run are not among them, and need not be: this node's
    /// key holds them, and their texts went with the process that had them.
    pub fn forget_member(&self, member: &str, now: Timestamp) -> Vec<String> {
        self.forget(|of, _| of == member, now)
    }

    /// Forgets the grant with this `jti`, so that it is not used again.
    pub fn forget_grant(&self, jti: &str, now: Timestamp) {
        self.forget(|_, kept| kept == jti, now);
    }

    /// The grants that live at `now`: `jti`, member, agreement, end.
    pub fn live(&self, now: Timestamp) -> Vec<(String, String, Digest, Timestamp)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(of, all): (&Use, &Vec<Kept>)| {
            let live = all.iter().filter(|grant| now < grant.expires);
            let shown = |g: &Kept| (g.jti.clone(), of.member.clone(), of.agreement, g.expires);
            live.map(shown).collect::<Vec<_>>()
        };
        let mut live: Vec<_> = kept.iter().flat_map(of).collect();
        live.sort();
        live
    }

    fn forget(&self, which: impl Fn(&str, &str) -> bool, now: Timestamp) -> Vec<String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        for (of, all) in kept.iter_mut() {
            let taken = all.extract_if(.., |grant| which(&of.member, &grant.jti));
            gone.extend(taken.filter(|grant| counts(grant, now)).map(|g| g.jti));
        }
        kept.retain(|_, all| !all.is_empty());
        gone
    }

    /// What `peer` knows `member` as: the same for every query to that partner,
    /// another for every other partner, and nobody but us can tell whose it is.
    pub(crate) fn pseudonym(&self, member: &str, peer: &OrgId) -> String {
        let key = &self.own.keys().pseudonym;
        let digest = Digest::keyed(&key[..], &[peer.as_bytes(), member.as_bytes()]);
        HEXLOWER.encode(digest.as_bytes().get(..16).unwrap_or_default())
    }
}

/// Whether a grant may count for anybody at `now`: clocks differ by the leeway.
fn counts(grant: &Kept, now: Timestamp) -> bool {
    now < grant.expires.saturating_add(LEEWAY)
}
