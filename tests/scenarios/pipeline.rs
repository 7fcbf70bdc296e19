//! What a pipeline tested with `datacontract` is published to the node.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use comity::admin::api;
use comity_tests::shop::{CANARIES, Shop, chain, measure, on_demand, sees, signed, verdict};
use comity_tests::{Outcome, lab};
use serde_json::{Value, json};

/// What `datacontract test --publish` (1.2.8) sends, shortened to what differs.
fn run(checks: Value) -> Value {
    json!({
        "runId": "2f1c7f4e-9d8a-4b7e-8c11-0a4be1f3a001",
        "datacontractCliVersion": "1.2.8",
        "dataContractId": "7c1d2b9e-6f0e-4a55-9d3c-2f0a4f7f1b07",
        "dataContractVersion": "1.0.0",
        "dataProductId": null, "outputPortId": null,
        "server": "canary_host", "filters": null,
        "timestampStart": "2026-11-20T15:30:00.123456Z",
        "timestampEnd": "2026-11-20T15:30:05.123456Z",
        "result": "failed", "dryRun": false,
        "checks": checks,
        "logs": [{"level": "INFO", "message": "canary-log", "timestamp": "2026-11-20T15:30:00Z"}],
    })
}

fn checks() -> Value {
    let check = |kind: &str,
                 field: Option<&str>,
                 id: Option<&str>,
                 result: Option<&str>,
                 diagnostics: Value| {
        json!({
            "id": "b7e1", "key": format!("canary_physical__{kind}"), "category": "quality",
            "type": kind, "name": "canary_query", "model": "canary_physical", "field": field,
            "qualityId": id, "quality_id": id, "tags": null, "dimension": "conformity",
            "qualityDefinition": "query: canary_query", "engine": "datacontract-cli",
            "language": "sql", "implementation": "SELECT 'canary-value' FROM canary_query",
            "result": result, "reason": "canary-value", "diagnostics": diagnostics,
            "failedSamples": [{"country": "canary-value"}],
        })
    };
    json!([
        check(
            "field_is_present",
            Some("id"),
            None,
            Some("passed"),
            Value::Null
        ),
        check(
            "field_required",
            Some("id"),
            None,
            Some("passed"),
            json!({"metric": "missing_count", "value": 0})
        ),
        check(
            "field_invalid_values",
            Some("country"),
            Some("country_known"),
            Some("failed"),
            json!({"metric": "invalid_count", "value": 1, "constraint": {"valid_values": ["canary-value"]}})
        ),
        check(
            "field_quality_sql",
            Some("country"),
            Some("country_some"),
            Some("passed"),
            json!({"value": 77_123})
        ),
        check(
            "field_null_values",
            Some("amount"),
            Some("amount_known"),
            Some("warning"),
            json!({"value": 1, "percent": 25.0})
        ),
        check("row_count", None, Some("enough"), None, Value::Null),
        check(
            "field_type",
            Some("canary_physical"),
            None,
            Some("passed"),
            Value::Null
        ),
        check(
            "canary_query",
            Some("id"),
            None,
            Some("passed"),
            Value::Null
        ),
        check(
            "field_primary_key_unique",
            Some("id"),
            None,
            Some("failed"),
            Value::Null
        ),
        check(
            "servicelevel_freshness",
            Some("ordered_at"),
            Some("fresh"),
            Some("warning"),
            Value::Null
        ),
    ])
}

