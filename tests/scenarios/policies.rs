//! The owner's policies: they take away at once, and a mistake in them takes nothing away.

use std::path::Path;
use std::process::Command;

use arrow_flight::FlightData;
use comity::admin::{ClientError, api};
use comity::lab::{LabError, Org};
use comity_tests::attack::Attack;
use comity_tests::rogue::{Rogue, code, ticket};
use comity_tests::{
    Outcome, Three, ask, contracts, decide, lab, negotiation, program, reaches, sql, waits_for,
    workbench_as,
};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

const WEATHER: &str = r#"SELECT count(*) AS n FROM "weather-service".weather.weather"#;

/// More rows than any window or queue holds: the stream cannot have ended by itself.
const ENDLESS: &str = "SELECT a.* FROM weather.weather a CROSS JOIN weather.weather b";

/// Nobody reads for this purpose.
const NO_ANALYSIS: &str = r#"@id("no-analysis")
forbid (principal is Partner, action == Action::"query", resource is Product)
when { context.purposes.contains("delay-analysis") };
"#;

/// Writes a file of policies as an editor does, in one step.
fn write(org: &Org, name: &str, text: &str) -> std::io::Result<()> {
    let path = org.home().policies().join(name);
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}

/// Waits until `org`'s policies are as `is` says.
async fn policies(
    org: &Org,
    what: &str,
    is: impl Fn(&api::PolicyStatus) -> bool,
) -> Result<api::PolicyStatus, LabError> {
    org.until(what, || async {
        let status: api::PolicyStatus = org.get("/v1/policy").await?;
        Ok(is(&status).then_some(status))
    })
    .await
}

/// Writes a file of policies and waits until it decides.
async fn enact(
    org: &Org,
    name: &str,
    text: &str,
) -> Result<api::PolicyStatus, Box<dyn std::error::Error>> {
    let before: api::PolicyStatus = org.get("/v1/policy").await?;
    write(org, name, text)?;
    let next = |s: &api::PolicyStatus| s.activated > before.activated;
    Ok(policies(org, "the new policies", next).await?)
}

