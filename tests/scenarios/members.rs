//! Members: what their tokens open, until when, and who the identity provider says they are.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use comity::admin::api;
use comity::flight::SqlClient;
use comity::lab::Org;
use comity_tests::oidc::Provider;
use comity_tests::{Outcome, Three, ask, contracts, lab, reaches, sql, workbench_as};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

const COUNT: &str = "SELECT count(*) AS n FROM weather.weather";

/// More rows than any window or queue holds: the stream cannot have ended by itself.
const ENDLESS: &str = "SELECT a.* FROM weather.weather a CROSS JOIN weather.weather b";

/// Only planners read.
const PLANNERS: &str = r#"@id("planners-only")
forbid (principal is Member, action == Action::"query", resource is Product)
unless { principal.roles.contains("planner") };
"#;

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(60);

/// Reads the answer wholly, and says why it ended early.
async fn read(client: &SqlClient, statement: &str) -> Result<(), String> {
    let (_, mut rows) = client
        .query(statement, None)
        .await
        .map_err(|e| e.to_string())?;
    while rows.try_next().await.map_err(|e| e.to_string())?.is_some() {}
    Ok(())
}

/// What the workbench says to whoever asks with this token.
async fn asked_with(org: &Org, token: &str) -> Result<(), String> {
    let client = workbench_as(org, token).await.map_err(|e| e.to_string())?;
    read(&client, COUNT).await
}

/// The status and the answer of a call of the admin API over TCP.
fn call(
    org: &str,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let host = org.strip_prefix("http://").unwrap_or(org);
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.get(9..12).and_then(|s| s.parse().ok());
    Ok((status.unwrap_or_default(), answer))
}