/// The status of a POST over plain HTTP.
fn post(url: &str, headers: &str, body: &str) -> Result<u16, Box<dyn std::error::Error>> {
    let rest = url.strip_prefix("http://").ok_or("not http")?;
    let (host, path) = rest.split_once('/').ok_or("no path")?;
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.get(9..12).ok_or("no status")?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_publishes_what_it_tested() -> Outcome {
    let (lab, dir) = lab();
    let shop = on_demand(&lab).await?;
    let mut reader = lab.org("reader", "Reader", "").await?;
    shop.federate(&reader).await?;
    let data = Shop(dir.path());
    data.orders(1, "")?;
    shop.publish(&data.contract()?).await?;
    let url = shop.get::<api::ResultsUrl>("/v1/results-url").await?.url;
    let good = run(checks()).to_string();
    assert_eq!(post(&url, "", &good)?, 200);

    let measured = sees(&reader, "shop", 1).await?;
    let status = |id| verdict(&measured, id, "datacontract-cli").map(|v| (v.status, v.value));
    let expected = [
        ("orders.id.field_is_present", "ok", None),
        ("orders.id.required", "ok", Some(0.0)),
        ("country_known", "failed", Some(1.0)),
        ("country_some", "ok", None),
        ("amount_known", "failed", Some(25.0)),
        ("enough", "error", None),
        ("orders.id.unique", "error", None),
        ("fresh", "error", None),
    ];
    for (id, word, value) in expected {
        assert_eq!(status(id), Some((word.to_owned(), value)), "{id}");
    }
    let statement = &measured.statements[0];
    assert_eq!(
        (statement.by_version.as_str(), statement.omitted),
        ("1.2.8", 0),
        "how many checks are about hidden columns is not told"
    );
    assert_eq!(statement.at.to_string(), "2026-11-20T15:30:05Z");

    // What is not about this product, or measured nothing, is not taken.
    let change = |key: &str, value: Value| {
        let mut run = run(checks());
        run[key] = value;
        run.to_string()
    };
    let refused = [
        (404, change("dataContractId", json!("another"))),
        (404, change("dataContractVersion", json!("1.1.0"))),
        (400, change("dryRun", json!(true))),
        (400, change("filters", json!({"orders": "id < 3"}))),
        (400, change("checks", json!([]))),
        (
            400,
            change("checks", json!([{"type": "general", "result": "failed"}])),
        ),
        (400, "{".to_owned()),
        (413, " ".repeat((4 << 20) + 1)),
    ];
    for (status, body) in refused {
        assert_eq!(post(&url, "", &body)?, status, "{:.80}", body);
    }
    let (base, token) = url.rsplit_once('/').ok_or("no token")?;
    assert_eq!(post(base, "", &good)?, 401);
    assert_eq!(post(&format!("{base}/wrong"), "", &good)?, 401);
    assert_eq!(post(&url, "Origin: http://evil.example\r\n", &good)?, 403);
    let admin = url.replace("/api/test-results/", "/v1/status?");
    assert_eq!(post(&admin, "", "")?, 401, "it opens nothing else");
    assert_eq!(post(base, &format!("x-api-key: {token}\r\n"), &good)?, 200);
    sees(&reader, "shop", 2).await?;
    assert_eq!(chain(&reader, "shop").await?.len(), 2);

    let shown = serde_json::to_string(&reader.get::<Value>("/v1/products/shop/orders").await?)?;
    let signed = signed(&mut reader).await?;
    for canary in CANARIES.iter().chain(&["77123"]) {
        assert!(!signed.contains(canary), "{canary} was signed: {signed}");
        assert!(!shown.contains(canary), "{canary} was shown: {shown}");
    }
    Ok(())
}

/// The real command over the real file, unmodified.
#[tokio::test(flavor = "multi_thread")]
async fn the_datacontract_command_publishes_to_the_node() -> Outcome {
    let command = std::env::var_os("COMITY_DATACONTRACT").expect(
        "COMITY_DATACONTRACT is the path of the `datacontract` command; 'make scenarios' installs it",
    );
    let (lab, dir) = lab();
    let shop = on_demand(&lab).await?;
    let reader = lab.org("reader", "Reader", "").await?;
    shop.federate(&reader).await?;
    let data = Shop(dir.path());
    data.orders(1, "")?;
    let contract = data.contract()?;
    // The command calls the table of a file by its logical name.
    let text = std::fs::read_to_string(&contract)?;
    std::fs::write(
        &contract,
        text.replace("    physicalName: canary_physical\n", ""),
    )?;
    shop.publish(&contract).await?;
    let url = shop.get::<api::ResultsUrl>("/v1/results-url").await?.url;
    let publish = ["test", "--no-inline-references", "--publish", &url];
    let tested = Command::new(command)
        .args(publish)
        .arg(&contract)
        .current_dir(dir.path())
        .output()?;
    let said = String::from_utf8_lossy(&tested.stdout) + String::from_utf8_lossy(&tested.stderr);
    assert_eq!(tested.status.code(), Some(1), "promises are broken: {said}");

    let measured = sees(&reader, "shop", 1).await?;
    let status = |id| verdict(&measured, id, "datacontract-cli").map(|v| (v.status, v.value));
    for (id, word, value) in [
        ("orders.id.required", "ok", Some(0.0)),
        ("orders.id.unique", "ok", Some(0.0)),
        ("country_known", "failed", Some(1.0)),
        ("country_some", "ok", None),
        ("amount_known", "ok", Some(25.0)),
        ("enough", "ok", Some(4.0)),
        ("elsewhere", "error", None),
        ("written", "error", None),
    ] {
        assert_eq!(status(id), Some((word.to_owned(), value)), "{id}: {said}");
    }
    let fresh = verdict(&measured, "fresh", "datacontract-cli").ok_or("no freshness")?;
    assert_eq!(fresh.status, "ok");
    // Both judge alike, where both can.
    measure(&shop).await?;
    let both = sees(&reader, "shop", 2).await?;
    for promise in &both.promises {
        if let [one, other] = &promise.verdicts[..] {
            let told = [one, other].map(|v| v.status.as_str());
            let alike =
                one.status == other.status && (one.value == other.value || promise.id == "fresh");
            assert!(alike || told.contains(&"error"), "{promise:?}");
        }
    }
    Ok(())
}
