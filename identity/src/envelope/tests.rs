use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{SecretKey, Signer};

const NOTE: Typ = Typ::new("comity-test-note+jwt", 1024);
const OTHER: Typ = Typ::new("comity-test-other+jwt", 512);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
    at: u64,
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn note() -> Note {
    Note {
        text: "hello".into(),
        at: 7,
    }
}

/// A compact envelope with an arbitrary header, signed honestly over it.
fn forge(header: &str, payload: &str) -> String {
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = key(1).sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn read(text: &str) -> Result<Note, EnvelopeError> {
    Compact::parse(NOTE, text)?
        .verify(&key(1).public())?
        .payload()
}

#[test]
fn a5_header_games_are_refused_before_any_key_is_chosen() {
    let kid = key(1).public().id();
    for header in [
        format!(r#"{{"alg":"none","kid":"{kid}","typ":"comity-test-note+jwt"}}"#),
        format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"comity-test-note+jwt"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"comity-test-note+jwt"}}"#),
        format!(r#"{{"alg":"Ed25519","kid":"{kid}","typ":"comity-test-note+jwt","jwk":{{}}}}"#),
        format!(
            r#"{{"alg":"Ed25519","kid":"{kid}","typ":"comity-test-note+jwt","jku":"https://x"}}"#
        ),
        format!(
            r#"{{"alg":"Ed25519","kid":"{kid}","typ":"comity-test-note+jwt","crit":["b64"],"b64":false}}"#
        ),
        format!(r#"{{"alg":"Ed25519","alg":"none","kid":"{kid}","typ":"comity-test-note+jwt"}}"#),
        r#"{"alg":"Ed25519","typ":"comity-test-note+jwt"}"#.to_owned(),
        format!(r#"["Ed25519","{kid}"]"#),
        String::new(),
    ] {
        let result = Compact::parse(NOTE, &forge(&header, r#"{"text":"x","at":1}"#));
        assert!(
            matches!(result, Err(EnvelopeError::Header(_))),
            "{header}: {result:?}"
        );
    }
}

#[test]
fn a6_another_kind_of_statement_is_refused() {
    let text = Compact::sign(OTHER, &note(), &key(1)).unwrap();
    assert_eq!(
        read(&text),
        Err(EnvelopeError::WrongTyp {
            expected: NOTE.name()
        })
    );
}

#[test]
fn a6_payload_games_are_refused() {
    let kid = key(1).public().id();
    let header = format!(r#"{{"alg":"Ed25519","kid":"{kid}","typ":"comity-test-note+jwt"}}"#);
    for payload in [
        r#"{"text":"x","at":"1"}"#,
        r#"{"text":"x"}"#,
        r#"{"text":"x","at":1,"at":2}"#,
        r#"{"text":"x","at":1,"admin":true}"#,
        r#"{"text":"x","at":1.5}"#,
        r#"[1,2,3]"#,
        "{",
    ] {
        let result = read(&forge(&header, payload));
        assert!(
            matches!(result, Err(EnvelopeError::Payload { .. })),
            "{payload}: {result:?}"
        );
    }
    assert!(read(&forge(&header, r#"{"text":"x","at":1}"#)).is_ok());
}

#[test]
fn shapes_that_are_not_three_strict_parts_are_refused() {
    let good = Compact::sign(NOTE, &note(), &key(1)).unwrap();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{good}="),
        format!("{good}."),
        format!(" {good}"),
        format!("{good}\n"),
        good.replace('.', ".."),
    ] {
        assert!(Compact::parse(NOTE, &bad).is_err(), "{bad}");
    }
}

#[test]
fn size_limit_is_two_sided() {
    let fits = |n: usize| {
        Compact::sign(
            NOTE,
            &Note {
                text: "x".repeat(n),
                at: 0,
            },
            &key(1),
        )
    };
    let longest = (0..NOTE.limit())
        .take_while(|n| fits(*n).is_ok())
        .last()
        .unwrap();
    let text = fits(longest).unwrap();
    assert!(read(&text).is_ok());
    assert!(matches!(
        fits(longest + 1),
        Err(EnvelopeError::TooLarge { .. })
    ));
    let padded = format!("{text}{}", "A".repeat(NOTE.limit() + 1 - text.len()));
    assert!(matches!(
        Compact::parse(NOTE, &padded),
        Err(EnvelopeError::TooLarge { .. })
    ));
}

#[test]
fn another_key_does_not_verify_even_with_its_id_in_the_header() {
    let text = Compact::sign(NOTE, &note(), &key(1)).unwrap();
    let parsed = Compact::parse(NOTE, &text).unwrap();
    assert!(matches!(
        parsed.verify(&key(2).public()),
        Err(EnvelopeError::WrongKey)
    ));
}

#[test]
fn general_form_wants_exactly_the_expected_signatures() {
    let (a, b, c) = (key(1), key(2), key(3));
    let one = General::new(NOTE, &note()).unwrap().sign(&a);
    let two = one.clone().sign(&b).sign(&b);
    let keys = [a.public(), b.public()];
    assert_eq!(two.digest(), one.digest());
    assert!(one.verify_exactly::<Note>(&keys).is_err());
    assert!(two.verify_exactly::<Note>(&keys[..1]).is_err());
    assert!(
        two.verify_exactly::<Note>(&[a.public(), a.public()])
            .is_err()
    );
    assert!(
        two.verify_exactly::<Note>(&[a.public(), c.public()])
            .is_err()
    );
    let received = General::parse(NOTE, &two.to_text()).unwrap();
    assert_eq!(received.verify_exactly::<Note>(&keys), Ok(note()));
}

#[test]
fn general_form_refuses_unprotected_members_and_repeated_keys() {
    let text = General::new(NOTE, &note()).unwrap().sign(&key(1)).to_text();
    assert!(
        General::parse(
            NOTE,
            &text.replacen("{\"protected\"", "{\"header\":{},\"protected\"", 1)
        )
        .is_err()
    );
    assert!(
        General::parse(
            NOTE,
            &text.replacen("{\"payload\"", "{\"x\":1,\"payload\"", 1)
        )
        .is_err()
    );
    let start = text.find('[').unwrap() + 1;
    let entry = &text[start..text.len() - 2];
    let doubled = text.replacen(entry, &format!("{entry},{entry}"), 1);
    assert!(matches!(
        General::parse(NOTE, &doubled),
        Err(EnvelopeError::Malformed(_))
    ));
}

proptest! {
    #[test]
    fn what_is_signed_is_what_is_read(text in "\\PC{0,60}", at in any::<u64>().prop_map(|n| n >> 11)) {
        let note = Note { text, at };
        let signed = Compact::sign(NOTE, &note, &key(1)).unwrap();
        prop_assert_eq!(read(&signed), Ok(note));
    }

    #[test]
    fn a_changed_byte_is_never_accepted(position in 0usize..300, byte in any::<u8>()) {
        let good = Compact::sign(NOTE, &note(), &key(1)).unwrap();
        let mut bytes = good.into_bytes();
        let position = position % bytes.len();
        prop_assume!(bytes[position] != byte);
        bytes[position] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(read(&text).is_err());
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = read(&text);
        let _ = General::parse(NOTE, &text);
    }
}
