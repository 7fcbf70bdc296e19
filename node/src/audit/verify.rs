//! Does the journal hold what it was claimed to hold?

use std::collections::{HashMap, HashSet};
use std::path::Path;

use comity_identity::{Digest, OrgId};
use comity_protocol::negotiation::{AGREEMENT, FEDERATION, Message, SignedDocument};
use comity_protocol::revocation::Revocation;
use serde::Serialize;
use serde_json::Value;

use super::claim::{self, Claim, Held, Link};
use super::deliveries::Accounts;
use super::keys::Recorded;
use crate::failure::Failure;
use crate::journal::{Break, Entry, Journal, Position, Walk};
use crate::ledger::{Record, SignedKind};

/// The most problems that are listed; all of them are counted.
const MAX_LISTED: usize = 100;

/// What came of verifying, from good to bad (`spec/6-evidence.md#V-8`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything is there and as it was signed.
    Intact,
    /// A checksum, a root or a signature is wrong.
    Tampered,
    /// A signed checkpoint says that the journal was longer, or another one.
    Forked,
    /// Records are missing that once were there.
    Incomplete,
}

impl Verdict {
    /// The exit code of `comity audit verify`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Intact => 0,
            Self::Tampered => 2,
            Self::Forked => 3,
            Self::Incomplete => 4,
        }
    }
}

/// What [`verify`] found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The worst of the problems: tampered before forked before incomplete.
    pub verdict: Verdict,
    /// The organization, if the journal says so.
    pub org: Option<OrgId>,
    /// Records, up to where the journal breaks if it does.
    pub records: u64,
    /// The root over them.
    pub root: Digest,
    /// How many of them were erased.
    pub erased: u64,
    /// Segment files read.
    pub segments: usize,
    /// Bytes at the end that a crash left behind, or that a running node is writing.
    pub unfinished_bytes: u64,
    /// Checkpoints of this journal that were compared, from the journal itself.
    pub own_checkpoints: u64,
    /// Checkpoints of this journal that were compared, from the partner's file.
    pub held_checkpoints: u64,
    /// Statements in the partner's file about other organizations' journals.
    pub about_others: u64,
    /// Deliveries that began and have no end: broken off by a crash, or running.
    pub broken_off: u64,
    /// Deliveries to partners that are in no receipt so far.
    pub unstated: u64,
    /// How many problems there are.
    pub problem_count: u64,
    /// The first of them, in the order of the journal; then those of the file.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which kind of wrong.
    pub verdict: Verdict,
    /// The record, or the entry of the partner's file, or the journal as a whole.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// Verifies the journal in the folder `journal` against itself and against
/// `held`, the statements about it that partners hold
/// (`spec/6-evidence.md#V-7`).
pub fn verify(journal: &Path, held: &[Held]) -> Result<Report, Failure> {
    let mut audit = Audit::default();
    let walk = Journal::walk(journal, |position, entry| match entry {
        Entry::Kept { record, .. } => audit.record(position, record),
        Entry::Erased(_) => audit.erased.push(position),
    })
    .map_err(super::unreadable)?;
    Ok(audit.judge(&walk, held))
}

#[derive(Default)]
struct Audit {
    keys: Recorded,
    claims: Vec<(String, Claim)>,
    /// The newest receipt of each agreement.
    chains: HashMap<Digest, Link>,
    open: HashSet<String>,
    accounts: Accounts,
    /// Where records were erased, and where notes say so.
    erased: Vec<Position>,
    noted: HashSet<Position>,
    problems: Vec<Problem>,
    count: u64,
    worst: [bool; 3],
}

impl Audit {
    fn problem(&mut self, verdict: Verdict, place: &str, what: impl ToString) {
        match verdict {
            Verdict::Intact => return,
            Verdict::Tampered => self.worst[0] = true,
            Verdict::Forked => self.worst[1] = true,
            Verdict::Incomplete => self.worst[2] = true,
        }
        self.count += 1;
        if self.problems.len() < MAX_LISTED {
            self.problems.push(Problem {
                verdict,
                place: place.to_owned(),
                what: what.to_string(),
            });
        }
    }

    fn record(&mut self, position: Position, bytes: &[u8]) {
        let place = format!("record {position}");
        let value: Value = match serde_json::from_slice(bytes) {
            Ok(value) => value,
            Err(error) => return self.problem(Verdict::Tampered, &place, error),
        };
        match serde_json::from_slice::<Record>(bytes) {
            Ok(record) => {
                if let Err(what) = self.keys.take(&record) {
                    self.problem(Verdict::Tampered, &place, what);
                }
                if let Err(what) = self.signatures(&record) {
                    self.problem(Verdict::Tampered, &place, what);
                }
                for (verdict, what) in self.accounts.take(&record) {
                    self.problem(verdict, &place, what);
                }
                match record {
                    Record::Delivery(delivery) if delivery.rows.is_none() => {
                        self.open.insert(delivery.trace);
                    }
                    Record::Delivery(delivery) => {
                        self.open.remove(&delivery.trace);
                    }
                    Record::Erased(note) => self.noted.extend(note.positions),
                    _ => {}
                }
            }
            Err(error) => {
                let what = format!("this version does not know the record: {error}");
                self.problem(Verdict::Tampered, &place, what);
            }
        }
        for held in claim::in_record(&value) {
            self.held(&place, &held, true);
        }
    }

