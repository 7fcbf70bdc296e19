//! What the operator asks about members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Node;
use crate::access::Partner;
use crate::admin::api;
use crate::clock;
use crate::failure::Failure;
use crate::journal::{Entry, Journal};
use crate::ledger::Record;

/// The length of a pseudonym, in hex digits.
const PSEUDONYM_CHARS: usize = 32;

impl Node {
    /// The members: those with local tokens, and whoever the identity provider
    /// vouched for.
    pub fn list_members(&self) -> Vec<api::Member> {
        let now = clock::now();
        let mut members: BTreeMap<String, Vec<api::Token>> = BTreeMap::new();
        for name in self.members.seen() {
            members.entry(name).or_default();
        }
        for held in self.members.list() {
            members.entry(held.name).or_default().push(api::Token {
                id: held.id,
                scope: held.scope,
                roles: held.roles,
                made: held.made,
                expires: held.expires,
                expired: held.expires.is_some_and(|end| end <= now),
            });
        }
        let member = |(name, tokens)| api::Member { name, tokens };
        members.into_iter().map(member).collect()
    }

    /// Says whose pseudonym it is, in a dispute with the partner who knows it
    /// (`spec/5-data-plane.md#D-211`). Members who were removed are found, too;
    /// erased ones are not.
    pub async fn resolve_member(
        self: &Arc<Self>,
        ask: api::ResolveMember,
    ) -> Result<Vec<api::ResolvedMember>, Failure> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if ask.pseudonym.len() != PSEUDONYM_CHARS || !ask.pseudonym.bytes().all(is_hex) {
            let message = "a pseudonym has 32 of the characters 0-9 a-f";
            return Err(Failure::caller("bad-pseudonym", message)
                .next("copy it from a receipt or from the partner's journal"));
        }
        let partners: Vec<Partner> = match &ask.partner {
            Some(alias) => {
                let partner = self.partners.by_alias(alias);
                vec![partner.ok_or_else(|| Failure::no_partner(alias))?]
            }
            None => self.partners.all(),
        };
        // Before its effect: lifting a pseudonym is an act that must not stay unseen.
        self.administered("resolve", &ask.pseudonym).await?;
        let node = Arc::clone(self);
        let looking = tokio::task::spawn_blocking(move || {
            let names = node.every_member()?;
            let mut found = Vec::new();
            for partner in &partners {
                let known_as = |name: &String| node.grants.pseudonym(name, &partner.org);
                let of = names.iter().filter(|name| known_as(name) == ask.pseudonym);
                found.extend(of.map(|name| api::ResolvedMember {
                    member: name.clone(),
                    partner: partner.alias.clone(),
                }));
            }
            Ok(found)
        });
        looking.await.map_err(|e| Failure::own("resolve", e))?
    }

    /// Writes down that a member's token makes a call that can change something,
    /// before it does.
    pub async fn called_by_token(&self, token: &str, call: &str) -> Result<(), Failure> {
        self.administered_by(format!("token {token}"), "call", call)
            .await
    }

    /// Every name that the journal gives a member, of removed ones too.
    fn every_member(&self) -> Result<BTreeSet<String>, Failure> {
        let mut names = BTreeSet::new();
        let walked = Journal::walk(&self.home.journal(), |_, entry| {
            let Entry::Kept { record, .. } = entry else {
                return;
            };
            match serde_json::from_slice(record) {
                Ok(Record::Member(member)) => _ = names.insert(member.name),
                Ok(Record::MemberSeen(member)) => _ = names.insert(member.name),
                _ => {}
            }
        });
        walked.map_err(|e| Failure::own("journal", e))?;
        Ok(names)
    }
}
