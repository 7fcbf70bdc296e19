//! New versions of a product do not break those who read the old one.

use std::path::Path;
use std::process::{Command, Output};

use comity_tests::orders::Orders;
use comity_tests::{Outcome, lab, program};

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
        shop.get::<Vec<comity::admin::api::Product>>("/v1/products")
            .await?[0]
            .version,
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
