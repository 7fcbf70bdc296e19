//! A34: tokens that are not this node's to trust, each refused for its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::config::Oidc;

const ISSUER: &str = "https://login.example.org/harbour";
const AUDIENCE: &str = "comity";

/// Now, in these tests.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// An issuer's key on P-256, with its id.
struct Signing {
    key: EncodingKey,
    kid: &'static str,
}

impl Signing {
    fn new(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        Self { key, kid }
    }

    fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(claims, |_| {})
    }

    fn sign_as(&self, claims: &Value, change: impl Fn(&mut Header)) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.to_owned());
        change(&mut header);
        encode(&header, claims, &self.key).unwrap()
    }
}

fn settings() -> Oidc {
    Oidc {
        issuer: Some(ISSUER.to_owned()),
        audience: Some(AUDIENCE.to_owned()),
        roles_claim: Some("groups".to_owned()),
        role_map: BTreeMap::from([("g-planning".to_owned(), "planner".to_owned())]),
        required_claims: BTreeMap::from([("tenant".to_owned(), "harbour".to_owned())]),
        ..Oidc::default()
    }
}

fn issuer_with(settings: &Oidc, keys: &[Value]) -> Issuer {
    let issuer = Issuer::new(settings, std::path::Path::new("/")).unwrap();
    let issuer = issuer.unwrap();
    install(&issuer, keys, NOW).unwrap();
    issuer
}

fn install(issuer: &Issuer, keys: &[Value], at: Timestamp) -> Result<usize, &'static str> {
    let text = json!({ "keys": keys }).to_string();
    issuer.keys.install(text.as_bytes(), at)
}

fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "8f3c",
        "iat": NOW.as_secs() - 10,
        "exp": NOW.as_secs() + 600,
        "tenant": "harbour",
        "groups": ["g-planning", "g-catering"],
        "amr": ["pwd", "otp"],
        "acr": "urn:two",
    })
}

/// [`claims`] with `name` as `value`; null takes it out.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

fn set(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|&s| s.to_owned()).collect()
}

#[test]
fn a_token_names_a_member_with_the_roles_that_the_owner_gives() {
    let key = Signing::new("k1");
    let issuer = issuer_with(&settings(), &[key.jwk()]);
    let member = issuer.verify(&key.sign(&claims()), NOW).unwrap();
    assert_eq!(member.name(), "oidc:8f3c");
    assert_eq!(
        member.roles(),
        &set(&["planner"]),
        "unmapped groups give none"
    );
    assert_eq!(
        member.authentication(),
        &set(&["pwd", "otp", "acr:urn:two"])
    );
    // The end, and a minute for the issuer's clock.
    assert_eq!(member.until(), NOW.saturating_add(Duration::from_secs(660)));
}

#[test]
fn a_role_may_lie_deeper_in_the_token() {
    let key = Signing::new("k1");
    let mut settings = settings();
    settings.roles_claim = Some("/realm_access/roles".to_owned());
    let issuer = issuer_with(&settings, &[key.jwk()]);
    let deep = with("realm_access", json!({ "roles": ["g-planning"] }));
    let member = issuer.verify(&key.sign(&deep), NOW).unwrap();
    assert_eq!(member.roles(), &set(&["planner"]));
}

#[test]
fn a34_claims_that_are_missing_or_not_this_nodes_are_refused() {
    let key = Signing::new("k1");
    let issuer = issuer_with(&settings(), &[key.jwk()]);
    let now = NOW.as_secs();
    for (name, value) in [
        // Another tenant of the same service, with the same keys.
        ("iss", json!("https://login.example.org/rival")),
        ("iss", json!([ISSUER, "https://login.example.org/rival"])),
        ("iss", Value::Null),
        ("aud", json!("payroll")),
        ("aud", json!([])),
        ("aud", Value::Null),
        // Made for another program, which could have passed it on.
        ("aud", json!([AUDIENCE, "payroll"])),
        ("exp", Value::Null),
        ("exp", json!("1900000000")),
        ("exp", json!(1.9e9)),
        ("exp", json!(-1)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(now + 25 * 3600)),
        ("iat", Value::Null),
        ("iat", json!([now])),
        ("nbf", json!("soon")),
        ("tenant", json!("rival")),
        ("tenant", Value::Null),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!("two words")),
        ("sub", json!("x".repeat(256))),
        ("sub", json!(7)),
        ("azp", json!(7)),
        ("cnf", json!({ "jkt": "0ZcOCORZNYy" })),
    ] {
        let token = key.sign(&with(name, value.clone()));
        let refused = issuer.verify(&token, NOW);
        assert!(
            matches!(&refused, Err(Refusal::Claim(..))),
            "{name} = {value}: {refused:?}"
        );
    }
}

