//! Heads and lists: what an organization announces, all of it, and nothing older
//! (`spec/3-catalog.md`, section 2).

use core::time::Duration;

use comity_identity::envelope::{Compact, Typ};
use comity_identity::organization::Role;
use comity_identity::{Digest, OrgId, Signer, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keys::{IssuerKeys, StatementError, open};
use crate::product::MAX_SKEW;
use crate::terms::MAX_INT;

/// The kind of a head: small, because it is gossiped.
pub const HEAD: Typ = Typ::new("comity-head+jwt", 2 * 1024);

/// The longest life of a head.
pub const MAX_HEAD_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The most products of one organization.
pub const MAX_PRODUCTS: usize = 1024;

/// The payload of a head (`spec/schemas/head.json`): one signed statement of
/// the whole catalog. A product that a newer head does not list is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The payload's version: 1.
    pub v: u64,
    /// Whose catalog it is.
    pub org: OrgId,
    /// Counts the organization's heads.
    pub seq: u64,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// How many descriptors the list has.
    pub count: u64,
    /// The digest of the list's text: what to fetch.
    pub list: Digest,
    /// The digest of the list of what was measured (`spec/3-catalog.md#C-94`),
    /// once something was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub results: Option<Digest>,
}

/// The descriptors that a head commits to. Its text is canonical JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DescriptorList(Vec<Digest>);

/// A head that its organization signed. [`VerifiedHead::verify`] is its one constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHead {
    head: Head,
    text: String,
    digest: Digest,
}

/// What a received head means beside the one that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the one that is known.
    Same,
    /// It is older: dropped, and the sender is told nothing new by it (A10).
    Older,
    /// It is newer: fetch its list and what the list has that is not here.
    Newer,
    /// Two heads with one number: the organization contradicts itself (A36).
    /// Both are kept; neither is served as current.
    Equivocation,
}

impl Head {
    /// Signs the head with a key that announces.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, StatementError> {
        self.check()?;
        Ok(Compact::sign(HEAD, self, signer)?)
    }

    /// spec/3-catalog.md#C-11
    fn check(&self) -> Result<(), StatementError> {
        if self.v != 1 {
            return Err(StatementError::Rule("the head's version is not 1"));
        }
        if self.count > MAX_PRODUCTS as u64 {
            return Err(StatementError::Rule("a catalog has at most 1024 products"));
        }
        if self.seq > MAX_INT {
            return Err(StatementError::Rule("a number is above 2^53 - 1"));
        }
        let lives = self.expires_at > self.issued_at
            && self.expires_at.since(self.issued_at) <= MAX_HEAD_LIFETIME;
        if !lives {
            return Err(StatementError::Rule(
                "a head holds for more than 0 and at most 30 days",
            ));
        }
        Ok(())
    }
}

impl DescriptorList {
    /// The list of `descriptors`, sorted, each once.
    pub fn new(mut descriptors: Vec<Digest>) -> Self {
        descriptors.sort_unstable();
        descriptors.dedup();
        Self(descriptors)
    }

    /// The list's text.
    pub fn to_text(&self) -> String {
        serde_json::to_string(&self.0).expect("digests are strings, which serialise")
    }

    /// Reads a list and checks that it is the one that `head` commits to.
    pub fn read(text: &str, head: &VerifiedHead) -> Result<Self, StatementError> {
        // spec/3-catalog.md#C-13
        // Each digest has 71 characters, its quotes and a comma.
        if text.len() > 2 + MAX_PRODUCTS * 74 {
            return Err(StatementError::Rule("the list is too long"));
        }
        if Digest::of(text.as_bytes()) != head.head.list {
            return Err(StatementError::Rule(
                "the list is not the one that the head commits to",
            ));
        }
        let list: Self = serde_json::from_str(text)
            .map_err(|_| StatementError::Rule("the list is not a list of digests"))?;
        if !list.0.is_sorted_by(|a, b| a < b) || list.0.len() as u64 != head.head.count {
            return Err(StatementError::Rule(
                "the list is not sorted, or not of the stated length",
            ));
        }
        Ok(list)
    }

    /// The descriptors' digests.
    pub fn digests(&self) -> &[Digest] {
        &self.0
    }
}

