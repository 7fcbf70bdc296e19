//! What is answered of a protected table, and how an attacker is met.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use comity_protocol::terms::{
    Aggregate, Comparison, Literal, Mask, Predicate, RowFilter, TableTerms,
};
use datafusion::datasource::MemTable;
use futures::TryStreamExt as _;
use proptest::prelude::*;

use super::*;
use crate::query::{Engine, EngineSettings, GovernedTable, QueryError, Salts, TableName, View};

const UNITS: u64 = 5;

/// One flight: carrier, month, aircraft, minutes of delay.
type Flight = (&'static str, i64, Option<String>, Option<f64>);

fn flights(rows: &[Flight]) -> Arc<dyn TableProvider> {
    let carrier = StringArray::from_iter_values(rows.iter().map(|r| r.0));
    let month = Int64Array::from_iter_values(rows.iter().map(|r| r.1));
    let tail = StringArray::from_iter(rows.iter().map(|r| r.2.as_deref()));
    let delay = Float64Array::from_iter(rows.iter().map(|r| r.3));
    let origin = StringArray::from_iter_values(rows.iter().map(|_| "EWR"));
    let batch = RecordBatch::try_from_iter([
        ("carrier", Arc::new(carrier) as _),
        ("month", Arc::new(month) as _),
        ("tailnum", Arc::new(tail) as _),
        ("delay", Arc::new(delay) as _),
        ("origin", Arc::new(origin) as _),
    ])
    .unwrap();
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap())
}

/// `n` aircraft of a carrier, each with one flight a month of `delay` minutes.
fn fleet(carrier: &'static str, n: usize, delay: f64) -> Vec<Flight> {
    (0..n)
        .flat_map(|i| {
            (1..=2).map(move |month| (carrier, month, Some(format!("{carrier}{i}")), Some(delay)))
        })
        .collect()
}

fn terms() -> TableTerms {
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|n| (*n).to_owned())
            .collect::<BTreeSet<_>>()
    };
    TableTerms {
        columns: set(&["carrier", "month", "delay", "origin"]),
        filter: RowFilter::default(),
        masks: BTreeMap::new(),
        protection: Some(Protection {
            unit: "tailnum".to_owned(),
            min_units: UNITS,
            group_by: set(&["carrier", "month"]),
            aggregates: [Aggregate::Count, Aggregate::Sum, Aggregate::Avg].into(),
        }),
    }
}

/// One partner at one table.
struct Partner {
    source: Arc<dyn TableProvider>,
    terms: TableTerms,
    told: Arc<Disclosed>,
}

impl Partner {
    fn at(rows: &[Flight]) -> Self {
        Self {
            source: flights(rows),
            terms: terms(),
            told: Arc::default(),
        }
    }

    fn ask(&self, sql: &str) -> Result<String, QueryError> {
        let salts = Salts::draw(b"key", None)?;
        let (source, told) = (Arc::clone(&self.source), Arc::clone(&self.told));
        let table = GovernedTable::asked(source, &self.terms, &salts, told)?;
        let name = TableName {
            catalog: "own".into(),
            schema: "p".into(),
            table: "flights".into(),
        };
        let view = View::builder("own").governed(name, table).build();
        let engine = Engine::start(EngineSettings::default())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let batches: Vec<RecordBatch> = runtime.block_on(async {
            let prepared = engine.prepare(view, sql).await?;
            let rows = prepared.run().await?;
            rows.try_collect().await.map_err(|e| QueryError::of(&e))
        })?;
        Ok(pretty_format_batches(&batches).unwrap().to_string())
    }

    /// The values of the answer's rows, without the frame.
    fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let text = self.ask(sql).unwrap();
        let lines = text.lines().filter(|l| l.starts_with('|')).skip(1);
        let cells = |l: &str| {
            l.trim_matches('|')
                .split('|')
                .map(|c| c.trim().to_owned())
                .collect()
        };
        lines.map(cells).collect()
    }

    fn refused(&self, sql: &str) {
        let error = self.ask(sql).unwrap_err();
        assert_eq!(error.code(), "not-permitted", "{sql}: {error}");
    }
}

fn everybody() -> Vec<Flight> {
    [
        fleet("AA", 8, 10.0),
        fleet("UA", 6, 20.0),
        fleet("MQ", 4, 90.0),
    ]
    .concat()
}