#[test]
fn a34_times_are_judged_by_this_nodes_clock_with_the_leeway() {
    let key = Signing::new("k1");
    let issuer = issuer_with(&settings(), &[key.jwk()]);
    let now = NOW.as_secs();
    let verify = |iat: u64, nbf: u64, exp: u64| {
        let mut claims = claims();
        (claims["iat"], claims["nbf"], claims["exp"]) = (json!(iat), json!(nbf), json!(exp));
        issuer.verify(&key.sign(&claims), NOW).map(drop)
    };
    assert_eq!(verify(now - 600, now - 600, now - 59), Ok(()));
    assert_eq!(
        verify(now - 600, now - 600, now - 60),
        Err(Refusal::Expired)
    );
    assert_eq!(verify(now + 60, now, now + 600), Ok(()));
    assert_eq!(verify(now + 61, now, now + 600), Err(Refusal::NotYet));
    assert_eq!(verify(now, now + 61, now + 600), Err(Refusal::NotYet));
}

#[test]
fn a34_programs_that_may_ask_for_tokens_can_be_named() {
    let key = Signing::new("k1");
    let mut settings = settings();
    settings.clients = set(&["notebook"]);
    let named = issuer_with(&settings, &[key.jwk()]);
    let azp = |azp| named.verify(&key.sign(&with("azp", azp)), NOW).is_ok();
    assert!(azp(json!("notebook")));
    assert!(!azp(json!("game")));
    assert!(!azp(Value::Null));
    // RFC 9068 calls it client_id.
    assert!(
        named
            .verify(&key.sign(&with("client_id", json!("notebook"))), NOW)
            .is_ok()
    );
}

#[test]
fn a34_signatures_that_are_not_the_issuers_are_refused() {
    let (key, other) = (Signing::new("k1"), Signing::new("k1"));
    let issuer = issuer_with(&settings(), &[key.jwk()]);
    let good = key.sign(&claims());

    // Another issuer's key under the same id.
    let forged = other.sign(&claims());
    assert_eq!(issuer.verify(&forged, NOW), Err(Refusal::Signature));
    // A key that the header itself brings along.
    let brought: Jwk = serde_json::from_value(other.jwk()).unwrap();
    let forged = other.sign_as(&claims(), |h| h.jwk = Some(brought.clone()));
    assert_eq!(issuer.verify(&forged, NOW), Err(Refusal::Signature));
    // Other claims under a good signature.
    let (header, rest) = good.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let admin = key.sign(&with("sub", json!("root")));
    let claims_of_other = admin.split('.').nth(1).unwrap();
    let mixed = format!("{header}.{claims_of_other}.{signature}");
    assert_eq!(issuer.verify(&mixed, NOW), Err(Refusal::Signature));

    let unknown = Signing::new("k2").sign(&claims());
    assert_eq!(issuer.verify(&unknown, NOW), Err(Refusal::UnknownKey));
    assert!(issuer.verify(&good, NOW).is_ok());
}

#[test]
fn a34_no_signature_and_shared_secrets_are_refused() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;

    let key = Signing::new("k1");
    let jwk = key.jwk();
    // The set of keys has the secret, too: it must not become one.
    let secret = B64.encode(jwk["x"].as_str().unwrap());
    let oct = json!({ "kty": "oct", "k": secret, "kid": "k2", "alg": "HS256" });
    let issuer = issuer_with(&settings(), &[jwk.clone(), oct]);

    // The public key as a shared secret.
    for (kid, secret) in [
        ("k1", jwk["x"].as_str().unwrap()),
        ("k2", jwk["x"].as_str().unwrap()),
    ] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid.to_owned());
        let token = encode(
            &header,
            &claims(),
            &EncodingKey::from_secret(secret.as_bytes()),
        );
        let refused = issuer.verify(&token.unwrap(), NOW);
        assert_eq!(refused, Err(Refusal::Algorithm), "{kid}");
    }
    // None at all, however it is spelled.
    for alg in ["none", "None", "NONE", ""] {
        let header = B64.encode(json!({ "alg": alg, "kid": "k1" }).to_string());
        let claims = B64.encode(claims().to_string());
        let refused = issuer.verify(&format!("{header}.{claims}."), NOW);
        assert!(matches!(refused, Err(Refusal::Form(_))), "{alg}");
    }
    // An allowed kind, for a key of another kind.
    let token = key.sign(&claims());
    let (_, rest) = token.split_once('.').unwrap();
    let header = B64.encode(json!({ "alg": "RS256", "kid": "k1" }).to_string());
    let refused = issuer.verify(&format!("{header}.{rest}"), NOW);
    assert_eq!(refused, Err(Refusal::Algorithm));
}

