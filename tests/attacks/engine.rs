//! A49 to A51: statements that would end the node, or never end themselves.

use std::time::Duration;

use comity_tests::attack::Attack;
use comity_tests::bench::memory;
use comity_tests::rogue::{code, count};
use comity_tests::{Outcome, sql};

const ONE: &str = "SELECT temp FROM weather.weather LIMIT 1";

/// What the weather node may have taken at most, in MiB, whatever it was asked:
/// its [query] memory, and itself, in a build without optimization.
const MOST_MIB: u64 = 2_048;

/// An attack on a node that ends queries after `seconds`.
async fn with_deadline(seconds: u64) -> Result<Attack, Box<dyn std::error::Error>> {
    let mut attack = Attack::begin().await?;
    let weather = &mut attack.three.weather;
    weather.stop().await?;
    let path = weather.home().config();
    let text = std::fs::read_to_string(&path)?;
    let text: String = text
        .lines()
        .map(|line| match line.starts_with("deadline_seconds = ") {
            true => format!("deadline_seconds = {seconds}\n"),
            false => format!("{line}\n"),
        })
        .collect();
    assert!(
        text.contains(&format!("\ndeadline_seconds = {seconds}\n")),
        "{text}"
    );
    std::fs::write(&path, text)?;
    weather.start().await?;
    attack.channel = attack.rogue.dial(&attack.weather).await?;
    Ok(attack)
}

/// `n` times `part`, joined.
fn chain(n: usize, part: &str, join: &str) -> String {
    vec![part; n].join(join)
}

