//! No call of either listener is answered before it is judged.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use comity::flight::{AGREEMENT, Asked, BINDING, GRANT, PURPOSE};
use comity_identity::grant::Grant;
use comity_identity::{Digest, SecretKey};
use comity_tests::attack::Attack;
use comity_tests::calls::{CALLS, call};
use comity_tests::rogue::{Rogue, code};
use comity_tests::{Outcome, lab, workbench};
use tonic::metadata::{MetadataMap, MetadataValue};

const ALL: &str = "SELECT origin, temp FROM weather.weather";

/// The claims of `asked` with a true proof for the attack's channel.
fn claims(attack: &Attack, asked: &Asked) -> MetadataMap {
    let request = attack.rogue.request(&attack.channel, (), asked);
    request.expect("claims").metadata().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_partner_is_judged_whatever_is_claimed() -> Outcome {
    let attack = Attack::begin().await?;
    let asked = attack.rogue.asked(&attack.grant(), ALL)?;
    let truth = claims(&attack, &asked);

    let without = |header: &str| {
        let mut claims = truth.clone();
        claims.remove(header);
        claims.remove_bin(header);
        claims
    };
    let another = |header: &'static str, value: &str| {
        let mut claims = truth.clone();
        claims.insert(header, value.parse().expect("a header"));
        claims
    };
    let granted = |change: &dyn Fn(&mut Grant)| {
        let mut grant = attack.grant();
        change(&mut grant);
        let asked = attack.rogue.asked(&grant, ALL).expect("a chain");
        let mut claims = claims(&attack, &asked);
        claims.insert(
            AGREEMENT,
            attack.agreement.to_string().parse().expect("a header"),
        );
        claims
    };
    let second = attack.rogue.dial(&attack.weather).await?;
    let elsewhere = attack
        .rogue
        .request(&second, (), &asked)?
        .metadata()
        .clone();
    let stranger = SecretKey::from_seed(&[9; 32]);
    let by_stranger = attack.channel.request((), &asked, &stranger)?;
    let mut short = truth.clone();
    short.insert_bin(BINDING, MetadataValue::from_bytes(&[0; 3]));
    let link = asked.grant.join(" ");
    let lies = [
        ("no-claims", MetadataMap::new()),
        ("no-claims", without(AGREEMENT)),
        ("no-claims", without(GRANT)),
        ("no-claims", without(BINDING)),
        ("no-claims", another(AGREEMENT, "sha256:beef")),
        ("not-bound", elsewhere),
        ("not-bound", by_stranger.metadata().clone()),
        ("not-bound", short),
        (
            "no-agreement",
            another(AGREEMENT, &Digest::of(b"another").to_string()),
        ),
        ("grant-invalid", another(GRANT, "e30.e30.AAAA")),
        ("grant-invalid", another(GRANT, &[&*link; 5].join(" "))),
        ("grant-invalid", granted(&|g| g.aud = g.iss)),
        ("grant-invalid", granted(&|g| g.iss = attack.weather)),
        (
            "grant-invalid",
            granted(&|g| g.agr = Digest::of(b"another")),
        ),
        (
            "grant-invalid",
            granted(&|g| {
                g.nbf = comity_identity::Timestamp::from_secs(g.nbf.as_secs() - 1000);
                g.exp = comity_identity::Timestamp::from_secs(g.nbf.as_secs() + 800);
            }),
        ),
        ("purpose", another(PURPOSE, "marketing")),
        (
            "purpose",
            granted(&|g| g.purpose = ["marketing".to_owned()].into()),
        ),
    ];
    for name in CALLS {
        let honest = call(name, attack.channel.service(), &truth, ALL).await;
        let honest = honest.as_ref().map_err(code).map_err(str::to_owned);
        for (expected, lie) in &lies {
            let refused = call(name, attack.channel.service(), lie, ALL)
                .await
                .unwrap_err();
            assert_eq!(code(&refused), *expected, "{name}: {refused}");
            assert_ne!(honest, Err((*expected).to_owned()), "{name} is never open");
        }
    }
    attack.revoke().await?;
    for name in CALLS {
        let refused = call(name, attack.channel.service(), &truth, ALL)
            .await
            .unwrap_err();
        assert_eq!(code(&refused), "revoked", "{name}: {refused}");
    }
    Ok(())
}

