//! The organization's own people and programs: who they are, and what their
//! tokens are good for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use comity_identity::{Digest, Timestamp};
use tokio::sync::{Mutex, watch};

use self::tokens::{Token, Tokens, id_of};
use self::verified::Proof;
use super::oidc::{Issuer, Refusal};
use crate::clock;
use crate::failure::{Failure, Fault};
use crate::founding::random_token;
use crate::index::Table;
use crate::ledger::{self, Ledger, OIDC, Record, TokenScope, TokenTerms};

mod tokens;
mod verified;

pub use verified::VerifiedMember;

/// The most local tokens that one node keeps: they are for small organizations;
/// larger ones bring an identity provider.
pub const MAX_TOKENS: usize = 10_000;

/// The most tokens that one member holds.
const MAX_TOKENS_OF_ONE: usize = 32;

/// The most roles of one token.
const MAX_ROLES: usize = 32;

/// The longest role, in characters: shorter than what a grant can carry.
const MAX_ROLE_CHARS: usize = 64;

/// The most members of the identity provider that are remembered. Whoever comes
/// then is refused: a use that is not written down cannot be resolved in a dispute.
/// Well below what one scan of the ledger reads, removed ones counted twice: a
/// node whose members cannot be read does not start.
const MAX_SEEN: usize = 100_000;

/// The members: those with local tokens, and those whom the identity provider
/// vouches for.
#[derive(Debug)]
pub struct Members {
    ledger: Arc<Ledger>,
    issuer: Option<Issuer>,
    known: RwLock<Known>,
    /// Held while something is written: two additions at one time must not both
    /// find that the name is free.
    writing: Mutex<()>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    tokens: Tokens,
    /// Whom the identity provider vouched for, and when they were removed here.
    seen: BTreeMap<String, Option<Timestamp>>,
}

/// What a new token is to be good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What it may be used for.
    pub scope: TokenScope,
    /// The roles that its holder has here.
    pub roles: BTreeSet<String>,
    /// When it ends by itself, if it does.
    pub expires: Option<Timestamp>,
    /// The member's token by which it is made, if it is not the operator.
    pub by: Option<String>,
}

/// What is told of a local token, which tells nothing about the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose it is.
    pub name: String,
    /// Its id.
    pub id: String,
    /// What it may be used for.
    pub scope: TokenScope,
    /// The roles that its holder has here.
    pub roles: BTreeSet<String>,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends by itself, if it does.
    pub expires: Option<Timestamp>,
    /// The member's token by which it was made, if it was not the operator.
    pub by: Option<String>,
}

/// Why a token does not make its bearer a member. For the owner's log: whoever
/// sent it is told the stable code and no more. The texts name nobody: a log
/// outlives what can be erased of a member (`spec/6-evidence.md#V-9`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unproven {
    /// No member has it.
    #[error("no member has this token")]
    Unknown,
    /// It has expired.
    #[error("the token {id} has expired")]
    Expired {
        /// Whose it was.
        name: String,
        /// Its id.
        id: String,
    },
    /// It is for something else.
    #[error("the token {id} is not for this")]
    Scope {
        /// Whose it is.
        name: String,
        /// Its id.
        id: String,
    },
    /// The identity provider's token does not count.
    #[error("the identity provider's token does not count: {0}")]
    Issued(#[from] Refusal),
    /// It was issued before the member was removed.
    #[error("the member was removed after the token was issued")]
    Removed(String),
    /// The first use could not be written down.
    #[error("that the member was here is not written down")]
    Unwritten(String),
}

impl Members {
    /// Reads the members from the ledger. With `issuer`, its tokens count, too.
    pub fn load(ledger: Arc<Ledger>, issuer: Option<Issuer>) -> Result<Self, ledger::Error> {
        let mut known = Known::default();
        for (_, record) in ledger.scan(Table::Members, &[])? {
            match record {
                Record::Member(member) => known.tokens.insert(Token::of(member)),
                Record::MemberSeen(seen) => {
                    known.seen.entry(seen.name).or_default();
                }
                Record::MemberRemoved(removed) => {
                    known.seen.insert(removed.name, Some(removed.at));
                }
                _ => {}
            }
        }
        Ok(Self {
            ledger,
            issuer,
            known: RwLock::new(known),
            writing: Mutex::default(),
            changes: watch::Sender::default(),
        })
    }

