//! Negotiation as people do it: offers end, terms are compared, and what one
//! person must not open waits for another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use comity::admin::{Client, api};
use comity::lab::{Lab, Org};
use comity_identity::Digest;
use comity_protocol::negotiation::Proposal;
use comity_protocol::terms::Direction;
use comity_protocol::wire::{Request, Response};
use comity_tests::attack::Attack;
use comity_tests::rogue::{Rogue, code, ticket};
use comity_tests::rogue_host::RogueHost;
use comity_tests::{
    Outcome, Three, agreements, ask, contracts, decide, lab, negotiation, reaches, sql, waits_for,
};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

type Failed = Box<dyn std::error::Error>;

/// A request that opens what is asked for, whoever has offered it or not.
fn whole() -> Value {
    json!({"beyond_offer": true})
}

async fn records(org: &Org, kind: &str) -> Result<Vec<Value>, Failed> {
    let shown = org.run(&["--json", "audit", "show", "--full"]).await?;
    let lines = shown.lines().map(serde_json::from_str::<Value>);
    let all = lines.collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter(|r| r["kind"] == kind).collect())
}

/// N-91, N-92: what expired is said to be so, binds nobody, and a restart
/// changes nothing; a new proposal is open again.
#[tokio::test(flavor = "multi_thread")]
async fn a29_a_request_that_expired_is_shown_so_and_is_not_agreed_to() -> Outcome {
    let mut attack = Attack::begin().await?;
    let host = RogueHost::start(&attack.rogue, &attack.weather).await?;
    let mut proposal = attack.rogue.signed(&attack.agreement)?;
    if let Proposal::Access { terms, .. } = &mut proposal {
        // No rule agrees to it.
        terms.purposes = BTreeSet::from(["research".to_owned()]);
    }
    let open = Duration::from_secs(2);
    let opening = attack
        .rogue
        .opening_for(attack.weather, [5; 16], proposal, open)?;
    let answer = host.ask(Request::Negotiate(opening.text.clone())).await?;
    assert_eq!(answer, Response::Negotiate(Vec::new()), "a person decides");
    let id = "05".repeat(16);
    let weather = &mut attack.three.weather;
    let expired = async |org: &Org| {
        org.until("the request to expire", || async {
            Ok(negotiation(org, &id).await?.filter(|n| n.expired))
        })
        .await
    };
    let n = expired(weather).await?;
    assert_eq!((n.state.as_str(), n.waits_for_us), ("REQUESTED", false));
    assert_eq!(weather.status().await?.waiting, 0);
    let path = format!("/v1/requests/{id}/approve");
    let refused = weather.post::<_, api::Negotiation>(&path, &whole()).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("expired"), "{refused}");
    assert!(!weather.run(&["requests"]).await?.contains("0505"));
    assert!(
        weather
            .run(&["requests", "--all"])
            .await?
            .contains("expired")
    );

    weather.stop().await?;
    weather.start().await?;
    expired(weather).await?;
    let counter = json!({"days": 7, "note": "still interested?"});
    let path = format!("/v1/requests/{id}/counter");
    let n: api::Negotiation = weather.post(&path, &counter).await?;
    assert_eq!((n.state.as_str(), n.expired), ("OFFERED", false));
    Ok(())
}

