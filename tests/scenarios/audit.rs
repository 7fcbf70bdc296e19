//! `comity audit`: what the journals of real nodes prove, and to whom.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use comity::admin::api;
use comity::lab::Org;
use comity_tests::{Outcome, Three, ask, lab, program, reaches, sql};
use serde_json::{Value, json};

const WEATHER: &str = r#"SELECT count(*) AS n FROM "weather-service".weather.weather"#;

fn audit(org: &Org, args: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new(program());
    command.arg("--home").arg(org.home().path()).arg("audit");
    command.args(args).output()
}

/// The exit code and the report of `comity audit verify`.
fn verify(org: &Org, args: &[&str]) -> Result<(i32, Value), Box<dyn std::error::Error>> {
    let said = audit(org, &[&["verify", "--json"], args].concat())?;
    let report = serde_json::from_slice(&said.stdout)
        .map_err(|e| format!("{e}: {}", String::from_utf8_lossy(&said.stderr)))?;
    Ok((said.status.code().unwrap_or(-1), report))
}

fn shown(org: &Org, args: &[&str]) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let said = audit(org, &[&["show", "--json"], args].concat())?;
    assert!(said.status.success(), "{said:?}");
    let lines = String::from_utf8(said.stdout)?;
    Ok(lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?)
}

fn segment(org: &Org) -> std::io::Result<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(org.home().journal())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "journal") {
            files.push(path);
        }
    }
    files.sort();
    files
        .pop()
        .ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

