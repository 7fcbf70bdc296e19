//! What was measured of a product, beside what its contract promises
//! (`spec/3-catalog.md`, section 8).

use comity_identity::envelope::{Compact, Typ};
use comity_identity::organization::Role;
use comity_identity::{Digest, OrgId, Signer, Timestamp};

use crate::address::Address;
use crate::keys::{IssuerKeys, StatementError, open};
use crate::product::MAX_SKEW;
use crate::version::Version;

mod check;
mod list;
mod statement;
mod threshold;

#[cfg(test)]
mod tests;

pub use check::{
    Check, Extent, Kind, MAX_CHECKS, MAX_ID_CHARS, Measure, Status, TableExtent, Target, is_id,
};
pub use list::ResultsList;
pub use threshold::{NotAThreshold, OPERATORS, Threshold};

use statement::Statement;

/// The kind of a statement of results.
pub const RESULTS: Typ = Typ::new("comity-results+jwt", 256 * 1024);

/// One measurement of one product, as its organization states it.
///
/// On the wire it is an in-toto Statement with a predicate in the shape of the
/// Open Observability Results Standard (`spec/schemas/results.json`).
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// Whose product it is.
    pub org: OrgId,
    /// The address of the product.
    pub product: Address,
    /// The version that was measured.
    pub version: Version,
    /// The public contract that it was measured against.
    pub contract_digest: Digest,
    /// The `id` of that contract.
    pub contract_id: String,
    /// Counts the statements of this address, from 1.
    pub seq: u64,
    /// The statement before this one; absent in the first only.
    pub prev: Option<Digest>,
    /// When it was measured.
    pub at: Timestamp,
    /// By when the next measurement of this kind is announced, if it is.
    pub due: Option<Timestamp>,
    /// What measured: `comity`, `datacontract-cli`.
    pub process: String,
    /// Its version.
    pub process_version: String,
    /// The verdicts.
    pub checks: Vec<Check>,
    /// Verdicts that found no room here.
    pub omitted: u64,
    /// How far each table reaches.
    pub tables: Vec<TableExtent>,
}

/// Results that their organization signed and that are well formed.
/// [`VerifiedResults::verify`] is its one constructor.
#[derive(Clone, Debug)]
pub struct VerifiedResults {
    results: Results,
    text: String,
    digest: Digest,
}

/// What a statement means after the newest that is known of its product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is the one that is known.
    Same,
    /// It names the known one as the one before it.
    Next,
    /// So many statements lie between them.
    Gap(u64),
    /// It is older, and excludes nothing that is known.
    Older,
    /// Both cannot be part of one chain: the organization changed what it had
    /// stated (A36).
    Rewritten,
}

impl Results {
    /// Signs the results with a key that announces.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, StatementError> {
        self.check()?;
        Ok(Compact::sign(RESULTS, &Statement::of(self), signer)?)
    }

    /// Reads results that were verified before, such as a node's own, without
    /// their signature.
    pub fn recall(text: &str) -> Result<Self, StatementError> {
        let statement: Statement = Compact::parse(RESULTS, text)?.danger_unverified_payload()?;
        statement.results()
    }

    /// spec/3-catalog.md#C-92, and for the chain #C-93
    fn check(&self) -> Result<(), StatementError> {
        let rule = |holds: bool, rule| {
            if holds {
                Ok(())
            } else {
                Err(StatementError::Rule(rule))
            }
        };
        rule(
            self.product.major == self.version.major,
            "the version is not one of this address",
        )?;
        rule(
            (self.seq > 1) == self.prev.is_some() && self.seq > 0,
            "the first statement, and no other, has none before it",
        )?;
        rule(
            self.due.is_none_or(|due| due > self.at),
            "the next measurement is not before this one",
        )?;
        let numbers = [self.seq, self.omitted, self.at.as_secs()];
        let due = self.due.map(Timestamp::as_secs);
        rule(
            numbers
                .into_iter()
                .chain(due)
                .all(|n| n <= crate::terms::MAX_INT),
            "a number is above 2^53 - 1",
        )?;
        let texts = [&self.process, &self.process_version];
        rule(
            texts.into_iter().all(|t| check::is_word(t)) && check::is_id(&self.contract_id),
            "a text is too long or has strange characters",
        )?;
        check::all(&self.checks, &self.tables)
    }
}

impl VerifiedResults {
    /// Checks that `org` signed `text` with an announcing key, and that it is
    /// not of the future at `now`. A measurement does not expire: an old one is
    /// shown as old.
    pub fn verify(
        text: &str,
        org: &OrgId,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, StatementError> {
        // spec/3-catalog.md#C-90
        let verified = open(RESULTS, text, org, Role::Announce, keys, now)?;
        let statement: Statement = verified.payload()?;
        let results = statement.results()?;
        if results.org != *org {
            return Err(StatementError::OtherOrganization);
        }
        results.check()?;
        if results.at > now.saturating_add(MAX_SKEW) {
            return Err(StatementError::Time);
        }
        Ok(Self {
            results,
            text: text.to_owned(),
            digest: verified.digest(),
        })
    }

    /// The payload.
    pub fn results(&self) -> &Results {
        &self.results
    }

    /// The exact envelope.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest of the exact envelope.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// What a statement with this `seq`, `prev` and `digest` means when the newest
/// that is known has the number `known` and the digest `known_digest`
/// (`spec/3-catalog.md#C-95`, `spec/3-catalog.md#C-96`).
pub fn link(seq: u64, prev: Option<Digest>, digest: Digest, known: (u64, Digest)) -> Link {
    let (known_seq, known_digest) = known;
    match seq.checked_sub(known_seq) {
        None => Link::Older,
        Some(0) if digest == known_digest => Link::Same,
        Some(0) => Link::Rewritten,
        Some(1) if prev == Some(known_digest) => Link::Next,
        Some(1) => Link::Rewritten,
        Some(ahead) => Link::Gap(ahead - 1),
    }
}