/// N-94: both sides read the same differences, each from where it stands.
#[tokio::test(flavor = "multi_thread")]
async fn a_counter_offer_is_compared_line_by_line_on_both_sides() -> Outcome {
    let three = Three::meet().await?;
    let n = ask(&three.port, "aircraft-registry", "planes").await?;
    waits_for(&three.registry, &n.id).await?;
    let counter = json!({
        "columns": {"planes": ["tailnum", "year"]},
        "filters": {"planes": [{"compare": {"column": "year", "op": "gt-eq", "value": {"int": 2000}}}]},
        "days": 7,
    });
    let path = format!("/v1/requests/{}/counter", n.id);
    let theirs: api::Negotiation = three.registry.post(&path, &counter).await?;
    let ours = waits_for(&three.port, &n.id).await?;
    let of = |n: &api::Negotiation, with| {
        let mut compared = n.compared.iter().filter(|c| c.with == with);
        compared.next().map(|c| c.differences.clone())
    };
    let previous = of(&ours, api::ComparedWith::Previous).ok_or("no comparison")?;
    let filter = previous.iter().find(|d| d.change.contains("year >= 2000"));
    let filter = filter.ok_or("the row condition is not shown")?;
    assert_eq!(filter.direction, Direction::Narrower);
    assert!(previous.iter().all(|d| d.direction == Direction::Narrower));
    let until = previous.iter().find(|d| d.change.contains("until"));
    assert!(
        until.is_some_and(|d| d.was.is_some()),
        "what it was is said"
    );
    let same = of(&theirs, api::ComparedWith::Previous).ok_or("no comparison")?;
    assert_eq!(
        serde_json::to_value(&same)?,
        serde_json::to_value(&previous)?
    );
    assert!(of(&ours, api::ComparedWith::Announced).is_some());

    let short = &n.id[..8];
    let told = three.port.run(&["requests", short]).await?;
    assert!(told.contains("year >= 2000 [narrower for us]"), "{told}");
    let told = three.registry.run(&["requests", short]).await?;
    assert!(told.contains("year >= 2000 [narrower for them]"), "{told}");
    Ok(())
}

/// Aircraft Registry, which has two persons open internal columns, and Port Authority.
async fn two_persons(lab: &Lab) -> Result<(Org, Org), Failed> {
    let rule = r#"
[[approve]]
partner = "port-authority"
product = "planes"
purposes = ["delay-analysis"]
max_days = 365
tables.planes.columns = ["tailnum", "year", "model"]
"#;
    let mut registry = lab
        .found("aircraft-registry", "Aircraft Registry", rule)
        .await?;
    let config = std::fs::read_to_string(registry.home().config())?;
    let two = config.replace("two_for = []", "two_for = [\"internal\"]");
    assert_ne!(two, config);
    std::fs::write(registry.home().config(), two)?;
    registry.start().await?;
    let port = lab.org("port-authority", "Port Authority", "").await?;
    registry.federate(&port).await?;
    let contract = contracts().join("aircraft-registry/planes.odcs.yaml");
    registry.publish(&contract).await?;
    port.discovers("aircraft-registry", "planes").await?;
    Ok((registry, port))
}

async fn ask_columns(port: &Org, columns: &[&str]) -> Result<api::Negotiation, Failed> {
    let columns: BTreeSet<String> = columns.iter().map(|c| (*c).to_owned()).collect();
    let ask = api::Ask {
        partner: "aircraft-registry".to_owned(),
        product: "planes".to_owned(),
        columns: BTreeMap::from([("planes".to_owned(), columns)]),
        purposes: BTreeSet::from(["delay-analysis".to_owned()]),
        days: 90,
        reason: String::new(),
        open_days: None,
    };
    Ok(port.post("/v1/requests", &ask).await?)
}

/// A file with a token by which `name` may administer.
async fn token(registry: &Org, name: &str) -> Result<String, Failed> {
    let made = registry
        .run(&["member", "add", name, "--scope", "administer"])
        .await?;
    let path = registry.home().path().join(format!("{name}.token"));
    std::fs::write(&path, made)?;
    Ok(path.display().to_string())
}

/// `comity approve` as whoever holds the token.
async fn approve_as(registry: &Org, id: &str, token: &str) -> Result<String, Failed> {
    let admin = registry.status().await?.listening.admin;
    let admin = admin.strip_prefix("http://").unwrap_or(&admin);
    let args = [
        "approve",
        id,
        "--beyond-offer",
        "--token-file",
        token,
        "--admin",
        admin,
    ];
    Ok(registry.run(&args).await?)
}

