//! What an organization announces (A9, A10, `spec/3-catalog.md`). After `d` the payload
//! of a descriptor, after `e` two of them with a line between, after `h` of a head,
//! after `r` of results, after `l` a list as it is fetched.

use comity_identity::envelope::Typ;
use comity_identity::{Digest, Timestamp};
use comity_protocol::catalog::{DescriptorList, HEAD, Head, MAX_HEAD_LIFETIME, VerifiedHead};
use comity_protocol::compatibility::{Comparison, Edition};
use comity_protocol::product::{
    DESCRIPTOR, Descriptor, MAX_DESCRIPTOR_LIFETIME, VerifiedDescriptor,
};
use comity_protocol::results::{RESULTS, Results, ResultsList, VerifiedResults};
use comity_protocol::terms::{MAX_COLUMNS, MAX_TABLES};
use serde_json::Value;

use super::world::{self, Both, CONSUMER, NOW, PROVIDER};

pub(crate) fn law(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let mut chars = text.chars();
    let (Some(kind), body) = (chars.next(), chars.as_str()) else {
        return;
    };
    match kind {
        'd' => {
            descriptor(body, data);
        }
        'e' => editions(body, data),
        'h' => head(body, data),
        'r' => results(body, data),
        'l' => list(body),
        _ => {}
    }
}

fn descriptor(body: &str, data: &[u8]) -> Option<Descriptor> {
    let payload = with_digest(body);
    let verify = |text: &str| VerifiedDescriptor::verify(text, &PROVIDER.org(), &Both, NOW);
    let verified = announced(DESCRIPTOR, &payload, data, |text| verify(text).is_ok())?;
    let verified = verify(&verified).expect("it was verified");
    let descriptor = verified.descriptor();
    assert!((1..=MAX_TABLES).contains(&descriptor.tables.len()));
    assert!(
        descriptor
            .tables
            .iter()
            .all(|t| (1..=MAX_COLUMNS).contains(&t.columns.len()))
    );
    assert!(descriptor.expires_at.since(descriptor.issued_at) <= MAX_DESCRIPTOR_LIFETIME);
    if let Some(offer) = &descriptor.offer {
        assert!(offer.check().is_ok() && offer.is_within(&descriptor.tables));
        assert!(
            descriptor.may_be_asked(offer),
            "what is offered may be asked"
        );
    }
    let own = descriptor.sign(PROVIDER.key("announce"));
    // Its canonical form may need more room, in numbers of the contract only.
    if let Ok(own) = own {
        let own = verify(&own).expect("it says the same");
        let (own, of) = (own.descriptor(), descriptor);
        assert_eq!((&own.tables, &own.offer), (&of.tables, &of.offer));
        assert_eq!(own.contract_digest, of.contract_digest);
    }
    let edition = Edition::of(descriptor);
    let same = Comparison::of(&edition, &edition);
    assert!(
        same.findings().is_empty(),
        "a descriptor differs from itself"
    );
    Some(descriptor.clone())
}

fn editions(body: &str, data: &[u8]) {
    let mut lines = body.lines();
    let [old, new] = [lines.next(), lines.next()].map(|line| descriptor(line?, data));
    let (Some(old), Some(new)) = (old, new) else {
        return;
    };
    let there = Comparison::of(&Edition::of(&old), &Edition::of(&new));
    assert_eq!(there.findings().is_empty(), there.bump().is_none());
    assert!(there.suggested() >= there.old_version());
    let again = Comparison::of(&Edition::of(&old), &Edition::of(&new));
    assert_eq!(there.findings().len(), again.findings().len());
}

fn head(body: &str, data: &[u8]) {
    let verify = |text: &str| VerifiedHead::verify(text, &PROVIDER.org(), &Both, NOW);
    let Some(text) = announced(HEAD, body, data, |text| verify(text).is_ok()) else {
        return;
    };
    let verified = verify(&text).expect("it was verified");
    let head: &Head = verified.head();
    assert!(head.expires_at.since(head.issued_at) <= MAX_HEAD_LIFETIME);
    let own = head
        .sign(PROVIDER.key("announce"))
        .expect("it was verified");
    assert_eq!(verify(&own).expect("it says the same").head(), head);
    assert_eq!(VerifiedHead::claimed_org(&text), Ok(PROVIDER.org()));
}

fn results(body: &str, data: &[u8]) {
    let verify = |text: &str| VerifiedResults::verify(text, &PROVIDER.org(), &Both, NOW);
    let Some(text) = announced(RESULTS, body, data, |text| verify(text).is_ok()) else {
        return;
    };
    let verified = verify(&text).expect("it was verified");
    assert_eq!(Results::recall(&text).as_ref(), Ok(verified.results()));
    if let Ok(own) = verified.results().sign(PROVIDER.key("announce")) {
        assert_eq!(
            verify(&own).expect("it says the same").results(),
            verified.results()
        );
    }
}

/// A list that a head commits to, by its digest and its number.
fn list(body: &str) {
    if let Ok(list) = ResultsList::read(body, &Digest::of(body.as_bytes())) {
        assert_eq!(list.to_text(), body);
    }
    let count = serde_json::from_str::<Vec<Value>>(body).map_or(1, |l| l.len() as u64);
    let head = Head {
        v: 1,
        org: PROVIDER.org(),
        seq: 1,
        issued_at: NOW,
        expires_at: Timestamp::from_secs(NOW.as_secs() + 60),
        count,
        list: Digest::of(body.as_bytes()),
        results: None,
    };
    let Ok(text) = head.sign(PROVIDER.key("announce")) else {
        return;
    };
    let head = VerifiedHead::verify(&text, &PROVIDER.org(), &Both, NOW).expect("honest");
    if let Ok(list) = DescriptorList::read(body, &head) {
        let own = DescriptorList::new(list.digests().to_vec());
        assert_eq!(own, list, "a list is sorted and has everything once");
        assert_eq!(own.digests().len() as u64, count);
    }
}

/// The envelope around `payload`, if it is accepted. Nobody else can announce it,
/// and no bit of it can change.
fn announced(
    typ: Typ,
    payload: &str,
    data: &[u8],
    accepted: impl Fn(&str) -> bool,
) -> Option<String> {
    let text = world::compact(typ, payload.as_bytes(), PROVIDER.key("announce"));
    if !accepted(&text) {
        return None;
    }
    assert!(text.len() <= typ.limit());
    for stranger in [PROVIDER.key("agree"), CONSUMER.key("announce")] {
        let forged = world::compact(typ, payload.as_bytes(), stranger);
        assert!(!accepted(&forged), "a key without the role announces");
    }
    for changed in world::tampered(&text, data) {
        assert!(!accepted(&changed), "one bit changed and it verifies");
    }
    Some(text)
}

/// The payload with the right digest of its contract, which a fuzzer never finds.
fn with_digest(payload: &str) -> String {
    let Ok(Value::Object(mut descriptor)) = serde_json::from_str(payload) else {
        return payload.to_owned();
    };
    let contract = descriptor.get("contract").unwrap_or(&Value::Null);
    if let Ok(digest) = Descriptor::digest_of_contract(contract) {
        descriptor.insert("contract_digest".to_owned(), digest.to_string().into());
    }
    Value::Object(descriptor).to_string()
}
