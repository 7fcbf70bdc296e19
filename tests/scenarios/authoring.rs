//! From a table that is there to a product that a partner queries.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use comity::lab::Postgres;
use comity_tests::{Outcome, ask, lab, program, reaches, sql};

const RULES: &str = r#"
[[approve]]
partner = "analyst"
product = "customers"
purposes = ["delay-analysis"]
max_days = 365
"#;

/// As in the README: the login is in the environment alone.
const LOGIN: [(&str, &str); 2] = [
    ("DATACONTRACT_POSTGRES_USERNAME", Postgres::READER),
    ("DATACONTRACT_POSTGRES_PASSWORD", Postgres::PASSWORD),
];

/// The files of a folder, and of those in it, that hold a text.
fn with_text(folder: &Path, text: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(with_text(&path, text)?);
        } else if path.is_file() {
            let bytes = std::fs::read(&path)?;
            if bytes.windows(text.len()).any(|w| w == text.as_bytes()) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn comity(home: &Path, folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.arg("--home").arg(home).args(args);
    command
        .envs(LOGIN)
        .current_dir(folder)
        .output()
        .expect("the program runs")
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Runs a preview that must succeed.
fn preview(
    home: &Path,
    folder: &Path,
    args: &[&str],
) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let output = comity(home, folder, args);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_five_commands_a_table_becomes_a_product_without_its_personal_columns() -> Outcome {
    let postgres = Postgres::start()?;
    postgres.sql(
        "CREATE TABLE customers AS SELECT i::bigint AS id, 'c' || i || '@shop.example' AS reached, \
         (ARRAY['DE','FR'])[1 + i % 2] AS country, now() - i * interval '1 minute' AS since \
         FROM generate_series(1, 500) i; \
         ALTER TABLE customers ADD PRIMARY KEY (id); GRANT SELECT ON customers TO PUBLIC",
    )?;
    let (lab, dir) = lab();
    // First command: comity init.
    let mut shop = lab.found("shop", "Shop", RULES).await?;
    let home = shop.home().path().to_owned();
    for (name, value) in LOGIN {
        shop.set_variable(name, value);
    }
    let address = format!(
        "postgres://reader@127.0.0.1:{}/{}",
        postgres.port(),
        Postgres::DATABASE
    );

    // Second: comity product init. A draft needs the database alone, no node.
    let init = [
        "product",
        "init",
        &address,
        "--table",
        "public.customers",
        "--active",
    ];
    let made = comity(&home, dir.path(), &init);
    assert_eq!(made.status.code(), Some(0), "{}", told(&made));
    assert!(told(&made).contains("review reached"), "{}", told(&made));
    let again = comity(&home, dir.path(), &init);
    assert_eq!(again.status.code(), Some(1), "a draft is never overwritten");
    let file = dir.path().join("customers.odcs.yaml");
    let text = std::fs::read_to_string(&file)?;
    assert!(
        text.contains("primaryKey: true") && text.contains("property: freshness"),
        "{text}"
    );
    assert!(
        !text.contains("shop.example") && !text.contains(Postgres::PASSWORD),
        "{text}"
    );
    std::fs::write(&file, text.replace("[evaluation]", "[delay-analysis]"))?;
    let lint = comity(
        &home,
        dir.path(),
        &["product", "lint", "customers.odcs.yaml"],
    );
    assert_eq!(lint.status.code(), Some(0), "{}", told(&lint));
    assert!(
        told(&lint).contains("customers.reached is under review"),
        "{}",
        told(&lint)
    );

    let look = ["product", "preview", "customers.odcs.yaml", "--json"];
    let offered = preview(&home, dir.path(), &look)?;
    let seen = |column: usize| &offered["tables"][0]["columns"][column];
    assert_eq!(seen(0)["seen"], "as it is");
    assert_eq!(seen(3)["name"], "reached", "{offered}");
    assert_eq!(seen(3)["seen"], "under review");
    let rows = offered["tables"][0]["rows"].as_array().ok_or("rows")?;
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.get("reached").is_none()));

    // Third: comity up.
    shop.start().await?;
    let analyst = lab.org("analyst", "Analyst", "").await?;
    // Fourth: comity product publish.
    let published = comity(
        &home,
        dir.path(),
        &["product", "publish", "customers.odcs.yaml"],
    );
    assert_eq!(published.status.code(), Some(0), "{}", told(&published));
    // Fifth: comity invite; the rest is the partner's.
    let invited = comity(&home, dir.path(), &["invite", "--as", "analyst", "--json"]);
    let invited: serde_json::Value = serde_json::from_slice(&invited.stdout)?;
    let code = invited["code"].as_str().ok_or("no code")?;
    let joined = comity(analyst.home().path(), dir.path(), &["join", code]);
    assert_eq!(joined.status.code(), Some(0), "{}", told(&joined));
    analyst.discovers("shop", "customers").await?;
    // What the node measures of it the database counts: not a row leaves it.
    let counted = analyst.sees_measured("shop", "customers");
    assert_eq!(counted.await?.tables[0].rows, 500);
    let asked = postgres.copies();
    let overview = asked.iter().find(|sql| sql.contains("max(\"since\")"));
    assert!(
        overview.is_some_and(|sql| sql.contains("count(*)")),
        "{asked:?}"
    );
    let asked = ask(&analyst, "shop", "customers").await?;
    reaches(&analyst, &asked.id, "FINALIZED").await?;
    let rows = sql(
        &analyst,
        "SELECT country, count(*) AS n FROM shop.customers.customers GROUP BY country ORDER BY 1",
    )
    .await?;
    assert_eq!(rows[0]["n"], 250);
    // What is promised was measured, without a further command.
    let measured = |verdicts: serde_json::Value| {
        let verdict = |id: &str| {
            let promises = verdicts["measured"]["promises"].as_array()?;
            let promise = promises.iter().find(|p| p["id"] == id)?;
            promise["verdicts"][0]["status"].as_str().map(str::to_owned)
        };
        Some((verdict("customers_rows")?, verdict("fresh")?))
    };
    let seen = analyst
        .until("the shop's measurement", || async {
            let show = ["show", "shop/customers", "--json"];
            let shown = comity(analyst.home().path(), dir.path(), &show);
            Ok(measured(
                serde_json::from_slice(&shown.stdout).unwrap_or_default(),
            ))
        })
        .await?;
    assert_eq!(seen, ("ok".to_owned(), "ok".to_owned()));
    // What the partner has is shown to the owner, and nothing else.
    let look = [
        "product",
        "preview",
        "customers.odcs.yaml",
        "--partner",
        "analyst",
        "--rows",
        "2",
        "--json",
    ];
    let agreed = preview(&home, dir.path(), &look)?;
    assert!(
        agreed["as"]
            .as_str()
            .unwrap_or("")
            .starts_with("analyst, by the agreement ")
    );
    assert_eq!(
        agreed["tables"][0]["rows"].as_array().map(Vec::len),
        Some(2)
    );
    let nobody = comity(
        &home,
        dir.path(),
        &[
            "product",
            "preview",
            "customers.odcs.yaml",
            "--partner",
            "nobody",
        ],
    );
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        told(&nobody).contains("nobody has no agreement in force"),
        "{}",
        told(&nobody)
    );
    let hidden = sql(&analyst, "SELECT reached FROM shop.customers.customers").await;
    assert!(hidden.unwrap_err().to_string().contains("reached"));
    // Log, journal, index, results: what the node wrote has no password in it.
    let written = with_text(&home, "customers")?;
    assert!(!written.is_empty());
    assert_eq!(with_text(&home, Postgres::PASSWORD)?, Vec::<PathBuf>::new());
    assert_eq!(
        with_text(analyst.home().path(), Postgres::PASSWORD)?,
        Vec::<PathBuf>::new()
    );
    Ok(())
}

