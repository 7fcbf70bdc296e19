//! Products that lie in a lake and in an object store.

use std::path::Path;
use std::process::Command;

use comity::lab::Org;
use comity_tests::{Outcome, WEATHER_RULES, ask, contracts, lab, python, reaches, sql};

const WEATHER: &str = r#""weather-service".weather.weather"#;

fn write(arguments: &[&str]) {
    let done = python::command()
        .arg(python::script("weather.py"))
        .args(arguments)
        .status();
    assert!(
        done.is_ok_and(|s| s.success()),
        "'make scenarios' installs what this needs"
    );
}

/// The example's contract with another server, in `folder`.
fn contract(folder: &Path, server: &str) -> std::io::Result<std::path::PathBuf> {
    let text = std::fs::read_to_string(contracts().join("weather-service/weather.odcs.yaml"))?;
    let old = "    type: local\n    path: ../../data/weather.parquet\n    format: parquet\n";
    assert!(text.contains(old));
    let file = folder.join("weather.odcs.yaml");
    std::fs::write(&file, text.replace(old, server))?;
    Ok(file)
}

/// Publishes, agrees, and asks as a partner.
async fn months(owner: &Org, port: &Org, file: &Path) -> Outcome {
    owner.federate(port).await?;
    owner.publish(file).await?;
    port.discovers("weather-service", "weather").await?;
    let asked = ask(port, "weather-service", "weather").await?;
    reaches(port, &asked.id, "FINALIZED").await?;
    let rows = sql(
        port,
        &format!("SELECT count(*) AS n, count(DISTINCT month) AS m FROM {WEATHER}"),
    )
    .await?;
    assert_eq!(rows, [serde_json::json!({"n": ROWS, "m": 12})]);
    let june = format!("SELECT count(*) AS n FROM {WEATHER} WHERE month = 6");
    assert_eq!(sql(port, &june).await?, [serde_json::json!({"n": JUNE})]);
    Ok(())
}

/// Rows of the example's file, counted without any node.
const ROWS: u64 = 26_115;
const JUNE: u64 = 2_160;

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_table_is_a_product_and_a_file_that_is_gone_is_said() -> Outcome {
    let (lab, dir) = lab();
    let owner = lab
        .org("weather-service", "Weather Service", WEATHER_RULES)
        .await?;
    let port = lab.org("port-authority", "Port Authority", "").await?;
    let table = dir.path().join("lake");
    write(&["folder", table.to_str().expect("UTF-8")]);
    let file = contract(
        dir.path(),
        "    type: local\n    path: ./lake\n    format: delta\n",
    )?;
    months(&owner, &port, &file).await?;

    // The same table, drafted instead of written by hand.
    for args in [
        ["init", "lake", "--name", "drafted"].as_slice(),
        &["preview", "drafted.odcs.yaml"],
    ] {
        let mut command = Command::new(comity_tests::program());
        command.current_dir(dir.path()).arg("--home").arg("none");
        let done = command.arg("product").args(args).output()?;
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(0), "{told}");
    }
    let drafted = std::fs::read_to_string(dir.path().join("drafted.odcs.yaml"))?;
    assert!(
        drafted.contains("path: \"lake\"") && drafted.contains("format: \"delta\""),
        "{drafted}"
    );

    let june = std::fs::read_dir(table.join("month=6"))?
        .next()
        .expect("a file")?;
    let whole = std::fs::read(june.path())?;
    std::fs::write(june.path(), [&whole[..], b"more"].concat())?;
    let error = sql(&port, &format!("SELECT * FROM {WEATHER}"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("source-unavailable"), "{error}");
    assert!(!error.to_string().contains("lake"), "{error}");
    // A month that needs no such file is served as before.
    let may = sql(
        &port,
        &format!("SELECT count(*) AS n FROM {WEATHER} WHERE month = 5"),
    )
    .await?;
    assert_eq!(may.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_a_product_and_an_object_that_is_replaced_is_said() -> Outcome {
    let variable = |name| std::env::var(name).expect("'make scenarios' sets the credentials");
    let key = variable("DATACONTRACT_S3_ACCESS_KEY_ID");
    let secret = variable("DATACONTRACT_S3_SECRET_ACCESS_KEY");
    let (_server, endpoint) = python::Server::start("s3_server.py", ["scenario", &key, &secret])?;
    let endpoint = endpoint.as_str();
    write(&["bucket", endpoint, "scenario", &key, &secret]);

    let (lab, dir) = lab();
    let owner = lab
        .org("weather-service", "Weather Service", WEATHER_RULES)
        .await?;
    let port = lab.org("port-authority", "Port Authority", "").await?;
    let text = format!(
        "    type: s3\n    location: s3://scenario/weather\n    endpointUrl: {endpoint}\n    format: parquet\n"
    );
    let file = contract(dir.path(), &text)?;
    months(&owner, &port, &file).await?;

    write(&["bucket", endpoint, "scenario", &key, &secret, "less"]);
    let error = sql(&port, &format!("SELECT * FROM {WEATHER}"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("source-unavailable"), "{error}");
    assert!(!error.to_string().contains("scenario/"), "{error}");
    Ok(())
}