#[tokio::test(flavor = "multi_thread")]
async fn a49_chains_pass_up_to_their_limit_and_no_text_ends_the_node() -> Outcome {
    let attack = Attack::begin().await?;
    let grant = attack.grant();
    let t = "FROM weather.weather";
    // Each at 64 KiB or as near as it comes; the short one beside it is legal.
    type Chain = (&'static str, fn(usize) -> String, usize, usize);
    let chains: [Chain; 10] = [
        (
            "plus",
            |n| {
                format!(
                    "SELECT temp + {} FROM weather.weather LIMIT 1",
                    chain(n, "1", "+")
                )
            },
            100,
            30_000,
        ),
        (
            "or",
            |n| {
                format!(
                    "SELECT temp FROM weather.weather WHERE {} LIMIT 1",
                    chain(n, "temp>1", " OR ")
                )
            },
            60,
            5_000,
        ),
        (
            "concatenation",
            |n| {
                format!(
                    "SELECT origin || {} FROM weather.weather LIMIT 1",
                    chain(n, "'a'", "||")
                )
            },
            20,
            12_000,
        ),
        (
            "not",
            |n| {
                format!(
                    "SELECT temp FROM weather.weather WHERE {} temp > 1 LIMIT 1",
                    "NOT ".repeat(n)
                )
            },
            8,
            15_000,
        ),
        (
            "brackets",
            |n| {
                format!(
                    "SELECT {}temp{} FROM weather.weather LIMIT 1",
                    "(".repeat(n),
                    ")".repeat(n)
                )
            },
            8,
            30_000,
        ),
        (
            "union",
            |n| {
                format!(
                    "{} LIMIT 1",
                    chain(n, "SELECT temp FROM weather.weather", " UNION ALL ")
                )
            },
            16,
            1_500,
        ),
        (
            "case",
            |n| {
                format!(
                    "SELECT {} 1 {} FROM weather.weather LIMIT 1",
                    "CASE WHEN temp>1 THEN ".repeat(n),
                    " ELSE 0 END".repeat(n)
                )
            },
            6,
            1_900,
        ),
        (
            "in",
            |n| {
                format!(
                    "SELECT temp FROM weather.weather WHERE temp IN ({}) LIMIT 1",
                    chain(n, "1", ",")
                )
            },
            500,
            30_000,
        ),
        (
            "with",
            |n| {
                let tables: Vec<String> =
                    (0..n).map(|i| format!("c{i} AS (SELECT 1 AS x)")).collect();
                format!("WITH {} SELECT x FROM c0", tables.join(","))
            },
            16,
            2_500,
        ),
        (
            "subquery",
            |n| {
                let (open, close) = ("SELECT * FROM (".repeat(n), ") AS s".repeat(n));
                format!("{open}SELECT temp FROM weather.weather{close} LIMIT 1")
            },
            4,
            1_500,
        ),
    ];
    for (name, make, legal, hostile) in chains {
        let most = attack.query(&grant, &make(legal)).await;
        assert!(most.is_ok(), "{name}: {most:?}");
        let text = make(hostile);
        let refused = attack.query(&grant, &text).await.unwrap_err();
        let code = code(&refused);
        assert!(
            ["bad-sql", "not-permitted", "too-large"].contains(&code),
            "{name}: {refused}"
        );
        assert_eq!(
            attack.query(&grant, ONE).await?,
            1,
            "{name}: the node goes on"
        );
    }
    let long = format!("SELECT temp {t} -- {}", "x".repeat(300_000));
    attack.query(&grant, &long).await.unwrap_err();
    assert_eq!(attack.query(&grant, ONE).await?, 1);
    Ok(())
}

/// Statements that no machine ends in time: each compares trillions of pairs.
fn bombs() -> [String; 6] {
    // Five million rows.
    let mountain = "(SELECT x.temp FROM weather.weather x CROSS JOIN (SELECT 1 FROM weather.weather LIMIT 200) y)";
    let all = "weather.weather a CROSS JOIN weather.weather b CROSS JOIN weather.weather c";
    [
        format!("SELECT count(*) FROM {all}"),
        format!("SELECT a.temp FROM {all} ORDER BY 1"),
        format!("SELECT count(DISTINCT a.temp * b.temp) FROM {all}"),
        // Nothing leaves these joins, and one batch of one side meets all rows of the other.
        format!(
            "SELECT count(*) FROM {mountain} a JOIN {mountain} b ON a.temp * 3.7 < b.temp - 1e9"
        ),
        format!(
            "SELECT count(*) FROM {mountain} a FULL JOIN {mountain} b ON a.temp * b.temp < -1e9"
        ),
        format!(
            "SELECT count(*) FROM {mountain} a WHERE EXISTS (SELECT 1 FROM {mountain} b WHERE b.temp > a.temp + 1e9)"
        ),
    ]
}

/// Regression: a fast machine came to the end of a nested loop of 26,115 rows.
#[tokio::test(flavor = "multi_thread")]
async fn a50_bombs_end_at_the_deadline_and_hold_up_nobody() -> Outcome {
    let attack = with_deadline(15).await?;
    for bomb in bombs() {
        let asked = attack.rogue.asked(&attack.grant(), &bomb)?;
        let second = attack.rogue.dial(&attack.weather).await?;
        let running = attack.rogue.query(&second, &asked);
        let meanwhile = async {
            let asked = attack.rogue.asked(&attack.grant(), ONE).expect("a chain");
            // Others are answered while it runs, and the owner too.
            for _ in 0..3 {
                let rows = attack.rogue.query(&attack.channel, &asked).await?;
                assert_eq!(count(&rows), 1);
            }
            let own = sql(
                &attack.three.weather,
                "SELECT count(*) AS n FROM weather.weather",
            )
            .await;
            assert!(own.is_ok(), "{own:?}");
            Ok::<_, tonic::Status>(())
        };
        let both = async { tokio::join!(running, meanwhile) };
        let (ended, others) = tokio::time::timeout(Duration::from_secs(180), both).await?;
        others?;
        let ended = ended.unwrap_err();
        let code = code(&ended);
        assert!(
            ["deadline", "budget", "memory"].contains(&code),
            "{bomb}: {ended}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a51_growing_texts_and_sets_take_no_more_than_their_memory() -> Outcome {
    let attack = with_deadline(20).await?;
    let doubled: Vec<String> = (1..28)
        .map(|i| format!("c{i} AS (SELECT x || x AS x FROM c{})", i - 1))
        .collect();
    let hostile = [
        "SELECT repeat('a', 2000000000) FROM weather.weather".to_owned(),
        "SELECT repeat(origin, 100000000) FROM weather.weather".to_owned(),
        "SELECT lpad('a', 2000000000, 'b') FROM weather.weather".to_owned(),
        "SELECT rpad(origin, 2000000000) FROM weather.weather".to_owned(),
        "SELECT array_repeat(1, 2000000000) FROM weather.weather".to_owned(),
        "SELECT generate_series(1, 2000000000) FROM weather.weather".to_owned(),
        "SELECT range(2000000000)".to_owned(),
        "SELECT space(2000000000)".to_owned(),
        "SELECT replace('aaaaaaaa', 'a', repeat('b', 100000000))".to_owned(),
        "SELECT length(repeat('a', 2000000000))".to_owned(),
        "SELECT string_agg(a.origin, ',') FROM weather.weather a CROSS JOIN weather.weather b"
            .to_owned(),
        "SELECT array_agg(a.temp) FROM weather.weather a CROSS JOIN weather.weather b".to_owned(),
        "SELECT format('%2000000000s', origin) FROM weather.weather".to_owned(),
        "SELECT regexp_replace(origin, '', repeat('x', 1000000), 'g') FROM weather.weather"
            .to_owned(),
        format!(
            "WITH c0 AS (SELECT origin AS x FROM weather.weather), {} SELECT x FROM c27",
            doubled.join(", ")
        ),
    ];
    for statement in hostile {
        let refused = attack.query(&attack.grant(), &statement).await;
        let refused = refused
            .map(|rows| format!("{rows} rows"))
            .expect_err(&statement);
        assert_ne!(code(&refused), "none", "{statement}: {refused}");
        assert_eq!(attack.query(&attack.grant(), ONE).await?, 1, "{statement}");
    }
    let peak = memory(attack.three.weather.pid(), "VmHWM");
    assert!(peak > 0 && peak < MOST_MIB, "{peak} MiB");
    Ok(())
}
