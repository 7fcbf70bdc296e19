//! A17 to A22: what a question can get out of a node beside its answer.

use comity::lab::{Lab, Org};
use comity_tests::attack::Attack;
use comity_tests::rogue::{Rogue, code};
use comity_tests::{Outcome, ask, lab, reaches};
use serde_json::json;
use std::path::Path;
use tonic::Status;

const ROWS: usize = 26_115;

#[tokio::test(flavor = "multi_thread")]
async fn a17_texts_in_filters_and_names_are_texts() -> Outcome {
    let attack = Attack::begin().await?;
    let sql = "SELECT origin FROM weather.weather";
    let filtered = |column: &str, op: &str, value: &str| {
        let mut grant = attack.grant();
        grant.filter = vec![
            json!({"weather": [{"compare": {"column": column, "op": op, "value": {"text": value}}}]}),
        ];
        grant
    };
    let kennedy = attack.query(&filtered("origin", "eq", "JFK"), sql).await?;
    assert!(kennedy > 0 && kennedy < ROWS);
    for value in [
        "JFK' OR '1'='1",
        "JFK' --",
        "JFK'/*",
        "'; DROP TABLE weather; --",
        "%",
        "J_K",
        "JFK\u{0}",
        "\\",
        "${origin}",
        "$1",
    ] {
        let equal = attack.query(&filtered("origin", "eq", value), sql).await?;
        assert_eq!(equal, 0, "nothing is called {value}");
        let other = attack
            .query(&filtered("origin", "not-eq", value), sql)
            .await?;
        assert_eq!(other, ROWS, "everything is called otherwise than {value}");
    }
    for column in [
        "origin\" OR 1=1 --",
        "\"origin\"",
        "weather.origin",
        "ORIGIN",
        "origin ",
        "1",
        "*",
    ] {
        let refused = attack.query(&filtered(column, "eq", "JFK"), sql).await;
        assert_eq!(code(&refused.unwrap_err()), "grant-invalid", "{column}");
    }
    Ok(())
}

/// Two shops whose orders differ in what nobody may see: the rows without a
/// country of ours, and the column `secret`.
const SEEN: &str = "id,country,amount,note,secret\n1,DE,10,a,x\n2,DE,20,b,y\n3,DE,30,c,z\n4,DE,40,d,x\n5,DE,50,e,y\n";

/// Divides by zero, overflows, is no number, and is longer than any other.
const CANARY: &str = "99,FR,0,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,0\n100,FR,2147483647,(,0\n101,FR,-2147483648,not a number,0\n";

const CONTRACT: &str = r#"apiVersion: v3.1.0
kind: DataContract
id: 6c2d2b9e-6f0e-4a55-9d3c-2f0a4f7f1b78
name: orders
version: "1.0.0"
status: active
servers: [ { server: files, type: local, path: orders.csv, format: csv } ]
schema:
  - id: orders
    name: orders
    logicalType: object
    properties:
      - { id: id, name: id, logicalType: integer, physicalType: bigint }
      - { id: country, name: country, logicalType: string, physicalType: varchar }
      - { id: amount, name: amount, logicalType: integer, physicalType: integer }
      - { id: note, name: note, logicalType: string, physicalType: varchar }
      - { id: secret, name: secret, logicalType: string, physicalType: varchar, classification: restricted }
roles:
  - role: orders.partner.read
    access: read
    customProperties:
      - { property: comityPurposes, value: [delay-analysis] }
      - property: comityReadRestrictions
        value: { orders: { columns: [id, country, amount, note], required-row-filter: { type: eq, term: country, value: DE } } }
"#;

const RULES: &str = r#"
[[approve]]
partner = "guest"
product = "orders"
purposes = ["delay-analysis"]
max_days = 365
"#;

/// A guest in the hands of an attacker, at a shop with these orders.
struct Shop {
    shop: Org,
    rogue: Rogue,
    channel: comity::flight::PeerChannel,
    agreement: comity_identity::Digest,
}

