//! The content of the vector file.

mod documents;
mod grants;
mod histories;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_identity::binding::Channel;
use comity_identity::envelope::General;
use comity_identity::organization::{ORGANIZATION_DOCUMENT, peer_id};
use comity_identity::{Digest, Signer};
use serde_json::{Map, Value, json};

use crate::world::{KEYS, NOW, audience, history, inception, key, seed};

/// The texts by name, and the cases that refer to them.
#[derive(Default)]
struct Book {
    texts: BTreeMap<&'static str, String>,
    cases: Vec<Value>,
}

impl Book {
    fn text(&mut self, name: &'static str, text: String) {
        assert!(self.texts.insert(name, text).is_none(), "{name} twice");
    }

    /// A case on which `refused_by` (or nobody) has something to say.
    fn case(&mut self, name: &str, rule: &str, refused_by: &str, mut input: Value) {
        let fields = input.as_object_mut().unwrap();
        fields.entry("now").or_insert(NOW.into());
        let mut case = Map::new();
        case.insert("name".to_owned(), name.into());
        case.insert("rule".to_owned(), rule.into());
        case.insert("refused_by".to_owned(), refused_by.into());
        case.append(fields);
        self.cases.push(case.into());
    }
}

pub(crate) fn vectors() -> Value {
    let mut book = Book::default();
    histories::histories(&mut book);
    documents::envelopes(&mut book);
    documents::documents(&mut book);
    grants::grants(&mut book);
    let comparison = |name: &str, left: Value, right: Value, relation: &str| json!({"name": name, "left": left, "right": right, "relation": relation});
    json!({
        "about": "Test vectors of spec/1-envelope.md and spec/2-identity.md. Keys are public: never use them.",
        "keys": keys(),
        "org": history().org(),
        "inception_payload": canonical(&inception()),
        "inception_digest": history().head(),
        "grant_audience": audience(),
        "texts": book.texts.clone(),
        "cases": book.cases,
        "comparisons": [
            comparison("equal", json!(["inception"]), json!(["inception"]), "same"),
            comparison("longer", json!(["inception"]), json!(["inception", "rotation"]), "ahead"),
            comparison("shorter", json!(["inception", "rotation"]), json!(["inception"]), "behind"),
            comparison("two events with seq 1 (A12)", json!(["inception", "rotation"]), json!(["inception", "recovery"]), "fork"),
        ],
        "binding": binding(&book.texts["grant"]),
    })
}

fn keys() -> Value {
    let entry = |name: &str| {
        let public = key(name).public();
        json!({
            "seed": data_encoding::HEXLOWER.encode(&seed(name)),
            "public": public,
            "kid": public.id(),
            "commitment": Digest::of(public.as_bytes()),
            "peer_id": peer_id(&public),
        })
    };
    KEYS.iter()
        .map(|n| ((*n).to_owned(), entry(n)))
        .collect::<Map<_, _>>()
        .into()
}

fn binding(grant: &str) -> Value {
    let (exporter, leaf) = ([7; 32], b"stands for a DER certificate");
    let grant = Digest::of(grant.as_bytes());
    let channel = Channel {
        exporter: &exporter,
        leaf,
        grant,
    };
    let proof = channel.prove(&key("node"));
    assert_eq!(channel.check(&proof, &key("node").public()), Ok(()));
    json!({
        "exporter": data_encoding::HEXLOWER.encode(&exporter),
        "leaf": data_encoding::HEXLOWER.encode(leaf),
        "grant": grant,
        "holder": "node",
        "proof": URL_SAFE_NO_PAD.encode(proof),
    })
}

/// The exact payload bytes that a writer emits.
fn canonical<T: serde::Serialize>(payload: &T) -> String {
    let envelope = General::new(ORGANIZATION_DOCUMENT, payload).unwrap();
    String::from_utf8(envelope.payload_bytes().to_vec()).unwrap()
}
