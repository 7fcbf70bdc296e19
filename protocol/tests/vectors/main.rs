//! The test vectors of `spec/vectors/protocol.json`: made here, byte for byte
//! the same on every machine, and judged here.
//!
//! After a change of the protocol, write the file anew with
//! `COMITY_WRITE_VECTORS=1 cargo test -p comity-protocol --test vectors` and
//! read the difference: every changed byte breaks somebody's partner.

mod cases;
mod made;
mod world;

use std::path::PathBuf;

use comity_identity::envelope::{Compact, General, Typ};
use comity_identity::{OrgId, Timestamp};
use comity_protocol::catalog::{DescriptorList, HEAD, VerifiedHead};
use comity_protocol::checkpoint::{CHECKPOINT, Checkpoint};
use comity_protocol::invitation::{INVITATION, Invitation, PREFIX};
use comity_protocol::negotiation::{AGREEMENT, FEDERATION, MESSAGE, Message, SignedDocument};
use comity_protocol::product::{DESCRIPTOR, VerifiedDescriptor};
use comity_protocol::receipt::{DISPUTE, Dispute, RECEIPT, Receipt, SignedReceipt};
use comity_protocol::results::{RESULTS, VerifiedResults};
use comity_protocol::revocation::{REVOCATION, Revocation};
use serde_json::Value;

use world::Organizations;

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../spec")
        .join(file)
}

fn read(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path(file)).unwrap()).unwrap()
}

#[test]
fn the_vector_file_is_what_the_code_makes() {
    // Sorted, because another crate of a build may make serde_json keep the order of insertion.
    let mut vectors = made::vectors();
    vectors.sort_all_objects();
    let mut made = serde_json::to_string_pretty(&vectors).unwrap();
    made.push('\n');
    let path = path("vectors/protocol.json");
    if std::env::var_os("COMITY_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(
        kept == made,
        "spec/vectors/protocol.json differs from what the code makes"
    );
}

/// Reads the file only, as a second implementation would.
#[test]
fn every_case_gets_its_verdict() {
    let vectors = read("vectors/protocol.json");
    let organizations = Organizations::read(&vectors);
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 20);
    for case in cases {
        let accepted = judge(&vectors, &organizations, case);
        assert_eq!(
            accepted,
            case["accepted"].as_bool().unwrap(),
            "{} ({})",
            case["name"],
            case["rule"]
        );
    }
}

fn judge(vectors: &Value, keys: &Organizations, case: &Value) -> bool {
    let named = |name: &str| vectors["texts"][name].as_str().unwrap();
    let text = named(case["text"].as_str().unwrap());
    let now = Timestamp::from_secs(case["now"].as_u64().unwrap());
    let org = || case["org"].as_str().unwrap().parse::<OrgId>().unwrap();
    match case["kind"].as_str().unwrap() {
        "descriptor" => VerifiedDescriptor::verify(text, &org(), keys, now).is_ok(),
        "head" => VerifiedHead::verify(text, &org(), keys, now).is_ok(),
        "results" => VerifiedResults::verify(text, &org(), keys, now).is_ok(),
        "list" => {
            let head = named("head");
            let head = VerifiedHead::verify(head, &org(), keys, now).unwrap();
            DescriptorList::read(text, &head).is_ok()
        }
        "message" => Message::verify(text, &org(), keys, now).is_ok(),
        "agreement" => SignedDocument::verify(AGREEMENT, text, keys, now).is_ok(),
        "federation" => SignedDocument::verify(FEDERATION, text, keys, now).is_ok(),
        "invitation" => Invitation::open(text, now).is_ok(),
        "revocation" => Revocation::verify(text, &org(), keys, now).is_ok(),
        "checkpoint" => Checkpoint::verify(text, &org(), keys, now).is_ok(),
        "receipt" => {
            let agreement = named("agreement");
            let agreement = SignedDocument::verify(AGREEMENT, agreement, keys, now).unwrap();
            let of = (agreement.digest(), agreement.document());
            SignedReceipt::verify(text, of, keys, now).is_ok()
        }
        "dispute" => {
            let (receipt, id) = Receipt::recall(named("receipt-half")).unwrap();
            let of = (receipt.agreement, id);
            Dispute::verify(text, &org(), of, keys, now).is_ok()
        }
        kind => panic!("unknown kind {kind}"),
    }
}

/// The schemas say no less than the code demands of honest statements, and know every member.
#[test]
fn every_honest_payload_fits_its_schema() {
    let vectors = read("vectors/protocol.json");
    let text = |name: &str| vectors["texts"][name].as_str().unwrap().to_owned();
    let compact = |typ: Typ, name: &str| {
        let text = text(name);
        let text = text.strip_prefix(PREFIX).unwrap_or(&text);
        let envelope = Compact::parse(typ, text).unwrap();
        envelope.danger_unverified_payload::<Value>().unwrap()
    };
    let general = |typ: Typ, name: &str| {
        let envelope = General::parse(typ, &text(name)).unwrap();
        envelope.danger_unverified_payload::<Value>().unwrap()
    };
    let messages = [
        "request",
        "offer",
        "counter",
        "accept",
        "agree",
        "verify",
        "finalize",
        "terminate",
    ];
    let mut payloads = vec![
        ("descriptor", compact(DESCRIPTOR, "descriptor")),
        ("head", compact(HEAD, "head")),
        ("results", compact(RESULTS, "results")),
        ("invitation", compact(INVITATION, "invitation")),
        ("revocation", compact(REVOCATION, "revocation")),
        ("checkpoint", compact(CHECKPOINT, "checkpoint")),
        ("agreement", general(AGREEMENT, "agreement")),
        ("federation", general(FEDERATION, "federation")),
        ("receipt", general(RECEIPT, "receipt")),
        ("dispute", compact(DISPUTE, "dispute")),
    ];
    payloads.extend(messages.map(|name| ("negotiation", compact(MESSAGE, name))));
    let terms = &compact(MESSAGE, "request")["body"]["proposal"]["terms"];
    payloads.push(("terms", terms.clone()));
    for (name, payload) in payloads {
        let mut schema = read(&format!("schemas/{name}.json"));
        if name != "terms" {
            // Bundled as JSON Schema 2020-12, section 9.3 describes.
            schema["$defs"]["terms-file"] = read("schemas/terms.json");
            schema["$defs"]["proposal-file"] = read("schemas/proposal.json");
        }
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        if let Err(e) = schema.validate(&payload) {
            panic!("{name}: {e} at {}", e.instance_path());
        }
        let mut more = payload.clone();
        more["unknown"] = true.into();
        assert!(!schema.is_valid(&more), "{name} knows every member");
        let members = payload.as_object().unwrap().keys();
        for member in members.filter(|m| !["prev", "offer"].contains(&m.as_str())) {
            let mut less = payload.clone();
            less.as_object_mut().unwrap().remove(member);
            assert!(!schema.is_valid(&less), "{name} requires {member}");
        }
    }
}