/// What `comity` says with these arguments over the home of `org`: code and both outputs.
fn comity(org: &Org, arguments: &[&str]) -> Result<(Option<i32>, String), std::io::Error> {
    let done = Command::new(program())
        .arg("--home")
        .arg(org.home().path())
        .args(arguments)
        .output()?;
    let said = [done.stdout, done.stderr].concat();
    Ok((
        done.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

fn log(org: &Org) -> String {
    let path: &Path = org.home().path();
    std::fs::read_to_string(path.join("node.log")).unwrap_or_default()
}

async fn running(
    attack: &Attack,
) -> Result<tonic::Streaming<FlightData>, Box<dyn std::error::Error>> {
    let asked = attack.rogue.asked(&attack.grant(), ENDLESS)?;
    let info = attack.rogue.plan(&attack.channel, &asked).await?;
    let request = attack
        .rogue
        .request(&attack.channel, ticket(&info), &asked)?;
    let mut messages = attack.channel.service().do_get(request).await?.into_inner();
    for _ in 0..3 {
        messages.try_next().await?.ok_or("the stream ended")?;
    }
    Ok(messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbid_by_purpose_stops_queries_and_running_streams() -> Outcome {
    let attack = Attack::begin().await?;
    let weather = &attack.three.weather;
    let one = "SELECT origin FROM weather.weather LIMIT 1";
    assert_eq!(attack.query(&attack.grant(), one).await?, 1);
    let mut messages = running(&attack).await?;

    enact(weather, "own.cedar", NO_ANALYSIS).await?;
    let refused = attack.query(&attack.grant(), one).await.unwrap_err();
    assert_eq!(code(&refused), "policy");
    // The partner learns neither which policy nor why (A19).
    assert!(!refused.message().contains("no-analysis"), "{refused}");
    assert!(!refused.message().contains("delay"), "{refused}");
    let mut end = None;
    for _ in 0..200 {
        match messages.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a cut stream looks whole"),
            Err(status) => {
                end = Some(status);
                break;
            }
        }
    }
    assert_eq!(code(&end.ok_or("the stream goes on")?), "policy");

    // The owner learns both.
    let log = log(weather);
    assert!(log.contains("own.no-analysis"), "{log}");
    assert!(
        log.contains(r#"context.purposes = [\"delay-analysis\"]"#)
            || log.contains(r#"context.purposes = ["delay-analysis"]"#),
        "{log}"
    );
    let (_, said) = comity(
        weather,
        &[
            "policy",
            "explain",
            "--action",
            "query",
            "--partner",
            "port-authority",
            "--product",
            "weather",
        ],
    )?;
    assert!(said.starts_with("deny by own.no-analysis"), "{said}");
    assert!(said.contains("context.purposes"), "{said}");

    // Taken back, it is as before.
    enact(weather, "own.cedar", "").await?;
    assert_eq!(attack.query(&attack.grant(), one).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_set_leaves_the_old_one_and_raises_the_alarm() -> Outcome {
    let (lab, _dir) = lab();
    let mut org = lab.org("weather-service", "Weather Service", "").await?;
    let before = enact(&org, "own.cedar", NO_ANALYSIS).await?;
    write(
        &org,
        "more.cedar",
        "@id(\"x\")\nforbid (principal, action, resource)\nwhen { nonsense };",
    )?;
    let refused = policies(&org, "the refusal", |s| s.refused.is_some()).await?;
    assert_eq!(refused.digest, before.digest);
    let problem = &refused.refused.ok_or("refused")?[0];
    assert_eq!(
        (problem.file.as_str(), problem.line),
        ("more.cedar", Some(3))
    );
    let status = org.status().await?;
    assert!(
        status.health.contains("new policies are refused"),
        "{}",
        status.health
    );
    assert!(log(&org).contains("new policies were refused as a whole"));
    let (exit, said) = comity(&org, &["policy", "check"])?;
    assert_eq!(exit, Some(1));
    assert!(said.starts_with("more.cedar:3: "), "{said}");

    // A node does not start with it.
    org.stop().await?;
    let said = org.start().await.unwrap_err().to_string();
    assert!(said.contains("more.cedar:3: "), "{said}");
    std::fs::remove_file(org.home().policies().join("more.cedar"))?;
    org.start().await?;
    let after: api::PolicyStatus = org.get("/v1/policy").await?;
    assert_eq!((after.digest, after.refused), (before.digest, None));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_approval_that_policy_forbids_waits_for_a_person() -> Outcome {
    let three = Three::meet().await?;
    let forbid = r#"@id("a-person-looks")
        forbid (principal is Partner, action == Action::"autoApprove", resource is Product)
        when { principal has alias && principal.alias == "port-authority" && context has days && context.days > 30 };"#;
    enact(&three.weather, "own.cedar", forbid).await?;
    let n = ask(&three.port, "weather-service", "weather").await?;
    waits_for(&three.weather, &n.id).await?;
    assert!(log(&three.weather).contains("own.a-person-looks"));
    decide(&three.weather, &n.id, "approve").await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;
    assert_eq!(sql(&three.port, WEATHER).await?[0]["n"], 26_115);

    // The consumer's own policies hold its members back.
    let ours = r#"@id("not-today")
        forbid (principal is Member, action == Action::"issueGrant", resource is Product)
        when { resource.address == "weather" && !resource.own };"#;
    enact(&three.port, "own.cedar", ours).await?;
    let said = sql(&three.port, WEATHER).await.unwrap_err().to_string();
    assert!(said.contains("policy"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_policy_refuses_ends_at_once() -> Outcome {
    let three = Three::meet().await?;
    let forbid = r#"@id("no-requests")
        forbid (principal is Partner, action == Action::"negotiate", resource == Product::"weather");"#;
    enact(&three.weather, "own.cedar", forbid).await?;
    let n = ask(&three.port, "weather-service", "weather").await?;
    reaches(&three.port, &n.id, "TERMINATED").await?;
    let there = negotiation(&three.weather, &n.id).await?.ok_or("unknown")?;
    assert_eq!(
        (there.state.as_str(), there.waits_for_us),
        ("TERMINATED", false)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_calls_and_the_admin_api_are_asked_of_policy() -> Outcome {
    let three = Three::meet().await?;
    let mine = "SELECT count(*) AS n FROM weather.weather";
    assert_eq!(sql(&three.weather, mine).await?[0]["n"], 26_115);
    let forbid = r#"@id("members-no")
        forbid (principal is Member, action == Action::"query", resource is Product)
        when { resource.address == "weather" };
        @id("no-members")
        forbid (principal is Administrator, action == Action::"administer", resource is Node)
        when { context has call && context.call == "POST /v1/members" };"#;
    enact(&three.weather, "own.cedar", forbid).await?;
    let said = sql(&three.weather, mine).await.unwrap_err().to_string();
    assert!(said.contains("policy"), "{said}");
    let added: Result<Value, ClientError> = three
        .weather
        .admin()
        .post("/v1/members", &json!({"name": "ana"}))
        .await;
    assert_eq!(added.unwrap_err().code(), "policy");
    assert!(three.weather.status().await.is_ok());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_of_policies_run_and_fail_by_name() -> Outcome {
    let (lab, _dir) = lab();
    let org = lab.found("weather-service", "Weather Service", "").await?;
    write(&org, "own.cedar", NO_ANALYSIS)?;
    let case = |purpose: &str, expect: &str| {
        json!({"name": format!("{purpose}: {expect}"), "expect": expect, "request": {
            "action": "query", "principal": {"partner": {"alias": "port-authority"}},
            "resource": {"product": {"address": "weather"}}, "context": {"purposes": [purpose]}}})
    };
    let tests = org.home().policies().join("tests");
    std::fs::create_dir(&tests)?;
    let good = json!([case("delay-analysis", "deny"), case("teaching", "allow")]);
    std::fs::write(tests.join("cases.json"), good.to_string())?;
    let (exit, said) = comity(&org, &["policy", "test"])?;
    assert_eq!((exit, said.trim()), (Some(0), "2 of 2 cases as expected"));
    let bad = org.home().path().join("bad.json");
    std::fs::write(&bad, json!([case("teaching", "deny")]).to_string())?;
    let (exit, said) = comity(&org, &["policy", "test", &bad.display().to_string()])?;
    assert_eq!(exit, Some(1));
    assert!(
        said.contains("teaching: deny: expected deny, came allow by default.partners-query"),
        "{said}"
    );

    // Without a node, the files explain.
    let (exit, said) = comity(
        &org,
        &[
            "policy",
            "explain",
            "--action",
            "query",
            "--partner",
            "port-authority",
            "--product",
            "weather",
            "--purpose",
            "delay-analysis",
        ],
    )?;
    assert_eq!(exit, Some(0));
    assert!(said.starts_with("deny by own.no-analysis"), "{said}");
    Ok(())
}

/// Only the owner takes evidence out.
const NO_EXPORT: &str = r#"@id("owner-exports")
forbid (principal, action == Action::"export", resource)
unless { principal is Administrator && principal.role == "owner" };
"#;

#[tokio::test(flavor = "multi_thread")]
async fn taking_evidence_out_of_a_node_is_asked_of_policy_and_noted() -> Outcome {
    let three = Three::meet().await?;
    let (port, weather) = (&three.port, &three.weather);
    let asked = ask(port, "weather-service", "weather").await?;
    let agreement = reaches(port, &asked.id, "FINALIZED").await?.agreement;
    let agreement = agreement.ok_or("not signed")?.to_string();
    let token = weather
        .run(&["member", "add", "cleo", "--scope", "administer"])
        .await?;
    let folder = weather.home().path();
    let file = folder.join("cleo.token").display().to_string();
    std::fs::write(&file, token)?;
    let admin = weather.status().await?.listening.admin;
    let admin = admin.strip_prefix("http://").unwrap_or(&admin);
    let export = |name: &str| {
        let to = folder.join(name).display().to_string();
        let as_cleo = ["--token-file", &file, "--admin", admin];
        let export = ["audit", "export", "--agreement", &agreement, "-o", &to];
        comity(weather, &[&export[..], &as_cleo[..]].concat())
    };
    let (code, said) = export("one.json")?;
    assert_eq!(code, Some(0), "{said}");
    let bundle: Value = serde_json::from_slice(&std::fs::read(folder.join("one.json"))?)?;
    assert_eq!(bundle["agreement"], agreement.as_str());

    enact(weather, "own.cedar", NO_EXPORT).await?;
    let (code, said) = export("two.json")?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("policy"), "{said}");
    assert!(!folder.join("two.json").exists());
    let shown = weather.run(&["--json", "audit", "show", "--full"]).await?;
    let records = shown.lines().map(serde_json::from_str::<Value>);
    let records = records.collect::<Result<Vec<_>, _>>()?;
    let taken = records.iter().filter(|r| {
        r["record"]["act"] == "export-evidence" && r["record"]["target"] == agreement.as_str()
    });
    assert_eq!(taken.count(), 1);
    Ok(())
}

/// Only planners of the partner read; the federation names the role.
const PLANNERS: &str = r#"@id("planners-only")
forbid (principal is Partner, action == Action::"query", resource is Product)
unless { context.roles.contains("planner") };
"#;

/// A role that the federation names crosses; one that it does not name means nothing.
#[tokio::test(flavor = "multi_thread")]
async fn roles_cross_as_far_as_the_federation_names_them() -> Outcome {
    let (lab, _dir) = lab();
    let weather = lab
        .org(
            "weather-service",
            "Weather Service",
            comity_tests::WEATHER_RULES,
        )
        .await?;
    let port = lab.org("port-authority", "Port Authority", "").await?;
    let invite = ["invite", "--as", "port-authority", "--role", "planner"];
    let code = weather.run(&invite).await?;
    let code = code.lines().next().ok_or("no invitation")?;
    port.run(&["join", code, "--as", "weather-service"]).await?;
    for org in [&weather, &port] {
        assert_eq!(org.status().await?.partners[0].roles, ["planner"]);
    }
    weather
        .publish(&contracts().join("weather-service/weather.odcs.yaml"))
        .await?;
    port.discovers("weather-service", "weather").await?;
    let asked = ask(&port, "weather-service", "weather").await?;
    let agreement = reaches(&port, &asked.id, "FINALIZED").await?.agreement;
    let agreement = agreement.ok_or("not signed")?;
    enact(&weather, "own.cedar", PLANNERS).await?;
    for (name, roles, may) in [
        ("ann", "planner", true),
        ("ben", "auditor", false),
        ("cleo", "auditor,planner", true),
    ] {
        let token = port.run(&["member", "add", name, "--roles", roles]).await?;
        let client = workbench_as(&port, token.trim()).await?;
        let answer = client.query(WEATHER, None).await;
        let said = answer.err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(said.is_empty(), may, "{name}: {said}");
        assert!(may || said.contains("policy"), "{name}: {said}");
    }
    // A consumer can write any word into its own grants: it is not heard.
    enact(
        &weather,
        "own.cedar",
        &PLANNERS.replace("planner", "auditor"),
    )
    .await?;
    let provider = weather.status().await?.org;
    let mut port = port;
    let rogue = Rogue::of(&mut port).await?;
    let channel = rogue.dial(&provider).await?;
    let mut grant = rogue.grant(provider, agreement, "delay-analysis");
    grant.roles = ["auditor".to_owned()].into();
    let asked = rogue.asked(&grant, "SELECT origin FROM weather.weather LIMIT 1")?;
    let refused = rogue.query(&channel, &asked).await.unwrap_err();
    assert_eq!(comity_tests::rogue::code(&refused), "policy");
    Ok(())
}
