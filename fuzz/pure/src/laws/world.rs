//! The organizations of the published vectors, with their keys, and signatures
//! over bytes that no honest code would sign.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use comity_identity::envelope::Typ;
use comity_identity::history::History;
use comity_identity::organization::{Role, VerifiedDocument};
use comity_identity::{Digest, KeyId, OrgId, PublicKey, SecretKey, Signer, Timestamp};
use comity_protocol::keys::IssuerKeys;
use serde_json::Value;

/// The time at which the vectors were made.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

/// The organization of `spec/vectors/identity.json`.
pub(crate) static LONE: LazyLock<Party> = LazyLock::new(|| {
    let vectors = identity();
    let texts = &vectors["texts"];
    let text = |name: &str| texts[name].as_str().expect("a text").to_owned();
    Party::new(&vectors["keys"], &[text("inception")], &text("document"))
});

/// To whom the grants of the vectors are shown.
pub(crate) static AUDIENCE: LazyLock<OrgId> = LazyLock::new(|| {
    let org = identity()["grant_audience"].clone();
    serde_json::from_value(org).expect("an id")
});

/// The provider of `spec/vectors/protocol.json`.
pub(crate) static PROVIDER: LazyLock<Party> = LazyLock::new(|| of_protocol("provider"));

/// The consumer of `spec/vectors/protocol.json`.
pub(crate) static CONSUMER: LazyLock<Party> = LazyLock::new(|| of_protocol("consumer"));

/// Everything that the vectors' keys ever signed.
static TEXTS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let files = [identity(), protocol()];
    let of = |file: &Value| -> Vec<String> {
        let texts = file["texts"].as_object().expect("texts").values();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let documents = [&*PROVIDER, &*CONSUMER].map(|p| p.document.text().to_owned());
    files.iter().flat_map(of).chain(documents).collect()
});

/// The texts of `spec/vectors/protocol.json` by name.
pub(crate) static PROTOCOL_TEXTS: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| serde_json::from_value(protocol()["texts"].clone()).expect("texts"));

/// Whether `text` is one of the vectors: nothing else can carry their signatures.
pub(crate) fn is_published(text: &str) -> bool {
    TEXTS.contains(text)
}

/// An organization of the vectors.
pub(crate) struct Party {
    pub(crate) keys: BTreeMap<String, SecretKey>,
    pub(crate) history: History,
    pub(crate) document: VerifiedDocument,
}

impl Party {
    fn new(keys: &Value, history: &[String], document: &str) -> Self {
        let keys = keys.as_object().expect("keys").iter();
        let key = |(name, key): (&String, &Value)| {
            let hex = key["seed"].as_str().expect("a seed");
            // Every seed of the vectors repeats one byte.
            let byte = u8::from_str_radix(&hex[..2], 16).expect("hex");
            (name.clone(), SecretKey::from_seed(&[byte; 32]))
        };
        let history = History::verify(history).expect("an honest history");
        Self {
            keys: keys.map(key).collect(),
            document: VerifiedDocument::verify(document, &history, NOW).expect("honest"),
            history,
        }
    }

    pub(crate) fn key(&self, name: &str) -> &SecretKey {
        &self.keys[name]
    }

    pub(crate) fn org(&self) -> OrgId {
        self.history.org()
    }

    /// The secret half of a key that its holder lost to us.
    pub(crate) fn secret_of(&self, public: &PublicKey) -> Option<&SecretKey> {
        self.keys.values().find(|key| key.public() == *public)
    }
}

/// What both organizations of `protocol.json` know of one another.
pub(crate) struct Both;

impl IssuerKeys for Both {
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, now: Timestamp) -> Option<PublicKey> {
        let mut parties = [&*PROVIDER, &*CONSUMER].into_iter();
        let party = parties.find(|p| p.org() == *org)?;
        party.document.issuer(kid, role, now).copied()
    }
}

/// A compact envelope around any bytes, honestly signed over them.
pub(crate) fn compact(typ: Typ, payload: &[u8], key: &SecretKey) -> String {
    let input = format!(
        "{}.{}",
        base64url(header(typ, key).as_bytes()),
        base64url(payload)
    );
    let signature = key.sign(input.as_bytes());
    format!("{input}.{}", base64url(&signature))
}

/// A general envelope around any bytes, honestly signed over them.
pub(crate) fn general(typ: Typ, payload: &[u8], keys: &[&SecretKey]) -> String {
    let payload = base64url(payload);
    let signature = |key: &&SecretKey| {
        let protected = base64url(header(typ, key).as_bytes());
        let signature = key.sign(format!("{protected}.{payload}").as_bytes());
        let signature = base64url(&signature);
        format!(r#"{{"protected":"{protected}","signature":"{signature}"}}"#)
    };
    let signatures: Vec<_> = keys.iter().map(signature).collect();
    let signatures = signatures.join(",");
    format!(r#"{{"payload":"{payload}","signatures":[{signatures}]}}"#)
}

/// `text` with single bits flipped, one character less and one more, at places
/// that `data` chooses.
pub(crate) fn tampered(text: &str, data: &[u8]) -> Vec<String> {
    let chosen = Digest::of(data);
    let flipped = chosen.as_bytes().chunks_exact(4).take(3).filter_map(|at| {
        let mut bytes = text.as_bytes().to_vec();
        let place = usize::from(u16::from_be_bytes([at[0], at[1]])) % bytes.len();
        bytes[place] ^= 1 << (at[2] % 7);
        String::from_utf8(bytes).ok()
    });
    let cut = text
        .char_indices()
        .next_back()
        .map(|(end, _)| text[..end].to_owned());
    let more = format!("{text}A");
    flipped
        .chain(cut)
        .chain([more])
        .filter(|t| t != text)
        .collect()
}

fn header(typ: Typ, key: &SecretKey) -> String {
    let (kid, typ) = (key.public().id(), typ.name());
    format!(r#"{{"alg":"Ed25519","kid":"{kid}","typ":"{typ}"}}"#)
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            let place = (bits >> (18 - 6 * digit)) & 63;
            text.push(char::from(DIGITS[place as usize]));
        }
    }
    text
}

fn of_protocol(name: &str) -> Party {
    let party = protocol()["organizations"][name].clone();
    let history: Vec<String> = serde_json::from_value(party["history"].clone()).expect("texts");
    let document = party["document"].as_str().expect("a document");
    Party::new(&party["keys"], &history, document)
}

fn identity() -> Value {
    serde_json::from_str(include_str!("../../../../spec/vectors/identity.json")).expect("JSON")
}

fn protocol() -> Value {
    serde_json::from_str(include_str!("../../../../spec/vectors/protocol.json")).expect("JSON")
}
