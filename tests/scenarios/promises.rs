//! What a product promises is measured, and partners see it.

use std::path::Path;
use std::process::Command;

use comity::admin::api;
use comity::lab::Org;
use comity_tests::shop::{CANARIES, Shop, chain, measure, on_demand, sees, signed, verdict};
use comity_tests::{Outcome, ask, lab, program, reaches, sql};
use serde_json::Value;

fn show(org: &Org, args: &[&str]) -> std::io::Result<String> {
    let output = Command::new(program())
        .args(["--home", &org.home().path().display().to_string(), "show"])
        .args(args)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_what_is_kept_what_is_broken_and_what_nobody_can_say() -> Outcome {
    let (lab, dir) = lab();
    let mut shop = lab.org("shop", "Shop", "").await?;
    let mut reader = lab.org("reader", "Reader", "").await?;
    shop.federate(&reader).await?;
    let data = Shop(dir.path());
    data.orders(1, "")?;
    shop.publish(&data.contract()?).await?;

    // Once it is published, without being asked.
    let measured = sees(&reader, "shop", 1).await?;
    let status = |id| verdict(&measured, id, "comity").map(|v| (v.status, v.value));
    let expected = [
        ("orders.id.required", "ok", Some(0.0)),
        ("orders.id.unique", "ok", Some(0.0)),
        ("country_known", "failed", Some(1.0)),
        ("country_some", "ok", None),
        ("amount_known", "ok", Some(25.0)),
        ("enough", "ok", Some(4.0)),
        ("elsewhere", "error", None),
        ("twice", "error", None),
        ("written", "error", None),
    ];
    for (id, word, value) in expected {
        assert_eq!(status(id), Some((word.to_owned(), value)), "{id}");
    }
    let fresh = verdict(&measured, "fresh", "comity").ok_or("no freshness")?;
    assert_eq!(fresh.status, "ok");
    assert!((3600.0..7200.0).contains(&fresh.value.unwrap_or_default()));
    assert_eq!(measured.tables[0].rows, 4);
    assert_eq!(
        measured.tables[0].columns["ordered_at"].earliest,
        1_767_225_600
    );

    // The owner alone is told why there is no verdict.
    let just = measure(&shop).await?;
    assert!(
        just.reasons["elsewhere"].contains("canary_query"),
        "{:?}",
        just.reasons
    );
    assert!(just.reasons["twice"].contains("more than one row"));
    assert_eq!(just.reasons.len(), 3, "{:?}", just.reasons);

    // What changes shows; the chain holds on both sides, and over a restart.
    data.orders(
        48,
        "5,DE,1.0,2026-01-05T00:00:00.000000\n5,DE,1.0,2026-01-05T00:00:00.000000\n",
    )?;
    measure(&shop).await?;
    let measured = sees(&reader, "shop", 3).await?;
    for id in ["fresh", "enough", "orders.id.unique"] {
        let broken = verdict(&measured, id, "comity").ok_or("no verdict")?;
        assert_eq!(broken.status, "failed", "{id}");
    }
    let theirs = chain(&reader, "shop").await?;
    assert_eq!(theirs.len(), 3);
    assert!(theirs.iter().all(|m| m.unbroken), "{theirs:?}");
    assert!(theirs[0].failures.contains_key("enough"));
    shop.stop().await?;
    shop.start().await?;
    let ours = chain(&shop, "shop").await?;
    let ids =
        |chain: &[api::Measurement]| -> Vec<_> { chain.iter().map(|m| m.statement.id).collect() };
    assert_eq!(ids(&ours), ids(&theirs));
    measure(&shop).await?;
    sees(&reader, "shop", 4).await?;
    assert!(chain(&reader, "shop").await?.iter().all(|m| m.unbroken));

    let text = show(&reader, &["shop/orders"])?;
    assert!(
        text.contains("country_known") && text.contains("failed"),
        "{text}"
    );
    assert!(text.contains("freshness < 24 h"), "{text}");
    assert!(text.contains("ask with: comity request"), "{text}");
    // Its owner has nobody to ask.
    let own = show(&shop, &["shop/orders"])?;
    assert!(own.contains("access        yours"), "{own}");
    let text = show(&reader, &["shop/orders", "--history"])?;
    assert_eq!(text.lines().count(), 5, "{text}");

    // Nothing of the house, in what was signed and sent.
    let shown = serde_json::to_string(&reader.get::<Value>("/v1/products/shop/orders").await?)?;
    let signed = signed(&mut reader).await?;
    for canary in CANARIES {
        assert!(!signed.contains(canary), "{canary} was signed: {signed}");
        assert!(!shown.contains(canary), "{canary} was shown: {shown}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_changes_what_it_stated_is_noticed() -> Outcome {
    let (lab, dir) = lab();
    let mut shop = on_demand(&lab).await?;
    let mut reader = lab.org("reader", "Reader", "").await?;
    shop.federate(&reader).await?;
    let data = Shop(dir.path());
    data.orders(1, "")?;
    shop.publish(&data.contract()?).await?;
    measure(&shop).await?;
    sees(&reader, "shop", 1).await?;
    shop.stop().await?;
    let backup = dir.path().join("backup");
    copy(shop.home().path(), &backup)?;
    shop.start().await?;
    data.orders(48, "")?;
    measure(&shop).await?;
    let broken = sees(&reader, "shop", 2).await?;
    assert_eq!(
        verdict(&broken, "fresh", "comity").ok_or("none")?.status,
        "failed"
    );

    // The shop goes back to before, and states that everything was fine.
    shop.stop().await?;
    std::fs::remove_dir_all(shop.home().path())?;
    copy(&backup, shop.home().path())?;
    data.orders(1, "")?;
    shop.start().await?;
    for _ in 0..3 {
        measure(&shop).await?;
    }
    let path = "/v1/products/shop/orders";
    let noticed = async |reader: &Org| {
        reader
            .until("the rewritten history", || async {
                let found: Option<api::Product> = reader.get(path).await.ok();
                Ok(found.and_then(|p| p.measured?.rewritten))
            })
            .await
    };
    assert_eq!(noticed(&reader).await?.seq, 2);
    let text = show(&reader, &["shop/orders"])?;
    assert!(
        text.contains("WARNING") && text.contains("measurement 2"),
        "{text}"
    );
    let theirs = chain(&reader, "shop").await?;
    assert!(theirs.iter().any(|m| !m.unbroken), "{theirs:?}");
    reader.stop().await?;
    reader.start().await?;
    assert_eq!(noticed(&reader).await?.seq, 2, "kept over a restart");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &target)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

const RULE: &str = r#"
[[approve]]
partner = "reader"
product = "orders"
purposes = ["delay-analysis"]
max_days = 365
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_sees_stands_beside_what_the_provider_states() -> Outcome {
    let (lab, dir) = lab();
    let mut shop = lab.org("shop", "Shop", RULE).await?;
    let mut reader = lab.org("reader", "Reader", "").await?;
    shop.federate(&reader).await?;
    let data = Shop(dir.path());
    data.orders(48, "")?;
    shop.publish(&data.contract()?).await?;
    assert!(sees(&reader, "shop", 1).await?.observed.is_none());
    let asked = ask(&reader, "shop", "orders").await?;
    reaches(&reader, &asked.id, "FINALIZED").await?;
    let all = "SELECT id, ordered_at FROM shop.orders.orders";
    assert_eq!(sql(&reader, all).await?.len(), 4);
    assert!(
        sql(&reader, "SELECT id / 0 FROM shop.orders.orders")
            .await
            .is_err()
    );
    shop.stop().await?;
    assert!(sql(&reader, all).await.is_err());

    let path = "/v1/products/shop/orders";
    let seen = async |reader: &Org| -> Result<api::Observed, Box<dyn std::error::Error>> {
        let product: api::Product = reader.get(path).await?;
        let measured = product.measured.ok_or("not measured")?;
        Ok(measured.observed.ok_or("not observed")?)
    };
    let observed = seen(&reader).await?;
    assert_eq!(
        observed.failed.get("partner-unavailable"),
        Some(&1),
        "{observed:?}"
    );
    assert!(
        observed.first_batch_ms.is_some() && observed.rows >= 4,
        "{observed:?}"
    );
    // Two days old, as the provider's own measurement says.
    let newest = u64::try_from(observed.newest.ok_or("no moment")?)?;
    let age = comity::clock::now().as_secs() - newest;
    assert!((172_800..180_000).contains(&age), "{age}");
    let text = show(&reader, &["shop/orders"])?;
    assert!(
        text.contains("seen here: ") && text.contains("1 failed: partner-unavailable"),
        "{text}"
    );

    // It is this node's alone, and outlives it.
    reader.stop().await?;
    reader.start().await?;
    assert_eq!(seen(&reader).await?.queries, observed.queries);
    Ok(())
}
