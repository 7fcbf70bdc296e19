//! The way into another organization's catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::catalog::{DescriptorList, Standing, VerifiedHead};
use comity_protocol::keys::StatementError;
use comity_protocol::product::VerifiedDescriptor;

use super::{Catalog, Foreign, write};
use crate::failure::Failure;
use crate::index::Table;
use crate::ledger::{Contradicted, Contradiction, ForeignHead, Record, Statement, descriptor_key};

/// The most bytes that the descriptors of one catalog may have together
/// (`spec/3-catalog.md#C-20`).
pub const MAX_CATALOG_BYTES: usize = 32 << 20;

/// The most bytes of descriptors that are taken from one organization in a day:
/// every one of them stays in the journal.
pub(super) const MAX_FETCHED_A_DAY: usize = 8 * MAX_CATALOG_BYTES;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// How many bytes came from whom, on the day with this number.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    day: u64,
    bytes: BTreeMap<OrgId, usize>,
}

/// What a received head asks for.
#[derive(Clone, Debug)]
pub enum News {
    /// Nothing: it is known or older.
    Nothing(Standing),
    /// Fetch the list with this digest, then [`Catalog::missing`].
    Fetch(Box<VerifiedHead>),
    /// It contradicts the head that is known, which is evidence to be kept:
    /// [`Catalog::note_contradiction`].
    Contradiction(Box<Contradiction>),
}

impl Catalog {
    /// What `text`, a head that came by any way, means here. The signature is
    /// checked against the keys of the organization that it names.
    pub fn admit(&self, text: &str, now: Timestamp) -> Result<(OrgId, News), StatementError> {
        let org = VerifiedHead::claimed_org(text)?;
        let head = VerifiedHead::verify(text, &org, &*self.keyring, now)?;
        let mut foreign = write(&self.foreign);
        let known = foreign.get_mut(&org);
        let standing = known
            .as_ref()
            .map_or(Standing::Newer, |f| f.standing(&head));
        let news = match (standing, known) {
            (Standing::Newer, _) => News::Fetch(Box::new(head)),
            (Standing::Equivocation, Some(known)) => match contradict(known, &head, now) {
                Some(evidence) => News::Contradiction(Box::new(evidence)),
                None => News::Nothing(Standing::Equivocation),
            },
            (standing, _) => News::Nothing(standing),
        };
        Ok((org, news))
    }

    /// Journals that an organization contradicted itself. The catalog was set
    /// aside before, whether or not the disk takes the evidence.
    pub async fn note_contradiction(&self, evidence: Contradiction) -> Result<(), Failure> {
        self.ledger.commit(&Record::Contradiction(evidence)).await?;
        Ok(())
    }

    /// The descriptors of `list` that are neither shown nor in the journal.
    pub fn missing(&self, org: &OrgId, list: &DescriptorList) -> Result<Vec<Digest>, Failure> {
        let mut missing = Vec::new();
        for digest in list.digests() {
            let key = descriptor_key(org, digest);
            if self.descriptor(org, digest).is_none()
                && self.ledger.get(Table::Descriptors, &key)?.is_none()
            {
                missing.push(*digest);
            }
        }
        Ok(missing)
    }

    /// The list of `org` with this digest, if it is the one that is known.
    pub fn known_list(&self, org: &OrgId, digest: &Digest) -> Option<String> {
        let foreign = super::read(&self.foreign);
        let list = foreign.get(org)?.list();
        (Digest::of(list.as_bytes()) == *digest).then(|| list.to_owned())
    }

    /// Takes descriptors of `org` as they come: verified and journalled, so that
    /// a fetch which is cut short goes on where it was. Nothing is shown yet.
    pub async fn keep(
        &self,
        org: &OrgId,
        texts: Vec<String>,
        now: Timestamp,
    ) -> Result<Vec<VerifiedDescriptor>, Failure> {
        self.count_fetched(org, texts.iter().map(String::len).sum(), now)?;
        let mut descriptors = Vec::new();
        let mut records = Vec::new();
        for text in texts {
            let descriptor = VerifiedDescriptor::verify(&text, org, &*self.keyring, now)
                .map_err(|e| refused(org, e))?;
            descriptors.push(descriptor);
            records.push(Record::ForeignDescriptor(Statement { org: *org, text }));
        }
        self.ledger.commit_in_order(&records).await?;
        Ok(descriptors)
    }