#[test]
fn groups_of_enough_units_are_computed_as_ever_and_others_are_not_there() {
    let partner = Partner::at(&everybody());
    let groups = "SELECT carrier, count(*), sum(delay), avg(delay), count(delay) FROM flights GROUP BY carrier ORDER BY carrier";
    assert_eq!(
        partner.rows(groups),
        [
            ["AA", "16", "160.0", "10.0", "16"],
            ["UA", "12", "240.0", "20.0", "12"],
        ]
    );
    // What is done with groups is the caller's: they are no rows any more.
    let above = "SELECT max(n) - min(n) AS d FROM (SELECT carrier, count(*) AS n FROM flights GROUP BY carrier) LIMIT 1";
    assert_eq!(partner.rows(above), [["4"]]);
    let having = "SELECT carrier FROM flights GROUP BY carrier HAVING avg(delay) > 15";
    assert_eq!(partner.rows(having), [["UA"]]);
}

#[test]
fn a_group_that_is_too_small_is_as_one_that_is_empty() {
    let partner = Partner::at(&everybody());
    for carrier in ["MQ", "ZZ"] {
        let sql = format!("SELECT count(*), sum(delay) FROM flights WHERE carrier = '{carrier}'");
        assert_eq!(partner.rows(&sql), Vec::<Vec<String>>::new(), "{carrier}");
        let sql = format!(
            "SELECT month, count(*) FROM flights WHERE carrier = '{carrier}' GROUP BY month"
        );
        assert_eq!(partner.rows(&sql), Vec::<Vec<String>>::new(), "{carrier}");
    }
}

/// All but the four of MQ, and all, would tell of the four by their difference.
#[test]
fn what_is_left_outside_of_a_group_must_be_enough_as_well() {
    let partner = Partner::at(&everybody());
    let sql = "SELECT count(*) FROM flights WHERE carrier <> 'MQ'";
    assert_eq!(partner.rows(sql), Vec::<Vec<String>>::new());
    assert_eq!(partner.rows("SELECT count(*) FROM flights"), [["36"]]);
    // With five of them outside it is answered.
    let more = [everybody(), fleet("MQ2", 1, 90.0)].concat();
    let sql = "SELECT count(*) FROM flights WHERE carrier NOT IN ('MQ', 'MQ2')";
    assert_eq!(Partner::at(&more).rows(sql), [["28"]]);
}

#[test]
fn two_answers_that_differ_by_few_units_are_not_both_given() {
    let mut rows = everybody();
    rows.extend(fleet("B6", 1, 500.0));
    rows.extend(fleet("HA", 9, 1.0));
    let partner = Partner::at(&rows);
    let with = "SELECT sum(delay) FROM flights WHERE carrier IN ('AA', 'B6')";
    let without = "SELECT sum(delay) FROM flights WHERE carrier IN ('AA')";
    assert_eq!(partner.rows(with), [["1160.0"]]);
    assert_eq!(
        partner.rows(without),
        Vec::<Vec<String>>::new(),
        "the difference is one aircraft"
    );
    assert_eq!(partner.rows(with), [["1160.0"]], "the same again");
    // Whoever was not told the one may ask the other.
    assert_eq!(Partner::at(&rows).rows(without), [["160.0"]]);
}

#[test]
fn rows_are_counted_once_by_the_unit_and_rows_without_a_unit_not_at_all() {
    let mut rows = fleet("AA", 8, 10.0);
    rows.extend((0..50).map(|_| ("UA", 1, Some("UA1".to_owned()), Some(1.0))));
    rows.extend((0..50).map(|_| ("DL", 1, None, Some(1.0))));
    let partner = Partner::at(&rows);
    let sql = "SELECT carrier, count(*) FROM flights GROUP BY carrier";
    // UA is one aircraft, and the others outside of AA are that one.
    assert_eq!(partner.rows(sql), Vec::<Vec<String>>::new());
    assert_eq!(partner.rows("SELECT count(*) FROM flights"), [["66"]]);
}

