//! The test vectors of `spec/vectors/identity.json`: made here, byte for byte
//! the same on every machine, and judged here.
//!
//! After a change of the protocol, write the file anew with
//! `COMITY_WRITE_VECTORS=1 cargo test -p comity-identity --test vectors` and
//! read the difference: every changed byte breaks somebody's partner.

mod cases;
mod world;

use std::path::PathBuf;

use comity_identity::Timestamp;
use comity_identity::grant::Chain;
use comity_identity::history::{Comparison, History};
use comity_identity::organization::VerifiedDocument;
use serde_json::Value;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors/identity.json")
}

#[test]
fn the_vector_file_is_what_the_code_makes() {
    // Sorted, because another crate of a build may make serde_json keep the order of insertion.
    let mut vectors = cases::vectors();
    vectors.sort_all_objects();
    let mut made = serde_json::to_string_pretty(&vectors).unwrap();
    made.push('\n');
    if std::env::var_os("COMITY_WRITE_VECTORS").is_some() {
        std::fs::write(path(), &made).unwrap();
    }
    let kept = std::fs::read_to_string(path()).unwrap();
    assert!(
        kept == made,
        "spec/vectors/identity.json differs from what the code makes"
    );
}

/// Reads the file only, as a second implementation would.
#[test]
fn every_case_gets_its_verdict() {
    let file = std::fs::read_to_string(path()).unwrap();
    let vectors: Value = serde_json::from_str(&file).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() > 30);
    for case in cases {
        let verdict = judge(&vectors["texts"], case).err().unwrap_or("nobody");
        assert_eq!(
            verdict, case["refused_by"],
            "{} ({})",
            case["name"], case["rule"]
        );
    }
    for pair in vectors["comparisons"].as_array().unwrap() {
        let read = |side: &str| History::verify(&named(&vectors["texts"], &pair[side])).unwrap();
        let relation = match read("left").compare(&read("right")) {
            Comparison::Same => "same",
            Comparison::Ahead => "ahead",
            Comparison::Behind => "behind",
            Comparison::Unrelated => "unrelated",
            Comparison::Fork(proof) => {
                proof.verify().unwrap();
                "fork"
            }
        };
        assert_eq!(relation, pair["relation"], "{}", pair["name"]);
    }
}

/// The schemas say no less than the code demands of honest statements, and know every member.
#[test]
fn every_honest_payload_fits_its_schema() {
    let vectors = cases::vectors();
    for (schema, names) in [
        ("key-event", &["inception", "rotation", "recovery"][..]),
        ("organization-document", &["document", "document-revoking"]),
        ("grant", &["grant", "child"]),
    ] {
        let file = format!("../spec/schemas/{schema}.json");
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        for name in names {
            let mut payload = payload(vectors["texts"][*name].as_str().unwrap());
            let problems: Vec<_> = schema
                .iter_errors(&payload)
                .map(|e| e.to_string())
                .collect();
            assert!(problems.is_empty(), "{name}: {problems:?}");
            payload["unknown"] = true.into();
            assert!(!schema.is_valid(&payload), "{name} with an unknown member");
        }
    }
}

/// The payload of a compact or general envelope.
fn payload(text: &str) -> Value {
    let general = serde_json::from_str::<Value>(text);
    let encoded = match &general {
        Ok(envelope) => envelope["payload"].as_str().unwrap(),
        Err(_) => text.split('.').nth(1).unwrap(),
    };
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, encoded);
    serde_json::from_slice(&bytes.unwrap()).unwrap()
}

/// The stage that refuses the case.
fn judge(texts: &Value, case: &Value) -> Result<(), &'static str> {
    let now = Timestamp::from_secs(case["now"].as_u64().unwrap());
    let history = History::verify(&named(texts, &case["history"])).map_err(|_| "history")?;
    let Some(document) = case.get("document") else {
        return Ok(());
    };
    let document = texts[document.as_str().unwrap()].as_str().unwrap();
    let document = VerifiedDocument::verify(document, &history, now).map_err(|_| "document")?;
    let Some(grant) = case.get("grant") else {
        return Ok(());
    };
    let audience = case["audience"].as_str().unwrap().parse().unwrap();
    Chain::verify(&named(texts, grant), &document, audience, now).map_err(|_| "grant")?;
    Ok(())
}

fn named(texts: &Value, names: &Value) -> Vec<String> {
    let names = names.as_array().unwrap().iter();
    names
        .map(|name| {
            let text = &texts[name.as_str().unwrap()];
            text.as_str()
                .unwrap_or_else(|| panic!("no text {name}"))
                .to_owned()
        })
        .collect()
}
