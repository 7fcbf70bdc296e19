//! A member's personal data, erased without breaking the proofs.

use std::collections::BTreeSet;

use comity_identity::OrgId;
use serde_json::{Map, Value};

use crate::clock;
use crate::failure::Failure;
use crate::home::Home;
use crate::journal::{self, Journal};
use crate::ledger::{Administered, Erased, Ledger, Record};
use crate::{index, ledger};

/// What [`erase_member`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Erasure {
    /// Records that were erased.
    pub records: u64,
    /// Records in the journal, the erased ones and the note of the erasing among them.
    pub journal: u64,
}

/// Erases the records about the member `name` from the journal of `home`, whose
/// node is stopped (`spec/6-evidence.md#V-9`).
///
/// That it was done, and how many records it took, is recorded first; who it
/// was about is not. The index is removed and made again from what remains.
pub fn erase_member(home: &Home, name: &str) -> Result<Erasure, Failure> {
    let mut looked = Looked::default();
    super::walk(&home.journal(), |_, record| looked.at(record, name))?;
    let own = looked.own.ok_or_else(super::nobody)?;
    if !looked.tokens.is_empty() {
        let message = format!("{name} is a member with a token");
        return Err(Failure::caller("active-member", message)
            .next("run 'comity member remove' first, stop the node, and erase then"));
    }
    let about = |record: &[u8]| concerns(record, &own, name);
    if looked.find(home, &about)? == 0 {
        let message = format!("no record names a member {name}");
        return Err(Failure::caller("unknown-member", message));
    }
    note(home, &looked.found)?;
    let erased = Journal::erase(&home.journal(), about).map_err(super::unreadable)?;
    forget_index(home)?;
    // Opens what is left and makes the index from it, so that a failure shows now.
    let ledger = open(home)?;
    let (size, _) = ledger.root();
    ledger.close()?;
    Ok(Erasure {
        records: erased.records,
        journal: size,
    })
}

/// Written before the effect: an erasing is an administrative act, and no
/// record may be missing that no note names.
fn note(home: &Home, found: &[u64]) -> Result<(), Failure> {
    let at = clock::now();
    let mut notes = vec![Record::Administered(Administered {
        act: "erase-member".to_owned(),
        by: ledger::OPERATOR.to_owned(),
        target: format!("{} records", found.len()),
        at,
    })];
    notes.extend(found.chunks(MAX_POSITIONS).map(|positions| {
        Record::Erased(Erased {
            positions: positions.to_vec(),
            at,
        })
    }));
    let ledger = open(home)?;
    ledger.commit_all_blocking(&notes)?;
    ledger.close()?;
    Ok(())
}

fn open(home: &Home) -> Result<Ledger, Failure> {
    Ok(Ledger::open(
        home,
        journal::Settings::default(),
        index::Settings::default(),
    )?)
}

/// The index holds the name as a key. It is made again from the journal.
fn forget_index(home: &Home) -> Result<(), Failure> {
    match std::fs::remove_dir_all(home.index()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            let message = format!("{}: {e}", home.index().display());
            Err(Failure::own("index", message).next("remove the folder by hand"))
        }
        _ => Ok(()),
    }
}

/// What the journal says about the member as a whole.
#[derive(Default)]
struct Looked {
    own: Option<OrgId>,
    /// The member's tokens that count, by id; one of before they had ids by none.
    tokens: BTreeSet<Option<String>>,
    found: Vec<u64>,
}

/// The most positions in one note: with twenty digits each it stays far below a
/// record's limit.
const MAX_POSITIONS: usize = 4096;

impl Looked {
    fn at(&mut self, record: &[u8], name: &str) {
        let Ok(record) = serde_json::from_slice(record) else {
            return;
        };
        match record {
            Record::Own(evidence) => self.own = Some(evidence.org),
            Record::Member(member) if member.name == name => {
                self.tokens.insert(member.terms.map(|terms| terms.id));
            }
            Record::MemberTokenEnded(member) if member.name == name => {
                self.tokens.remove(&member.token);
            }
            Record::MemberRemoved(member) if member.name == name => self.tokens.clear(),
            _ => {}
        }
    }

    fn find(&mut self, home: &Home, about: &impl Fn(&[u8]) -> bool) -> Result<usize, Failure> {
        let found = &mut self.found;
        super::walk(&home.journal(), |position, record| {
            if about(record) {
                found.push(position);
            }
        })?;
        Ok(found.len())
    }
}

/// Whether `record` may be erased for the member `name`: the closed list of
/// `spec/6-evidence.md#V-9`. What organizations signed is never on it.
fn concerns(record: &[u8], own: &OrgId, name: &str) -> bool {
    let Ok(Value::Object(record)) = serde_json::from_slice(record) else {
        return false;
    };
    let is = |member: &str, wanted: &str| text(&record, member) == Some(wanted);
    // A partner's pseudonym may be spelled like a name of ours.
    let ours = || is("org", &own.to_string());
    match text(&record, "record") {
        Some("delivery") => ours() && is("subject", name),
        Some("refused") => ours() && text(&record, "reason").is_some_and(|r| names(r, name)),
        Some("member" | "member-removed" | "member-token-ended" | "member-seen") => {
            is("name", name)
        }
        _ => false,
    }
}

fn text<'a>(record: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    record.get(member).and_then(Value::as_str)
}

/// Whether `reason` names the member, as a word of its own.
fn names(reason: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == '.';
    reason.match_indices(name).any(|(start, found)| {
        let before = reason.get(..start).and_then(|t| t.chars().next_back());
        let after = reason
            .get(start + found.len()..)
            .and_then(|t| t.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}
