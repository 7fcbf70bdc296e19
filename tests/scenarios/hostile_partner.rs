//! A partner's node that sends what ours would never send, with real keys and a real agreement.

use arrow_flight::sql::Any;
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightData, FlightInfo,
    Ticket,
};
use comity::admin::api;
use comity::flight::SqlClient;
use comity_identity::grant::Chain;
use comity_identity::{SecretKey, Signer as _};
use comity_tests::attack::Attack;
use comity_tests::rogue::{code, count, ticket};
use comity_tests::{Outcome, contracts, lab};
use futures::TryStreamExt as _;
use prost::Message as _;
use serde_json::json;
use tonic::Status;

const ALL: &str = "SELECT origin, temp FROM weather.weather";
const ROWS: usize = 26_115;

fn only(column: &str, value: &str) -> serde_json::Value {
    json!({"weather": [{"compare": {"column": column, "op": "eq", "value": {"text": value}}}]})
}

/// Regression: the consumer issues its grants itself, and a filter of a grant
/// over a hidden column asked about its values through the row count.
#[tokio::test(flavor = "multi_thread")]
async fn a_grants_filter_asks_nothing_about_hidden_columns() -> Outcome {
    let attack = Attack::begin().await?;
    let mut grant = attack.grant();
    assert_eq!(attack.query(&grant, ALL).await?, ROWS);
    grant.filter = vec![only("origin", "JFK")];
    let kennedy = attack.query(&grant, ALL).await?;
    assert!(kennedy > 0 && kennedy < ROWS, "{kennedy}");

    let hidden = json!({"weather": [{"compare": {"column": "visib", "op": "lt", "value": {"decimal": "1.0"}}}]});
    let nested = json!({"weather": [{"any": [{"is-null": {"column": "origin"}}, {"not": {"is-null": {"column": "visib"}}}]}]});
    let unknown = only("no_such_column", "JFK");
    let unread = json!({"weather": [{"sql": "visib < 1"}]});
    for filter in [hidden, nested, unknown, unread] {
        grant.filter = vec![filter.clone()];
        let refused = attack.query(&grant, ALL).await.unwrap_err();
        assert_eq!(code(&refused), "grant-invalid", "{filter}");
        assert!(!refused.message().contains("visib"), "{refused}");
    }

    // A delegate asks about no more than its own link could read, either.
    let mut first = attack.grant();
    let delegate = SecretKey::from_seed(&[7; 32]);
    first.cnf = delegate.public();
    first.cols = Some([("weather".to_owned(), ["temp".to_owned()].into())].into());
    let mut second = first.clone();
    second.cnf = attack.rogue.own().keys().node.public();
    second.filter = vec![only("origin", "JFK")];
    let chain = Chain::issue(&first, &*attack.rogue.own().keys().issuer)?;
    let chain = chain.narrow(second, &delegate)?.links().to_vec();
    let sql = "SELECT temp FROM weather.weather";
    let asked = attack.rogue.asked_with(attack.agreement, chain, sql)?;
    let refused = attack.rogue.query(&attack.channel, &asked).await;
    assert_eq!(code(&refused.unwrap_err()), "grant-invalid");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a16_a_ticket_is_good_for_its_holder_and_for_the_rights_of_the_moment() -> Outcome {
    let attack = Attack::begin().await?;
    let wide = attack
        .rogue
        .asked(&attack.grant(), "SELECT * FROM weather.weather")?;
    let info = attack.rogue.plan(&attack.channel, &wide).await?;
    let schema = info.clone().try_decode_schema()?;
    for _ in 0..2 {
        let rows = attack
            .rogue
            .fetch(&attack.channel, ticket(&info), &wide)
            .await?;
        assert_eq!(count(&rows), ROWS);
        assert_eq!(*rows[0].schema(), schema, "announced and streamed");
    }
    // The handle says nothing.
    let text = String::from_utf8_lossy(&ticket(&info).ticket).into_owned();
    assert!(!text.contains("weather") && !text.contains("SELECT"));

    // Another key of the same organization.
    let other = SecretKey::from_seed(&[7; 32]);
    let mut grant = attack.grant();
    grant.cnf = other.public();
    let asked = attack.rogue.asked(&grant, ALL)?;
    let request = attack.channel.request(ticket(&info), &asked, &other)?;
    let refused = attack.channel.service().do_get(request).await.unwrap_err();
    assert_eq!(code(&refused), "expired-ticket");

    // Regression: a ticket kept the plan, and with it the columns of a grant
    // that its holder could no longer show.
    let mut narrow = attack.grant();
    narrow.cols = Some([("weather".to_owned(), ["temp".to_owned()].into())].into());
    let asked = attack.rogue.asked(&narrow, "")?;
    let refused = attack
        .rogue
        .fetch(&attack.channel, ticket(&info), &asked)
        .await;
    assert_eq!(code(&refused.unwrap_err()), "terms-mismatch");
    narrow.cols = None;
    narrow.filter = vec![only("origin", "JFK")];
    let asked = attack.rogue.asked(&narrow, "")?;
    let rows = attack
        .rogue
        .fetch(&attack.channel, ticket(&info), &asked)
        .await?;
    assert!(count(&rows) < ROWS, "the filter of the present grant holds");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_limit_of_a_grant_is_kept_to_the_row() -> Outcome {
    let attack = Attack::begin().await?;
    let mut grant = attack.grant();
    grant.max_rows = Some(10);
    let ten = "SELECT temp FROM weather.weather LIMIT 10";
    let eleven = "SELECT temp FROM weather.weather LIMIT 11";
    assert_eq!(attack.query(&grant, ten).await?, 10);
    let refused = attack.query(&grant, eleven).await.unwrap_err();
    assert_eq!(code(&refused), "too-many-rows");
    Ok(())
}

/// More rows than any window or queue holds: the stream cannot have ended by itself.
const ENDLESS: &str = "SELECT a.* FROM weather.weather a CROSS JOIN weather.weather b";

/// A running stream of [`ENDLESS`], and its info.
async fn running(
    attack: &Attack,
) -> Result<(tonic::Streaming<FlightData>, FlightInfo), Box<dyn std::error::Error>> {
    let asked = attack.rogue.asked(&attack.grant(), ENDLESS)?;
    let info = attack.rogue.plan(&attack.channel, &asked).await?;
    let request = attack
        .rogue
        .request(&attack.channel, ticket(&info), &asked)?;
    let mut messages = attack.channel.service().do_get(request).await?.into_inner();
    for _ in 0..3 {
        messages.try_next().await?.ok_or("the stream ended")?;
    }
    Ok((messages, info))
}

/// Why a stream ended: a window's worth of messages may come before it.
async fn end_of(mut messages: tonic::Streaming<FlightData>) -> Status {
    for _ in 0..200 {
        match messages.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a cut stream looks whole"),
            Err(status) => return status,
        }
    }
    panic!("the stream goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a30_revocation_cuts_a_running_stream() -> Outcome {
    let attack = Attack::begin().await?;
    let (messages, _) = running(&attack).await?;
    attack.revoke().await?;
    assert_eq!(code(&end_of(messages).await), "revoked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_query_ends_its_stream_and_its_ticket() -> Outcome {
    let attack = Attack::begin().await?;
    let (messages, info) = running(&attack).await?;
    let asked = attack.rogue.asked(&attack.grant(), ENDLESS)?;
    let cancel = CancelFlightInfoRequest::new(info.clone());
    let action = Action::new("CancelFlightInfo", cancel.encode_to_vec());
    let request = attack.rogue.request(&attack.channel, action, &asked)?;
    let mut answers = attack
        .channel
        .service()
        .do_action(request)
        .await?
        .into_inner();
    let answer = answers.try_next().await?.ok_or("no answer")?;
    let result = CancelFlightInfoResult::decode(answer.body)?;
    assert_eq!(result.status, CancelStatus::Cancelled as i32);
    assert_eq!(code(&end_of(messages).await), "cancelled");
    let again = attack
        .rogue
        .fetch(&attack.channel, ticket(&info), &asked)
        .await;
    assert_eq!(code(&again.unwrap_err()), "expired-ticket");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_what_a_partner_puts_is_refused_or_unknown_and_never_a_panic() -> Outcome {
    let attack = Attack::begin().await?;
    let asked = attack.rogue.asked(&attack.grant(), ALL)?;
    let garbage = [
        Ticket::new(Vec::new()),
        Ticket::new(vec![0xff; 64]),
        Ticket::new(
            Any {
                type_url: "x".repeat(9000),
                value: vec![1].into(),
            }
            .encode_to_vec(),
        ),
    ];
    for ticket in garbage {
        let refused = attack.rogue.fetch(&attack.channel, ticket, &asked).await;
        assert!(refused.is_err());
    }
    for sql in [
        "SELECT visib FROM weather.weather",
        "SELECT * FROM weather.weather WHERE visib < 1",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM information_schema.tables",
        "COPY weather.weather TO '/tmp/out.csv'",
        "SET datafusion.execution.batch_size = 1",
    ] {
        let asked = attack.rogue.asked(&attack.grant(), sql)?;
        let refused = attack
            .rogue
            .query(&attack.channel, &asked)
            .await
            .unwrap_err();
        assert!(
            ["bad-sql", "not-permitted"].contains(&code(&refused)),
            "{sql}: {refused}"
        );
    }
    assert_eq!(
        attack.query(&attack.grant(), ALL).await?,
        ROWS,
        "it still serves"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_members_stream_is_cut() -> Outcome {
    let (lab, _dir) = lab();
    let org = lab.org("weather-service", "Weather Service", "").await?;
    org.publish(&contracts().join("weather-service/weather.odcs.yaml"))
        .await?;
    let added = json!({"name": "analyst"});
    let member: api::MemberToken = org.post("/v1/members", &added).await?;
    let ca = std::fs::read_to_string(org.home().ca_pem())?;
    let uri = org.status().await?.listening.workbench;
    let client = SqlClient::connect(&uri, Some(&ca), &member.token).await?;
    let (_, mut rows) = client.query(ENDLESS, None).await?;
    assert!(rows.try_next().await?.is_some());
    let _: serde_json::Value = org.post("/v1/members/remove", &added).await?;
    let mut end = None;
    for _ in 0..2000 {
        match rows.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a cut stream looks whole"),
            Err(error) => {
                end = Some(error.to_string());
                break;
            }
        }
    }
    let end = end.ok_or("the stream goes on")?;
    assert!(end.contains("unauthenticated"), "{end}");
    Ok(())
}