#[test]
fn a34_tokens_of_other_kinds_and_forms_are_refused() {
    let key = Signing::new("k1");
    let issuer = issuer_with(&settings(), &[key.jwk()]);
    for typ in ["JWT", "at+jwt", "application/at+jwt", "jwt"] {
        let token = key.sign_as(&claims(), |h| h.typ = Some(typ.to_owned()));
        assert!(issuer.verify(&token, NOW).is_ok(), "{typ}");
    }
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "comity-grant+jwt",
        "",
    ] {
        let token = key.sign_as(&claims(), |h| h.typ = Some(typ.to_owned()));
        let refused = issuer.verify(&token, NOW);
        assert!(matches!(refused, Err(Refusal::Form(_))), "{typ}");
    }
    let no_kid = key.sign_as(&claims(), |h| h.kid = None);
    for wrong in [
        no_kid.as_str(),
        "..",
        "a.b.c",
        "a.b",
        "a.b.c.d",
        "é.é.é",
        "",
    ] {
        assert!(
            matches!(issuer.verify(wrong, NOW), Err(Refusal::Form(_))),
            "{wrong}"
        );
    }
    let huge = key.sign(&with("padding", json!("x".repeat(MAX_TOKEN_BYTES))));
    assert_eq!(issuer.verify(&huge, NOW), Err(Refusal::TooLong));
}

#[test]
fn a34_keys_grow_stale_and_swapped_keys_end_what_rests_on_the_old_ones() {
    let (key, next) = (Signing::new("k1"), Signing::new("k1"));
    let issuer = issuer_with(&settings(), &[key.jwk()]);
    let mut long = claims();
    long["exp"] = json!(NOW.as_secs() + 20 * 3600);
    let token = key.sign(&long);
    let at = |seconds| NOW.saturating_add(Duration::from_secs(seconds));

    let member = issuer.verify(&token, at(3600)).unwrap();
    assert!(issuer.trusts(&member.key(), at(3600)));
    assert_eq!(issuer.verify(&token, at(3601)), Err(Refusal::NoKeys));
    assert!(!issuer.trusts(&member.key(), at(3601)));

    // Fetched again, and the key is another one under the same id.
    install(&issuer, &[next.jwk()], at(3601)).unwrap();
    assert_eq!(issuer.verify(&token, at(3601)), Err(Refusal::Signature));
    assert!(!issuer.trusts(&member.key(), at(3601)));
}

#[test]
fn a34_sets_of_keys_are_read_strictly_and_replace_nothing_when_wrong() {
    let key = Signing::new("k1");
    let issuer = issuer_with(&settings(), &[key.jwk()]);
    let change = |name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        jwk
    };
    // Not for signatures, or for others than these.
    for useless in [
        change("use", json!("enc")),
        change("key_ops", json!(["sign"])),
        change("alg", json!("ES384")),
        change("crv", json!("P-521")),
        change("kty", json!("RSA")),
    ] {
        let installed = install(&issuer, std::slice::from_ref(&useless), NOW);
        assert_eq!(installed, Ok(0), "{useless}");
    }
    // An RSA key of 1024 bits.
    use base64::Engine as _;
    let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xc5; 128]);
    let weak = json!({ "kty": "RSA", "kid": "weak", "n": modulus, "e": "AQAB", "alg": "RS256" });
    assert_eq!(install(&issuer, &[weak], NOW), Ok(0));

    install(&issuer, &[key.jwk()], NOW).unwrap();
    let many: Vec<Value> = (0..=64)
        .map(|n| change("kid", json!(n.to_string())))
        .collect();
    assert!(install(&issuer, &many, NOW).is_err());
    assert!(install(&issuer, &[key.jwk(), key.jwk()], NOW).is_err());
    assert!(issuer.keys.install(b"[]", NOW).is_err());
    assert!(
        issuer.verify(&key.sign(&claims()), NOW).is_ok(),
        "as before"
    );
}

#[test]
fn keys_are_fetched_for_unknown_ids_and_when_they_grow_old() {
    let key = Signing::new("k1");
    let issuer = issuer_with(&settings(), &[key.jwk()]);
    let at = |seconds| NOW.saturating_add(Duration::from_secs(seconds));
    assert!(!issuer.keys.need_fetching("k1", at(1800)));
    assert!(issuer.keys.need_fetching("k2", at(0)));
    assert!(issuer.keys.need_fetching("k1", at(1801)));
}

proptest::proptest! {
    #[test]
    fn hostile_tokens_do_not_panic(text in "[A-Za-z0-9_.=-]{0,200}|\\PC{0,60}") {
        let issuer = issuer_with(&settings(), &[]);
        proptest::prop_assert!(issuer.verify(&text, NOW).is_err());
    }
}