/// N-95, N-96: the first approval signs nothing and outlives a restart; the
/// same person's second one, and one of a token made since, do not count.
#[tokio::test(flavor = "multi_thread")]
async fn two_different_persons_open_what_one_must_not() -> Outcome {
    let (lab, _dir) = lab();
    let (mut registry, port) = two_persons(&lab).await?;
    let cleo = token(&registry, "cleo").await?;
    // What is not listed needs no second person: the rule agrees.
    let n = ask_columns(&port, &["tailnum", "year"]).await?;
    reaches(&port, &n.id, "FINALIZED").await?;

    let n = ask_columns(&port, &["tailnum", "model"]).await?;
    let asked = waits_for(&registry, &n.id).await?;
    assert_eq!(asked.needs_two, ["planes: column model is internal"]);
    let path = format!("/v1/requests/{}/approve", n.id);
    let first: api::Negotiation = registry.post(&path, &whole()).await?;
    assert_eq!(first.state, "REQUESTED");
    assert_eq!(first.approvals.len(), 1);
    let told = registry.run(&["requests", &n.id[..8]]).await?;
    let says = "one more approval is needed, by somebody else";
    assert!(told.contains(says), "{told}");

    registry.stop().await?;
    registry.start().await?;
    let again = registry.post::<_, api::Negotiation>(&path, &whole()).await;
    let again = again.unwrap_err().to_string();
    assert!(again.contains(says), "{again}");

    // Whoever approved first could make a token and be two.
    let approved = first.approvals[0].at;
    registry
        .until("the next second", || async {
            Ok((comity::clock::now() > approved).then_some(()))
        })
        .await?;
    let late = token(&registry, "late").await?;
    let refused = approve_as(&registry, &n.id, &late).await.unwrap_err();
    let refused = refused.to_string();
    assert!(refused.contains("after the first approval"), "{refused}");

    approve_as(&registry, &n.id, &cleo).await?;
    reaches(&port, &n.id, "FINALIZED").await?;
    let written = records(&registry, "approved").await?;
    let of = |member: &str| -> BTreeSet<String> {
        written
            .iter()
            .map(|r| r["record"][member].to_string())
            .collect()
    };
    assert_eq!(written.len(), 2, "{written:?}");
    assert_eq!((of("proposal").len(), of("message").len()), (1, 1));
    assert_eq!(of("by").len(), 2);
    Ok(())
}

/// N-95. Regression: whoever administers made a token in another name before
/// anything was asked for, and approved with both.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_other_approver_made_is_no_second_person() -> Outcome {
    let (lab, _dir) = lab();
    let (registry, port) = two_persons(&lab).await?;
    let cleo = token(&registry, "cleo").await?;
    let admin = registry.status().await?.listening.admin;
    let admin = admin.strip_prefix("http://").unwrap_or(&admin).parse()?;
    let secret = std::fs::read_to_string(&cleo)?.trim().to_owned();
    let by_cleo = Client::with_token(admin, secret).ok_or("no client")?;
    let dora = json!({"name": "dora", "scope": "administer"});
    let dora: api::MemberToken = by_cleo.post("/v1/members", &dora).await?;
    let path = registry.home().path().join("dora.token");
    std::fs::write(&path, &dora.token)?;
    let dora = path.display().to_string();

    let n = ask_columns(&port, &["tailnum", "model"]).await?;
    waits_for(&registry, &n.id).await?;
    approve_as(&registry, &n.id, &dora).await?;
    let refused = approve_as(&registry, &n.id, &cleo).await.unwrap_err();
    assert!(
        refused.to_string().contains("was made by the other"),
        "{refused}"
    );
    decide(&registry, &n.id, "approve").await?;
    reaches(&port, &n.id, "FINALIZED").await?;
    Ok(())
}

