//! Requests for access that a well-behaved node would never send, and those
//! that a person must not agree to unseen.

use std::collections::{BTreeMap, BTreeSet};

use comity::admin::api;
use comity_identity::Digest;
use comity_protocol::negotiation::Proposal;
use comity_protocol::terms::{Predicate, Terms};
use comity_protocol::wire::{Request, Response};
use comity_tests::attack::Attack;
use comity_tests::rogue_host::RogueHost;
use comity_tests::{
    Outcome, Three, WEATHER_RULES, agreements, ask, contracts, lab, negotiation, reaches, waits_for,
};
use serde_json::json;

fn changed(proposal: &Proposal, change: impl Fn(&mut Digest, &mut Digest, &mut Terms)) -> Proposal {
    let mut proposal = proposal.clone();
    if let Proposal::Access {
        descriptor,
        contract,
        terms,
        ..
    } = &mut proposal
    {
        change(descriptor, contract, terms);
    }
    proposal
}

/// Regression: the rule looked at the descriptor and never at the contract, so
/// that a node signed the digest of whatever text a consumer liked.
#[tokio::test(flavor = "multi_thread")]
async fn no_rule_and_no_person_agrees_to_what_was_never_published() -> Outcome {
    let attack = Attack::begin().await?;
    let host = RogueHost::start(&attack.rogue, &attack.weather).await?;
    let truth = attack.rogue.signed(&attack.agreement)?;
    let hidden = |terms: &mut Terms| {
        let table = terms.tables.get_mut("weather").expect("the table");
        let asks = Predicate::IsNull {
            column: "no_such_column".to_owned(),
        };
        table.filter.0.insert(asks);
    };
    let lies = [
        changed(&truth, |_, contract, _| {
            *contract = Digest::of(b"another licence")
        }),
        changed(&truth, |descriptor, _, _| {
            *descriptor = Digest::of(b"another product")
        }),
        changed(&truth, |_, _, terms| hidden(terms)),
    ];
    for (i, lie) in lies.into_iter().enumerate() {
        let id = [u8::try_from(i)?; 16];
        let opening = attack.rogue.opening(attack.weather, id, lie)?;
        let answer = host.ask(Request::Negotiate(opening.text.clone())).await?;
        assert_eq!(answer, Response::Negotiate(Vec::new()), "a person decides");
        let id = id.iter().map(|b| format!("{b:02x}")).collect::<String>();
        for verb in ["approve", "counter"] {
            let path = format!("/v1/requests/{id}/{verb}");
            let body = if verb == "approve" {
                json!({"beyond_offer": true})
            } else {
                json!({"days": 1})
            };
            let refused = attack
                .three
                .weather
                .post::<_, api::Negotiation>(&path, &body)
                .await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("decline"), "{verb}: {refused}");
        }
    }
    let opening = attack.rogue.opening(attack.weather, [9; 16], truth)?;
    let answer = host.ask(Request::Negotiate(opening.text)).await?;
    assert!(
        matches!(answer, Response::Negotiate(m) if m.len() == 1),
        "the honest one is agreed to"
    );
    assert_eq!(agreements(&attack.three.weather).await?.len(), 1);
    Ok(())
}

/// Whether a message is taken, now or when the quota of messages has filled up again.
async fn accepted(host: &RogueHost, text: &str) -> bool {
    for _ in 0..20 {
        match host.ask(Request::Negotiate(text.to_owned())).await {
            Ok(_) => return true,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
        }
    }
    false
}

/// Regression: only open negotiations were counted, so that requesting and
/// ending in a loop filled memory and journal.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_requests_and_ends_in_a_loop_is_stopped() -> Outcome {
    let attack = Attack::begin().await?;
    let host = RogueHost::start(&attack.rogue, &attack.weather).await?;
    let truth = attack.rogue.signed(&attack.agreement)?;
    let lie = changed(&truth, |_, contract, _| {
        *contract = Digest::of(b"never agreed to")
    });
    let mut begun = 0u16;
    while begun < 260 {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&begun.to_be_bytes());
        let opening = attack.rogue.opening(attack.weather, id, lie.clone())?;
        if !accepted(&host, &opening.text).await {
            break;
        }
        begun += 1;
        let end = attack.rogue.ending(opening)?;
        assert!(accepted(&host, &end).await);
    }
    assert!((190..=200).contains(&begun), "{begun}");
    let all: Vec<api::Negotiation> = attack.three.weather.get("/v1/requests").await?;
    let access = all.iter().filter(|n| n.kind == "access").count();
    assert_eq!(access, usize::from(begun) + 1);
    Ok(())
}

/// Regression: 'comity requests' showed neither columns nor filters, so that a
/// person signed what a reassuring note said.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_beyond_the_offer_is_agreed_to_only_by_saying_so() -> Outcome {
    let three = Three::meet().await?;
    let columns = BTreeSet::from(["origin".to_owned(), "visib".to_owned()]);
    let wish = api::Ask {
        partner: "weather-service".to_owned(),
        product: "weather".to_owned(),
        columns: BTreeMap::from([("weather".to_owned(), columns)]),
        purposes: BTreeSet::from(["delay-analysis".to_owned()]),
        days: 90,
        reason: "standard terms as in your offer".to_owned(),
        open_days: None,
    };
    let n: api::Negotiation = three.port.post("/v1/requests", &wish).await?;
    let seen = waits_for(&three.weather, &n.id).await?;
    assert_eq!(seen.beyond_offer, ["+ weather: columns visib"]);
    let path = format!("/v1/requests/{}/approve", n.id);
    let refused = three
        .weather
        .post::<_, api::Negotiation>(&path, &json!({}))
        .await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("beyond the offer") && refused.contains("visib"),
        "{refused}"
    );
    let still = negotiation(&three.weather, &n.id).await?.ok_or("gone")?;
    assert_eq!(still.state, "REQUESTED");
    let _: api::Negotiation = three
        .weather
        .post(&path, &json!({"beyond_offer": true}))
        .await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;
    Ok(())
}

/// Regression: a rule for 'port-authority' was whoever's who joined under that
/// name first.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_guest_gave_itself_opens_nothing() -> Outcome {
    let (lab, _dir) = lab();
    let weather = lab
        .org("weather-service", "Weather Service", WEATHER_RULES)
        .await?;
    let guest = lab.org("port-authority", "Not The Port", "").await?;
    let invite = api::Invite {
        alias: None,
        hours: 1,
        roles: Vec::new(),
    };
    let invitation: api::Invitation = weather.post("/v1/invitations", &invite).await?;
    let join = api::Join {
        code: invitation.code,
        alias: None,
    };
    let _: api::Joined = guest.post("/v1/join", &join).await?;
    let known = weather.status().await?.partners;
    assert_eq!(known[0].alias, "port-authority", "it took the name");
    weather
        .publish(&contracts().join("weather-service/weather.odcs.yaml"))
        .await?;
    guest.discovers("weather-service", "weather").await?;
    let n = ask(&guest, "weather-service", "weather").await?;
    assert_eq!(n.state, "REQUESTED");
    waits_for(&weather, &n.id).await?;
    Ok(())
}
