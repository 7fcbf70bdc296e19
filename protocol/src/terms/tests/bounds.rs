//! Every limit, from both sides.

use comity_identity::Timestamp;

use super::*;
use crate::names::{MAX_COLUMN_CHARS, MAX_NAME_CHARS};

/// `make(limit)` is well formed and `make(limit + 1)` is not.
fn bounded(limit: usize, make: impl Fn(usize) -> Terms) {
    assert_eq!(make(limit).check(), Ok(()), "{limit}");
    assert!(make(limit + 1).check().is_err(), "{limit} + 1");
}

fn numbered(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|i| format!("n{i}"))
}

fn ints(n: usize) -> Predicate {
    Predicate::In {
        column: "temp".to_owned(),
        values: (0..n as i64).map(Literal::Int).collect(),
    }
}

/// `temp is null`, `depth` deep.
fn nested(depth: usize) -> Predicate {
    let null = Predicate::IsNull {
        column: "temp".to_owned(),
    };
    (1..depth).fold(null, |inner, _| Predicate::Not(Box::new(inner)))
}

#[test]
fn names_and_counts_have_limits() {
    bounded(MAX_TABLES, |n| {
        let mut terms = terms(&["temp"]);
        let one = terms.tables.remove("weather").unwrap();
        terms.tables = numbered(n).map(|name| (name, one.clone())).collect();
        terms
    });
    bounded(MAX_COLUMNS, |n| {
        let mut terms = terms(&["temp"]);
        table(&mut terms).columns = numbered(n).collect();
        terms
    });
    bounded(MAX_PURPOSES, |n| {
        let mut terms = terms(&["temp"]);
        terms.purposes = numbered(n).collect();
        terms
    });
    bounded(MAX_TEXT_CHARS, |n| {
        let mut terms = terms(&["temp"]);
        terms.purposes = BTreeSet::from(["p".repeat(n)]);
        terms
    });
    bounded(MAX_NAME_CHARS, |n| {
        let mut terms = terms(&["temp"]);
        let one = terms.tables.remove("weather").unwrap();
        terms.tables = BTreeMap::from([("t".repeat(n), one)]);
        terms
    });
    bounded(MAX_COLUMN_CHARS, |n| terms(&[&"c".repeat(n)]));
}

#[test]
fn filters_have_limits() {
    bounded(MAX_PREDICATES, |n| {
        filtered((0..n as i64).map(|i| compare(Literal::Int(i))))
    });
    // Those inside others count.
    bounded(MAX_PREDICATES - 1, |n| {
        let inner = (0..n as i64).map(|i| compare(Literal::Int(i)));
        filtered([Predicate::Any(inner.collect())])
    });
    bounded(MAX_PREDICATE_DEPTH, |n| filtered([nested(n)]));
    bounded(MAX_LITERALS, |n| filtered([ints(n)]));
    bounded(MAX_LITERALS - 1, |n| {
        filtered([ints(n), compare(Literal::Bool(true))])
    });
    bounded(MAX_TEXT_CHARS, |n| {
        filtered([compare(Literal::Text("ü".repeat(n)))])
    });
}

#[test]
fn whole_numbers_end_where_json_stops_being_exact() {
    let most = i64::try_from(MAX_INT).unwrap();
    for n in [most, -most, 0] {
        assert_eq!(filtered([compare(Literal::Int(n))]).check(), Ok(()));
    }
    for n in [most + 1, -most - 1, i64::MAX, i64::MIN] {
        assert!(filtered([compare(Literal::Int(n))]).check().is_err());
    }
    let mut terms = terms(&["temp"]);
    terms.limits.max_rows_per_query = Some(MAX_INT);
    terms.expires = Timestamp::from_secs(MAX_INT);
    assert_eq!(terms.check(), Ok(()));
    let mut rows = terms.clone();
    rows.limits.max_rows_per_query = Some(MAX_INT + 1);
    assert!(rows.check().is_err());
    terms.expires = Timestamp::from_secs(MAX_INT + 1);
    assert!(terms.check().is_err());
}