/// N-96: a counter-offer voids what was approved before it, and whoever made it
/// has approved it: the consumer's acceptance waits for the second person.
#[tokio::test(flavor = "multi_thread")]
async fn a_counter_offer_voids_the_first_approval_and_is_one_itself() -> Outcome {
    let (lab, _dir) = lab();
    let (registry, port) = two_persons(&lab).await?;
    let cleo = token(&registry, "cleo").await?;
    let n = ask_columns(&port, &["tailnum", "model"]).await?;
    let read = waits_for(&registry, &n.id).await?.read_as;
    approve_as(&registry, &n.id, &cleo).await?;
    let path = format!("/v1/requests/{}/counter", n.id);
    let offered: api::Negotiation = registry.post(&path, &json!({"days": 30})).await?;
    let by: Vec<&str> = offered.approvals.iter().map(|a| a.by.as_str()).collect();
    assert_eq!(by, ["operator"], "cleo approved other terms");

    waits_for(&port, &n.id).await?;
    decide(&port, &n.id, "approve").await?;
    let accepted = waits_for(&registry, &n.id).await?;
    assert_eq!(accepted.state, "ACCEPTED", "nobody signs alone");
    let again = decide(&registry, &n.id, "approve").await.unwrap_err();
    assert!(again.to_string().contains("somebody else"), "{again}");
    // Whoever read the request has not read the offer.
    let path = format!("/v1/requests/{}/approve", n.id);
    let stale = json!({"beyond_offer": true, "read": read});
    let stale = registry.post::<_, api::Negotiation>(&path, &stale).await;
    assert!(stale.unwrap_err().to_string().contains("other terms"));
    approve_as(&registry, &n.id, &cleo).await?;
    reaches(&port, &n.id, "FINALIZED").await?;
    Ok(())
}

const PLANES: &str = r#"SELECT count(*) AS n FROM "aircraft-registry".planes.planes"#;

/// An agreement over two columns of planes; its id.
async fn agreed(three: &Three) -> Result<String, Failed> {
    let n = ask_columns(&three.port, &["tailnum", "year"]).await?;
    waits_for(&three.registry, &n.id).await?;
    decide(&three.registry, &n.id, "approve").await?;
    let n = reaches(&three.port, &n.id, "FINALIZED").await?;
    Ok(n.agreement.ok_or("not signed")?.to_string())
}

