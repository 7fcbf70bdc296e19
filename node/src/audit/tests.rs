//! Journals that were changed, and what verifying them says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use comity_identity::envelope::General;
use comity_identity::{OrgId, Timestamp};
use comity_protocol::receipt::RECEIPT;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::founding::{Plan, found};
use crate::index;
use crate::journal;
use crate::ledger::{
    Administered, Delivery, Ledger, Member, MemberRemoved, Record, Refused, Statement,
};

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

/// A founded organization whose node is stopped.
struct Stopped {
    home: Home,
    _dir: TempDir,
}

impl Stopped {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("own"));
        let plan = Plan {
            name: "Own".to_owned(),
            alias: "own".to_owned(),
            node: "node-1".to_owned(),
            passphrase: None,
            free_ports: true,
        };
        found(&home, &plan).unwrap();
        Self { home, _dir: dir }
    }

    fn add(&self, records: &[Record]) {
        let small = journal::Settings {
            segment_bytes: *journal::SEGMENT_BYTES_RANGE.start(),
        };
        let ledger = Ledger::open(&self.home, small, index::Settings::default()).unwrap();
        for record in records {
            ledger
                .commit_all_blocking(std::slice::from_ref(record))
                .unwrap();
        }
        ledger.close().unwrap();
    }

    fn org(&self) -> OrgId {
        verify(&self.home.journal(), &[]).unwrap().org.unwrap()
    }

    fn verify(&self) -> Report {
        verify(&self.home.journal(), &[]).unwrap()
    }

    fn against(&self, held: &str) -> Report {
        verify(&self.home.journal(), &read_held(held).unwrap()).unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(self.home.journal())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ext| ext == "journal"))
            .collect();
        files.sort();
        files
    }

    /// A receipt of this organization as provider, of the chain `seq`, `prev`.
    fn receipt(&self, seq: u64, prev: Option<Digest>, size: u64, root: Digest) -> (String, Digest) {
        let payload = json!({
            "v": 1, "agreement": Digest::of(b"agreement"), "seq": seq, "prev": prev,
            "at": clock::now(), "journal_size": size, "journal_root": root,
        });
        let keys = Keys::open(self.home.path()).unwrap();
        let envelope = General::new(RECEIPT, &payload).unwrap().sign(&*keys.issuer);
        (envelope.to_text(), envelope.digest())
    }
}

fn act(number: usize) -> Record {
    Record::Administered(Administered {
        act: "test".to_owned(),
        by: "operator".to_owned(),
        target: format!("{number} {}", "x".repeat(20_000)),
        at: NOW,
    })
}

fn acts(count: usize) -> Vec<Record> {
    (0..count).map(act).collect()
}

/// A record that carries `text`, as later kinds carry receipts.
fn carrying(org: OrgId, text: String) -> Record {
    Record::ForeignDescriptor(Statement { org, text })
}

fn delivery(org: OrgId, subject: &str, rows: Option<u64>) -> Record {
    Record::Delivery(Delivery {
        trace: "0123456789abcdef".to_owned(),
        org,
        subject: subject.to_owned(),
        agreement: None,
        purpose: None,
        query: Digest::of(b"query"),
        rows,
        bytes: rows,
        ended: None,
        grant: None,
        direct: None,
        reserved: None,
        budgets: Vec::new(),
        content: None,
        plan: None,
        snapshot: None,
        policy: None,
        at: NOW,
    })
}

#[test]
fn an_intact_journal_of_several_segments_is_intact_also_while_it_is_in_use() {
    let own = Stopped::new();
    own.add(&acts(12));
    let report = own.verify();
    assert_eq!(report.verdict, Verdict::Intact, "{:?}", report.problems);
    assert_eq!(report.records, 14);
    assert!(report.segments > 2);
    let (journal, _) = Journal::open(&own.home.journal(), journal::Settings::default()).unwrap();
    assert_eq!(own.verify().root.as_bytes(), &journal.root(14).unwrap());
}

#[test]
fn every_flipped_byte_is_found_and_its_place_is_named() {
    let own = Stopped::new();
    own.add(&acts(4));
    let files = own.segments();
    for (i, file) in files.iter().enumerate() {
        let whole = std::fs::read(file).unwrap();
        for at in (0..whole.len()).step_by(3001).chain([whole.len() - 1]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(file, &bytes).unwrap();
            let report = own.verify();
            // A length that reaches past the end of the file looks like a cut.
            let found = [Verdict::Tampered, Verdict::Incomplete].contains(&report.verdict);
            assert!(found, "segment {i}, byte {at}: {:?}", report.verdict);
            assert!(!report.problems[0].what.is_empty());
        }
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(file, &bytes).unwrap();
        let report = own.verify();
        assert_eq!(report.verdict, Verdict::Tampered);
        assert!(
            report.problems[0].what.contains("damaged at byte"),
            "{report:?}"
        );
        std::fs::write(file, &whole).unwrap();
    }
}

