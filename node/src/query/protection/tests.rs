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

/// Regression: a total beside the groups told of the one that was left out.
#[test]
fn a_total_is_of_the_cells_that_are_told_and_of_no_others() {
    let partner = Partner::at(&everybody());
    for sql in [
        "SELECT count(*) FROM flights",
        "SELECT count(*) FROM flights WHERE carrier <> 'MQ'",
        "SELECT sum(n) FROM (SELECT carrier, count(*) AS n FROM flights GROUP BY carrier)",
        "SELECT sum(n) FROM (SELECT month, count(*) AS n FROM flights GROUP BY month)",
    ] {
        assert_eq!(partner.rows(sql), [["28"]], "{sql}");
    }
}

#[test]
fn a_few_units_are_not_the_difference_of_two_answers() {
    let mut rows = everybody();
    rows.extend(fleet("B6", 1, 500.0));
    rows.extend(fleet("HA", 9, 1.0));
    let partner = Partner::at(&rows);
    let with = "SELECT sum(delay) FROM flights WHERE carrier IN ('AA', 'B6')";
    let without = "SELECT sum(delay) FROM flights WHERE carrier IN ('AA')";
    assert_eq!(partner.rows(with), [["160.0"]]);
    assert_eq!(partner.rows(without), [["160.0"]]);
}

#[test]
fn rows_are_counted_once_by_the_unit_and_rows_without_a_unit_not_at_all() {
    let mut rows = fleet("AA", 8, 10.0);
    rows.extend((0..50).map(|_| ("UA", 1, Some("UA1".to_owned()), Some(1.0))));
    rows.extend((0..50).map(|_| ("DL", 1, None, Some(1.0))));
    let partner = Partner::at(&rows);
    let sql = "SELECT carrier, count(*) FROM flights GROUP BY carrier";
    assert_eq!(partner.rows(sql), [["AA", "16"]], "UA is one aircraft");
    assert_eq!(partner.rows("SELECT count(*) FROM flights"), [["16"]]);
}

/// Regression: enough units with a row were taken for enough with a value.
#[test]
fn a_value_that_few_units_have_or_lack_is_not_told() {
    let sql = "SELECT carrier, count(*), count(delay), sum(delay) FROM flights GROUP BY carrier";
    let with = |some: usize| {
        let mut rows = fleet("AA", 12, 10.0);
        let lack = rows.iter_mut().skip(2 * some);
        lack.for_each(|(_, _, _, delay)| *delay = None);
        Partner::at(&rows).rows(sql)
    };
    for few in [0, 1, 4, 8, 11] {
        assert_eq!(with(few), [["AA", "24", "0", ""]], "{few} have one");
    }
    for enough in [5, 7, 12] {
        let (count, sum) = (
            (2 * enough).to_string(),
            format!("{:.1}", 20.0 * enough as f64),
        );
        assert_eq!(with(enough), [["AA", "24", &count, &sum]]);
    }
}

/// Regression: whoever asked again and again saw what changed for one unit.
#[test]
fn what_changed_for_few_units_is_not_told_until_it_changed_for_enough() {
    let mut rows = fleet("AA", 12, 10.0);
    let mut partner = Partner::at(&rows);
    let sums = "SELECT month, sum(delay) FROM flights GROUP BY month ORDER BY month";
    let both = [["1", "120.0"], ["2", "120.0"]];
    assert_eq!(partner.rows(sums), both);
    rows[0].3 = Some(500.0);
    partner.source = flights(&rows);
    assert_eq!(partner.rows(sums), [["1", ""], ["2", "120.0"]]);
    assert_eq!(partner.rows("SELECT count(*) FROM flights"), [["24"]]);
    for row in rows.iter_mut().take(10) {
        row.3 = Some(500.0);
    }
    partner.source = flights(&rows);
    assert_eq!(partner.rows(sums)[0], ["1", "2570.0"], "for five");
    // One more row of one aircraft: its cell is gone, and so it is from the total.
    rows.push(rows[0].clone());
    partner.source = flights(&rows);
    assert_eq!(partner.rows("SELECT count(*) FROM flights"), [["12"]]);
}