impl Shop {
    async fn open(
        lab: &Lab,
        dir: &Path,
        name: &str,
        orders: &str,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let shop = lab.org(name, "Shop", RULES).await?;
        let guest_lab = Lab::new(dir.join(format!("{name}-guests")), comity_tests::program());
        let mut guest = guest_lab.org("guest", "Guest", "").await?;
        shop.federate(&guest).await?;
        let folder = dir.join(format!("{name}-orders"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("orders.csv"), orders)?;
        let contract = folder.join("orders.odcs.yaml");
        std::fs::write(&contract, CONTRACT)?;
        shop.publish(&contract).await?;
        guest.discovers(name, "orders").await?;
        let n = ask(&guest, name, "orders").await?;
        let agreement = reaches(&guest, &n.id, "FINALIZED").await?.agreement;
        let rogue = Rogue::of(&mut guest).await?;
        let channel = rogue.dial(&shop.status().await?.org).await?;
        Ok(Self {
            shop,
            rogue,
            channel,
            agreement: agreement.ok_or("not signed")?,
        })
    }

    /// All that a question tells: rows as text, or code and words.
    async fn told(&self, sql: &str) -> Result<String, Box<dyn std::error::Error>> {
        let org = self.shop.status().await?.org;
        let grant = self.rogue.grant(org, self.agreement, "delay-analysis");
        let asked = self.rogue.asked(&grant, sql)?;
        let info = match self.rogue.plan(&self.channel, &asked).await {
            Ok(info) => info,
            Err(status) => return Ok(words(&status)),
        };
        let counts = (info.total_records, info.total_bytes);
        assert_eq!(counts, (-1, -1), "A19: a plan has no statistics");
        let ticket = comity_tests::rogue::ticket(&info);
        Ok(
            match self.rogue.fetch(&self.channel, ticket, &asked).await {
                Ok(rows) => arrow::util::pretty::pretty_format_batches(&rows)?.to_string(),
                Err(status) => words(&status),
            },
        )
    }
}

/// Code and words of a refusal, without the id that finds it in the owner's log.
fn words(status: &Status) -> String {
    let message = status.message();
    let message = message
        .rsplit_once(" (")
        .map_or(message, |(words, _)| words);
    format!("{}: {message}", code(status))
}

/// Each errs, or weighs, on rows that the guest may not see.
const PROBES: [&str; 16] = [
    "SELECT 1 / (amount - 0) FROM orders.orders",
    "SELECT 100 / amount FROM orders.orders",
    "SELECT count(*) FROM orders.orders WHERE 100 / amount > 0",
    "SELECT CAST(note AS INT) FROM orders.orders WHERE id = 101",
    "SELECT amount + 1 FROM orders.orders",
    "SELECT count(*) FROM orders.orders WHERE amount - 1 < 0",
    "SELECT abs(amount) FROM orders.orders",
    "SELECT regexp_like(note, 'a') FROM orders.orders",
    "SELECT count(*), min(amount), max(note), sum(amount) FROM orders.orders",
    "SELECT country, count(*) FROM orders.orders GROUP BY country ORDER BY 1",
    "SELECT id FROM orders.orders ORDER BY 100 / amount",
    "SELECT id FROM orders.orders WHERE CASE WHEN amount = 0 THEN 1/0 ELSE 1 END = 1 ORDER BY id",
    "SELECT id FROM orders.orders LIMIT 3 OFFSET 4",
    "SELECT a.id FROM orders.orders a JOIN orders.orders b ON a.amount = b.amount AND 100 / b.amount > 0 ORDER BY 1",
    "SELECT id, rank() OVER (ORDER BY amount) FROM orders.orders ORDER BY id",
    "SELECT id FROM orders.orders WHERE id IN (SELECT 100 / amount FROM orders.orders) ORDER BY id",
];

#[tokio::test(flavor = "multi_thread")]
async fn a18_an_answer_is_the_same_whatever_is_hidden() -> Outcome {
    let (lab, dir) = lab();
    let without = Shop::open(&lab, dir.path(), "one", SEEN).await?;
    let with = Shop::open(&lab, dir.path(), "other", &format!("{SEEN}{CANARY}")).await?;
    // The canaries are alive: whoever may see them meets them.
    let own = comity_tests::sql(&with.shop, "SELECT 100 / amount FROM other.orders.orders").await;
    let own = own.expect_err("the owner sees the canary").to_string();
    assert!(own.contains("division by zero"), "{own}");
    for probe in PROBES {
        let (told, same) = (with.told(probe).await?, without.told(probe).await?);
        assert_eq!(told, same, "{probe}");
        for hidden in ["FR", "2147483647", "not a number", "secret"] {
            assert!(!told.contains(hidden), "{probe}: {told}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_nothing_beside_the_answer_tells_of_hidden_rows() -> Outcome {
    let (lab, dir) = lab();
    let shop = Shop::open(&lab, dir.path(), "one", &format!("{SEEN}{CANARY}")).await?;
    for refused in [
        "EXPLAIN SELECT * FROM orders.orders",
        "EXPLAIN ANALYZE SELECT * FROM orders.orders",
        "EXPLAIN VERBOSE SELECT * FROM orders.orders",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.df_settings",
        "SHOW TABLES",
        "SHOW COLUMNS FROM orders.orders",
        "DESCRIBE orders.orders",
        "SELECT secret FROM orders.orders",
        "SELECT * FROM orders.orders WHERE secret = 'x'",
        "SELECT * FROM orders.payments",
        "SELECT * FROM pg_catalog.pg_class",
        "SELECT input_file_name() FROM orders.orders",
        "ANALYZE orders.orders",
    ] {
        let told = shop.told(refused).await?;
        let code = told.split(':').next().unwrap_or_default();
        assert!(
            ["bad-sql", "not-permitted"].contains(&code),
            "{refused}: {told}"
        );
        for hidden in [
            "orders.csv",
            dir.path().to_str().unwrap_or("/"),
            "FR",
            "country =",
        ] {
            assert!(!told.contains(hidden), "{refused}: {told}");
        }
    }
    // What is hidden and what does not exist are told apart by nothing.
    let hidden = shop.told("SELECT secret FROM orders.orders").await?;
    let nothing = shop.told("SELECT sacred FROM orders.orders").await?;
    assert_eq!(hidden.replace("secret", "sacred"), nothing);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a20_only_questions_over_granted_tables_are_answered() -> Outcome {
    let attack = Attack::begin().await?;
    let outside = tempfile::tempdir()?;
    let file = outside.path().join("stolen.csv");
    let file = file.display();
    for refused in [
        format!("COPY (SELECT * FROM weather.weather) TO '{file}'"),
        format!("COPY weather.weather TO '{file}' STORED AS CSV"),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE VIEW v AS SELECT visib FROM weather.weather".to_owned(),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".to_owned(),
        "CREATE FUNCTION f() RETURNS INT RETURN 1".to_owned(),
        "DROP TABLE weather.weather".to_owned(),
        "INSERT INTO weather.weather SELECT * FROM weather.weather".to_owned(),
        "DELETE FROM weather.weather".to_owned(),
        "UPDATE weather.weather SET temp = 0".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "SET datafusion.catalog.information_schema = true".to_owned(),
        "RESET datafusion.execution.batch_size".to_owned(),
        "SHOW ALL".to_owned(),
        "BEGIN".to_owned(),
        "COMMIT".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "EXECUTE p".to_owned(),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        "SELECT * FROM \"/etc/passwd\"".to_owned(),
        "SELECT * FROM 'file:///etc/passwd'".to_owned(),
        "SELECT * FROM 'http://127.0.0.1:1/x.csv'".to_owned(),
        "SELECT * FROM read_csv('/etc/passwd')".to_owned(),
        "SELECT * FROM parquet_metadata('x')".to_owned(),
        "SELECT * FROM generate_series(1, 1000000000)".to_owned(),
        "SELECT * FROM range(1, 10)".to_owned(),
        "SELECT version()".to_owned(),
        "SELECT current_user".to_owned(),
        "SELECT arrow_metadata(temp) FROM weather.weather".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r"
            .to_owned(),
        "SELECT * FROM flights.flights".to_owned(),
        "SELECT visib FROM weather.weather".to_owned(),
        "SELECT * FROM weather.weather FOR UPDATE".to_owned(),
        "CALL x()".to_owned(),
        "KILL 1".to_owned(),
        "GRANT ALL ON weather.weather TO mallory".to_owned(),
    ] {
        let told = attack.query(&attack.grant(), &refused).await;
        let told = told.map(|rows| format!("{rows} rows"));
        let status = told.expect_err(&refused);
        let code = code(&status);
        assert!(
            ["bad-sql", "not-permitted"].contains(&code),
            "{refused}: {status}"
        );
    }
    assert_eq!(std::fs::read_dir(outside.path())?.count(), 0);
    let all = "SELECT origin, temp FROM weather.weather";
    assert_eq!(attack.query(&attack.grant(), all).await?, ROWS);
    Ok(())
}