#[test]
fn everything_but_its_groups_is_refused() {
    let partner = Partner::at(&everybody());
    for sql in [
        "SELECT * FROM flights",
        "SELECT carrier FROM flights",
        "SELECT delay FROM flights LIMIT 1",
        "SELECT count(*) FROM (SELECT * FROM flights LIMIT 10)",
        "SELECT origin, count(*) FROM flights GROUP BY origin",
        "SELECT month + 1, count(*) FROM flights GROUP BY month + 1",
        "SELECT max(delay) FROM flights",
        "SELECT min(carrier) FROM flights",
        "SELECT sum(delay * 2) FROM flights",
        "SELECT sum(CASE WHEN delay > 80 THEN 1 ELSE 0 END) FROM flights",
        "SELECT sum(delay) FILTER (WHERE carrier = 'AA') FROM flights",
        "SELECT count(DISTINCT carrier) FROM flights",
        "SELECT sum(DISTINCT delay) FROM flights",
        "SELECT carrier, count(*) FROM flights WHERE delay > 80 GROUP BY carrier",
        "SELECT carrier, count(*) FROM flights WHERE origin = 'EWR' GROUP BY carrier",
        "SELECT carrier, count(*) FROM flights WHERE 1 / (month - 1) > 0 GROUP BY carrier",
        "SELECT count(*) FROM flights a JOIN flights b ON a.carrier = b.carrier",
        "SELECT count(*) OVER (PARTITION BY carrier) FROM flights",
        "SELECT array_agg(delay) FROM flights",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM flights WHERE delay > 80)",
        "SELECT (SELECT max(delay) FROM flights)",
        "SELECT carrier FROM flights UNION ALL SELECT carrier FROM flights",
        "SELECT count(*) FROM flights GROUP BY carrier LIMIT (SELECT 1)",
    ] {
        let error = partner.ask(sql).unwrap_err();
        let refused = ["not-permitted", "bad-sql"].contains(&error.code());
        assert!(refused, "{sql}: {error}");
    }
    partner.refused("SELECT delay FROM flights");
    // The unit does not exist for the caller.
    for sql in [
        "SELECT tailnum FROM flights GROUP BY tailnum",
        "SELECT count(*) FROM flights WHERE tailnum <> 'AA1'",
        "SELECT count(tailnum) FROM flights",
    ] {
        assert_eq!(partner.ask(sql).unwrap_err().code(), "bad-sql", "{sql}");
    }
}

#[test]
fn masks_and_filters_come_before_groups() {
    let mut partner = Partner::at(&[everybody(), fleet("US", 7, 5.0)].concat());
    partner.terms.masks = [("carrier".to_owned(), Mask::MaskAlphanum)].into();
    partner.terms.filter = RowFilter(
        [Predicate::Compare {
            column: "carrier".to_owned(),
            op: Comparison::NotEq,
            value: Literal::Text("US".to_owned()),
        }]
        .into(),
    );
    let sql = "SELECT carrier, count(*) FROM flights GROUP BY carrier";
    assert_eq!(partner.rows(sql), [["xx", "36"]]);
    partner.refused("SELECT count(*) FROM flights WHERE carrier = 'AA'");
    partner.terms.masks = [("delay".to_owned(), Mask::MaskToFixedValue)].into();
    partner.refused("SELECT sum(delay) FROM flights");
    assert_eq!(partner.rows("SELECT count(*) FROM flights"), [["36"]]);
}

#[test]
fn limits_are_numbers() {
    let partner = Partner::at(&everybody());
    partner.refused("SELECT carrier, count(*) FROM flights GROUP BY carrier LIMIT 1 + 1");
    assert_eq!(
        partner
            .rows("SELECT carrier, count(*) FROM flights GROUP BY carrier ORDER BY 1 LIMIT 1")
            .len(),
        1
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// An attacker asks for unions of groups, in any order, and subtracts. No
    /// two answers differ by the rows of one to four aircraft.
    #[test]
    fn a21_no_difference_of_two_answers_is_about_few_units(
        fleets in proptest::collection::vec((0usize..9, 1i64..3), 4),
        asked in proptest::collection::vec(proptest::sample::subsequence(vec![0usize, 1, 2, 3], 1..=4), 1..8),
    ) {
        const CARRIERS: [&str; 4] = ["AA", "B6", "MQ", "UA"];
        let mut rows = Vec::new();
        for (carrier, (planes, months)) in CARRIERS.iter().zip(&fleets) {
            for plane in 0..*planes {
                for month in 1..=*months {
                    rows.push((*carrier, month, Some(format!("{carrier}{plane}")), Some(1.0)));
                }
            }
        }
        let partner = Partner::at(&rows);
        let size = |set: &[usize]| set.iter().map(|i| fleets[*i].0).sum::<usize>();
        let all = size(&[0, 1, 2, 3]);
        let mut answered: Vec<Vec<usize>> = Vec::new();
        for set in asked {
            let names: Vec<_> = set.iter().map(|i| format!("'{}'", CARRIERS[*i])).collect();
            let sql = format!("SELECT count(*) FROM flights WHERE carrier IN ({})", names.join(", "));
            let told = partner.rows(&sql);
            if told.is_empty() {
                continue;
            }
            let (inside, outside) = (size(&set), all - size(&set));
            prop_assert!(inside >= UNITS as usize);
            prop_assert!(outside == 0 || outside >= UNITS as usize);
            for earlier in &answered {
                let differ: Vec<usize> = (0..4).filter(|i| set.contains(i) != earlier.contains(i)).collect();
                let units = size(&differ);
                prop_assert!(units == 0 || units >= UNITS as usize, "{set:?} after {earlier:?}");
            }
            let expected: i64 = set.iter().map(|i| fleets[*i].0 as i64 * fleets[*i].1).sum();
            prop_assert_eq!(&told[0][0], &expected.to_string());
            answered.push(set);
        }
    }
}