#[test]
fn a_password_is_not_taken_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let init = [
        "product",
        "init",
        "postgres://u:secret@localhost/shop",
        "--table",
        "t",
    ];
    let refused = comity(dir.path(), dir.path(), &init);
    assert_eq!(refused.status.code(), Some(64));
    assert!(!told(&refused).contains("secret"), "{}", told(&refused));
}

/// A folder with a file of customers, and no node.
fn folder() -> std::io::Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("data"))?;
    let rows = "id,zip,revenue,note\n1,01067,1.5,x\n2,22041,2.5,ask ann@shop.example\n";
    std::fs::write(dir.path().join("data/leads.csv"), rows)?;
    Ok(dir)
}

#[test]
fn a_contract_is_read_from_its_own_folder_however_it_is_named() -> Outcome {
    let dir = folder()?;
    let (home, data) = (dir.path().join("home"), dir.path().join("data"));
    let made = comity(&home, &data, &["product", "init", "leads.csv", "--active"]);
    let said = told(&made);
    assert_eq!(made.status.code(), Some(0), "{said}");
    assert!(said.contains("values of 2 of 2 rows"), "{said}");
    assert!(said.contains("review note: e-mail address"), "{said}");
    for (folder, named) in [
        (dir.path(), "data/leads.odcs.yaml"),
        (dir.path(), "./data/../data/leads.odcs.yaml"),
        (&*data, "leads.odcs.yaml"),
    ] {
        let seen = preview(&home, folder, &["product", "preview", named, "--json"])?;
        let rows = &seen["tables"][0]["rows"];
        assert_eq!(rows[0]["id"], 1, "{named}: {seen}");
        let column = &seen["tables"][0]["columns"][0];
        assert_eq!(column["seen"], "as it is");
        let lint = comity(&home, folder, &["product", "lint", named]);
        assert_eq!(lint.status.code(), Some(0), "{}", told(&lint));
        assert!(
            told(&lint).contains("still to be written"),
            "{}",
            told(&lint)
        );
    }
    let text = std::fs::read_to_string(data.join("leads.odcs.yaml"))?;
    assert!(
        text.contains("name: zip\n        logicalType: string"),
        "{text}"
    );
    Ok(())
}

