//! Grants for our own members: "this person of ours acts under that agreement".

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use comity_identity::grant::{Chain, Grant, MAX_LIFETIME};
use comity_identity::{Digest, OrgId, Signer as _, Timestamp};
use data_encoding::HEXLOWER;

use super::agreements::Agreement;
use crate::failure::Failure;
use crate::own::Own;

/// A grant with less than this left is issued anew.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// The most grants that are kept; then all are forgotten and issued anew.
const MAX_KEPT: usize = 4096;

/// Issues grants to this node's key for members, and keeps them while they last.
#[derive(Debug)]
pub struct Grants {
    own: Arc<Own>,
    kept: Mutex<HashMap<Use, Kept>>,
}

/// What a grant is for: the member, the agreement, the purpose stated.
type Use = (String, Digest, Option<String>);

/// A chain and when it ends.
type Kept = (Vec<String>, Timestamp);

impl Grants {
    /// Grants of this organization.
    pub fn new(own: Arc<Own>) -> Self {
        Self {
            own,
            kept: Mutex::default(),
        }
    }

    /// The grant chain for `member` under `agreement`: one link, held by this
    /// node's key, for the purpose stated or for every agreed one.
    pub fn for_member(
        &self,
        member: &str,
        agreement: &Agreement,
        purpose: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<String>, Failure> {
        let key = (
            member.to_owned(),
            agreement.id(),
            purpose.map(str::to_owned),
        );
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((chain, expires)) = kept.get(&key)
            && expires.since(now) > RENEW_BEFORE
        {
            return Ok(chain.clone());
        }
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        let mut jti = [0; 16];
        getrandom::fill(&mut jti).map_err(|e| Failure::own("no-randomness", e))?;
        let purposes = match purpose {
            Some(purpose) => BTreeSet::from([purpose.to_owned()]),
            None => agreement.terms().purposes.clone(),
        };
        let expires = now.saturating_add(MAX_LIFETIME);
        let grant = Grant {
            v: 1,
            iss: self.own.org(),
            aud: agreement.peer(),
            agr: agreement.id(),
            sub: self.pseudonym(member, &agreement.peer()),
            act: Vec::new(),
            roles: BTreeSet::new(),
            amr: BTreeSet::from(["local-token".to_owned()]),
            cnf: self.own.keys().node.public(),
            tables: None,
            cols: None::<BTreeMap<String, BTreeSet<String>>>,
            filter: Vec::new(),
            purpose: purposes,
            max_rows: None,
            nbf: now,
            exp: expires,
            jti: HEXLOWER.encode(&jti),
            prt: None,
        };
        let chain =
            Chain::issue(&grant, &*self.own.keys().issuer).map_err(|e| Failure::own("grant", e))?;
        let links = chain.links().to_vec();
        kept.insert(key, (links.clone(), expires));
        Ok(links)
    }

    /// What `peer` knows `member` as: the same for every query to that partner,
    /// another for every other partner, and nobody but us can tell whose it is.
    ///
    /// Two nested hashes with the key in front, so that a hash cannot be
    /// lengthened into another member's.
    pub(super) fn pseudonym(&self, member: &str, peer: &OrgId) -> String {
        let key = &self.own.keys().pseudonym;
        let inner = Digest::of(&[&key[..], &peer.as_bytes()[..], member.as_bytes()].concat());
        let outer = Digest::of(&[&key[..], &inner.as_bytes()[..]].concat());
        HEXLOWER.encode(outer.as_bytes().get(..16).unwrap_or_default())
    }
}
