//! Local tokens, by their hash.

use std::collections::{BTreeMap, BTreeSet};

use comity_identity::{Digest, Timestamp};

use crate::ledger::{self, TokenScope, TokenTerms};

/// One token of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) name: String,
    hash: Digest,
    made: Timestamp,
    /// None for a token of before tokens had terms.
    terms: Option<TokenTerms>,
}

/// Every local token that was not ended; expired ones among them.
#[derive(Debug, Default)]
pub(super) struct Tokens(BTreeMap<Digest, Token>);

impl Token {
    pub(super) fn of(record: ledger::Member) -> Self {
        Self {
            name: record.name,
            hash: record.token_hash,
            made: record.at,
            terms: record.terms,
        }
    }

    /// The id, which tells nothing of the token: a piece of the hash of 256 random bits.
    pub(super) fn id(&self) -> String {
        match &self.terms {
            Some(terms) => terms.id.clone(),
            None => id_of(&self.hash),
        }
    }

    /// The id as it stands in the journal.
    pub(super) fn recorded_id(&self) -> Option<String> {
        self.terms.as_ref().map(|terms| terms.id.clone())
    }

    pub(super) fn hash(&self) -> Digest {
        self.hash
    }

    pub(super) fn made(&self) -> Timestamp {
        self.made
    }

    pub(super) fn scope(&self) -> TokenScope {
        self.terms.as_ref().map(|t| t.scope).unwrap_or_default()
    }

    pub(super) fn roles(&self) -> BTreeSet<String> {
        let terms = self.terms.as_ref();
        terms.map(|t| t.roles.clone()).unwrap_or_default()
    }

    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.terms.as_ref().and_then(|t| t.expires)
    }

    pub(super) fn by(&self) -> Option<String> {
        self.terms.as_ref().and_then(|t| t.by.clone())
    }

    /// Whether it has not expired at `now`.
    pub(super) fn counts(&self, now: Timestamp) -> bool {
        self.expires().is_none_or(|end| now < end)
    }
}

impl Tokens {
    pub(super) fn insert(&mut self, token: Token) {
        self.0.insert(token.hash, token);
    }

    pub(super) fn get(&self, hash: &Digest) -> Option<&Token> {
        self.0.get(hash)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The tokens of `name`.
    pub(super) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Token> {
        self.0.values().filter(move |token| token.name == name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Token> {
        self.0.values()
    }

    pub(super) fn remove(&mut self, hash: &Digest) {
        self.0.remove(hash);
    }

    pub(super) fn remove_all(&mut self, name: &str) {
        self.0.retain(|_, token| token.name != name);
    }
}

/// The id of the token with this hash.
pub(super) fn id_of(hash: &Digest) -> String {
    let id = data_encoding::HEXLOWER.encode(hash.as_bytes());
    id.get(..16).unwrap_or_default().to_owned()
}