    /// What two organizations signed holds under the keys of then.
    fn signatures(&self, record: &Record) -> Result<(), String> {
        match record {
            Record::Signed(signed) => {
                let typ = match signed.kind {
                    SignedKind::Agreement => AGREEMENT,
                    SignedKind::Federation => FEDERATION,
                };
                let at = SignedDocument::recall(typ, &signed.text)
                    .map_err(|e| e.to_string())?
                    .document()
                    .at;
                let verified = SignedDocument::verify(typ, &signed.text, &self.keys, at)
                    .map_err(|e| e.to_string())?;
                if verified.digest() != signed.id {
                    return Err("the signed document has another id".to_owned());
                }
            }
            Record::Message(message) => {
                let from = if message.sent {
                    self.keys.own()
                } else {
                    Some(message.peer)
                };
                let from = from.ok_or("a message before the organization")?;
                Message::verify(&message.text, &from, &self.keys, message.at)
                    .map_err(|e| e.to_string())?;
            }
            Record::Revoked(revoked) => {
                Revocation::verify(&revoked.text, &revoked.by, &self.keys, revoked.at)
                    .map_err(|e| e.to_string())?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes one checkpoint or receipt; gives whether it is about this journal.
    fn held(&mut self, place: &str, held: &Held, own_record: bool) -> bool {
        let Some(own) = self.keys.own() else {
            return false;
        };
        match held.claim(&own, &self.keys) {
            Ok(Some(claim)) => {
                if let Some(link) = claim.link.clone().filter(|_| own_record) {
                    self.link(place, link);
                }
                self.claims.push((place.to_owned(), claim));
                true
            }
            Ok(None) => false,
            // A key that this journal does not know may be one that it has lost:
            // ignoring the statement would let a rolled-back journal pass.
            Err(what) => {
                self.problem(Verdict::Tampered, place, what);
                false
            }
        }
    }

    /// The receipts of an agreement follow one another without gaps.
    fn link(&mut self, place: &str, link: Link) {
        let problem = match self.chains.get(&link.agreement) {
            None if link.prev.is_some() => Some((
                Verdict::Incomplete,
                "the receipts before this one are missing",
            )),
            None => None,
            // Once when it was made, once more when it was countersigned.
            Some(last) if link.seq == last.seq && link.digest == last.digest => None,
            Some(last) if link.seq <= last.seq => Some((
                Verdict::Forked,
                "a receipt with a number that was given before",
            )),
            Some(last) if link.seq > last.seq + 1 => {
                Some((Verdict::Incomplete, "a gap in the numbers of the receipts"))
            }
            Some(last) if link.prev != Some(last.digest) => Some((
                Verdict::Forked,
                "the receipt follows another one than the last",
            )),
            Some(_) => None,
        };
        if let Some((verdict, what)) = problem {
            self.problem(
                verdict,
                place,
                format!("{what} (agreement {})", link.agreement),
            );
        }
        self.chains.insert(link.agreement, link);
    }

    fn judge(mut self, walk: &Walk, held: &[Held]) -> Report {
        let size = walk.tree.size();
        if let Some(broken) = &walk.broken {
            let verdict = match broken {
                Break::Damaged(_) => Verdict::Tampered,
                Break::Missing { .. } | Break::CutShort { .. } => Verdict::Incomplete,
            };
            self.problem(verdict, &format!("record {size}"), broken);
        }
        if self.keys.own().is_none() && walk.broken.is_none() {
            let what = "the journal holds no organization: its beginning is missing";
            self.problem(Verdict::Incomplete, "record 0", what);
        }
        for position in std::mem::take(&mut self.erased) {
            if !self.noted.contains(&position) {
                let what = "the record was removed, and no note says that it was erased";
                self.problem(Verdict::Tampered, &format!("record {position}"), what);
            }
        }
        let from_journal = self.claims.len() as u64;
        let mut about_others = 0;
        for (i, held) in held.iter().enumerate() {
            let before = self.count;
            let about = self.held(&format!("entry {} of the file", i + 1), held, false);
            if !about && self.count == before {
                about_others += 1;
            }
        }
        let claims = std::mem::take(&mut self.claims);
        for (place, claim) in &claims {
            self.compare(walk, place, claim);
        }
        let verdict = match self.worst {
            [true, _, _] => Verdict::Tampered,
            [_, true, _] => Verdict::Forked,
            [_, _, true] => Verdict::Incomplete,
            _ => Verdict::Intact,
        };
        Report {
            verdict,
            org: self.keys.own(),
            records: size,
            root: Digest::from_bytes(walk.tree.root(size).unwrap_or_default()),
            erased: walk.erased,
            segments: walk.segments,
            unfinished_bytes: walk.torn.as_ref().map_or(0, |torn| torn.bytes),
            own_checkpoints: from_journal,
            held_checkpoints: claims.len() as u64 - from_journal,
            about_others,
            broken_off: self.open.len() as u64,
            unstated: self.accounts.unstated(),
            problem_count: self.count,
            problems: self.problems,
        }
    }

    fn compare(&mut self, walk: &Walk, place: &str, claim: &Claim) {
        let size = walk.tree.size();
        let Some(root) = walk.tree.root(claim.size) else {
            // Behind a break nothing was read, so nothing can be compared.
            if walk.broken.is_none() {
                let torn = walk.torn.is_some();
                let what = format!(
                    "signed when the journal had {} records; it has {size}{}",
                    claim.size,
                    if torn { " and an unfinished end" } else { "" },
                );
                let verdict = if torn {
                    Verdict::Incomplete
                } else {
                    Verdict::Forked
                };
                self.problem(verdict, place, what);
            }
            return;
        };
        if Digest::from_bytes(root) != claim.root {
            let what = format!(
                "signed over {} records with the root {}; the first {} records here have {}",
                claim.size,
                claim.root,
                claim.size,
                Digest::from_bytes(root),
            );
            self.problem(Verdict::Forked, place, what);
        }
    }
}
