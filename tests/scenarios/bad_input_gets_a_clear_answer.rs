//! What people do wrong at the command line, and what they read then.

use std::path::Path;
use std::process::{Command, Output};

use comity_tests::{Outcome, Three, ask, contracts, decide, lab, program, waits_for};

fn comity(home: &Path, args: &[&str]) -> Output {
    Command::new(program())
        .arg("--home")
        .arg(home)
        .args(args)
        .output()
        .expect("comity runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn wrong_usage_exits_with_64_and_failure_with_1() {
    let home = tempfile::tempdir().expect("a folder");
    assert_eq!(
        comity(home.path(), &["no-such-command"]).status.code(),
        Some(64)
    );
    assert_eq!(
        comity(home.path(), &["show", "Not a product"])
            .status
            .code(),
        Some(64)
    );
    let status = comity(home.path(), &["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(said(&status).contains("comity up"), "{}", said(&status));
    let json = comity(home.path(), &["status", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&json.stderr).expect("JSON on stderr");
    assert_eq!(error["error"]["code"], "not-running");
    assert_eq!(comity(home.path(), &["--help"]).status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_waits_for_a_node_that_is_starting() -> Outcome {
    let (lab, _dir) = lab();
    let mut org = lab.found("port-authority", "Port Authority", "").await?;
    let home = org.home().path().to_owned();
    let waiting = tokio::task::spawn_blocking(move || comity(&home, &["status", "--wait"]));
    org.start().await?;
    let status = waiting.await?;
    assert_eq!(status.status.code(), Some(0), "{}", said(&status));
    Ok(())
}

#[test]
fn nobody_waits_for_an_organization_that_is_not_there() {
    let home = tempfile::tempdir().expect("a folder");
    let waited = comity(home.path(), &["status", "--wait"]);
    assert_eq!(waited.status.code(), Some(1));
    assert!(said(&waited).contains("comity init"), "{}", said(&waited));
}

#[test]
fn lint_tells_programs_every_problem_in_one_document() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("a.odcs.yaml");
    std::fs::write(&file, "apiVersion: v3.1.0\nname: a\nname: b\nstauts: no\n").expect("a file");
    let file = file.display().to_string();
    let told = comity(home.path(), &["product", "lint", "--json", &file]);
    assert_eq!(told.status.code(), Some(1));
    assert_eq!(said(&told), "");
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("one document");
    assert_eq!(told["ok"], false);
    let first = &told["problems"][0];
    assert_eq!((&first["line"], &first["column"]), (&3.into(), &1.into()));
    assert_eq!(first["file"], file);
    assert!(
        first["message"]
            .as_str()
            .is_some_and(|m| m.contains("line 2"))
    );
    assert_eq!(first["write"], "name once");
    assert_eq!(
        told["problems"][1]["write"],
        "\"no\" for the word, false for the value"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn own_products_are_looked_for_at_home() -> Outcome {
    let (lab, _dir) = lab();
    let org = lab.org("weather-service", "Weather Service", "").await?;
    let home = org.home().path();
    let file = contracts().join("weather-service/weather.odcs.yaml");
    let file = file.display().to_string();
    let published = comity(home, &["publish", &file]);
    assert_eq!(published.status.code(), Some(0), "{}", said(&published));
    for (args, message) in [
        (vec!["product", "measure", "nope"], "no product 'nope'"),
        (
            vec!["product", "diff", "weather@9", &file],
            "there is no major 9 of weather: announced is weather",
        ),
        (vec!["show", "nope"], "no product 'nope'"),
    ] {
        let told = comity(home, &args);
        assert_eq!(told.status.code(), Some(1), "{args:?}");
        let text = said(&told);
        assert!(
            text.contains(message) && text.contains("comity product list"),
            "{text}"
        );
    }
    let shown = comity(home, &["show", "weather"]);
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    assert!(String::from_utf8_lossy(&shown.stdout).starts_with("weather-service/weather 1."));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_is_never_overwritten() -> Outcome {
    let (lab, _dir) = lab();
    let org = lab.found("port-authority", "Port Authority", "").await?;
    let again = comity(
        org.home().path(),
        &["init", "--name", "Other", "--alias", "other"],
    );
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("exists"), "{}", said(&again));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_configuration_key_names_itself() -> Outcome {
    let (lab, _dir) = lab();
    let org = lab
        .found(
            "port-authority",
            "Port Authority",
            "[wrokbench]\ntls = true",
        )
        .await?;
    let check = comity(org.home().path(), &["config", "check"]);
    assert_eq!(check.status.code(), Some(1));
    let said = said(&check);
    assert!(said.contains("wrokbench"), "{said}");
    assert!(
        said.contains("`workbench`"),
        "the nearest key is named: {said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_others_can_read_are_refused_with_the_command_that_mends_it() -> Outcome {
    use std::os::unix::fs::PermissionsExt as _;
    let (lab, _dir) = lab();
    let org = lab.found("port-authority", "Port Authority", "").await?;
    let key = org.home().path().join("keys/node.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640))?;
    let up = comity(org.home().path(), &["up"]);
    assert_eq!(up.status.code(), Some(1));
    assert!(said(&up).contains("chmod"), "{}", said(&up));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_one_home_is_refused() -> Outcome {
    let (lab, _dir) = lab();
    let org = lab.org("port-authority", "Port Authority", "").await?;
    let up = comity(org.home().path(), &["up"]);
    assert_eq!(up.status.code(), Some(1));
    assert!(!said(&up).is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a44_a_key_log_variable_stops_the_start() -> Outcome {
    let (lab, dir) = lab();
    let org = lab.found("port-authority", "Port Authority", "").await?;
    let log = dir.path().join("secrets");
    let up = Command::new(program())
        .arg("--home")
        .arg(org.home().path())
        .arg("up")
        .env("SSLKEYLOGFILE", &log)
        .output()?;
    assert_eq!(up.status.code(), Some(1));
    assert!(said(&up).contains("SSLKEYLOGFILE"));
    assert!(!log.exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_that_do_not_hold_are_refused_with_file_and_line() -> Outcome {
    let (lab, dir) = lab();
    let org = lab.org("weather-service", "Weather Service", "").await?;
    let good = std::fs::read_to_string(contracts().join("weather-service/weather.odcs.yaml"))?;

    let misspelt = dir.path().join("misspelt.odcs.yaml");
    std::fs::write(&misspelt, good.replacen("logicalType:", "logicalTpye:", 1))?;
    let publish = comity(
        org.home().path(),
        &["publish", &misspelt.display().to_string()],
    );
    assert_eq!(publish.status.code(), Some(1));
    assert!(
        said(&publish).contains("misspelt.odcs.yaml"),
        "{}",
        said(&publish)
    );
    assert!(said(&publish).contains("logicalTpye"), "{}", said(&publish));

    // The contract is fine, the data it names is not there.
    let moved = dir.path().join("moved.odcs.yaml");
    std::fs::write(&moved, &good)?;
    let publish = comity(
        org.home().path(),
        &["publish", &moved.display().to_string()],
    );
    assert_eq!(publish.status.code(), Some(1));
    assert!(
        said(&publish).contains("weather.parquet"),
        "{}",
        said(&publish)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_invitation_does_not_work_again() -> Outcome {
    let (lab, _dir) = lab();
    let host = lab.org("weather-service", "Weather Service", "").await?;
    let guest = lab.org("port-authority", "Port Authority", "").await?;
    let other = lab
        .org("aircraft-registry", "Aircraft Registry", "")
        .await?;
    let made = comity(host.home().path(), &["invite", "--json"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout)?;
    let code = made["code"].as_str().expect("a code");
    assert_eq!(
        comity(guest.home().path(), &["join", code]).status.code(),
        Some(0)
    );
    let second = comity(other.home().path(), &["join", code]);
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("invitation"), "{}", said(&second));
    let mut broken = code.to_owned();
    broken.replace_range(code.len() / 2..code.len() / 2 + 1, "!");
    assert_eq!(
        comity(other.home().path(), &["join", &broken])
            .status
            .code(),
        Some(64),
        "a damaged text is wrong usage"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_offer_that_changes_nothing_is_refused() -> Outcome {
    let three = Three::meet().await?;
    let n = ask(&three.port, "aircraft-registry", "planes").await?;
    waits_for(&three.registry, &n.id).await?;
    let countered = comity(three.registry.home().path(), &["counter", &n.id]);
    assert_eq!(countered.status.code(), Some(64), "{}", said(&countered));
    assert!(
        said(&countered).contains("--columns"),
        "{}",
        said(&countered)
    );
    // The one who asked is told whose turn it is, in words.
    let own = comity(three.port.home().path(), &["approve", &n.id]);
    assert!(
        said(&own).contains("aircraft-registry must answer first"),
        "{}",
        said(&own)
    );
    decide(&three.registry, &n.id, "approve").await?;
    let again = comity(three.registry.home().path(), &["decline", &n.id]);
    assert!(
        said(&again).contains("it has ended: FINALIZED"),
        "{}",
        said(&again)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_is_not_active_is_not_announced() -> Outcome {
    let (lab, dir) = lab();
    let org = lab.org("weather-service", "Weather Service", "").await?;
    let example = contracts().join("weather-service");
    let text = std::fs::read_to_string(example.join("weather.odcs.yaml"))?;
    let data = example.join("../../data").canonicalize()?;
    let text = text.replace("../../data", &data.display().to_string());
    for (status, code) in [("draft", 1), ("retired", 1), ("active", 0)] {
        let file = dir.path().join("weather.odcs.yaml");
        std::fs::write(
            &file,
            text.replace("status: active", &format!("status: {status}")),
        )?;
        let told = comity(org.home().path(), &["publish", &file.display().to_string()]);
        assert_eq!(told.status.code(), Some(code), "{status}: {}", said(&told));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_told_to_programs_as_json() -> Outcome {
    let dir = tempfile::tempdir()?;
    let wrong = comity(dir.path(), &["--json", "frobnicate"]);
    assert_eq!(wrong.status.code(), Some(64));
    let told: serde_json::Value = serde_json::from_slice(&wrong.stderr)?;
    assert_eq!(told["error"]["code"], "usage");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_the_section_that_sets_it() -> Outcome {
    let (lab, _dir) = lab();
    let org = lab.found("port-authority", "Port Authority", "").await?;
    let config = std::fs::read_to_string(org.home().config())?;
    let section = config
        .split("[workbench]")
        .nth(1)
        .ok_or("a workbench section")?;
    let listen = section
        .lines()
        .find_map(|line| line.strip_prefix("listen = "))
        .ok_or("where the workbench listens")?
        .trim_matches('"');
    let _taken = std::net::TcpListener::bind(listen)?;
    let up = comity(org.home().path(), &["up"]);
    assert_eq!(up.status.code(), Some(1));
    assert!(
        said(&up).contains(listen) && said(&up).contains("[workbench]"),
        "{}",
        said(&up)
    );
    Ok(())
}