/// What one partner may read is no other partner's, over its own connection and
/// with a grant of its own.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_of_another_partner_is_under_this_ones_agreement() -> Outcome {
    let mut attack = Attack::begin().await?;
    let three = &mut attack.three;
    three.weather.federate(&three.registry).await?;
    let other = Rogue::of(&mut three.registry).await?;
    let channel = other.dial(&attack.weather).await?;
    let own = other.grant(attack.weather, attack.agreement, "delay-analysis");
    let own = other.asked(&own, ALL)?;
    let mut stolen = own.clone();
    stolen.grant = attack.rogue.asked(&attack.grant(), ALL)?.grant;
    for name in CALLS {
        for asked in [&own, &stolen] {
            let claims = other.request(&channel, (), asked)?.metadata().clone();
            let refused = call(name, channel.service(), &claims, ALL).await;
            let refused = refused.unwrap_err();
            assert_eq!(code(&refused), "no-agreement", "{name}: {refused}");
        }
    }
    Ok(())
}

/// A call that Flight gains, and that this program begins to serve, has a row here.
#[test]
fn every_call_of_flight_is_called() -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/src/flight/face.rs");
    let source = std::fs::read_to_string(path)?;
    let face = source.split("impl FlightService for Face").nth(1);
    let face = face.and_then(|rest| rest.split("\n}").next());
    let served = face.unwrap_or_default().split("async fn ").skip(1);
    let served: BTreeSet<String> = served
        .map(|rest| rest.split('(').next().unwrap_or_default().replace('_', ""))
        .collect();
    let called: BTreeSet<String> = CALLS.iter().map(|c| c.to_lowercase()).collect();
    assert_eq!(served, called);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_workbench_wants_a_members_token() -> Outcome {
    let (lab, _dir) = lab();
    let org = lab.org("port-authority", "Port Authority", "").await?;
    let made = async |name: &str, scope: &str| {
        let token = org.run(&["member", "add", name, "--scope", scope]).await?;
        Ok::<_, Box<dyn std::error::Error>>(token.trim().to_owned())
    };
    let (observe, administer) = (
        made("ben", "observe").await?,
        made("cleo", "administer").await?,
    );
    let removed = made("ann", "query").await?;
    org.run(&["member", "remove", "ann"]).await?;
    let service = workbench(&org).await?.service();
    let with = |value: &str| {
        let mut headers = MetadataMap::new();
        headers.insert("authorization", value.parse().expect("a header"));
        headers
    };
    let token = std::fs::read_to_string(org.home().workbench_token())?;
    let admin = std::fs::read_to_string(org.home().admin_token())?;
    let lies = [
        MetadataMap::new(),
        with("Bearer"),
        with("Bearer comity_wrong"),
        with(&format!("Bearer {}", admin.trim())),
        with(&format!("Digest {}", token.trim())),
        with(&format!("Bearer {}x", token.trim())),
        with(&format!("Bearer {observe}")),
        with(&format!("Bearer {administer}")),
        with(&format!("Bearer {removed}")),
    ];
    let truth = with(&format!("Bearer {}", token.trim()));
    for name in CALLS {
        for lie in &lies {
            let refused = call(name, service.clone(), lie, "SELECT 1").await;
            let refused = refused.unwrap_err();
            assert_eq!(code(&refused), "unauthenticated", "{name}: {refused}");
            assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{name}");
        }
        let honest = call(name, service.clone(), &truth, "SELECT 1").await;
        assert_ne!(
            honest.as_ref().map_err(tonic::Status::code).err(),
            Some(tonic::Code::Unauthenticated),
            "{name}"
        );
    }
    Ok(())
}

/// How long a call of the admin API may take.
const SOON: Duration = Duration::from_secs(60);