#[test]
fn a_missing_or_shortened_segment_is_incomplete() {
    let own = Stopped::new();
    own.add(&acts(12));
    let files = own.segments();
    for file in [&files[0], &files[1]] {
        let whole = std::fs::read(file).unwrap();
        std::fs::remove_file(file).unwrap();
        let report = own.verify();
        assert_eq!(report.verdict, Verdict::Incomplete, "{report:?}");
        assert!(report.problems[0].what.contains("in no file"));
        std::fs::write(file, &whole[..whole.len() - 10]).unwrap();
        assert_eq!(own.verify().verdict, Verdict::Incomplete);
        std::fs::write(file, &whole).unwrap();
    }
    for file in files {
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(own.verify().verdict, Verdict::Incomplete);
}

#[test]
fn a33_a_journal_that_was_cut_and_signed_again_is_a_fork_for_who_holds_a_checkpoint() {
    let own = Stopped::new();
    own.add(&acts(2));
    let backup: Vec<(PathBuf, Vec<u8>)> = own
        .segments()
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    own.add(&acts(10));
    let held = checkpoint(&own.home).unwrap();
    assert_eq!(own.against(&held).verdict, Verdict::Intact);
    assert_eq!(own.against(&held).held_checkpoints, 1);

    // The last ten records go, and the rest is signed again.
    for file in own.segments() {
        std::fs::remove_file(file).unwrap();
    }
    for (path, bytes) in &backup {
        std::fs::write(path, bytes).unwrap();
    }
    let again = checkpoint(&own.home).unwrap();
    assert_eq!(own.against(&again).verdict, Verdict::Intact);
    let report = own.against(&held);
    assert_eq!(report.verdict, Verdict::Forked);
    assert!(report.problems[0].what.contains("it has 4"), "{report:?}");

    // So too when others are put in their place.
    own.add(&acts(20));
    assert_eq!(own.verify().verdict, Verdict::Intact);
    let report = own.against(&format!("{again}\n{held}\n"));
    assert_eq!((report.verdict, report.problem_count), (Verdict::Forked, 1));
    assert!(report.problems[0].place.contains("entry 2"), "{report:?}");
}

#[test]
fn a_statement_that_nobody_here_signed_is_a_finding_and_one_about_others_is_not() {
    let (own, other) = (Stopped::new(), Stopped::new());
    let theirs = checkpoint(&other.home).unwrap();
    let report = own.against(&theirs);
    assert_eq!((report.verdict, report.about_others), (Verdict::Intact, 1));
    // In this organization's name, with a foreign key.
    let forged = Checkpoint {
        v: 1,
        org: own.org(),
        size: 1,
        root: Digest::of(b"root"),
        at: clock::now(),
    };
    let foreign = Keys::open(other.home.path()).unwrap();
    let forged = forged.sign(&*foreign.issuer).unwrap();
    assert_eq!(own.against(&forged).verdict, Verdict::Tampered);
    assert!(read_held("nothing signed").is_err());
    assert!(read_held(r#"["one", 2]"#).is_err());
}

#[test]
fn receipts_in_the_journal_are_claims_about_it_and_form_a_chain() {
    let own = Stopped::new();
    let org = own.org();
    let now = own.verify();
    let (first, digest) = own.receipt(1, None, now.records, now.root);
    let (second, _) = own.receipt(2, Some(digest), now.records, now.root);
    let (fifth, _) = own.receipt(5, Some(digest), now.records, now.root);
    let (wrong, _) = own.receipt(2, Some(digest), now.records, Digest::of(b"other"));
    let (early, root) = {
        let journal = Journal::open(&own.home.journal(), journal::Settings::default());
        (1, Digest::from_bytes(journal.unwrap().0.root(1).unwrap()))
    };
    let (rewritten, _) = own.receipt(2, Some(digest), early, root);

    own.add(&[carrying(org, first.clone()), carrying(org, second)]);
    let report = own.verify();
    assert_eq!(report.verdict, Verdict::Intact, "{report:?}");
    assert_eq!(report.own_checkpoints, 2);
    assert_eq!(own.against(&wrong).verdict, Verdict::Forked);
    // By the right key, with a true root, and with a number that was given before.
    assert_eq!(own.against(&rewritten).verdict, Verdict::Intact);
    own.add(&[carrying(org, fifth)]);
    assert_eq!(own.verify().verdict, Verdict::Incomplete);
    own.add(&[carrying(org, rewritten)]);
    assert_eq!(own.verify().verdict, Verdict::Forked);

    // A receipt that no key in the journal signed is a finding too.
    let other = Stopped::new();
    other.add(&[carrying(other.org(), first)]);
    assert_eq!(other.verify().verdict, Verdict::Tampered);
}

#[test]
fn an_erased_member_is_in_no_file_and_the_journal_verifies() {
    let own = Stopped::new();
    let org = own.org();
    let partner = OrgId::from_inception(Digest::of(b"partner"));
    let refused = |reason: &str| {
        Record::Refused(Refused {
            trace: "0123456789abcdef".to_owned(),
            org,
            code: "denied".to_owned(),
            reason: reason.to_owned(),
            policy: None,
            at: NOW,
        })
    };
    own.add(&[
        Record::Member(Member {
            terms: None,
            name: "zenobia".to_owned(),
            token_hash: Digest::of(b"token"),
            at: NOW,
        }),
        delivery(org, "zenobia", None),
        delivery(org, "zenobia", Some(3)),
        delivery(org, "zenobian", Some(3)),
        // A partner's pseudonym that happens to be spelled the same.
        delivery(partner, "pseudonym", Some(3)),
        refused("the member zenobia may not"),
        refused("rezenobian"),
    ]);
    let refusal = erase_member(&own.home, "zenobia").unwrap_err();
    assert!(refusal.to_string().contains("with a token"), "{refusal}");
    own.add(&[Record::MemberRemoved(MemberRemoved {
        tokens: BTreeSet::new(),
        name: "zenobia".to_owned(),
        at: NOW,
    })]);
    let held = checkpoint(&own.home).unwrap();
    let before = own.verify();

    let erased = erase_member(&own.home, "zenobia").unwrap();
    assert_eq!(erased.records, 5);
    let report = own.against(&held);
    assert_eq!(report.verdict, Verdict::Intact, "{:?}", report.problems);
    // The notes of the erasing came behind; everything else stands where it stood.
    assert_eq!((report.records, report.erased), (before.records + 2, 5));
    for name in words_of(own.home.path()) {
        assert_ne!(name, "zenobia");
    }
    assert!(erase_member(&own.home, "zenobia").is_err());
}

/// Regression: whoever has the files could take any record out as if a member
/// had been erased, and the journal was intact.
#[test]
fn a_record_that_was_taken_out_without_a_note_is_missed() {
    let own = Stopped::new();
    let partner = OrgId::from_inception(Digest::of(b"partner"));
    own.add(&[delivery(partner, "pseudonym", Some(3))]);
    assert_eq!(own.verify().verdict, Verdict::Intact);
    let served = |record: &[u8]| String::from_utf8_lossy(record).contains("pseudonym");
    let erased = crate::journal::Journal::erase(&own.home.journal(), served).unwrap();
    assert_eq!(erased.records, 1);
    let report = own.verify();
    assert_eq!(report.verdict, Verdict::Tampered);
    assert!(
        report.problems[0].what.contains("no note"),
        "{:?}",
        report.problems
    );
}

/// The words in every file of the folder.
fn words_of(folder: &Path) -> Vec<String> {
    let mut words = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            words.extend(words_of(&path));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let letters = text.split(|c: char| !c.is_ascii_alphabetic());
        words.extend(letters.map(str::to_owned));
    }
    words
}

#[test]
fn records_are_found_by_what_they_are_about() {
    let own = Stopped::new();
    let org = own.org();
    own.add(&[
        delivery(org, "zenobia", None),
        delivery(org, "zenobia", Some(3)),
        act(1),
    ]);
    let shown = |filter: &Filter| {
        let mut lines = Vec::new();
        show(&own.home.journal(), filter, false, |line| lines.push(line)).unwrap();
        lines
    };
    assert_eq!(shown(&Filter::default()).len(), 5);
    let of = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        shown(&filter)
    };
    let served = of(&|f| f.member = Some("zenobia".to_owned()));
    assert_eq!(served.len(), 2);
    assert!(
        served[0].says.starts_with("began to serve zenobia"),
        "{served:?}"
    );
    assert!(served[1].says.contains("3 rows, 3 bytes"), "{served:?}");
    assert_eq!(of(&|f| f.kind = Some("administered".to_owned())).len(), 1);
    assert_eq!(of(&|f| f.trace = Some("89ab".to_owned())).len(), 2);
    assert_eq!(of(&|f| f.partner = Some(org.to_string())).len(), 3);
    assert_eq!(of(&|f| f.until = Some(Timestamp::from_secs(1))).len(), 1);
    // Long texts are cut, except when all is asked for.
    let own_record = &shown(&Filter::default())[0];
    assert!(own_record.record.to_string().len() < 1000);
}
