//! A1 to A8: what a partner shows of itself.

use comity::flight::GRANT as GRANT_HEADER;
use comity_identity::envelope::Compact;
use comity_identity::grant::{Chain, GRANT, Grant};
use comity_identity::{Digest, SecretKey, Signer};
use comity_protocol::wire::{RefusalCode, Request, Response};
use comity_tests::attack::Attack;
use comity_tests::rogue::{code, count, statement};
use comity_tests::rogue_host::{RogueHost, head, hello};
use comity_tests::{Outcome, Three, python};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

const ALL: &str = "SELECT origin, temp FROM weather.weather";
const ROWS: usize = 26_115;

/// A link as whoever holds `signer` could write it: any header, any payload,
/// and a signature that is right for both.
fn forged(header: &str, payload: &str, signer: &dyn Signer) -> String {
    let input = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(header.as_bytes()),
        BASE64URL_NOPAD.encode(payload.as_bytes())
    );
    let signature = signer.sign(input.as_bytes());
    format!("{input}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// Header and payload of a link.
fn opened(link: &str) -> (Value, Value) {
    let mut parts = link.split('.').map(|part| {
        let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64");
        serde_json::from_slice(&bytes).unwrap_or_default()
    });
    let mut next = || parts.next().expect("three parts");
    (next(), next())
}

/// The code that a question under `links` is refused with; `none` when it is answered.
async fn verdict(attack: &Attack, links: Vec<String>) -> String {
    let asked = attack.rogue.asked_with(attack.agreement, links, ALL);
    let asked = asked.expect("claims");
    let answer = attack.rogue.query(&attack.channel, &asked);
    match answer.await {
        Ok(rows) => {
            assert_eq!(count(&rows), ROWS);
            "none".to_owned()
        }
        Err(status) => code(&status).to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_the_same_bytes_on_another_connection_open_nothing() -> Outcome {
    let attack = Attack::begin().await?;
    let asked = attack.rogue.asked(&attack.grant(), ALL)?;
    let captured = attack
        .rogue
        .request(&attack.channel, statement(ALL), &asked)?;
    let headers = captured.metadata().clone();
    attack.channel.service().get_flight_info(captured).await?;

    // Even for the holder itself, over its own certificate.
    let second = attack.rogue.dial(&attack.weather).await?;
    let mut replayed = tonic::Request::new(statement(ALL));
    *replayed.metadata_mut() = headers;
    let refused = second.service().get_flight_info(replayed).await;
    assert_eq!(code(&refused.unwrap_err()), "not-bound");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_a_grant_without_its_key_opens_nothing() -> Outcome {
    let attack = Attack::begin().await?;
    let asked = attack.rogue.asked(&attack.grant(), ALL)?;
    assert_eq!(attack.query(&attack.grant(), ALL).await?, ROWS);
    let thief = SecretKey::from_seed(&[9; 32]);
    let request = attack.channel.request(statement(ALL), &asked, &thief)?;
    let refused = attack.channel.service().get_flight_info(request).await;
    assert_eq!(code(&refused.unwrap_err()), "not-bound");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_a_grant_for_one_provider_opens_nothing_at_another() -> Outcome {
    let attack = Attack::begin().await?;
    let registry = attack.three.registry.status().await?.org;
    for change in [
        (&|g: &mut Grant, registry| g.aud = registry) as &dyn Fn(&mut Grant, _),
        &|g, registry| g.iss = registry,
    ] {
        let mut grant = attack.grant();
        change(&mut grant, registry);
        let refused = attack.query(&grant, ALL).await.unwrap_err();
        assert_eq!(code(&refused), "grant-invalid");
    }
    // Of another agreement than the one that the question names.
    let mut grant = attack.grant();
    grant.agr = Digest::of(b"another");
    let links = attack.rogue.asked(&grant, ALL)?.grant;
    assert_eq!(verdict(&attack, links).await, "grant-invalid");
    assert_eq!(attack.query(&attack.grant(), ALL).await?, ROWS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_a_link_that_is_wider_than_the_one_before_it_is_refused() -> Outcome {
    let attack = Attack::begin().await?;
    let delegate = SecretKey::from_seed(&[7; 32]);
    let mut parent = attack.grant();
    parent.cnf = delegate.public();
    parent.tables = Some(["weather".to_owned()].into());
    parent.max_rows = Some(100_000);
    parent.jti = "parent".to_owned();
    let first = Chain::issue(&parent, &*attack.rogue.own().keys().issuer)?;
    let first = first.links().to_vec();

    let mut same = parent.clone();
    same.cnf = attack.rogue.own().keys().node.public();
    same.jti = "child".to_owned();
    same.prt = Some(Digest::of(first[0].as_bytes()));
    // Signed by hand: `Chain::narrow` would not make a wider one.
    let child = |change: &dyn Fn(&mut Grant)| {
        let mut child = same.clone();
        change(&mut child);
        let link = Compact::sign(GRANT, &child, &delegate).expect("a link");
        [first.clone(), vec![link]].concat()
    };
    assert_eq!(verdict(&attack, child(&|_| ())).await, "none", "the same");
    type Wider<'a> = (&'a str, &'a dyn Fn(&mut Grant));
    let wider: [Wider<'_>; 9] = [
        ("another audience", &|g| g.aud = g.iss),
        ("another agreement", &|g| g.agr = Digest::of(b"another")),
        ("another subject", &|g| g.sub = "somebody".to_owned()),
        ("more tables", &|g| g.tables = None),
        ("more rows", &|g| g.max_rows = Some(100_001)),
        ("any number of rows", &|g| g.max_rows = None),
        ("another purpose", &|g| {
            g.purpose = ["marketing".to_owned()].into();
        }),
        ("a longer life", &|g| {
            g.exp = g.exp.saturating_add(std::time::Duration::from_secs(1));
        }),
        ("a role", &|g| g.roles = ["admin".to_owned()].into()),
    ];
    for (what, change) in wider {
        assert_eq!(
            verdict(&attack, child(change)).await,
            "grant-invalid",
            "{what}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_header_games_are_refused_though_the_signature_is_right() -> Outcome {
    let attack = Attack::begin().await?;
    let issuer = &*attack.rogue.own().keys().issuer;
    let link = attack.rogue.asked(&attack.grant(), ALL)?.grant.remove(0);
    let (header, payload) = opened(&link);
    let payload = serde_json_canonicalizer(&payload);
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        forged(&header.to_string(), &payload, issuer)
    };
    let honest = forged(&header.to_string(), &payload, issuer);
    let told = verdict(&attack, vec![honest]).await;
    assert_eq!(told, "none", "what is forged here is well formed");

    let own = BASE64URL_NOPAD.encode(issuer.public().as_bytes());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": own});
    let games = [
        with("alg", json!("none")),
        with("alg", json!("HS256")),
        with("alg", json!("ES256")),
        with("typ", json!("JWT")),
        with("jwk", jwk),
        with("jku", json!("https://keys.example/jwks.json")),
        with("x5u", json!("https://keys.example/leaf.pem")),
        with("crit", json!(["exp"])),
        with("b64", json!(false)),
        with("kid", json!("../../keys/issuer")),
        with("zip", json!("DEF")),
        format!("{}.", link.rsplit_once('.').expect("three parts").0),
        format!("{link}."),
        format!("{link}="),
    ];
    for game in games {
        let told = verdict(&attack, vec![game.clone()]).await;
        assert_eq!(told, "grant-invalid", "{game}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_no_other_statement_and_no_other_type_passes_for_a_grant() -> Outcome {
    let attack = Attack::begin().await?;
    let issuer = &*attack.rogue.own().keys().issuer;
    // What the organization signed for another purpose.
    let list = Digest::of(b"list");
    let other = head(&attack.rogue, 7, list)?;
    assert_eq!(verdict(&attack, vec![other]).await, "grant-invalid");

    let link = attack.rogue.asked(&attack.grant(), ALL)?.grant.remove(0);
    let (header, payload) = opened(&link);
    let header = header.to_string();
    let with = |name: &str, value: Option<Value>| {
        let mut payload = payload.clone();
        let members = payload.as_object_mut().expect("an object");
        match value {
            Some(value) => members.insert(name.to_owned(), value),
            None => members.remove(name),
        };
        let text = serde_json_canonicalizer(&payload);
        forged(&header, &text, issuer)
    };
    assert_eq!(
        verdict(&attack, vec![with("jti", Some(json!("made-by-hand")))]).await,
        "none",
        "what is forged here is well formed"
    );
    let text = payload.to_string();
    let twice = text.replacen('{', "{\"max_rows\":1,\"max_rows\":2,", 1);
    let exp = payload["exp"].as_u64().ok_or("no exp")?;
    let wrong = [
        with("exp", Some(json!(exp.to_string()))),
        with("exp", Some(json!(9.9e18))),
        with("exp", Some(json!(-1))),
        with("exp", None),
        with("nbf", Some(Value::Null)),
        with("v", Some(json!(2))),
        with("admin", Some(json!(true))),
        with("cols", Some(json!([]))),
        with("purpose", Some(json!("delay-analysis"))),
        forged(&header, &format!("[{text}]"), issuer),
        forged(&header, &twice, issuer),
        forged(&header, "null", issuer),
        forged(&header, "", issuer),
    ];
    for wrong in wrong {
        let told = verdict(&attack, vec![wrong.clone()]).await;
        assert_eq!(told, "grant-invalid", "{wrong}");
    }
    Ok(())
}

/// Members in the order that signed payloads have (RFC 8785); no text here needs more.
fn serde_json_canonicalizer(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a7_a_key_under_which_one_signature_fits_all_holds_nothing() -> Outcome {
    let attack = Attack::begin().await?;
    let issuer = &*attack.rogue.own().keys().issuer;
    let link = attack.rogue.asked(&attack.grant(), ALL)?.grant.remove(0);
    let (header, payload) = opened(&link);
    let own = BASE64URL_NOPAD.encode(attack.rogue.own().keys().node.public().as_bytes());
    let text = serde_json_canonicalizer(&payload);
    assert!(text.contains(&own), "{text}");
    // The neutral element, and a point of order eight.
    let neutral = [[1].as_slice(), &[0; 31]].concat();
    let eighth = data_encoding::HEXLOWER
        .decode(b"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")?;
    for weak in [neutral, eighth] {
        let text = text.replace(&own, &BASE64URL_NOPAD.encode(&weak));
        let told = verdict(&attack, vec![forged(&header.to_string(), &text, issuer)]).await;
        assert_eq!(told, "grant-invalid");
    }
    Ok(())
}

/// Speaks TLS of at most the version that it is told, and prints what came of it.
const DIAL: &str = "
import socket, ssl, sys
host, port, most = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.minimum_version = ssl.TLSVersion.TLSv1_2
context.maximum_version = getattr(ssl.TLSVersion, most)
context.set_alpn_protocols(['h2'])
try:
    with socket.create_connection((host, port), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname='localhost') as secured:
            print(secured.version())
except (ssl.SSLError, ConnectionError) as error:
    print('refused')
";

#[tokio::test(flavor = "multi_thread")]
async fn a8_nothing_older_is_spoken_than_what_is_offered() -> Outcome {
    let mut three = Three::meet().await?;
    let listening = three.port.status().await?.listening;
    let workbench = listening.workbench.rsplit_once("//").map(|(_, at)| at);
    for at in [&*listening.peers, workbench.ok_or("no address")?] {
        let (host, port) = at.rsplit_once(':').ok_or("no port")?;
        for (most, expected) in [("TLSv1_2", "refused"), ("TLSv1_3", "TLSv1.3")] {
            let mut dial = python::command();
            dial.args(["-c", DIAL, host, port, most]);
            let output = tokio::task::spawn_blocking(move || dial.output()).await??;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(said.trim(), expected, "{at} {most}: {output:?}");
        }
    }
    // And of our own protocol: a Hello that speaks another version.
    let rogue = comity_tests::rogue::Rogue::of(&mut three.registry).await?;
    let victim = three.port.status().await?.org;
    let host = RogueHost::start(&rogue, &victim).await?;
    for (version, expected) in [(0, false), (99, false), (1, true)] {
        let Request::Hello(mut said) = hello(&rogue, None) else {
            return Err("not a Hello".into());
        };
        said.version = version;
        match host.ask(Request::Hello(said)).await {
            Ok(Response::Hello(_)) => assert!(expected, "{version} was spoken"),
            Err(comity::network::RequestError::Refused { code, .. }) => {
                assert!(
                    !expected && code == RefusalCode::Version,
                    "{version}: {code}"
                );
            }
            other => panic!("{version}: {other:?}"),
        }
    }
    Ok(())
}

/// The header that carries grants is bounded, whatever is in it.
#[tokio::test(flavor = "multi_thread")]
async fn a47_chains_and_headers_without_end_are_refused() -> Outcome {
    let attack = Attack::begin().await?;
    let asked = attack.rogue.asked(&attack.grant(), ALL)?;
    let link = asked.grant.join(" ");
    let mut honest = attack
        .rogue
        .request(&attack.channel, statement(ALL), &asked)?;
    for grant in [
        [&*link; 5].join(" "),
        "a".repeat(12_000),
        ".".repeat(12_000),
        " ".repeat(12_000),
    ] {
        honest.metadata_mut().insert(GRANT_HEADER, grant.parse()?);
        let mut request = tonic::Request::new(statement(ALL));
        *request.metadata_mut() = honest.metadata().clone();
        let refused = attack.channel.service().get_flight_info(request).await;
        let refused = refused.unwrap_err();
        assert!(
            code(&refused) == "grant-invalid" || refused.code() == tonic::Code::Internal,
            "{refused}"
        );
    }
    // More than a connection carries in headers: the node goes on.
    honest
        .metadata_mut()
        .insert(GRANT_HEADER, "a".repeat(1 << 20).parse()?);
    attack
        .channel
        .service()
        .get_flight_info(honest)
        .await
        .unwrap_err();
    let again = attack.rogue.dial(&attack.weather).await?;
    attack.rogue.query(&again, &asked).await?;
    Ok(())
}