/// Regression: a grant of one's own without a group column, or another
/// agreement, made other cells, to which earlier answers were not compared.
#[test]
fn cells_are_those_of_the_agreement_and_of_no_second_one() {
    let mut rows = everybody();
    rows.extend(fleet("B6", 1, 500.0));
    let mut partner = Partner::at(&rows);
    let whole = "SELECT sum(delay) FROM flights";
    assert_eq!(partner.rows(whole), [["400.0"]]);
    let all = partner.terms.clone();
    partner.terms.columns.remove("month");
    assert_eq!(partner.rows(whole), [["400.0"]], "a column that is hidden");
    assert_eq!(
        partner
            .ask("SELECT month, count(*) FROM flights GROUP BY month")
            .unwrap_err()
            .code(),
        "bad-sql"
    );
    let other = |change: fn(&mut TableTerms)| {
        let mut terms = all.clone();
        change(&mut terms);
        terms
    };
    for terms in [
        other(|t| t.retain_columns(|c| c != "month")),
        other(|t| {
            let named = Predicate::Compare {
                column: "carrier".to_owned(),
                op: Comparison::NotEq,
                value: Literal::Text("B6".to_owned()),
            };
            t.filter = RowFilter([named].into());
        }),
        other(|t| {
            t.masks
                .extend([("month".to_owned(), Mask::MaskToFixedValue)])
        }),
    ] {
        partner.terms = terms;
        partner.refused(whole);
    }
    let changes = [("carrier".to_owned(), Mask::Sha256QueryLocal)];
    partner.terms = all.clone();
    partner.terms.masks.extend(changes);
    assert_eq!(partner.ask(whole).unwrap_err().code(), "terms-mismatch");
    partner.terms = all;
    assert_eq!(partner.rows(whole), [["400.0"]]);
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
    let everybody = [everybody(), fleet("US", 7, 5.0)].concat();
    let mut partner = Partner::at(&everybody);
    partner.terms.masks = [("carrier".to_owned(), Mask::MaskAlphanum)].into();
    partner.terms.filter = RowFilter(
        [Predicate::Compare {
            column: "carrier".to_owned(),
            op: Comparison::NotEq,
            value: Literal::Text("US".to_owned()),
        }]
        .into(),
    );
    // Under one name the three carriers make one cell of eighteen aircraft.
    let sql = "SELECT carrier, count(*) FROM flights GROUP BY carrier";
    assert_eq!(partner.rows(sql), [["xx", "36"]]);
    partner.refused("SELECT count(*) FROM flights WHERE carrier = 'AA'");
    let mut partner = Partner::at(&everybody);
    partner.terms.masks = [("delay".to_owned(), Mask::MaskToFixedValue)].into();
    partner.refused("SELECT sum(delay) FROM flights");
    assert_eq!(partner.rows("SELECT count(*) FROM flights"), [["42"]]);
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

    /// An attacker asks for unions of groups, in any order, and combines the
    /// answers as it likes: each is the sum over the asked cells that have
    /// enough aircraft, and of nothing else, so no combination is about fewer.
    #[test]
    fn a21_every_answer_is_a_sum_over_cells_of_enough_units(
        // Of each carrier: aircraft in January, in both months, with a value.
        fleets in proptest::collection::vec((0usize..12, 0usize..12, 0usize..12), 4),
        asked in proptest::collection::vec(
            (proptest::sample::subsequence(vec![0usize, 1, 2, 3], 1..=4), 1i64..=3), 1..8),
    ) {
        const CARRIERS: [&str; 4] = ["AA", "B6", "MQ", "UA"];
        let mut rows = Vec::new();
        // What each cell may add to an answer: rows, values, their sum.
        let mut cells: BTreeMap<(usize, i64), (i64, i64, f64)> = BTreeMap::new();
        for (c, (carrier, (planes, both, valued))) in CARRIERS.iter().zip(&fleets).enumerate() {
            let of_months = [(1, *planes), (2, *both.min(planes))];
            for (month, planes) in of_months {
                let valued = *valued.min(&planes);
                for plane in 0..planes {
                    let delay = (plane < valued).then_some((plane + 1) as f64);
                    rows.push((*carrier, month, Some(format!("{carrier}{plane}")), delay));
                }
                let enough = |n: usize| n >= UNITS as usize;
                let told = enough(valued) && (valued == planes || enough(planes - valued));
                let valued = if told { valued } else { 0 };
                let sum = (valued * (valued + 1) / 2) as f64;
                if enough(planes) {
                    cells.insert((c, month), (planes as i64, valued as i64, sum));
                }
            }
        }
        let partner = Partner::at(&rows);
        for (carriers, months) in asked {
            let names: Vec<_> = carriers.iter().map(|i| format!("'{}'", CARRIERS[*i])).collect();
            let months: Vec<i64> = [1, 2].into_iter().filter(|m| months & m != 0).collect();
            let sql = format!(
                "SELECT count(*), count(delay), sum(delay) FROM flights WHERE carrier IN ({}) AND month IN ({})",
                names.join(", "),
                months.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            );
            let meant = cells.iter().filter(|((c, m), _)| carriers.contains(c) && months.contains(m));
            let meant: Vec<_> = meant.map(|(_, adds)| *adds).collect();
            let sum = |of: fn(&(i64, i64, f64)) -> f64| meant.iter().map(of).sum::<f64>();
            let (n, values) = (sum(|a| a.0 as f64), sum(|a| a.1 as f64));
            let total = if values > 0.0 { format!("{:.1}", sum(|a| a.2)) } else { String::new() };
            let expected = vec![n.to_string(), values.to_string(), total];
            let expected = if meant.is_empty() { vec![] } else { vec![expected] };
            prop_assert_eq!(partner.rows(&sql), expected, "{}", sql);
        }
    }
}

/// Regression: two questions in one statement had the same name in the plan, and the
/// engine computed one of them for both.
#[test]
fn two_questions_in_one_statement_have_two_answers() {
    let partner = Partner::at(&[fleet("AA", 10, 10.0), fleet("UA", 20, 20.0)].concat());
    let of = |carrier| format!("(SELECT count(*) FROM flights WHERE carrier = '{carrier}')");
    let sql = format!("SELECT {} AS a, {} AS b", of("AA"), of("UA"));
    assert_eq!(partner.rows(&sql), [["20", "40"]]);
}