/// Whether a file under `folder` holds `text`.
fn holds(folder: &Path, text: &str) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let found = match path.is_dir() {
            true => holds(&path, text)?,
            false if path.is_file() => {
                let bytes = std::fs::read(&path)?;
                bytes.windows(text.len()).any(|w| w == text.as_bytes())
            }
            false => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn weather() -> Result<(Org, tempfile::TempDir), Box<dyn std::error::Error>> {
    let (lab, dir) = lab();
    let org = lab.org("weather-service", "Weather Service", "").await?;
    let contract = contracts().join("weather-service/weather.odcs.yaml");
    org.publish(&contract).await?;
    Ok((org, dir))
}

/// Has `org` take `issuer` for its identity provider.
fn trust(org: &Org, issuer: &str) -> std::io::Result<()> {
    let mut config = std::fs::read_to_string(org.home().config())?;
    let issuer = format!("\n[oidc]\nissuer = \"{issuer}\"\naudience = \"comity\"\n");
    for (default, set) in [
        ("\n[oidc]\n", issuer.as_str()),
        (
            "\nclients = []\n",
            "\nclients = [\"analyst\", \"visitor\"]\n",
        ),
        (
            "\nrole_map = {}\n",
            "\nroles_claim = \"groups\"\nrole_map = { g-planning = \"planner\" }\n",
        ),
    ] {
        assert!(config.contains(default), "{default}");
        config = config.replacen(default, set, 1);
    }
    std::fs::write(org.home().config(), config)
}

/// The records of a node's journal, as `comity audit show` gives them.
async fn records(org: &Org) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let shown = org.run(&["--json", "audit", "show", "--full"]).await?;
    let lines = shown.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a34_a_real_identity_provider_makes_members_and_its_other_tokens_do_not() -> Outcome {
    let mut provider = Provider::start()?;
    let (lab, _dir) = lab();
    let mut org = lab.found("weather-service", "Weather Service", "").await?;
    trust(&org, provider.issuer())?;
    org.start().await?;
    let contract = contracts().join("weather-service/weather.odcs.yaml");
    org.publish(&contract).await?;
    let analyst = provider.token("analyst", "urn:comity")?;
    let visitor = provider.token("visitor", "urn:comity")?;
    asked_with(&org, &analyst).await?;
    asked_with(&org, &visitor).await?;

    // Of the same issuer, for another service; and with a signature that is not its own.
    let payroll = provider.token("analyst", "urn:payroll")?;
    let stranger = Provider::start()?.token("analyst", "urn:comity")?;
    let (front, _) = analyst.rsplit_once('.').ok_or("no signature")?;
    let (_, other_signature) = visitor.rsplit_once('.').ok_or("no signature")?;
    let mixed = format!("{front}.{other_signature}");
    for wrong in [&payroll, &stranger, &mixed] {
        let said = asked_with(&org, wrong).await.unwrap_err();
        assert!(said.contains("unauthenticated"), "{said}");
    }

    // The members are known; the tokens are written nowhere.
    let members: Vec<api::Member> = org.get("/v1/members").await?;
    let names: Vec<_> = members.iter().map(|m| m.name.as_str()).collect();
    assert!(
        names.contains(&"oidc:analyst") && names.contains(&"oidc:visitor"),
        "{names:?}"
    );
    for token in [&analyst, &visitor, &payroll] {
        let signature = token.rsplit('.').next().ok_or("no signature")?;
        assert!(!holds(org.home().path(), signature)?);
    }
    assert!(holds(org.home().path(), "oidc:analyst")?);

    // The roles are those that the owner gave to the provider's groups.
    let before: api::PolicyStatus = org.get("/v1/policy").await?;
    std::fs::write(org.home().policies().join("planners.cedar"), PLANNERS)?;
    org.until("the policy", || async {
        let now: api::PolicyStatus = org.get("/v1/policy").await?;
        Ok((now.activated > before.activated).then_some(()))
    })
    .await?;
    asked_with(&org, &analyst).await?;
    let said = asked_with(&org, &visitor).await.unwrap_err();
    assert!(said.contains("policy"), "{said}");

    // Removed here: what the provider issued until now counts no more.
    let client = workbench_as(&org, &analyst).await?;
    let (_, mut rows) = client.query(ENDLESS, None).await?;
    assert!(rows.try_next().await?.is_some());
    org.run(&["member", "remove", "oidc:analyst"]).await?;
    let cut = async {
        loop {
            match rows.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return "it ended by itself".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    };
    let cut = tokio::time::timeout(SOON, cut).await?;
    assert!(cut.contains("unauthenticated"), "{cut}");
    let said = asked_with(&org, &analyst).await.unwrap_err();
    assert!(said.contains("unauthenticated"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_ends_its_running_answer() -> Outcome {
    let (org, _dir) = weather().await?;
    let token = org
        .run(&["member", "add", "guest", "--expires", "10s"])
        .await?;
    let client = workbench_as(&org, token.trim()).await?;
    let (_, mut rows) = client.query(ENDLESS, None).await?;
    assert!(rows.try_next().await?.is_some());
    let cut = async {
        loop {
            match rows.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return "it ended by itself".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    };
    let cut = tokio::time::timeout(SOON, cut).await?;
    assert!(cut.contains("unauthenticated"), "{cut}");
    let said = asked_with(&org, token.trim()).await.unwrap_err();
    assert!(said.contains("unauthenticated"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a35_a_members_token_calls_the_admin_api_as_far_as_its_scope_goes() -> Outcome {
    let (org, _dir) = weather().await?;
    let admin = org.status().await?.listening.admin;
    let scoped = async |name: &str, scope: &str| {
        let token = org.run(&["member", "add", name, "--scope", scope]).await?;
        Ok::<_, Box<dyn std::error::Error>>(token.trim().to_owned())
    };
    let (query, observe, administer) = (
        scoped("ann", "query").await?,
        scoped("ben", "observe").await?,
        scoped("cleo", "administer").await?,
    );
    let add = json!({ "name": "new" }).to_string();
    let get = |token: &str| call(&admin, "GET", "/v1/status", token, "");
    let post = |token: &str| call(&admin, "POST", "/v1/members", token, &add);
    assert_eq!((get(&query)?.0, post(&query)?.0), (401, 401));
    assert_eq!((get("")?.0, post("")?.0), (401, 401));
    let refused = post(&observe)?;
    assert_eq!((get(&observe)?.0, refused.0), (200, 403));
    assert!(refused.1.contains("read-only"), "{}", refused.1);
    assert_eq!((get(&administer)?.0, post(&administer)?.0), (200, 200));
    for token in [&observe, &administer] {
        let said = asked_with(&org, token).await.unwrap_err();
        assert!(said.contains("unauthenticated"), "{said}");
    }
    asked_with(&org, &query).await?;

    // Whose act it was is in the journal, by the token's id.
    let members: Vec<api::Member> = org.get("/v1/members").await?;
    let cleo = members.iter().find(|m| m.name == "cleo").ok_or("no cleo")?;
    let id = &cleo.tokens.first().ok_or("no token")?.id;
    let by = format!("token {id}");
    let all = records(&org).await?;
    let act = all
        .iter()
        .find(|r| r["kind"] == "administered" && r["record"]["by"] == by.as_str());
    let act = act.ok_or("the act is not in the journal")?;
    assert_eq!(act["record"]["target"], "POST /v1/members");
    // One token ends, the next one goes on.
    let second = org
        .run(&["member", "token", "cleo", "--scope", "administer"])
        .await?;
    org.run(&["member", "end-token", "cleo", id]).await?;
    assert_eq!(get(&administer)?.0, 401);
    assert_eq!(get(second.trim())?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pseudonym_is_resolved_by_its_own_organization_alone_and_that_is_noted() -> Outcome {
    let three = Three::meet().await?;
    let asked = ask(&three.port, "weather-service", "weather").await?;
    reaches(&three.port, &asked.id, "FINALIZED").await?;
    sql(
        &three.port,
        r#"SELECT count(*) AS n FROM "weather-service".weather.weather"#,
    )
    .await?;
    let served = records(&three.weather).await?;
    let served = served
        .iter()
        .find(|r| r["kind"] == "delivery" && r["record"]["agreement"].is_string());
    let pseudonym = served
        .and_then(|r| r["record"]["subject"].as_str())
        .ok_or("no delivery")?;

    let resolve =
        async |org: &Org| -> Result<Vec<api::ResolvedMember>, Box<dyn std::error::Error>> {
            let said = org.run(&["--json", "member", "resolve", pseudonym]).await?;
            Ok(serde_json::from_str(&said)?)
        };
    let found = resolve(&three.port).await?;
    let [found] = found.as_slice() else {
        return Err(format!("{found:?}").into());
    };
    assert_eq!(
        (found.member.as_str(), found.partner.as_str()),
        ("owner", "weather-service")
    );
    assert!(
        resolve(&three.weather).await?.is_empty(),
        "a partner cannot"
    );
    let noted = records(&three.port).await?;
    let noted = noted
        .iter()
        .filter(|r| r["record"]["act"] == "resolve" && r["record"]["target"] == pseudonym);
    assert_eq!(noted.count(), 1);
    Ok(())
}