#[test]
fn nothing_is_empty_that_must_not_be() {
    let good = terms(&["temp"]);
    let changes: [fn(&mut Terms); 7] = [
        |t| t.tables.clear(),
        |t| t.purposes.clear(),
        |t| t.purposes = BTreeSet::from([String::new()]),
        |t| t.expires = t.not_before,
        |t| table(t).columns.clear(),
        |t| table(t).filter = RowFilter(BTreeSet::from([Predicate::Any(BTreeSet::new())])),
        |t| table(t).filter = RowFilter(BTreeSet::from([ints(0)])),
    ];
    assert_eq!(good.check(), Ok(()));
    for (i, change) in changes.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(
            matches!(bad.check(), Err(TermsError::Size(_) | TermsError::Name(_))),
            "{i}"
        );
    }
}

#[test]
fn names_that_could_be_sql_or_look_alike_are_refused() {
    for bad in ["", "a b", "a\"b", "a;b", "\u{430}bc", "a.b"] {
        assert!(terms(&[bad]).check().is_err(), "{bad:?}");
        let predicate = Predicate::IsNull {
            column: bad.to_owned(),
        };
        assert!(filtered([predicate]).check().is_err(), "{bad:?}");
        let mut other = terms(&["temp"]);
        other.purposes = BTreeSet::from([bad.to_owned()]);
        // A purpose may have dots.
        assert_eq!(other.check().is_ok(), bad == "a.b", "{bad:?}");
    }
    let mut other = terms(&["temp"]);
    let one = other.tables.remove("weather").unwrap();
    other.tables = BTreeMap::from([("Weather".to_owned(), one)]);
    assert_eq!(other.check(), Err(TermsError::Name("Weather".to_owned())));
}

#[test]
fn a_mask_belongs_to_a_permitted_column() {
    let mut terms = terms(&["temp"]);
    let masks = BTreeMap::from([("wind".to_owned(), Mask::ReplaceWithNull)]);
    table(&mut terms).masks = masks;
    assert_eq!(terms.check(), Err(TermsError::Mask("wind".to_owned())));
}

#[test]
fn decimals_dates_and_moments_have_one_form() {
    let ok = |literal| filtered([compare(literal)]).check().is_ok();
    let [nines, tens] = [36, 37].map(|n| format!("-{}.00", "9".repeat(n)));
    for good in ["0.0", "-1.5", "00.10", nines.as_str()] {
        assert!(ok(Literal::Decimal(good.to_owned())), "{good}");
    }
    let long = tens.trim_start_matches('-');
    for bad in [
        "", "1", "1.", ".5", "+1.0", "1.0.0", "1e3", "--1.0", " 1.0", long, &tens,
    ] {
        assert!(!ok(Literal::Decimal(bad.to_owned())), "{bad}");
    }
    for good in ["2013-01-31", "2012-02-29", "2000-02-29", "2013-12-01"] {
        assert!(ok(Literal::Date(good.to_owned())), "{good}");
    }
    for bad in [
        "",
        "2013-1-31",
        "2013-02-29",
        "1900-02-29",
        "2013-04-31",
        "2013-13-01",
        "2013-00-01",
        "2013-01-00",
        "13-01-31",
        "2013-01-31 ",
        "2013/01/31",
        "2013-01-3\u{663}",
    ] {
        assert!(!ok(Literal::Date(bad.to_owned())), "{bad}");
    }
    for good in ["2013-01-31T00:00:00Z", "2013-01-31T23:59:59.123456Z"] {
        assert!(ok(Literal::Timestamp(good.to_owned())), "{good}");
    }
    for bad in [
        "2013-01-31T00:00:00",
        "2013-01-31T00:00:00z",
        "2013-01-31 00:00:00Z",
        "2013-01-31T24:00:00Z",
        "2013-01-31T00:60:00Z",
        "2013-01-31T00:00:60Z",
        "2013-02-30T00:00:00Z",
        "2013-01-31T00:00:00.Z",
        "2013-01-31T00:00:00.1234567Z",
        "2013-01-31T00:00:00+01:00",
        "2013-01-31T00:00:00.5.5Z",
    ] {
        assert!(!ok(Literal::Timestamp(bad.to_owned())), "{bad}");
    }
}

