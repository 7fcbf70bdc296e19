//! What was delivered is signed by both sides, whatever happens in between.

use std::sync::Arc;

use comity::admin::api;
use comity::index::{self, Table};
use comity::journal;
use comity::keys::Keys;
use comity::lab::{Lab, LabError, Org};
use comity::ledger::{Facet, Ledger, Marks, ReceiptFacet, Record, org_key, receipt_key};
use comity_identity::keyring::Keyring;
use comity_identity::organization::Role;
use comity_identity::{Digest, KeyId, OrgId, PublicKey, Signer as _, Timestamp};
use comity_protocol::keys::IssuerKeys;
use comity_protocol::negotiation::{AGREEMENT, SignedDocument};
use comity_protocol::receipt::{Delivered, SignedReceipt};
use comity_tests::rogue::{Rogue, code};
use comity_tests::{Outcome, WEATHER_RULES, ask, contracts, lab, reaches, sql};

const ALL: &str = r#"SELECT origin, temp FROM "weather-service".weather.weather"#;
const ROWS: usize = 26_115;

/// Weather Service and Port Authority, with an agreement over `weather`.
struct Pair {
    weather: Org,
    port: Org,
    agreement: Digest,
    consumer: OrgId,
    _dir: tempfile::TempDir,
}

impl Pair {
    /// Weather Service makes receipts after `seconds` and puts up with `most`
    /// unanswered ones.
    async fn agree(seconds: u64, most: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let (lab, dir): (Lab, _) = lab();
        let mut weather = lab
            .found("weather-service", "Weather Service", WEATHER_RULES)
            .await?;
        set(&weather, "receipt_seconds", 5, seconds)?;
        set(&weather, "max_unacknowledged", 8, most)?;
        weather.start().await?;
        let port = lab.org("port-authority", "Port Authority", "").await?;
        weather.federate(&port).await?;
        let contract = contracts().join("weather-service/weather.odcs.yaml");
        weather.publish(&contract).await?;
        port.discovers("weather-service", "weather").await?;
        let n = ask(&port, "weather-service", "weather").await?;
        let agreement = reaches(&port, &n.id, "FINALIZED").await?.agreement;
        let consumer = port.status().await?.org;
        Ok(Self {
            consumer,
            weather,
            port,
            agreement: agreement.ok_or("not signed")?,
            _dir: dir,
        })
    }

    /// Waits until the receipts of the agreement are as `wanted`.
    async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&api::Receipts) -> bool,
    ) -> Result<api::Receipts, LabError> {
        let weather = &self.weather;
        weather
            .until(what, || async {
                let list: Vec<api::Receipts> = weather.get("/v1/receipts").await?;
                Ok(list.into_iter().find(|r| wanted(r)))
            })
            .await
    }
}

/// Sets a key of the configuration, which has its default so far.
fn set(org: &Org, key: &str, from: u64, to: u64) -> std::io::Result<()> {
    let path = org.home().config();
    let text = std::fs::read_to_string(&path)?;
    let line = format!("\n{key} = {from}\n");
    assert!(text.contains(&line), "{text}");
    std::fs::write(&path, text.replace(&line, &format!("\n{key} = {to}\n")))
}

/// The journal and index of `org`, whose node does not run.
fn ledger(org: &Org) -> Result<Arc<Ledger>, comity::ledger::Error> {
    let settings = (journal::Settings::default(), index::Settings::default());
    Ledger::open(org.home(), settings.0, settings.1).map(Arc::new)
}

/// The keys of partners, and the one of the organization whose keyring it is.
struct Both {
    keyring: Keyring,
    own: (OrgId, PublicKey),
}