impl VerifiedHead {
    /// Whom a head claims to speak for: a hint for finding the keys, nothing more.
    pub fn claimed_org(text: &str) -> Result<OrgId, StatementError> {
        let head: Head = Compact::parse(HEAD, text)?.danger_unverified_payload()?;
        Ok(head.org)
    }

    /// Checks that `org` signed `text` with an announcing key and that it is in
    /// force at `now`.
    pub fn verify(
        text: &str,
        org: &OrgId,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, StatementError> {
        // spec/3-catalog.md#C-10
        let verified = open(HEAD, text, org, Role::Announce, keys, now)?;
        let head: Head = verified.payload()?;
        if head.org != *org {
            return Err(StatementError::OtherOrganization);
        }
        head.check()?;
        // spec/3-catalog.md#C-12
        let in_force = head.issued_at <= now.saturating_add(MAX_SKEW) && now < head.expires_at;
        if !in_force {
            return Err(StatementError::Time);
        }
        Ok(Self {
            head,
            text: text.to_owned(),
            digest: verified.digest(),
        })
    }

    /// The payload.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The exact envelope.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest of the exact envelope.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What this head means when `known` is the newest that was seen.
    pub fn beside(&self, known: Option<&Self>) -> Standing {
        let Some(known) = known else {
            return Standing::Newer;
        };
        // spec/3-catalog.md#C-15, and for an equivocation #C-16
        match self.head.seq.cmp(&known.head.seq) {
            core::cmp::Ordering::Greater => Standing::Newer,
            core::cmp::Ordering::Less => Standing::Older,
            core::cmp::Ordering::Equal if self.head == known.head => Standing::Same,
            core::cmp::Ordering::Equal => Standing::Equivocation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{DAY, Directory, NOW, Party};

    fn head(org: OrgId, seq: u64, list: &DescriptorList) -> Head {
        Head {
            v: 1,
            org,
            seq,
            issued_at: NOW,
            expires_at: NOW.saturating_add(7 * DAY),
            count: list.digests().len() as u64,
            list: Digest::of(list.to_text().as_bytes()),
            results: None,
        }
    }

    fn list(n: usize) -> DescriptorList {
        DescriptorList::new((0..n).map(|i| Digest::of(&i.to_be_bytes())).collect())
    }

    /// Signs and reads without the checks before signing, as an adversary would.
    fn judge(head: &Head) -> Result<VerifiedHead, StatementError> {
        let party = Party::new(1);
        let text = Compact::sign(HEAD, head, &party.announce)?;
        VerifiedHead::verify(&text, &party.org, &Directory::of(&[&party]), NOW)
    }

    fn changed(change: impl FnOnce(&mut Head)) -> Result<VerifiedHead, StatementError> {
        let mut head = head(Party::new(1).org, 1, &list(2));
        change(&mut head);
        judge(&head)
    }

    /// A9
    #[test]
    fn only_an_announcing_key_of_the_same_organization_counts() {
        let (party, other) = (Party::new(1), Party::new(2));
        let keys = Directory::of(&[&party, &other]);
        let head = head(party.org, 1, &list(2));
        for key in [&party.agree, &party.none, &other.announce] {
            let text = head.sign(key).unwrap();
            let refused = VerifiedHead::verify(&text, &party.org, &keys, NOW);
            assert_eq!(refused, Err(StatementError::NotAnIssuer));
        }
        let text = head.sign(&other.announce).unwrap();
        assert_eq!(VerifiedHead::claimed_org(&text), Ok(party.org));
        let refused = VerifiedHead::verify(&text, &other.org, &keys, NOW);
        assert_eq!(refused, Err(StatementError::OtherOrganization));
        let text = head.sign(&party.announce).unwrap();
        let read = VerifiedHead::verify(&text, &party.org, &keys, NOW).unwrap();
        assert_eq!((read.head(), read.text()), (&head, text.as_str()));
    }

    #[test]
    fn a_head_has_limits() {
        let second = Duration::from_secs(1);
        let rule = |r| matches!(r, Err(StatementError::Rule(_)));
        assert!(rule(changed(|h| h.v = 2)));
        changed(|h| h.count = MAX_PRODUCTS as u64).unwrap();
        assert!(rule(changed(|h| h.count = MAX_PRODUCTS as u64 + 1)));
        changed(|h| h.seq = MAX_INT).unwrap();
        assert!(changed(|h| h.seq = MAX_INT + 1).is_err());
        changed(|h| h.expires_at = NOW.saturating_add(MAX_HEAD_LIFETIME)).unwrap();
        let long = NOW.saturating_add(MAX_HEAD_LIFETIME + second);
        assert!(rule(changed(|h| h.expires_at = long)));
        assert!(rule(changed(|h| h.expires_at = NOW)));
        let early = NOW.saturating_add(MAX_SKEW);
        changed(|h| h.issued_at = early).unwrap();
        let too_early = changed(|h| h.issued_at = early.saturating_add(second));
        assert_eq!(too_early, Err(StatementError::Time));
        let until = |at| {
            changed(|h| {
                h.issued_at = NOW.saturating_sub(DAY);
                h.expires_at = at;
            })
        };
        until(NOW.saturating_add(second)).unwrap();
        assert_eq!(until(NOW), Err(StatementError::Time));
    }

    #[test]
    fn the_largest_head_can_be_gossiped() {
        let read = changed(|h| {
            h.seq = MAX_INT;
            h.count = MAX_PRODUCTS as u64;
            h.results = Some(Digest::of(b"results"));
        });
        assert!(read.unwrap().text().len() <= HEAD.limit() / 2);
    }

    /// A head of before there were results has none, and stays what it was.
    #[test]
    fn a_head_without_results_is_read_as_before() {
        let head = head(Party::new(1).org, 1, &list(2));
        let text = serde_json::to_string(&head).unwrap();
        assert!(!text.contains("results"), "{text}");
        assert_eq!(serde_json::from_str::<Head>(&text).unwrap(), head);
    }

    #[test]
    fn a_list_is_the_one_that_the_head_commits_to() {
        let org = Party::new(1).org;
        for n in [0, 1, MAX_PRODUCTS] {
            let verified = judge(&head(org, 1, &list(n))).unwrap();
            let read = DescriptorList::read(&list(n).to_text(), &verified).unwrap();
            assert_eq!(read, list(n));
        }
        let verified = judge(&head(org, 1, &list(2))).unwrap();
        for other in [list(1), list(3)] {
            DescriptorList::read(&other.to_text(), &verified).unwrap_err();
        }
        let spaced = list(2).to_text().replace(',', ", ");
        DescriptorList::read(&spaced, &verified).unwrap_err();
    }

    #[test]
    fn a_committed_list_must_still_be_well_formed() {
        let org = Party::new(1).org;
        let committed = |text: &str, count| {
            let mut head = head(org, 1, &list(0));
            head.count = count;
            head.list = Digest::of(text.as_bytes());
            DescriptorList::read(text, &judge(&head).unwrap())
        };
        let sorted = list(2).digests().to_vec();
        let text = |d: &[Digest]| serde_json::to_string(d).unwrap();
        committed(&text(&sorted), 2).unwrap();
        committed(&text(&sorted), 1).unwrap_err();
        committed(&text(&[sorted[1], sorted[0]]), 2).unwrap_err();
        committed(&text(&[sorted[0], sorted[0]]), 2).unwrap_err();
        committed("{}", 0).unwrap_err();
        committed("[\"sha256:00\"]", 1).unwrap_err();
        committed(&" ".repeat(2 + MAX_PRODUCTS * 74 + 1), 0).unwrap_err();
    }

    #[test]
    fn a_head_is_judged_beside_the_known_one() {
        let org = Party::new(1).org;
        let at = |seq, n| judge(&head(org, seq, &list(n))).unwrap();
        let known = at(5, 2);
        assert_eq!(known.beside(None), Standing::Newer);
        assert_eq!(at(6, 2).beside(Some(&known)), Standing::Newer);
        assert_eq!(at(4, 2).beside(Some(&known)), Standing::Older);
        assert_eq!(at(5, 2).beside(Some(&known)), Standing::Same);
        // A36
        assert_eq!(at(5, 3).beside(Some(&known)), Standing::Equivocation);
    }
}
