//! Organizations and terms for the tests of this crate.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use comity_identity::organization::Role;
use comity_identity::{Digest, KeyId, OrgId, PublicKey, SecretKey, Signer, Timestamp};

use crate::keys::IssuerKeys;
use crate::terms::{Limits, RowFilter, TableTerms, Terms};

/// The time at which the tests play.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

/// One day.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An organization with one key for each role, and one without any.
pub(crate) struct Party {
    pub(crate) org: OrgId,
    pub(crate) agree: SecretKey,
    pub(crate) announce: SecretKey,
    pub(crate) none: SecretKey,
}

impl Party {
    /// The organization whose keys come from `seed`, which is below 16.
    pub(crate) fn new(seed: u8) -> Self {
        let key = |n: u8| SecretKey::from_seed(&[seed * 16 + n; 32]);
        Self {
            org: OrgId::from_inception(Digest::of(&[seed])),
            agree: key(1),
            announce: key(2),
            none: key(3),
        }
    }
}

/// The keys of some organizations, in memory.
#[derive(Default)]
pub(crate) struct Directory(BTreeMap<(OrgId, KeyId), (PublicKey, Role)>);

impl Directory {
    /// The keys of `parties`, by their roles.
    pub(crate) fn of(parties: &[&Party]) -> Self {
        let mut directory = Self::default();
        for party in parties {
            directory.insert(party.org, party.agree.public(), Role::Agree);
            directory.insert(party.org, party.announce.public(), Role::Announce);
        }
        directory
    }

    /// Lists one more key.
    pub(crate) fn insert(&mut self, org: OrgId, key: PublicKey, role: Role) {
        self.0.insert((org, key.id()), (key, role));
    }
}

impl IssuerKeys for Directory {
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, _: Timestamp) -> Option<PublicKey> {
        let (key, holds) = self.0.get(&(*org, *kid))?;
        (*holds == role).then_some(*key)
    }
}

/// Terms over `columns` of the table `weather`.
pub(crate) fn terms(columns: &[&str]) -> Terms {
    let table = TableTerms {
        columns: columns.iter().map(ToString::to_string).collect(),
        filter: RowFilter::default(),
        masks: BTreeMap::new(),
        protection: None,
    };
    Terms {
        tables: BTreeMap::from([("weather".to_owned(), table)]),
        purposes: BTreeSet::from(["operations".to_owned()]),
        limits: Limits::default(),
        not_before: NOW,
        expires: NOW.saturating_add(90 * DAY),
    }
}
