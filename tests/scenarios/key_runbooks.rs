//! RUNBOOKS.md, executed: the keys change, the organization and its agreements stay.

use std::path::Path;

use comity::clock;
use comity::home::Home;
use comity::journal::{self, Journal};
use comity::lab::{LabError, Org};
use comity::ledger::{Record, SignedKind};
use comity_identity::history::History;
use comity_identity::organization::{Role, VerifiedDocument};
use comity_identity::{KeyId, OrgId, PublicKey, SecretKey, Signer as _, Timestamp};
use comity_protocol::keys::IssuerKeys;
use comity_protocol::negotiation::{AGREEMENT, SignedDocument};
use comity_tests::rogue::{Rogue, code, count, statement};
use comity_tests::{Outcome, Three, ask, reaches, sql};

const WEATHER: &str = r#"SELECT count(*) AS n FROM "weather-service".weather.weather"#;
const ROWS: usize = 26_115;

/// Asks until the answer comes: the partner may still be learning the new keys.
async fn reads(org: &Org) -> Result<(), LabError> {
    org.until("an answer under the old agreement", || async {
        let rows = sql(org, WEATHER).await.ok();
        Ok(rows
            .filter(|rows| rows.first().is_some_and(|r| r["n"] == ROWS))
            .map(|_| ()))
    })
    .await
}

/// A copy of a whole home, as a thief of the disk or of its backup has it.
fn copy(home: &Home, to: &Path) -> std::io::Result<Home> {
    use std::os::unix::fs::DirBuilderExt as _;
    fn folder(from: &Path, to: &Path) -> std::io::Result<()> {
        std::fs::DirBuilder::new().mode(0o700).create(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folder(&entry.path(), &to.join(entry.file_name()))?;
            } else if kind.is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        Ok(())
    }
    folder(home.path(), to)?;
    Ok(Home::at(to))
}

async fn agreed(three: &Three) -> Result<comity_identity::Digest, Box<dyn std::error::Error>> {
    let n = ask(&three.port, "weather-service", "weather").await?;
    let agreement = reaches(&three.port, &n.id, "FINALIZED").await?.agreement;
    reads(&three.port).await?;
    Ok(agreement.ok_or("not signed")?)
}

/// The issuer keys of two documents, whatever came after them.
struct AsOf(Vec<VerifiedDocument>);

impl IssuerKeys for AsOf {
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, now: Timestamp) -> Option<PublicKey> {
        let document = self.0.iter().find(|d| d.org() == *org)?;
        document.issuer(kid, role, now).copied()
    }
}

/// What the journal of a stopped node says: every agreement, and the documents
/// of both parties as they were when it was signed.
fn provable(home: &Home) -> Outcome {
    let (journal, _) = Journal::open(&home.journal(), journal::Settings::default())?;
    let mut known: Vec<VerifiedDocument> = Vec::new();
    let mut verified = 0;
    for entry in journal.replay(0) {
        let (_, bytes) = entry?;
        let evidence = match serde_json::from_slice(&bytes)? {
            Record::Own(own) => Some((own.history, own.document)),
            Record::Known(known) => Some((known.evidence.history, known.evidence.document)),
            Record::Signed(signed) if signed.kind == SignedKind::Agreement => {
                let keys = AsOf(known.clone());
                let at = SignedDocument::recall(AGREEMENT, &signed.text)?
                    .document()
                    .at;
                SignedDocument::verify(AGREEMENT, &signed.text, &keys, at)?;
                verified += 1;
                None
            }
            _ => None,
        };
        if let Some((history, document)) = evidence {
            let history = History::verify(&history)?;
            let document = VerifiedDocument::verify_recorded(&document, &history)?;
            known.retain(|d| d.org() != document.org());
            known.push(document);
        }
    }
    assert_eq!(verified, 1, "the agreement of before the change of keys");
    Ok(())
}

/// Runbooks 1 to 3: every key is replaced in time, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_replaced_in_time_change_nothing_for_partners() -> Outcome {
    let mut three = Three::meet().await?;
    agreed(&three).await?;
    let org = three.weather.status().await?.org;
    let running = three.weather.run(&["keys", "rotate"]).await.unwrap_err();
    assert!(running.to_string().contains("stop the node"), "{running}");
    for command in [
        &["keys", "rotate"][..],
        &["keys", "renew", "issuer"],
        &["keys", "renew", "node"],
    ] {
        three.weather.stop().await?;
        three.weather.run(command).await?;
        three.weather.start().await?;
        reads(&three.port).await?;
        assert_eq!(three.weather.status().await?.org, org);
    }
    // The consumer's side as well: its grants are signed and held by new keys.
    for command in [&["keys", "renew", "issuer"][..], &["keys", "renew", "node"]] {
        three.port.stop().await?;
        three.port.run(command).await?;
        three.port.start().await?;
        reads(&three.port).await?;
    }
    three.weather.stop().await?;
    three.port.stop().await?;
    provable(three.weather.home())?;
    provable(three.port.home())
}