#[test]
fn claims_are_those_that_are_known() {
    let ok = |name: &str| {
        filtered([compare(Literal::Claim(name.to_owned()))])
            .check()
            .is_ok()
    };
    for good in [
        "peer.org",
        "peer.country_2",
        "grant.subject",
        "grant.roles",
        "purpose",
    ] {
        assert!(ok(good), "{good}");
    }
    for bad in [
        "",
        "peer.",
        "peer",
        "peer.Country",
        "peer.a.b",
        "grant.sub",
        "purpose ",
        "peer.\u{e9}",
    ] {
        assert!(!ok(bad), "{bad}");
    }
    bounded(MAX_CLAIM_CHARS, |n| {
        let name = format!("peer.{}", "a".repeat(n - 5));
        filtered([compare(Literal::Claim(name))])
    });
}

#[test]
fn a_protection_fits_its_table() {
    let protected = |change: fn(&mut Protection)| {
        let mut protection = Protection {
            unit: "tail".to_owned(),
            min_units: MIN_UNITS,
            group_by: ["temp".to_owned()].into(),
            aggregates: [Aggregate::Count].into(),
        };
        change(&mut protection);
        let mut terms = terms(&["temp"]);
        table(&mut terms).protection = Some(protection);
        terms.check().is_ok()
    };
    let good: [fn(&mut Protection); 3] =
        [|_| {}, |p| p.group_by.clear(), |p| p.min_units = MAX_INT];
    assert!(good.into_iter().all(protected));
    let bad: [fn(&mut Protection); 6] = [
        |p| p.unit = "temp".to_owned(),
        |p| p.unit = "a b".to_owned(),
        |p| p.min_units = MIN_UNITS - 1,
        |p| p.min_units = MAX_INT + 1,
        |p| p.group_by = ["wind".to_owned()].into(),
        |p| p.aggregates.clear(),
    ];
    assert!(!bad.into_iter().any(protected));
}

#[test]
fn limits_say_something_that_can_be() {
    let limited = |change: fn(&mut Limits)| {
        let mut terms = terms(&["temp"]);
        change(&mut terms.limits);
        terms.check().is_ok()
    };
    assert!(limited(|l| l.hours = Some([0, 23].into())));
    let bad: [fn(&mut Limits); 6] = [
        |l| l.hours = Some([24].into()),
        |l| l.hours = Some([].into()),
        |l| l.weekdays = Some([].into()),
        |l| l.max_bytes_per_query = Some(MAX_INT + 1),
        |l| l.max_concurrent = Some(MAX_INT + 1),
        |l| l.per = [(Window::Day, Quota::default())].into(),
    ];
    assert!(!bad.into_iter().any(limited));
    assert!(serde_json::from_str::<Limits>(r#"{"hours":null}"#).is_err());
    assert!(serde_json::from_str::<Limits>(r#"{"per":{"week":{"rows":1}}}"#).is_err());
    let twice = r#"{"per":{"day":{"rows":1},"day":{"rows":2}}}"#;
    assert!(serde_json::from_str::<Limits>(twice).is_err());
}

#[test]
fn a_hostile_text_is_cut_for_the_message() {
    let Err(TermsError::Name(shown)) = terms(&[&"!".repeat(10_000)]).check() else {
        panic!("the name is refused");
    };
    assert_eq!(shown.len(), 40);
}