impl IssuerKeys for Both {
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, now: Timestamp) -> Option<PublicKey> {
        if *org == self.own.0 {
            return Some(self.own.1).filter(|key| key.id() == *kid);
        }
        self.keyring.issuer(org, kid, role, now)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_is_countersigned() -> Outcome {
    let mut pair = Pair::agree(1, 8).await?;
    for _ in 0..3 {
        assert_eq!(sql(&pair.port, ALL).await?.len(), ROWS);
    }
    let settled = |r: &api::Receipts| r.made > 0 && (r.open, r.unanswered) == (0, 0);
    let receipts = pair.until("the countersignature", settled).await?;
    assert_eq!((receipts.disputed, receipts.paused), (0, false));
    pair.port.stop().await?;

    // The consumer can show, from its own journal alone, what both signed.
    let ledger = ledger(&pair.port)?;
    let keyring = Keyring::open(Arc::new(Marks::new(Arc::clone(&ledger))))?;
    let mut signed = None;
    for (_, record) in ledger.scan(Table::Agreements, &[])? {
        if let Record::Signed(s) = record
            && s.id == pair.agreement
        {
            signed = Some(SignedDocument::recall(AGREEMENT, &s.text)?);
        }
    }
    let signed = signed.ok_or("no agreement")?;
    let key = receipt_key(&pair.agreement, ReceiptFacet::Taken, 0);
    let Some(Record::ReceiptTaken(taken)) = ledger.get(Table::Receipts, &key)? else {
        return Err("no receipt was taken".into());
    };
    let keys = Both {
        keyring,
        own: (
            pair.consumer,
            Keys::open(pair.port.home().path())?.issuer.public(),
        ),
    };
    let of = (signed.digest(), signed.document());
    let receipt = SignedReceipt::verify(&taken.text, of, &keys, comity::clock::now())?;
    let last = receipt.receipt().deliveries.last().ok_or("empty")?;
    assert_eq!(last.rows, ROWS as u64);
    assert!(last.bytes > 0 && last.ended.is_none());
    // All three read the same files by the same plan, and the receipts say so.
    let read = |d: &Delivered| (d.plan, d.snapshot.clone());
    let mut states: Vec<_> = receipt.receipt().deliveries.iter().map(read).collect();
    states.dedup();
    assert!(matches!(&states[..], [(Some(_), Some(_))]), "{states:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_killed_between_delivery_and_receipt_states_it_after_the_restart() -> Outcome {
    let mut pair = Pair::agree(3600, 8).await?;
    assert_eq!(sql(&pair.port, ALL).await?.len(), ROWS);
    let waits = |r: &api::Receipts| (r.open, r.made) == (1, 0);
    pair.until("the end of the delivery", waits).await?;
    pair.weather.kill().await;
    set(&pair.weather, "receipt_seconds", 3600, 1)?;
    pair.weather.start().await?;
    let settled = |r: &api::Receipts| (r.made, r.unanswered, r.open) == (1, 0, 0);
    let receipts = pair.until("the countersignature", settled).await?;
    assert_eq!(receipts.disputed, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_waits_for_a_partner_that_is_away() -> Outcome {
    let mut pair = Pair::agree(1, 8).await?;
    assert_eq!(sql(&pair.port, ALL).await?.len(), ROWS);
    let ended = |r: &api::Receipts| r.open + usize::from(r.made > 0) > 0;
    pair.until("the end of the delivery", ended).await?;
    pair.port.stop().await?;
    pair.until("the receipt", |r| r.made == 1).await?;
    pair.port.start().await?;
    let settled = |r: &api::Receipts| (r.made, r.unanswered) == (1, 0);
    let receipts = pair.until("the countersignature", settled).await?;
    assert_eq!(receipts.disputed, 0);
    Ok(())
}

/// The consumer takes the rows and never acknowledges one. Its honest node,
/// back again, has received nothing and says so: that does not open the
/// agreement either.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_acknowledge_is_paused_and_so_is_who_disputes() -> Outcome {
    let mut pair = Pair::agree(1, 1).await?;
    let provider = pair.weather.status().await?.org;
    {
        let rogue = Rogue::of(&mut pair.port).await?;
        let channel = rogue.dial(&provider).await?;
        let grant = rogue.grant(provider, pair.agreement, "delay-analysis");
        let asked = rogue.asked(&grant, "SELECT origin FROM weather.weather")?;
        rogue.query(&channel, &asked).await?;
        let paused = pair.until("the pause", |r| r.paused).await?;
        assert_eq!((paused.unanswered, paused.disputed), (1, 0));
        let refused = rogue.query(&channel, &asked).await.unwrap_err();
        assert_eq!(code(&refused), "receipts-due");
    }
    pair.port.start().await?;
    let disputed = pair.until("the dispute", |r| r.disputed == 1).await?;
    assert_eq!((disputed.unanswered, disputed.paused), (0, true));
    let refused = sql(&pair.port, ALL).await.unwrap_err().to_string();
    assert!(refused.contains("receipts-due"), "{refused}");

    // The provider's operator finds out who is right, and accepts.
    let id = pair.agreement.to_string();
    let shown = pair.weather.run(&["receipts"]).await?;
    assert!(shown.contains("paused"), "{shown}");
    let [of_it] = disputed.disputes.iter().collect::<Vec<_>>()[..] else {
        return Err(format!("{disputed:?}").into());
    };
    let other = pair.weather.run(&["receipts", "accept", &id, "99"]).await;
    assert!(other.unwrap_err().to_string().contains("not disputed"));
    let number = of_it.to_string();
    let accepted = ["receipts", "accept", &id, &number];
    let said = pair.weather.run(&accepted).await?;
    assert!(said.contains("open"), "{said}");
    assert_eq!(sql(&pair.port, ALL).await?.len(), ROWS);
    Ok(())
}

/// The provider restores yesterday's copy of its journal: the consumer holds a
/// later checkpoint of it.
#[tokio::test(flavor = "multi_thread")]
async fn a33_a_journal_that_was_cut_is_noticed_by_the_partner() -> Outcome {
    let mut pair = Pair::agree(1, 8).await?;
    let provider = pair.weather.status().await?.org;
    let settled = |n: u64| move |r: &api::Receipts| (r.made, r.unanswered) == (n, 0);
    assert_eq!(sql(&pair.port, ALL).await?.len(), ROWS);
    pair.until("the first countersignature", settled(1)).await?;
    pair.weather.stop().await?;
    let home = pair.weather.home().clone();
    let copy = tempfile::tempdir()?;
    copy_all(&home.journal(), copy.path())?;
    pair.weather.start().await?;
    assert_eq!(sql(&pair.port, ALL).await?.len(), ROWS);
    pair.until("the second countersignature", settled(2))
        .await?;
    pair.weather.stop().await?;
    std::fs::remove_dir_all(home.journal())?;
    std::fs::remove_dir_all(home.index())?;
    copy_all(copy.path(), &home.journal())?;
    pair.weather.start().await?;
    assert_eq!(sql(&pair.port, ALL).await?.len(), ROWS);

    let log = pair.port.home().path().join("node.log");
    let port = &pair.port;
    port.until("the alarm", || async {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        Ok(text.contains("ALARM").then_some(()))
    })
    .await?;
    let receipts = pair.until("the receipt", |r| r.made == 2).await?;
    assert_eq!(receipts.unanswered, 1, "it is not countersigned");
    pair.port.stop().await?;
    let ledger = ledger(&pair.port)?;
    let key = org_key(&provider, Facet::Rewritten);
    let kept = ledger.get(Table::Organizations, &key)?;
    let Some(Record::JournalRewritten(kept)) = kept else {
        return Err(format!("no evidence: {kept:?}").into());
    };
    assert_ne!(kept.root, kept.held_root);
    Ok(())
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}