/// Runbook 4 (A13): a copy of the disk is stolen, without the committed root key.
#[tokio::test(flavor = "multi_thread")]
async fn a13_after_a_theft_the_owner_goes_on_and_the_thief_is_refused() -> Outcome {
    let mut three = Three::meet().await?;
    let agreement = agreed(&three).await?;
    let weather = three.weather.status().await?.org;
    let dir = tempfile::tempdir()?;
    three.port.stop().await?;
    let stolen = copy(three.port.home(), &dir.path().join("stolen"))?;
    std::fs::remove_file(stolen.path().join("keys/next-root.key"))?;
    let thief = Rogue::at(&stolen, "port-authority")?;
    let channel = thief.dial(&weather).await?;
    let asked = thief.asked(
        &thief.grant(weather, agreement, "delay-analysis"),
        "SELECT origin FROM weather.weather",
    )?;
    let read = thief.query(&channel, &asked).await?;
    assert_eq!(count(&read), ROWS, "the keys are real");

    let now = clock::now().to_string();
    let stolen_since = ["--stolen-since", now.as_str()];
    for command in [&["keys", "recover"][..], &["keys", "renew", "node"]] {
        three.port.run(&[command, &stolen_since].concat()).await?;
    }
    three.port.start().await?;
    reads(&three.port).await?;

    // On the connection that was open, and on a new one.
    let refused = thief.query(&channel, &asked).await.unwrap_err();
    assert!(
        ["not-federated", "grant-invalid"].contains(&code(&refused)),
        "{refused}"
    );
    let again = match thief.dial(&weather).await {
        Ok(channel) => thief.query(&channel, &asked).await.is_ok(),
        Err(_) => false,
    };
    assert!(!again, "the stolen TLS key still connects");
    three.weather.stop().await?;
    provable(three.weather.home())
}

/// A30: only the node has new keys, so the stolen issuer key still signs grants;
/// the connection that the stolen TLS key opened is good for none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a30_the_open_connection_of_a_stolen_node_key_is_cut() -> Outcome {
    let mut three = Three::meet().await?;
    let agreement = agreed(&three).await?;
    let weather = three.weather.status().await?.org;
    let dir = tempfile::tempdir()?;
    three.port.stop().await?;
    let stolen = copy(three.port.home(), &dir.path().join("stolen"))?;
    let thief = Rogue::at(&stolen, "port-authority")?;
    let channel = thief.dial(&weather).await?;
    let own = SecretKey::from_seed(&[7; 32]);
    let mut grant = thief.grant(weather, agreement, "delay-analysis");
    grant.cnf = own.public();
    let asked = thief.asked(&grant, "SELECT origin FROM weather.weather")?;
    let plan = || channel.request(statement(&asked.sql), &asked, &own);
    channel.service().get_flight_info(plan()?).await?;

    three.port.run(&["keys", "renew", "node"]).await?;
    three.port.start().await?;
    reads(&three.port).await?;
    let refused = channel.service().get_flight_info(plan()?).await;
    assert_eq!(code(&refused.unwrap_err()), "not-federated");
    Ok(())
}

/// A12, A13: a thief who has even the committed key can fork the history, and
/// that is all: partners keep both branches as evidence and freeze.
#[tokio::test(flavor = "multi_thread")]
async fn a12_a_fork_by_a_thief_of_every_root_key_freezes_the_organization() -> Outcome {
    let mut three = Three::meet().await?;
    agreed(&three).await?;
    let dir = tempfile::tempdir()?;
    three.weather.stop().await?;
    let before = copy(three.weather.home(), &dir.path().join("before"))?;
    three.weather.run(&["keys", "rotate"]).await?;
    three.weather.start().await?;
    reads(&three.port).await?;
    three.weather.stop().await?;

    // The other branch, from the same keys, shown by the same node.
    let aside = dir.path().join("aside");
    std::fs::rename(three.weather.home().path(), &aside)?;
    copy(&before, three.weather.home().path())?;
    three
        .weather
        .run(&["keys", "rotate", "--reason", "the other branch"])
        .await?;
    three.weather.start().await?;
    three
        .port
        .until("the freezing of weather-service", || async {
            let partners = three.port.status().await?.partners;
            let frozen = |p: &&_| matches!(p, comity::admin::api::PartnerStatus { alias, state, .. } if alias == "weather-service" && state == "frozen");
            Ok(partners.iter().find(frozen).map(|_| ()))
        })
        .await?;
    assert!(sql(&three.port, WEATHER).await.is_err());
    Ok(())
}