/// The calls of the admin API, as its router names them: `METHOD PATH`.
fn routes() -> std::io::Result<BTreeSet<(String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/src/admin/server.rs");
    let source = std::fs::read_to_string(path)?;
    let router = source.split("fn routes(").nth(1).unwrap_or_default();
    let router = router.split(".fallback(").next().unwrap_or_default();
    let mut found = BTreeSet::new();
    for route in router.split(".route(").skip(1) {
        let path = route.split('"').nth(1).unwrap_or_default();
        for (handler, method) in [
            ("get(", "GET"),
            ("post(", "POST"),
            ("put(", "PUT"),
            ("delete(", "DELETE"),
        ] {
            if route.contains(handler) {
                found.insert((method.to_owned(), path.to_owned()));
            }
        }
    }
    Ok(found)
}

/// The status with which a call is answered. `headers` end in `\r\n` each.
fn admin_call(host: &str, method: &str, path: &str, headers: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(SOON))?;
    // No call has a body like this: what is let in goes no further than its reading.
    let body = "[]";
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\n\
         {headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    status.ok_or_else(|| std::io::Error::other(answer))
}

/// The open ones: they tell nothing.
const OPEN: [&str; 1] = ["/healthz"];

/// Every route of the router, each with every credential: a new one is in the
/// matrix as soon as it is in the router.
#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_admin_api_wants_its_token() -> Outcome {
    let (lab, _dir) = lab();
    let org = lab.org("port-authority", "Port Authority", "").await?;
    let uri = org.status().await?.listening.admin;
    let host = uri.strip_prefix("http://").unwrap_or(&uri).to_owned();
    let token = async |name: &str, scope: &str| {
        let args = ["member", "add", name, "--scope", scope];
        org.run(&args).await.map(|token| token.trim().to_owned())
    };
    let query = token("ann", "query").await?;
    let observe = token("ben", "observe").await?;
    let administer = token("cleo", "administer").await?;
    let ended = token("dora", "administer").await?;
    org.run(&["member", "remove", "dora"]).await?;
    let admin = std::fs::read_to_string(org.home().admin_token())?;
    let workbench = std::fs::read_to_string(org.home().workbench_token())?;

    let bearer =
        |token: &str| format!("Host: {host}\r\nAuthorization: Bearer {}\r\n", token.trim());
    let strangers = [
        ("none", format!("Host: {host}\r\n")),
        ("empty", bearer("")),
        ("wrong", bearer("comity_wrong")),
        ("longer", bearer(&format!("{}x", admin.trim()))),
        ("a member's for queries", bearer(&query)),
        ("the workbench's", bearer(&workbench)),
        ("an ended one", bearer(&ended)),
        (
            "another scheme",
            format!("Host: {host}\r\nAuthorization: Basic {}\r\n", admin.trim()),
        ),
    ];
    let pages = [
        format!("{}Origin: https://shop.example\r\n", bearer(&admin)),
        format!(
            "Host: shop.example\r\nAuthorization: Bearer {}\r\n",
            admin.trim()
        ),
    ];
    let routes = routes()?;
    assert!(routes.len() > 25, "{routes:?}");
    for (method, route) in routes {
        let path = route.replace("{partner}", "x").replace("{product}", "x");
        let path = path.replace("{id}", "0").replace("{jti}", "0");
        let call = |headers: &str| admin_call(&host, &method, &path, headers);
        let told = |headers: &str| call(headers).map_err(|e| format!("{method} {route}: {e}"));
        if OPEN.contains(&&*route) {
            assert_eq!(told(&strangers[0].1)?, 200, "{route}");
            continue;
        }
        for (who, headers) in &strangers {
            assert_eq!(told(headers)?, 401, "{method} {route}: {who}");
        }
        for headers in &pages {
            assert_eq!(told(headers)?, 403, "A35: {method} {route}");
        }
        let reads = told(&bearer(&observe))?;
        assert_eq!(reads == 403, method != "GET", "{method} {route}: {reads}");
        for honest in [&admin, &administer] {
            let status = told(&bearer(honest))?;
            assert!(![401, 403].contains(&status), "{method} {route}: {status}");
        }
    }
    Ok(())
}