    /// Takes over a complete catalog: the head, its list, and `fetched`, the
    /// descriptors that were missing. Journalled before it is shown.
    ///
    /// Whatever else came meanwhile: an older head never replaces a newer one,
    /// in memory or on disk (A10), and a second one with the same number is
    /// evidence (A36).
    pub async fn complete(
        &self,
        head: VerifiedHead,
        list_text: String,
        fetched: Vec<VerifiedDescriptor>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let org = head.head().org;
        let list = DescriptorList::read(&list_text, &head).map_err(|e| refused(&org, e))?;
        let descriptors = self.gather(&org, &list, fetched, now)?;
        let _one = self.taking.lock().await;
        let evidence = {
            let mut foreign = write(&self.foreign);
            let known = foreign.get_mut(&org);
            match known.as_ref().map(|f| f.standing(&head)) {
                None | Some(Standing::Newer) => None,
                Some(Standing::Same | Standing::Older) => return Ok(()),
                Some(Standing::Equivocation) => match known.and_then(|f| contradict(f, &head, now))
                {
                    Some(evidence) => Some(evidence),
                    None => return Ok(()),
                },
            }
        };
        if let Some(evidence) = evidence {
            return self.note_contradiction(evidence).await;
        }
        let record = Record::ForeignHead(ForeignHead {
            org,
            head: head.text().to_owned(),
            list: list_text.clone(),
        });
        self.ledger.commit(&record).await?;
        // In place of the catalog before it: what this head does not list is
        // withdrawn (spec/3-catalog.md#C-14).
        write(&self.foreign).insert(org, Foreign::new(head, list_text, descriptors));
        Ok(())
    }

    /// Every descriptor of `list`: just fetched, shown now, or in the journal.
    fn gather(
        &self,
        org: &OrgId,
        list: &DescriptorList,
        fetched: Vec<VerifiedDescriptor>,
        now: Timestamp,
    ) -> Result<Vec<VerifiedDescriptor>, Failure> {
        let mut fetched: BTreeMap<_, _> = fetched.into_iter().map(|d| (d.digest(), d)).collect();
        let mut all = Vec::new();
        let mut addresses = BTreeSet::new();
        let mut bytes = 0;
        for digest in list.digests() {
            let descriptor = match (fetched.remove(digest), self.descriptor(org, digest)) {
                (Some(fetched), _) => fetched,
                (None, Some(shown)) => VerifiedDescriptor::clone(&shown),
                (None, None) => self.stored(org, digest, now)?,
            };
            bytes += descriptor.text().len();
            if bytes > MAX_CATALOG_BYTES {
                return Err(refused(
                    org,
                    StatementError::Rule("the catalog is too large"),
                ));
            }
            // spec/3-catalog.md#C-74
            if !addresses.insert(descriptor.descriptor().address()) {
                let twice = StatementError::Rule("two descriptors have one address");
                return Err(refused(org, twice));
            }
            all.push(descriptor);
        }
        Ok(all)
    }

    pub(super) fn stored(
        &self,
        org: &OrgId,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<VerifiedDescriptor, Failure> {
        let key = descriptor_key(org, digest);
        let Some(Record::ForeignDescriptor(statement)) =
            self.ledger.get(Table::Descriptors, &key)?
        else {
            let missing = StatementError::Rule("descriptors of the list are missing");
            return Err(refused(org, missing));
        };
        VerifiedDescriptor::verify(&statement.text, org, &*self.keyring, now)
            .map_err(|e| refused(org, e))
    }

    pub(super) fn count_fetched(
        &self,
        org: &OrgId,
        bytes: usize,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let day = now.as_secs() / DAY;
        if fetched.day != day {
            *fetched = Fetched {
                day,
                bytes: BTreeMap::new(),
            };
        }
        let sum = fetched.bytes.entry(*org).or_default();
        if *sum + bytes > MAX_FETCHED_A_DAY {
            let too_much = StatementError::Rule("its catalog changed by too much today");
            return Err(refused(org, too_much));
        }
        *sum += bytes;
        Ok(())
    }
}

/// Sets the catalog aside. Gives the evidence the first time.
fn contradict(known: &mut Foreign, other: &VerifiedHead, now: Timestamp) -> Option<Contradiction> {
    let first = known.contradicted(other)?;
    tracing::warn!(org = %other.head().org, seq = other.head().seq, "two heads with one number: the catalog is set aside");
    Some(Contradiction {
        org: other.head().org,
        what: Contradicted::Head,
        number: other.head().seq,
        known: first,
        other: other.text().to_owned(),
        at: now,
    })
}

fn refused(org: &OrgId, error: StatementError) -> Failure {
    Failure::partner("bad-catalog", &org.short(), error)
}