#[test]
fn what_cannot_be_drafted_is_refused_and_no_file_is_left() -> Outcome {
    let dir = tempfile::tempdir()?;
    for (name, text, expected) in [
        ("semicolons.csv", "a;b\n1;2\n", "is ';' the delimiter?"),
        ("empty.csv", "", "no column can be served"),
        ("header.csv", "a,b\n", "no column can be served"),
        ("damaged.parquet", "PAR1", "it is no Parquet file"),
        ("notes.txt", "x", "no .parquet, .csv, .json or .arrow file"),
    ] {
        std::fs::write(dir.path().join(name), text)?;
        let refused = comity(dir.path(), dir.path(), &["product", "init", name]);
        let said = told(&refused);
        assert_ne!(refused.status.code(), Some(0), "{name}: {said}");
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!said.contains("store-"), "{name}: {said}");
    }
    let written = std::fs::read_dir(dir.path())?.flatten();
    let written = written.filter(|entry| entry.path().extension() == Some("yaml".as_ref()));
    assert_eq!(written.count(), 0);
    Ok(())
}

#[test]
fn a_server_that_is_away_or_shut_is_no_fault_of_the_contract() -> Outcome {
    let mut postgres = Postgres::start()?;
    postgres.sql(
        "CREATE TABLE leads AS SELECT 1::bigint AS id; GRANT SELECT ON leads TO PUBLIC; \
         CREATE TABLE closed AS SELECT 1::bigint AS id; REVOKE ALL ON closed FROM PUBLIC, reader",
    )?;
    let dir = tempfile::tempdir()?;
    let (home, port) = (dir.path(), postgres.port());
    let address = format!("postgres://reader@127.0.0.1:{port}/{}", Postgres::DATABASE);
    let init = |address: &str, table: &str| {
        comity(home, home, &["product", "init", address, "--table", table])
    };
    for (address, table, expected) in [
        (
            address.clone(),
            "closed",
            "permission denied for table closed",
        ),
        (
            address.clone(),
            "closed",
            "GRANT SELECT ON \"public\".\"closed\" TO \"reader\"",
        ),
        (address.clone(), "lead", "the user can read public.leads"),
        (
            format!("{address}/"),
            "leads",
            "the database of the address",
        ),
        (format!("{address}?sslmode=require"), "leads", "sslmode"),
    ] {
        let refused = init(&address, table);
        assert_ne!(refused.status.code(), Some(0));
        assert!(told(&refused).contains(expected), "{}", told(&refused));
        assert!(
            !told(&refused).contains("owner's log"),
            "{}",
            told(&refused)
        );
    }
    let made = init(&address, "leads");
    assert_eq!(made.status.code(), Some(0), "{}", told(&made));
    postgres.sql("REVOKE ALL ON leads FROM PUBLIC, reader")?;
    let look = ["product", "preview", "leads.odcs.yaml"];
    let closed = comity(home, home, &look);
    assert!(told(&closed).contains("GRANT SELECT"), "{}", told(&closed));
    assert!(!told(&closed).contains("owner's log"), "{}", told(&closed));
    postgres.down();
    let away = comity(home, home, &look);
    assert_eq!(away.status.code(), Some(1));
    assert!(told(&away).contains("is it running"), "{}", told(&away));
    assert!(
        !told(&away).contains("correct 'servers'"),
        "{}",
        told(&away)
    );
    Ok(())
}