fn hex(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

/// N-100, N-101: the consumer asks for more, both sign, the old agreement ends
/// in the same moment on both sides, and queries go on.
#[tokio::test(flavor = "multi_thread")]
async fn an_amendment_takes_the_place_of_the_agreement_without_a_gap() -> Outcome {
    let mut three = Three::meet().await?;
    let old = agreed(&three).await?;
    let seats = r#"SELECT count(seats) AS n FROM "aircraft-registry".planes.planes"#;
    assert!(sql(&three.port, seats).await.is_err(), "not permitted yet");
    let args = ["amend", hex(&old), "--columns", "planes=tailnum,seats"];
    let told = three.port.run(&args).await?;
    assert!(told.contains("in the place of agreement"), "{told}");
    let open: Vec<api::Negotiation> = three.registry.get("/v1/requests").await?;
    let n = open
        .iter()
        .find(|n| n.waits_for_us)
        .ok_or("nothing waits")?;
    assert_eq!(n.replaces.map(|old| old.to_string()), Some(old.clone()));
    let with = |c: &&api::Compared| c.with == api::ComparedWith::Agreement;
    let compared = n.compared.iter().find(with).ok_or("not compared")?;
    let ways: BTreeSet<String> = compared
        .differences
        .iter()
        .map(|d| format!("{:?} {}", d.direction, d.change))
        .collect();
    assert!(ways.contains("Wider + planes: columns seats"), "{ways:?}");
    assert!(ways.contains("Narrower - planes: columns year"), "{ways:?}");

    // Asked over and over while it is signed: no question falls into a gap.
    let port = &three.port;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let asking = async {
        let mut asked = 0;
        while stopped.try_recv().is_err() {
            sql(port, PLANES).await?;
            asked += 1;
        }
        Ok::<usize, Failed>(asked)
    };
    let signing = async {
        let done = decide(&three.registry, &n.id, "approve").await;
        let done = match done {
            Ok(_) => reaches(port, &n.id, "FINALIZED").await,
            Err(error) => Err(error),
        };
        let _ = stop.send(());
        done
    };
    let (asked, done) = tokio::join!(asking, signing);
    assert!(asked? > 0);
    let new = done?.agreement.ok_or("not signed")?.to_string();
    assert_eq!(sql(&three.port, seats).await?.len(), 1);

    for restarted in [false, true] {
        if restarted {
            for org in [&mut three.port, &mut three.registry] {
                org.stop().await?;
                org.start().await?;
            }
        }
        for org in [&three.port, &three.registry] {
            let all = agreements(org).await?;
            assert_eq!((all.len(), all[&old].state.as_str()), (2, "replaced"));
            assert_eq!(all[&new].state, "in-force");
            assert_eq!(
                all[&old].replaced_by.map(|id| id.to_string()),
                Some(new.clone())
            );
        }
    }
    // N-100: it is replaced once.
    let again = three.port.run(&["renew", hex(&old)]).await.unwrap_err();
    assert!(again.to_string().contains("replaced already"), "{again}");
    // N-102: whoever takes the old one back takes back what came of it.
    three.registry.run(&["revoke", hex(&old)]).await?;
    for org in [&three.registry, &three.port] {
        org.until("the revocation of both", || async {
            let all = agreements(org).await?;
            Ok(all.values().all(|a| a.state == "revoked").then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// N-103: the provider begins; N-104: an end by consent is a document that both signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_renews_and_both_end_an_agreement_by_consent() -> Outcome {
    let three = Three::meet().await?;
    let old = agreed(&three).await?;
    let told = three
        .registry
        .run(&["renew", hex(&old), "--days", "200"])
        .await?;
    assert!(told.contains("OFFERED"), "{told}");
    let open: Vec<api::Negotiation> = three.port.get("/v1/requests").await?;
    let n = open
        .iter()
        .find(|n| n.waits_for_us)
        .ok_or("nothing waits")?;
    decide(&three.port, &n.id, "approve").await?;
    let n = reaches(&three.port, &n.id, "FINALIZED").await?;
    let renewed = n.agreement.ok_or("not signed")?.to_string();
    let all = agreements(&three.registry).await?;
    assert_eq!(all[&old].terms.tables, all[&renewed].terms.tables);
    assert!(all[&old].terms.expires < all[&renewed].terms.expires);

    let args = ["end", hex(&renewed), "--hours", "2", "--reason", "done"];
    let told = three.registry.run(&args).await?;
    assert!(told.contains("ends agreement"), "{told}");
    let told = three.port.run(&["requests"]).await?;
    assert!(
        told.contains("by consent") && told.contains("done"),
        "{told}"
    );
    // One side alone has ended nothing.
    assert_eq!(agreements(&three.port).await?[&renewed].state, "in-force");
    three.port.run(&["end", hex(&renewed)]).await?;
    for org in [&three.port, &three.registry] {
        let last = org
            .until("the end by consent", || async {
                let all = agreements(org).await?;
                let by = all[&renewed].replaced_by.map(|id| id.to_string());
                Ok(by.and_then(|by| all.get(&by).cloned()))
            })
            .await?;
        let hours = last.terms.expires.since(comity::clock::now());
        assert!(hours <= Duration::from_secs(2 * 60 * 60), "{hours:?}");
        let signed = records(org, "signed").await?;
        let id = last.id.to_string();
        let document = signed.iter().find(|r| r["record"]["id"] == id.as_str());
        assert!(document.is_some(), "both hold what both signed");
    }
    sql(&three.port, PLANES).await?;
    Ok(())
}

/// Regression: what had been replaced was served on for its moment of grace,
/// and its answers as long as they ran, though its successor was taken back.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_the_newer_agreement_back_ends_the_older_one_as_well() -> Outcome {
    let mut three = Three::meet().await?;
    let asked = ask(&three.port, "weather-service", "weather").await?;
    let old = reaches(&three.port, &asked.id, "FINALIZED")
        .await?
        .agreement;
    let old = old.ok_or("not signed")?;
    let id = old.to_string();
    let told = three
        .port
        .run(&["--json", "renew", hex(&id), "--days", "30"])
        .await?;
    let told: api::Negotiation = serde_json::from_str(&told)?;
    let new = reaches(&three.port, &told.id, "FINALIZED").await?.agreement;
    let new = new.ok_or("not signed")?.to_string();
    assert_eq!(agreements(&three.weather).await?[&id].state, "replaced");

    let provider = three.weather.status().await?.org;
    let rogue = Rogue::of(&mut three.port).await?;
    let channel = rogue.dial(&provider).await?;
    let grant = rogue.grant(provider, old, "delay-analysis");
    let one = rogue.asked(&grant, "SELECT origin FROM weather.weather LIMIT 1")?;
    assert_eq!(rogue.query(&channel, &one).await?.len(), 1, "for a moment");
    let endless = "SELECT a.* FROM weather.weather a CROSS JOIN weather.weather b";
    let endless = rogue.asked(&grant, endless)?;
    let info = rogue.plan(&channel, &endless).await?;
    let request = rogue.request(&channel, ticket(&info), &endless)?;
    let mut messages = channel.service().do_get(request).await?.into_inner();
    messages.try_next().await?.ok_or("the stream ended")?;

    three
        .weather
        .run(&["revoke", "agreement", hex(&new)])
        .await?;
    let refused = rogue.query(&channel, &one).await.unwrap_err();
    assert_eq!(code(&refused), "expired", "its moment is over");
    let mut end = None;
    for _ in 0..10_000 {
        match messages.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => return Err("a cut stream looks whole".into()),
            Err(status) => {
                end = Some(status);
                break;
            }
        }
    }
    let end = end.ok_or("the stream goes on")?;
    assert!(["revoked", "expired"].contains(&code(&end)), "{end}");
    Ok(())
}

/// N-100: what two sign ends no third one's agreement, and an agreement is
/// replaced once, and not after it was revoked.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_replaces_no_agreement() -> Outcome {
    let attack = Attack::begin().await?;
    let (weather, registry) = (&attack.three.weather, &attack.three.registry);
    weather.federate(registry).await?;
    registry.discovers("weather-service", "weather").await?;
    let n = ask(registry, "weather-service", "weather").await?;
    waits_for(weather, &n.id).await?;
    decide(weather, &n.id, "approve").await?;
    let theirs = reaches(registry, &n.id, "FINALIZED").await?.agreement;
    let theirs = theirs.ok_or("not signed")?;

    let host = RogueHost::start(&attack.rogue, &attack.weather).await?;
    let truth = attack.rogue.signed(&attack.agreement)?;
    let says = async |number: u8, old: Digest| {
        let mut proposal = truth.clone();
        if let Proposal::Access { replaces, .. } = &mut proposal {
            *replaces = Some(old);
        }
        let opening = attack
            .rogue
            .opening(attack.weather, [number; 16], proposal)?;
        Ok::<_, Failed>(host.ask(Request::Negotiate(opening.text)).await)
    };
    assert!(says(1, theirs).await?.is_err(), "a third one's agreement");
    assert!(says(2, Digest::of(b"no agreement")).await?.is_err());
    let agreed = says(3, attack.agreement).await?;
    assert!(
        matches!(&agreed, Ok(Response::Negotiate(m)) if m.len() == 1),
        "its own is replaced: {agreed:?}"
    );
    assert!(says(4, attack.agreement).await?.is_err(), "but once");
    attack.revoke().await?;
    assert!(says(5, attack.agreement).await?.is_err(), "it was revoked");
    assert_eq!(
        agreements(weather).await?[&theirs.to_string()].state,
        "in-force"
    );
    Ok(())
}
