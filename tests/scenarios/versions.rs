//! New versions of a product do not break those who read the old one.

use std::path::Path;
use std::process::{Command, Output};

use arrow_flight::FlightInfo;
use comity::admin::api;
use comity::clock::now;
use comity::lab::{LabError, Org};
use comity_tests::orders::Orders;
use comity_tests::{Outcome, agreements, ask, lab, program, reaches, sql, workbench};

fn comity(home: &Path, args: &[&str]) -> std::io::Result<Output> {
    Command::new(program())
        .args(["--home", &home.display().to_string()])
        .args(args)
        .output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_too_low_is_not_announced() -> Outcome {
    let (lab, dir) = lab();
    let shop = lab.org("shop", "Shop", "").await?;
    let orders = Orders::new(dir.path())?;
    orders
        .publish(&shop, "1.4.0", &["id", "country", "amount"], "")
        .await?;

    // The same again renews it; the same number for something else does not.
    orders
        .publish(&shop, "1.4.0", &["id", "country", "amount"], "")
        .await?;
    let home = shop.home().path();
    let dropped = orders.contract("1.5.0", &["id", "country"], "")?;
    let refused = comity(home, &["publish", &dropped.display().to_string()])?;
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("schema.orders.properties.amount"), "{said}");
    assert!(said.contains("write version: \"2.0.0\""), "{said}");
    let added = orders.contract("1.4.1", &["id", "country", "amount", "channel"], "")?;
    let refused = comity(home, &["product", "publish", &added.display().to_string()])?;
    let said = text(&refused.stderr);
    assert!(said.contains("write version: \"1.5.0\""), "{said}");
    assert_eq!(
        shop.get::<Vec<api::Product>>("/v1/products").await?[0].version,
        "1.4.0"
    );

    let lower = orders.contract("1.3.9", &["id", "country", "amount"], "")?;
    let refused = comity(home, &["publish", &lower.display().to_string()])?;
    assert!(text(&refused.stderr).contains("lower than 1.4.0"));
    orders
        .publish(&shop, "1.5.0", &["id", "country", "amount", "channel"], "")
        .await?;
    let list = text(&comity(home, &["product", "list"])?.stdout);
    assert!(list.contains("1.5.0"), "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn diff_tells_what_changed_and_its_exit_code_whether_the_number_holds() -> Outcome {
    let (lab, dir) = lab();
    let shop = lab.org("shop", "Shop", "").await?;
    let orders = Orders::new(dir.path())?;
    let old = orders.contract("1.4.0", &["id", "country", "amount"], "")?;
    let new = orders.contract("1.5.0", &["id", "country", "channel"], "")?;
    shop.publish(&old).await?;
    let (home, new) = (shop.home().path(), new.display().to_string());

    // A file with a file, and with what is announced: the same differences.
    let old = old.display().to_string();
    for earlier in [old.as_str(), "orders", "orders@1.4.0", "shop/orders"] {
        let diff = comity(home, &["product", "diff", "--json", earlier, &new])?;
        assert_eq!(diff.status.code(), Some(1), "{}", text(&diff.stderr));
        let json: serde_json::Value = serde_json::from_slice(&diff.stdout)?;
        assert_eq!(json["kind"], "MetadataDifference", "{earlier}");
        assert_eq!(
            json["impact"],
            serde_json::json!({"major": 1, "minor": 1, "patch": 0}),
            "{json:#}"
        );
        assert_eq!(json["suggestedVersion"], "2.0.0");
        assert_eq!(json["diffs"][0]["type"], "REMOVE");
        assert_eq!(json["diffs"][0]["impactLevel"], "major");
    }
    let shown = comity(home, &["product", "diff", "orders", &new])?;
    let table = text(&shown.stdout);
    assert!(
        table.contains("- schema.orders.properties.amount"),
        "{table}"
    );
    assert!(table.contains("at least 2.0.0"), "{table}");

    // The rest of the matrix: nothing differs, a number that holds, no such version.
    assert_eq!(
        comity(home, &["product", "diff", "orders", &old])?
            .status
            .code(),
        Some(0)
    );
    let major = orders.contract("2.0.0", &["id", "country", "channel"], "")?;
    let diff = comity(
        home,
        &["product", "diff", "orders", &major.display().to_string()],
    )?;
    assert_eq!(diff.status.code(), Some(0), "{}", text(&diff.stderr));
    let other = comity(home, &["product", "diff", "orders@1.3.0", &old])?;
    assert!(text(&other.stderr).contains("is announced as 1.4.0"));
    Ok(())
}

/// The shop agrees by rule to what it offers, of both majors.
const RULES: &str = r#"
[[approve]]
partner = "reader"
product = "orders"
purposes = ["delay-analysis"]
max_days = 365

[[approve]]
partner = "reader"
product = "orders@2"
purposes = ["delay-analysis"]
max_days = 365
"#;

/// The columns of what `statement` gives at `org`.
async fn columns(org: &Org, statement: &str) -> Result<Vec<String>, LabError> {
    let rows = sql(org, statement).await?;
    let first = rows.first().and_then(|row| row.as_object());
    let mut names: Vec<String> = first
        .into_iter()
        .flat_map(|row| row.keys().cloned())
        .collect();
    names.sort();
    Ok(names)
}

/// Waits until `org` sees `product` of the shop in this version.
async fn sees(org: &Org, product: &str, version: &str) -> Result<api::Product, LabError> {
    let path = format!("/v1/products/shop/{product}");
    org.until(&format!("{product} {version}"), || async {
        let found: Option<api::Product> = org.get(&path).await.ok();
        Ok(found.filter(|p| p.version == version))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn majors_are_served_side_by_side_and_a_minor_changes_no_agreement() -> Outcome {
    let (lab, dir) = lab();
    let mut shop = lab.org("shop", "Shop", RULES).await?;
    let reader = lab.org("reader", "Reader", "").await?;
    shop.federate(&reader).await?;
    let orders = Orders::new(dir.path())?;
    let first = orders.contract("1.4.0", &["id", "country", "amount"], "")?;
    shop.publish(&first).await?;
    sees(&reader, "orders", "1.4.0").await?;
    let asked = ask(&reader, "shop", "orders").await?;
    reaches(&reader, &asked.id, "FINALIZED").await?;
    let agreement = agreements(&reader)
        .await?
        .into_values()
        .next()
        .ok_or("an agreement")?;
    assert_eq!(
        (
            agreement.product.as_str(),
            agreement.range.to_string().as_str()
        ),
        ("orders", "^1.4")
    );
    let all = "SELECT * FROM shop.orders.orders";
    let agreed = ["amount", "country", "id"];
    assert_eq!(columns(&reader, all).await?, agreed);

    // A minor: what the agreement serves stays, to the column.
    let more = ["id", "country", "amount", "channel"];
    shop.publish(&orders.contract("1.5.0", &more, "")?).await?;
    sees(&reader, "orders", "1.5.0").await?;
    assert_eq!(columns(&reader, all).await?, agreed);
    let said = sql(&reader, "SELECT channel FROM shop.orders.orders")
        .await
        .unwrap_err();
    assert!(said.to_string().contains("channel"), "{said}");

    // A major: an address of its own, and nothing of it without an agreement.
    // The author writes it into the same file, as authors do,
    let minor = orders.contract("1.5.0", &more, "")?;
    // and its data lie elsewhere.
    let major = std::fs::read_to_string(orders.contract("2.0.0", &["id", "country"], "")?)?;
    std::fs::write(dir.path().join("orders-2.csv"), "id,country\n1,DE\n")?;
    std::fs::write(
        &minor,
        major.replace("path: orders.csv", "path: orders-2.csv"),
    )?;
    shop.publish(&minor).await?;
    sees(&reader, "orders@2", "2.0.0").await?;
    assert_eq!(sees(&reader, "orders", "1.5.0").await?.product, "orders");
    let newer = r#"SELECT * FROM shop."orders@2".orders"#;
    let said = sql(&reader, newer).await.unwrap_err();
    assert!(said.to_string().contains("no-agreement"), "{said}");
    let asked = ask(&reader, "shop", "orders@2").await?;
    reaches(&reader, &asked.id, "FINALIZED").await?;
    assert_eq!(columns(&reader, newer).await?, ["country", "id"]);
    assert_eq!(columns(&reader, all).await?, agreed);

    // A name that leaves the product out stays what it was; after a restart
    // each major is served as it was announced.
    let short = "SELECT sum(amount) AS amount FROM orders";
    let sum = sql(&shop, short).await?;
    assert!(shop.stop().await?.success());
    shop.start().await?;
    assert_eq!(sql(&shop, short).await?, sum);
    assert_eq!(columns(&reader, all).await?, agreed);
    assert_eq!(columns(&reader, newer).await?, ["country", "id"]);

    // Each major goes on by itself, and no lower one comes after.
    orders.publish(&shop, "1.5.1", &more, "").await?;
    let late = orders.contract("0.9.0", &["id"], "")?.display().to_string();
    let refused = comity(shop.home().path(), &["publish", &late])?;
    assert!(
        text(&refused.stderr).contains("lower than"),
        "{}",
        text(&refused.stderr)
    );
    Ok(())
}

/// The answer to the plan of `statement` at `org`'s workbench.
async fn plan(
    org: &Org,
    statement: &str,
) -> Result<tonic::Response<FlightInfo>, Box<dyn std::error::Error>> {
    let mut service = workbench(org).await?.service();
    let token = std::fs::read_to_string(org.home().workbench_token())?;
    let mut request = tonic::Request::new(comity_tests::rogue::statement(statement));
    let bearer = format!("Bearer {}", token.trim()).parse()?;
    request.metadata_mut().insert("authorization", bearer);
    Ok(service.get_flight_info(request).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_announced_reaches_readers_and_is_waited_for() -> Outcome {
    let (lab, dir) = lab();
    let shop = lab.org("shop", "Shop", RULES).await?;
    let reader = lab.org("reader", "Reader", "").await?;
    shop.federate(&reader).await?;
    let orders = Orders::new(dir.path())?;
    let notice = "slaProperties:\n  - { property: deprecationNotice, value: 0, unit: d }\n";
    let columns = ["id", "country", "amount"];
    orders.publish(&shop, "1.4.0", &columns, notice).await?;
    orders.publish(&shop, "2.0.0", &columns, notice).await?;
    sees(&reader, "orders@2", "2.0.0").await?;
    let asked = ask(&reader, "shop", "orders").await?;
    reaches(&reader, &asked.id, "FINALIZED").await?;
    let statement = "SELECT count(*) AS n FROM shop.orders.orders";
    assert!(
        plan(&reader, statement)
            .await?
            .metadata()
            .get("sunset")
            .is_none()
    );

    // Somebody reads it, and nobody was told.
    let (at, with) = (shop.home().path(), reader.home().path());
    let retire = ["product", "retire", "orders", "--yes"];
    let refused = comity(at, &retire)?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("product deprecate orders --sunset"),
        "{}",
        text(&refused.stderr)
    );

    let end = [
        "product",
        "deprecate",
        "orders",
        "--replacement",
        "orders@2",
        "--sunset",
    ];
    let told = comity(at, &[&end[..], &["2099-01-01"]].concat())?;
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    let refused = comity(at, &retire)?;
    assert!(
        text(&refused.stderr).contains("2099-01-01"),
        "{}",
        text(&refused.stderr)
    );
    assert!(text(&comity(at, &["product", "list"])?.stdout).contains("2099-01-01"));

    // The reader is told in every way, and reads on.
    let status = reader
        .until("the end of orders", || async {
            Ok(Some(reader.status().await?).filter(|s| !s.ending.is_empty()))
        })
        .await?;
    assert_eq!(status.ending[0].product, "orders");
    let line = "shop/orders ends 2099-01-01T00:00:00Z; read shop/orders@2 instead";
    assert!(text(&comity(with, &["status"])?.stdout).contains(line));
    let shown = text(&comity(with, &["show", "shop/orders"])?.stdout);
    assert!(
        shown.contains("ends          2099-01-01T00:00:00Z; read shop/orders@2 instead"),
        "{shown}"
    );
    let planned = plan(&reader, statement).await?;
    let header = |name: &str| {
        let value = planned.metadata().get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    assert_eq!(header("sunset"), "Thu, 01 Jan 2099 00:00:00 GMT");
    assert!(header("deprecation").starts_with('@'));
    let metadata: serde_json::Value = serde_json::from_slice(&planned.get_ref().app_metadata)?;
    assert_eq!(metadata["deprecations"][0]["product"], "shop/orders");
    assert_eq!(metadata["deprecations"][0]["replacement"], "orders@2");
    assert_eq!(sql(&reader, statement).await?[0]["n"], 4);

    // The notice has run: this contract promises none.
    let soon = now().saturating_add(std::time::Duration::from_secs(2));
    let told = comity(at, &[&end[..], &[&soon.to_string()]].concat())?;
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    shop.until("the end of the notice", || async {
        let retired = comity(at, &retire).map_err(|e| LabError::Io("retire".to_owned(), e))?;
        Ok((retired.status.code() == Some(0)).then_some(()))
    })
    .await?;
    assert!(now() >= soon, "not before its time");
    let said = sql(&reader, statement).await.unwrap_err();
    assert!(said.to_string().contains("withdrawn"), "{said}");
    reader
        .until("the withdrawal", || async {
            let ending = reader.status().await?.ending;
            Ok(ending.into_iter().find(|e| e.deprecation.is_none()))
        })
        .await?;
    let said = sql(&reader, statement).await.unwrap_err();
    assert!(said.to_string().contains("withdrawn"), "{said}");
    assert!(
        reader
            .get::<api::Product>("/v1/products/shop/orders")
            .await
            .is_err()
    );
    assert!(
        reader
            .get::<api::Product>("/v1/products/shop/orders@2")
            .await
            .is_ok()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_never_nearer_than_the_notice_and_never_taken_back_by_publishing() -> Outcome {
    let (lab, dir) = lab();
    let mut shop = lab.org("shop", "Shop", "").await?;
    let orders = Orders::new(dir.path())?;
    orders.publish(&shop, "1.4.0", &["id"], "").await?;
    let home = shop.home().path().to_owned();
    let end = |sunset: &str| {
        comity(
            &home,
            &["product", "deprecate", "orders", "--sunset", sunset],
        )
    };
    let days = |days: u64| {
        now()
            .saturating_add(std::time::Duration::from_secs(days * 86_400))
            .to_string()
    };
    let refused = end(&days(89))?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("notice"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(end(&days(91))?.status.code(), Some(0));
    assert_eq!(
        end(&days(89))?.status.code(),
        Some(1),
        "an announced end comes no nearer than the notice"
    );
    // A minor of a major that ends does not live longer.
    let minor = orders
        .publish(&shop, "1.5.0", &["id", "country"], "")
        .await?;
    assert!(minor.deprecation.is_some());
    // A shorter notice would take something away from those who agreed.
    let none = "slaProperties:\n  - { property: deprecationNotice, value: 0, unit: d }\n";
    let shorter = orders
        .contract("1.6.0", &["id", "country"], none)?
        .display()
        .to_string();
    let refused = comity(&home, &["publish", &shorter])?;
    assert!(
        text(&refused.stderr).contains("2.0.0"),
        "{}",
        text(&refused.stderr)
    );

    // Nobody reads it: it may go at once, for good, and over a restart.
    // Not without saying so.
    let asked = comity(&home, &["product", "retire", "orders"])?;
    assert_eq!(asked.status.code(), Some(1));
    for said in [
        "final: major 1 of orders",
        "cannot be published again",
        "comity product retire orders --yes",
    ] {
        assert!(
            text(&asked.stderr).contains(said),
            "{}",
            text(&asked.stderr)
        );
    }
    assert!(text(&comity(&home, &["product", "list"])?.stdout).contains("orders"));
    assert_eq!(
        comity(&home, &["product", "retire", "orders", "--yes"])?
            .status
            .code(),
        Some(0)
    );
    assert!(shop.stop().await?.success());
    shop.start().await?;
    let again = orders
        .contract("1.7.0", &["id", "country"], "")?
        .display()
        .to_string();
    let refused = comity(&home, &["publish", &again])?;
    assert!(
        text(&refused.stderr).contains("retired"),
        "{}",
        text(&refused.stderr)
    );
    orders.publish(&shop, "2.0.0", &["id"], "").await?;
    Ok(())
}