    /// Does what [`Members::verify`] must not wait for: fetches the identity
    /// provider's keys, where the token needs newer ones, and writes down whoever
    /// is here for the first time (`spec/5-data-plane.md#D-208`). Nothing for
    /// local tokens.
    pub async fn prepare(&self, token: &str) {
        let Some(issuer) = self.issuer.as_ref().filter(|_| is_jwt(token)) else {
            return;
        };
        issuer.prepare(token, clock::now()).await;
        let Ok(claims) = issuer.verify(token, clock::now()) else {
            return;
        };
        if self.read().seen.contains_key(claims.name()) {
            return;
        }
        if let Err(error) = self.see(claims.name()).await {
            tracing::error!(%error, "a member's first use could not be written down");
        }
    }

    /// The member whose token for the workbench this is, at `now`.
    ///
    /// Local tokens are looked up by the hash of 256 random bits: its timing
    /// tells nothing about any token that would let a guess improve.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<VerifiedMember, Unproven> {
        match &self.issuer {
            Some(issuer) if is_jwt(token) => self.issued(issuer, token, now),
            _ => self.local(token, &[TokenScope::Query], now),
        }
    }

    /// The member whose local token this is, if it is for one of `scopes`
    /// (`spec/5-data-plane.md#D-201`, `spec/5-data-plane.md#D-202`).
    pub fn local(
        &self,
        token: &str,
        scopes: &[TokenScope],
        now: Timestamp,
    ) -> Result<VerifiedMember, Unproven> {
        let hash = Digest::of(token.as_bytes());
        let known = self.read();
        let token = known.tokens.get(&hash).ok_or(Unproven::Unknown)?;
        let (name, id) = (token.name.clone(), token.id());
        if !token.counts(now) {
            return Err(Unproven::Expired { name, id });
        }
        if !scopes.contains(&token.scope()) {
            return Err(Unproven::Scope { name, id });
        }
        let (roles, until) = (token.roles(), token.expires());
        Ok(VerifiedMember::local(name, roles, until, (hash, id)))
    }

    /// What the token with this local secret may be used for.
    pub fn scope(&self, token: &str) -> Option<TokenScope> {
        let hash = Digest::of(token.as_bytes());
        self.read().tokens.get(&hash).map(Token::scope)
    }

    /// Whether the proof on which `member` was verified still counts at `now`:
    /// the token was not ended, has not expired, and its issuer's key is still
    /// one of the issuer's (`spec/5-data-plane.md#D-202`).
    pub fn stands(&self, member: &VerifiedMember, now: Timestamp) -> bool {
        if member.until().is_some_and(|end| now >= end) {
            return false;
        }
        match member.proof() {
            Proof::Local { hash, .. } => self.read().tokens.get(hash).is_some(),
            Proof::Issued { key, issued } => {
                let issuer = self.issuer.as_ref();
                issuer.is_some_and(|i| i.trusts(key, now))
                    && self.seen_since_removal(member.name(), *issued)
            }
        }
    }

    /// Gives the new member `name` a token and returns it. Only its hash is kept.
    pub async fn add(&self, name: &str, wanted: Wanted) -> Result<(Held, String), Failure> {
        check_name(name)?;
        let _writing = self.writing.lock().await;
        if self.read().tokens.of(name).next().is_some() {
            let message = format!("{name} is a member already");
            return Err(
                Failure::new(Fault::Conflict, "member-exists", message).next(format!(
                    "give a further token with 'comity member token {name}'"
                )),
            );
        }
        self.give(name, wanted).await
    }

    /// Gives the member `name` one more token: those before it go on.
    pub async fn give_token(&self, name: &str, wanted: Wanted) -> Result<(Held, String), Failure> {
        let _writing = self.writing.lock().await;
        match self.read().tokens.of(name).count() {
            0 => return Err(no_member(name)),
            MAX_TOKENS_OF_ONE.. => {
                let message = format!("{name} holds {MAX_TOKENS_OF_ONE} tokens already");
                return Err(Failure::new(Fault::Conflict, "too-many-tokens", message)
                    .next("end one with 'comity member end-token NAME ID'"));
            }
            _ => {}
        }
        self.give(name, wanted).await
    }

    /// Ends one token of a member.
    pub async fn end_token(&self, name: &str, id: &str) -> Result<(), Failure> {
        let _writing = self.writing.lock().await;
        let found = self.read().tokens.of(name).find(|t| t.id() == id).cloned();
        let Some(token) = found else {
            let message = format!("no member '{name}' has a token {id}");
            return Err(Failure::new(Fault::Unknown, "unknown-token", message)
                .next("see the tokens with 'comity member list'"));
        };
        let record = ledger::MemberTokenEnded {
            name: name.to_owned(),
            token: token.recorded_id(),
            at: clock::now(),
        };
        let record = Record::MemberTokenEnded(record);
        self.ledger.commit(&record).await?;
        self.write().tokens.remove(&token.hash());
        self.changed();
        Ok(())
    }

    /// Ends all tokens of a member. Tokens that the identity provider issued to
    /// it until now count no more; those that it issues later do.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        let _writing = self.writing.lock().await;
        let tokens: Vec<Token> = self.read().tokens.of(name).cloned().collect();
        let issued = name.starts_with(OIDC);
        if tokens.is_empty() && !(issued && self.read().seen.contains_key(name)) {
            return Err(no_member(name));
        }
        let at = clock::now();
        let record = ledger::MemberRemoved {
            name: name.to_owned(),
            tokens: tokens.iter().filter_map(Token::recorded_id).collect(),
            at,
        };
        self.ledger.commit(&Record::MemberRemoved(record)).await?;
        {
            let mut known = self.write();
            known.tokens.remove_all(name);
            if issued {
                known.seen.insert(name.to_owned(), Some(at));
            }
        }
        // After the map: whoever wakes finds the member gone.
        self.changed();
        Ok(())
    }

    /// Changes whenever a token ends, other than by its own time.
    pub fn changes(&self) -> Vec<watch::Receiver<u64>> {
        let issuer = self.issuer.as_ref().map(Issuer::changes);
        std::iter::once(self.changes.subscribe())
            .chain(issuer)
            .collect()
    }

    /// The local tokens, by member.
    pub fn list(&self) -> Vec<Held> {
        let known = self.read();
        let mut held: Vec<_> = known.tokens.all().map(held).collect();
        held.sort_by(|a, b| (&a.name, a.made, &a.id).cmp(&(&b.name, b.made, &b.id)));
        held
    }

    /// Whether `name` may answer for a grant that is made out at `now`: it holds
    /// a local token that counts, or the identity provider vouched for it and it
    /// was not removed here since.
    pub fn answers(&self, name: &str, now: Timestamp) -> bool {
        let known = self.read();
        known.tokens.of(name).any(|token| token.counts(now))
            || matches!(known.seen.get(name), Some(None))
    }

    /// The members whom the identity provider vouched for here.
    pub fn seen(&self) -> Vec<String> {
        self.read().seen.keys().cloned().collect()
    }

    fn issued(
        &self,
        issuer: &Issuer,
        token: &str,
        now: Timestamp,
    ) -> Result<VerifiedMember, Unproven> {
        let claims = issuer.verify(token, now)?;
        let name = claims.name().to_owned();
        if !self.read().seen.contains_key(&name) {
            return Err(Unproven::Unwritten(name));
        }
        if !self.seen_since_removal(&name, claims.issued()) {
            return Err(Unproven::Removed(name));
        }
        let known_as = (claims.roles().clone(), claims.authentication().clone());
        let proof = (claims.key(), claims.issued());
        Ok(VerifiedMember::issued(
            name,
            known_as,
            claims.until(),
            proof,
        ))
    }

    /// Whether `name` is known, and was not removed at `issued` or after.
    fn seen_since_removal(&self, name: &str, issued: Timestamp) -> bool {
        let known = self.read();
        let seen = known.seen.get(name);
        seen.is_some_and(|removed| removed.is_none_or(|removed| removed < issued))
    }

    /// Writes down that `name` was here for the first time.
    async fn see(&self, name: &str) -> Result<(), Failure> {
        let _writing = self.writing.lock().await;
        let (known, count) = {
            let members = self.read();
            (members.seen.contains_key(name), members.seen.len())
        };
        if known {
            return Ok(());
        }
        if count >= MAX_SEEN {
            let message = format!("{MAX_SEEN} members of the identity provider are known already");
            return Err(Failure::own("too-many-members", message));
        }
        let record = ledger::MemberSeen {
            name: name.to_owned(),
            at: clock::now(),
        };
        self.ledger.commit(&Record::MemberSeen(record)).await?;
        self.write().seen.insert(name.to_owned(), None);
        Ok(())
    }

    /// Makes a token. The caller holds the lock of writers.
    async fn give(&self, name: &str, wanted: Wanted) -> Result<(Held, String), Failure> {
        let now = clock::now();
        check_wanted(&wanted, now)?;
        if self.read().tokens.len() >= MAX_TOKENS {
            return Err(
                Failure::caller("too-many-tokens", "this node keeps no more tokens")
                    .next("end those that have expired with 'comity member end-token NAME ID'"),
            );
        }
        let secret = random_token()?;
        let token_hash = Digest::of(secret.as_bytes());
        let record = ledger::Member {
            name: name.to_owned(),
            token_hash,
            terms: Some(TokenTerms {
                id: id_of(&token_hash),
                scope: wanted.scope,
                roles: wanted.roles,
                expires: wanted.expires,
                by: wanted.by,
            }),
            at: now,
        };
        self.ledger.commit(&Record::Member(record.clone())).await?;
        let token = Token::of(record);
        let held = held(&token);
        self.write().tokens.insert(token);
        Ok((held, secret))
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    // A map that a panic left behind is whole: every change is one step.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member's name: it stands in logs and in the journal. It cannot begin with
/// [`OIDC`]: nobody here passes for somebody whom the identity provider vouches
/// for (`spec/5-data-plane.md#D-200`).
fn check_name(name: &str) -> Result<(), Failure> {
    let fits = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
    if fits {
        return Ok(());
    }
    Err(Failure::caller(
        "bad-name",
        "a member's name has 1 to 64 of the characters a-z A-Z 0-9 - _ . @",
    ))
}

fn check_wanted(wanted: &Wanted, now: Timestamp) -> Result<(), Failure> {
    if wanted.roles.len() > MAX_ROLES || !wanted.roles.iter().all(|role| is_role(role)) {
        return Err(Failure::caller(
            "bad-role",
            "a token has at most 32 roles of 1 to 64 of the characters a-z A-Z 0-9 - _ . :",
        ));
    }
    if wanted.expires.is_some_and(|end| end <= now) {
        return Err(Failure::caller(
            "bad-expiry",
            "the token would have expired already",
        ));
    }
    Ok(())
}

/// Whether a role can stand in grants, policies and lists joined by commas.
pub(crate) fn is_role(role: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    (1..=MAX_ROLE_CHARS).contains(&role.len()) && role.bytes().all(legal)
}

/// Whether `token` has the form of an identity provider's. Local ones have no dots.
fn is_jwt(token: &str) -> bool {
    token.bytes().filter(|b| *b == b'.').count() == 2
}

fn held(token: &Token) -> Held {
    Held {
        name: token.name.clone(),
        id: token.id(),
        scope: token.scope(),
        roles: token.roles(),
        made: token.made(),
        expires: token.expires(),
        by: token.by(),
    }
}

fn no_member(name: &str) -> Failure {
    Failure::caller("unknown-member", format!("no member is called '{name}'"))
        .next("see the members' names with 'comity member list'")
}

#[cfg(test)]
mod tests;
