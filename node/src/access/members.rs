//! The organization's own people and programs at the workbench.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use comity_identity::Digest;
use tokio::sync::watch;

use crate::clock;
use crate::failure::Failure;
use crate::founding::random_token;
use crate::index::Table;
use crate::ledger::{self, Ledger, Record};

/// The most members that one node keeps: local tokens are for small
/// organizations; larger ones bring an identity provider.
pub const MAX_MEMBERS: usize = 10_000;

/// The members, by the hash of their token.
#[derive(Debug)]
pub struct Members {
    ledger: Arc<Ledger>,
    by_hash: RwLock<BTreeMap<Digest, String>>,
    changes: watch::Sender<u64>,
}

impl Members {
    /// Reads the members from the ledger.
    pub fn load(ledger: Arc<Ledger>) -> Result<Self, ledger::Error> {
        let mut by_hash = BTreeMap::new();
        for (_, record) in ledger.scan(Table::Members, &[])? {
            if let Record::Member(member) = record {
                by_hash.insert(member.token_hash, member.name);
            }
        }
        Ok(Self {
            ledger,
            by_hash: RwLock::new(by_hash),
            changes: watch::Sender::default(),
        })
    }

    /// The member whose token this is.
    ///
    /// The lookup compares hashes of 256-bit random tokens: its timing tells
    /// nothing about any token that would let a guess improve.
    pub fn authenticate(&self, token: &str) -> Option<String> {
        let hash = Digest::of(token.as_bytes());
        self.by_hash.read().ok()?.get(&hash).cloned()
    }

    /// Gives `name` a token, ending an earlier one, and returns it. Only its hash is kept.
    pub async fn add(&self, name: &str) -> Result<String, Failure> {
        check_name(name)?;
        if self.names().len() >= MAX_MEMBERS {
            return Err(Failure::caller(
                "too-many-members",
                "this node keeps no more members",
            ));
        }
        let token = random_token()?;
        let token_hash = Digest::of(token.as_bytes());
        let record = ledger::Member {
            name: name.to_owned(),
            token_hash,
            at: clock::now(),
        };
        self.ledger.commit(&Record::Member(record)).await?;
        if let Ok(mut map) = self.by_hash.write() {
            map.retain(|_, known| known != name);
            map.insert(token_hash, name.to_owned());
        }
        self.changes.send_modify(|n| *n += 1);
        Ok(token)
    }

    /// Ends a member's token.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        if !self.names().iter().any(|known| known == name) {
            return Err(
                Failure::caller("unknown-member", format!("no member is called '{name}'"))
                    .next("see the members' names with 'comity member list'"),
            );
        }
        let record = ledger::MemberRemoved {
            name: name.to_owned(),
            at: clock::now(),
        };
        self.ledger.commit(&Record::MemberRemoved(record)).await?;
        if let Ok(mut map) = self.by_hash.write() {
            map.retain(|_, known| known != name);
        }
        // After the map: whoever wakes finds the member gone.
        self.changes.send_modify(|n| *n += 1);
        Ok(())
    }

    /// Changes whenever a token ends.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The members' names.
    pub fn names(&self) -> Vec<String> {
        let Ok(map) = self.by_hash.read() else {
            return Vec::new();
        };
        let mut names: Vec<String> = map.values().cloned().collect();
        names.sort();
        names
    }
}

/// A member's name: it stands in logs and in the journal.
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