async fn add_member(org: &Org, name: &str) -> Outcome {
    let _: api::MemberToken = org.post("/v1/members", &json!({ "name": name })).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a33_a_journal_restored_from_a_backup_and_signed_again_is_found_by_a_partner() -> Outcome {
    let (lab, dir) = lab();
    let mut org = lab.org("weather-service", "Weather Service", "").await?;
    org.stop().await?;
    let backup = fs::read(segment(&org)?)?;
    org.start().await?;
    for number in 0..10 {
        add_member(&org, &format!("member-{number}")).await?;
    }
    // A running node is audited too; the checkpoint is what a partner keeps.
    let held = dir.path().join("held.txt");
    fs::write(&held, audit(&org, &["checkpoint"])?.stdout)?;
    let held = held.to_str().ok_or("a path")?;
    let (code, report) = verify(&org, &["--peer-checkpoints", held])?;
    assert_eq!(
        (code, &report["held_checkpoints"]),
        (0, &json!(1)),
        "{report}"
    );

    org.stop().await?;
    let file = segment(&org)?;
    let whole = fs::read(&file)?;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&file, &flipped)?;
    let (code, report) = verify(&org, &[])?;
    assert_eq!((code, &report["verdict"]), (2, &json!("tampered")));

    fs::write(&file, &backup)?;
    // Consistent in itself, and signed by the right key.
    let again = dir.path().join("again.txt");
    fs::write(&again, audit(&org, &["checkpoint"])?.stdout)?;
    let again = again.to_str().ok_or("a path")?;
    assert_eq!(verify(&org, &["--peer-checkpoints", again])?.0, 0);
    let (code, report) = verify(&org, &["--peer-checkpoints", held])?;
    assert_eq!(
        (code, &report["verdict"]),
        (3, &json!("forked")),
        "{report}"
    );

    // It grows past the old size with other records.
    org.start().await?;
    for number in 0..12 {
        add_member(&org, &format!("other-{number}")).await?;
    }
    assert_eq!(verify(&org, &[])?.0, 0);
    assert_eq!(verify(&org, &["--peer-checkpoints", held])?.0, 3);
    org.stop().await?;
    fs::remove_file(segment(&org)?)?;
    assert_eq!(verify(&org, &[])?.0, 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_member_is_in_no_file_of_the_home_and_the_node_goes_on() -> Outcome {
    const NAME: &str = "zenobia-erased";
    let mut three = Three::meet().await?;
    let port = &three.port;
    add_member(port, NAME).await?;
    let args = ["show", "--member", NAME, "--json"];
    assert_eq!(
        String::from_utf8(audit(port, &args)?.stdout)?
            .lines()
            .count(),
        1
    );
    // Not while the node runs, and not while the member has a token.
    assert!(!audit(port, &["erase", "--member", NAME])?.status.success());
    let _: Value = port
        .post("/v1/members/remove", &json!({ "name": NAME }))
        .await?;
    let running = audit(port, &["erase", "--member", NAME])?;
    assert!(
        String::from_utf8_lossy(&running.stderr).contains("in use"),
        "{running:?}"
    );
    let held = three.port.home().path().join("held.txt");
    fs::write(&held, audit(&three.port, &["checkpoint"])?.stdout)?;
    three.port.stop().await?;
    let erased = audit(&three.port, &["erase", "--member", NAME, "--json"])?;
    assert!(erased.status.success(), "{erased:?}");
    assert_eq!(
        serde_json::from_slice::<Value>(&erased.stdout)?["records"],
        2
    );

    assert_eq!(
        naming(three.port.home().path(), NAME)?,
        Vec::<PathBuf>::new()
    );
    let held = held.to_str().ok_or("a path")?.to_owned();
    let (code, report) = verify(&three.port, &["--peer-checkpoints", &held])?;
    assert_eq!((code, &report["erased"]), (0, &json!(2)), "{report}");
    three.port.start().await?;
    let n = ask(&three.port, "weather-service", "weather").await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;
    assert_eq!(sql(&three.port, WEATHER).await?[0]["n"], 26_115);
    let erasing = shown(&three.port, &["--kind", "administered"])?;
    assert!(
        erasing
            .iter()
            .any(|line| line["record"]["act"] == "erase-member")
    );
    Ok(())
}

/// The files under `folder` that hold `word`.
fn naming(folder: &Path, word: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            found.extend(naming(&path, word)?);
        } else if kind.is_file() {
            let bytes = fs::read(&path)?;
            if bytes.windows(word.len()).any(|at| at == word.as_bytes()) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// `COMITY_WRITE_VECTORS=1` keeps the bundle as `spec/vectors/bundle.json`.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_verifies_an_agreement_from_its_bundle_alone() -> Outcome {
    let three = Three::meet().await?;
    let n = ask(&three.port, "weather-service", "weather").await?;
    let agreement = reaches(&three.port, &n.id, "FINALIZED").await?.agreement;
    let agreement = agreement.ok_or("no agreement")?.to_string();
    assert_eq!(sql(&three.port, WEATHER).await?[0]["n"], 26_115);
    three
        .weather
        .until("a receipt that both signed", || async {
            let all: Vec<api::Receipts> = three.weather.get("/v1/receipts").await?;
            let settled = |r: &&api::Receipts| r.made == 1 && (r.open, r.unanswered) == (0, 0);
            Ok(all.iter().find(settled).map(|_| ()))
        })
        .await?;
    let path = format!("/v1/agreements/{}/revoke", agreement.replace("sha256:", ""));
    let _: api::Agreement = three.weather.post(&path, &json!({})).await?;

    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec");
    for org in [&three.weather, &three.port] {
        let (code, report) = verify(org, &[])?;
        assert_eq!(code, 0, "{}: {report}", org.alias());
        let file = org.home().path().join("bundle.json");
        let name = file.to_str().ok_or("a path")?;
        let made = audit(org, &["export", "--agreement", &agreement, "-o", name])?;
        assert!(made.status.success(), "{made:?}");
        // What exists is not overwritten.
        let again = audit(org, &["export", "--agreement", &agreement, "-o", name])?;
        assert!(!again.status.success());
        let python = std::env::var_os("COMITY_PYTHON").unwrap_or_else(|| "python3".into());
        let checked = Command::new(python)
            .arg(spec.join("verifier/check_bundle.py"))
            .arg(&file)
            .output()?;
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(
            checked.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&checked.stderr)
        );
        for proven in ["signed by both", "both signed 1", "revocations: 1"] {
            assert!(said.contains(proven), "{said}");
        }
        if org.alias() == "weather-service" && std::env::var_os("COMITY_WRITE_VECTORS").is_some() {
            fs::copy(&file, spec.join("vectors/bundle.json"))?;
        }
    }
    let weather = shown(
        &three.weather,
        &["--partner", "port-authority", "--agreement", &agreement],
    )?;
    let kinds: Vec<&str> = weather.iter().filter_map(|l| l["kind"].as_str()).collect();
    for kind in ["signed", "delivery", "revoked"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    Ok(())
}
