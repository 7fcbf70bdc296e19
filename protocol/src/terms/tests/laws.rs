//! `narrows` is a partial order, `intersect` is its meet, and neither widens.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::fixture::{DAY, NOW};

const COLUMNS: [&str; 4] = ["dep_Time", "origin", "temp", "wind"];
/// Whom rows are about: sometimes shown by the other side, never grouped by.
const UNITS: [&str; 2] = ["temp", "tail"];
const MASKS: [Mask; 4] = [
    Mask::MaskAlphanum,
    Mask::ReplaceWithNull,
    Mask::ShowFirst4,
    Mask::Sha256Global,
];

fn column() -> impl Strategy<Value = String> {
    select(&COLUMNS[..]).prop_map(str::to_owned)
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<bool>().prop_map(Literal::Bool),
        (-3i64..3).prop_map(Literal::Int),
        Just(Literal::Decimal("-0.5".to_owned())),
        "[a-c\u{e9}\"']{0,3}".prop_map(Literal::Text),
        Just(Literal::Date("2013-01-31".to_owned())),
        Just(Literal::Timestamp("2013-01-31T23:59:59.5Z".to_owned())),
        Just(Literal::Claim("peer.country".to_owned())),
    ]
}

/// Few different ones, so that filters overlap.
fn predicate() -> impl Strategy<Value = Predicate> {
    let op = select(vec![Comparison::Eq, Comparison::Lt, Comparison::GtEq]);
    let compare = (column(), op, literal()).prop_map(|(column, op, value)| Predicate::Compare {
        column,
        op,
        value,
    });
    let any_of = (column(), btree_set(literal(), 1..3))
        .prop_map(|(column, values)| Predicate::In { column, values });
    let null = column().prop_map(|column| Predicate::IsNull { column });
    prop_oneof![compare, any_of, null].prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|p| Predicate::Not(Box::new(p))),
            btree_set(inner.clone(), 1..3).prop_map(Predicate::Any),
            btree_set(inner, 1..3).prop_map(Predicate::All),
        ]
    })
}

fn table_terms() -> impl Strategy<Value = TableTerms> {
    let columns = subsequence(COLUMNS.to_vec(), 1..=COLUMNS.len());
    let masks = vec(option::weighted(0.4, select(&MASKS[..])), COLUMNS.len());
    let pool = select(vec![
        Predicate::IsNull {
            column: "temp".to_owned(),
        },
        compare(Literal::Int(1)),
        compare(Literal::Int(2)),
    ]);
    let filter = btree_set(prop_oneof![4 => pool, 1 => predicate()], 0..3);
    let protection = option::weighted(0.4, protection());
    (columns, masks, filter, protection).prop_map(|(columns, masks, filter, protection)| {
        let mut terms = TableTerms {
            masks: columns
                .iter()
                .zip(masks)
                .filter_map(|(column, mask)| Some(((*column).to_owned(), mask?)))
                .collect(),
            columns: columns.into_iter().map(str::to_owned).collect(),
            filter: RowFilter(filter),
            protection,
        };
        let unit = terms.protection.as_ref().map(|p| p.unit.clone());
        let all = terms.columns.clone();
        terms.retain_columns(|c| all.contains(c) && Some(c) != unit.as_deref());
        if terms.columns.is_empty() {
            (terms.columns, terms.protection) = (all, None);
        }
        terms
    })
}

fn protection() -> impl Strategy<Value = Protection> {
    let groups = subsequence(COLUMNS.to_vec(), 0..=COLUMNS.len());
    let functions = vec![Aggregate::Count, Aggregate::Sum, Aggregate::Avg];
    let aggregates = subsequence(functions, 1..=3);
    (select(&UNITS[..]), 2u64..5, groups, aggregates).prop_map(
        |(unit, min_units, groups, aggregates)| Protection {
            unit: unit.to_owned(),
            min_units,
            group_by: groups.into_iter().map(str::to_owned).collect(),
            aggregates: aggregates.into_iter().collect(),
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    let count = || option::of(0u64..4);
    let quota = (count(), count(), count()).prop_filter_map("empty", |(queries, rows, bytes)| {
        let quota = Quota {
            queries,
            rows,
            bytes,
        };
        (quota != Quota::default()).then_some(quota)
    });
    let per = btree_map(select(&Window::ALL[..]), quota, 0..3);
    let hours = option::of(btree_set(0u8..24, 1..4));
    let days = subsequence(
        vec![Weekday::Monday, Weekday::Friday, Weekday::Sunday],
        1..=3,
    );
    let days = option::of(days.prop_map(|days| days.into_iter().collect()));
    (count(), count(), count(), per, hours, days).prop_map(
        |(max_rows_per_query, max_bytes_per_query, max_concurrent, per, hours, weekdays)| Limits {
            max_rows_per_query,
            max_bytes_per_query,
            max_concurrent,
            per,
            hours,
            weekdays,
        },
    )
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let tables = btree_map(select(vec!["airports", "weather"]), table_terms(), 1..3);
    let purposes = subsequence(vec!["audit", "operations", "research"], 1..=3);
    (tables, purposes, limits(), 0u32..3, 3u32..6).prop_map(
        |(tables, purposes, limits, from, until)| Terms {
            tables: tables
                .into_iter()
                .map(|(name, table)| (name.to_owned(), table))
                .collect(),
            purposes: purposes.into_iter().map(str::to_owned).collect(),
            limits,
            not_before: NOW.saturating_add(from * DAY),
            expires: NOW.saturating_add(until * DAY),
        },
    )
}

proptest! {
    #[test]
    fn generated_terms_are_well_formed_and_survive_the_wire(a in any_terms()) {
        prop_assert_eq!(a.check(), Ok(()));
        let text = serde_json_canonicalizer::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Terms>(&text).unwrap(), a);
    }

    #[test]
    fn terms_narrow_themselves(a in any_terms()) {
        prop_assert!(a.narrows(&a));
    }

    #[test]
    fn terms_that_narrow_each_other_are_equal(a in any_terms(), b in any_terms()) {
        prop_assert_eq!(a.narrows(&b) && b.narrows(&a), a == b);
    }

    /// Meets give chains that random terms would hardly form.
    #[test]
    fn narrowing_passes_on(a in any_terms(), b in any_terms(), c in any_terms()) {
        if let Some(ab) = a.intersect(&b) {
            prop_assert!(ab.narrows(&a));
            if let Some(abc) = ab.intersect(&c) {
                prop_assert!(abc.narrows(&ab) && abc.narrows(&a) && abc.narrows(&b));
            }
        }
        if a.narrows(&b) && b.narrows(&c) {
            prop_assert!(a.narrows(&c));
        }
    }

    #[test]
    fn what_both_permit_narrows_both(a in any_terms(), b in any_terms()) {
        if let Some(both) = a.intersect(&b) {
            prop_assert!(both.narrows(&a) && both.narrows(&b));
            prop_assert_eq!(both.check(), Ok(()));
        }
    }

    /// Nothing that narrows both is lost, unless it keeps no column, purpose or time.
    #[test]
    fn what_narrows_both_narrows_what_both_permit(
        a in any_terms(), b in any_terms(), c in any_terms(),
    ) {
        for lower in [a.intersect(&b).and_then(|ab| ab.intersect(&c)), Some(c)] {
            let Some(lower) = lower else { continue };
            if lower.narrows(&a) && lower.narrows(&b) {
                prop_assert!(a.intersect(&b).is_some_and(|both| lower.narrows(&both)));
            }
        }
    }

    #[test]
    fn what_both_permit_has_no_sides(a in any_terms(), b in any_terms()) {
        prop_assert_eq!(a.intersect(&b), b.intersect(&a));
        prop_assert_eq!(a.intersect(&a), Some(a));
    }

    #[test]
    fn grouping_does_not_matter(a in any_terms(), b in any_terms(), c in any_terms()) {
        let left = a.intersect(&b).and_then(|ab| ab.intersect(&c));
        let right = b.intersect(&c).and_then(|bc| a.intersect(&bc));
        prop_assert_eq!(left, right);
    }

    #[test]
    fn terms_exceed_exactly_what_they_do_not_narrow(a in any_terms(), b in any_terms()) {
        prop_assert_eq!(a.exceed(&b).is_empty(), a.narrows(&b));
        prop_assert!(a.exceed(&a).is_empty());
        if let Some(both) = a.intersect(&b) {
            prop_assert!(both.exceed(&a).is_empty() && both.exceed(&b).is_empty());
        }
    }

    /// N-94: every line says which way it goes, and together they say what
    /// `narrows` says, in both directions.
    #[test]
    fn directions_say_what_narrowing_says(a in any_terms(), b in any_terms()) {
        let all = |a: &Terms, b: &Terms, direction| {
            a.difference(b).iter().all(|d| d.direction == direction)
        };
        let pairs = [Some(a.clone()), Some(b.clone()), a.intersect(&b)];
        for (now, earlier) in pairs.iter().flatten().flat_map(|x| pairs.iter().flatten().map(move |y| (x, y))) {
            prop_assert_eq!(now.difference(earlier).is_empty(), now == earlier);
            prop_assert_eq!(all(now, earlier, Direction::Narrower), now.narrows(earlier));
            prop_assert_eq!(all(now, earlier, Direction::Wider), earlier.narrows(now));
        }
    }

    #[test]
    fn changes_are_empty_exactly_for_equal_terms(a in any_terms(), b in any_terms()) {
        prop_assert_eq!(a.changes_from(&b).is_empty(), a == b);
        prop_assert!(a.changes_from(&a).is_empty());
        for change in a.changes_from(&b) {
            prop_assert!(!change.to_string().contains('\n'));
        }
    }
}

#[test]
fn no_mask_but_null_narrows_another() {
    let masked = |mask: Option<Mask>| {
        let mut terms = terms(&["temp"]);
        table(&mut terms).masks = mask.map(|m| ("temp".to_owned(), m)).into_iter().collect();
        terms
    };
    let hash = masked(Some(Mask::Sha256Global));
    let first = masked(Some(Mask::ShowFirst4));
    let null = masked(Some(Mask::ReplaceWithNull));
    assert!(hash.narrows(&masked(None)) && !masked(None).narrows(&hash));
    assert!(!hash.narrows(&first) && !first.narrows(&hash));
    assert!(null.narrows(&hash) && null.narrows(&first));
    assert_eq!(hash.intersect(&first), Some(null));
}

/// Regression: a filter counted as narrowing whatever it asked about, so that
/// a request for a count could ask, row by row, for what was hidden.
#[test]
fn a_filter_over_what_the_wider_terms_hide_narrows_nothing() {
    let asks = |column: &str| {
        Predicate::Not(Box::new(Predicate::IsNull {
            column: column.into(),
        }))
    };
    let wide = terms(&["temp", "wind"]);
    for (column, mask, narrows) in [
        ("temp", None, true),
        ("wind", Some(Mask::ReplaceWithNull), false),
        ("wind", Some(Mask::Sha256Global), false),
        ("dep_Time", None, false),
    ] {
        let mut wide = wide.clone();
        table(&mut wide).masks = mask.map(|m| (column.to_owned(), m)).into_iter().collect();
        let mut asking = wide.clone();
        for deep in [false, true] {
            let inner = asks(column);
            let ask = if deep {
                Predicate::Any([inner].into())
            } else {
                inner
            };
            table(&mut asking).filter.0 = [ask].into();
            assert_eq!(asking.narrows(&wide), narrows, "{column} {mask:?}");
            let directions = asking.difference(&wide).into_iter().map(|d| d.direction);
            let narrower = |d: Direction| d == Direction::Narrower;
            assert_eq!(
                directions.clone().all(narrower),
                narrows,
                "{column} {mask:?}"
            );
            // Whoever takes such a condition away has given nothing that can be said.
            let back = wide.difference(&asking).into_iter().map(|d| d.direction);
            assert_eq!(
                back.clone().all(|d| d == Direction::Wider),
                narrows,
                "{column} {mask:?}"
            );
            assert_eq!(
                asking.intersect(&wide).is_some(),
                narrows,
                "{column} {mask:?}"
            );
            assert_eq!(
                wide.intersect(&asking).is_some(),
                narrows,
                "{column} {mask:?}"
            );
        }
        // What the wider terms filter by already is no new question.
        table(&mut wide).filter = table(&mut asking).filter.clone();
        assert!(asking.narrows(&wide), "{column} {mask:?}");
    }
}

#[test]
fn disjoint_terms_permit_nothing() {
    let a = terms(&["temp"]);
    assert_eq!(a.intersect(&terms(&["wind"])), None);
    let mut other = a.clone();
    other.purposes = BTreeSet::from(["research".to_owned()]);
    assert_eq!(a.intersect(&other), None);
    let mut later = a.clone();
    later.not_before = a.expires;
    later.expires = a.expires.saturating_add(DAY);
    assert_eq!(a.intersect(&later), None);
}

#[test]
fn changes_are_told_in_words() {
    let mut earlier = terms(&["temp", "wind"]);
    earlier.limits.max_rows_per_query = None;
    let mut later = terms(&["origin", "temp"]);
    later.limits.max_rows_per_query = Some(10);
    later.purposes = BTreeSet::from(["audit".to_owned()]);
    later.not_before = NOW.saturating_add(DAY);
    later.expires = NOW.saturating_add(2 * DAY);
    let weather = table(&mut later);
    weather.masks.insert("temp".to_owned(), Mask::ShowFirst4);
    weather.filter = RowFilter(BTreeSet::from([
        Predicate::Any(BTreeSet::from([
            compare(Literal::Int(5)),
            Predicate::Not(Box::new(Predicate::IsNull {
                column: "temp".to_owned(),
            })),
        ])),
        Predicate::In {
            column: "origin".to_owned(),
            values: BTreeSet::from([Literal::Text("EWR".to_owned())]),
        },
    ]));
    let told = |a: &Terms, b: &Terms| {
        let changes = a.changes_from(b);
        changes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&later, &earlier),
        [
            "- weather: columns wind",
            "+ weather: columns origin",
            "- weather: only rows where origin in ('EWR')",
            "- weather: only rows where (temp = 5) or (not (temp is null))",
            "~ weather: column temp masked by ShowFirst4",
            "- purposes operations",
            "+ purposes audit",
            "~ at most 10 rows per query",
            "~ from 2026-11-19T11:06:40Z",
            "~ until 2026-11-20T11:06:40Z",
        ]
    );
    let back = told(&earlier, &later);
    assert!(back.contains(&"+ weather: no longer only rows where origin in ('EWR')".to_owned()));
    assert!(back.contains(&"+ weather: column temp no longer masked".to_owned()));
    assert!(back.contains(&"+ no limit on rows per query".to_owned()));
    let mut renamed = earlier.clone();
    let moved = renamed.tables.remove("weather").unwrap();
    renamed.tables.insert("climate".to_owned(), moved);
    let words = ["- table weather", "+ table climate"];
    assert_eq!(told(&renamed, &earlier), words);
}

/// Whoever decides reads what stood there before, and that one mask in the
/// place of another is no gain of either side.
#[test]
fn differences_say_what_was() {
    let mut earlier = terms(&["temp", "wind"]);
    earlier.limits.max_rows_per_query = Some(20);
    table(&mut earlier).masks = [("temp".to_owned(), Mask::Sha256Global)].into();
    let mut later = earlier.clone();
    later.limits.max_rows_per_query = Some(10);
    later.limits.hours = Some([8].into());
    later.expires = NOW.saturating_add(DAY);
    table(&mut later).masks = [("temp".to_owned(), Mask::ShowFirst4)].into();
    let told: Vec<_> = later.difference(&earlier).into_iter().collect();
    let lines: Vec<_> = told.iter().map(|d| (d.to_string(), d.direction)).collect();
    let line = |text: &str, direction| (text.to_owned(), direction);
    assert_eq!(
        lines,
        [
            line(
                "~ weather: column temp masked by ShowFirst4 (was: masked by Sha256Global)",
                Direction::Neither
            ),
            line(
                "~ at most 10 rows per query (was: at most 20)",
                Direction::Narrower
            ),
            line(
                "~ only in the hours 08 UTC (was: every hour)",
                Direction::Narrower
            ),
            line(
                "~ until 2026-11-19T11:06:40Z (was: 2027-02-16T11:06:40Z)",
                Direction::Narrower
            ),
        ]
    );
}

/// Random terms seldom differ in one part only: every part counts by itself.
#[test]
fn every_part_alone_decides() {
    let mut wide = terms(&["temp", "wind"]);
    let one = table(&mut wide).clone();
    wide.tables.insert("airports".to_owned(), one);
    wide.purposes.insert("audit".to_owned());
    let protect = Protection {
        unit: "tail".to_owned(),
        min_units: 2,
        group_by: ["temp".to_owned(), "wind".to_owned()].into(),
        aggregates: [Aggregate::Count, Aggregate::Sum].into(),
    };
    wide.tables.get_mut("airports").unwrap().protection = Some(protect);
    fn protection(t: &mut Terms) -> &mut Protection {
        let airports = t.tables.get_mut("airports").unwrap();
        airports.protection.as_mut().unwrap()
    }
    let changes: [fn(&mut Terms); 16] = [
        |t| t.tables.retain(|name, _| name != "airports"),
        |t| table(t).columns.retain(|c| c != "wind"),
        |t| table(t).filter.0.extend([compare(Literal::Int(1))]),
        |t| table(t).masks.extend([("temp".to_owned(), MASKS[0])]),
        |t| t.purposes.retain(|p| p != "audit"),
        |t| t.limits.max_rows_per_query = Some(1),
        |t| t.limits.max_bytes_per_query = Some(1),
        |t| t.limits.max_concurrent = Some(1),
        |t| {
            let quota = Quota {
                rows: Some(1),
                ..Quota::default()
            };
            t.limits.per.insert(Window::Day, quota);
        },
        |t| t.limits.hours = Some([8].into()),
        |t| t.limits.weekdays = Some([Weekday::Monday].into()),
        |t| protection(t).min_units = 3,
        |t| protection(t).group_by.retain(|c| c != "wind"),
        |t| protection(t).aggregates.retain(|a| *a != Aggregate::Sum),
        |t| t.not_before = NOW.saturating_add(DAY),
        |t| t.expires = NOW.saturating_add(DAY),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut narrow = wide.clone();
        change(&mut narrow);
        assert!(narrow.narrows(&wide), "part {i}");
        assert!(!wide.narrows(&narrow), "part {i}");
        assert_eq!(wide.intersect(&narrow), Some(narrow.clone()), "part {i}");
        assert_eq!(narrow.changes_from(&wide).len(), 1, "part {i}");
        let direction = |a: &Terms, b: &Terms| a.difference(b)[0].direction;
        assert_eq!(direction(&narrow, &wide), Direction::Narrower, "part {i}");
        assert_eq!(direction(&wide, &narrow), Direction::Wider, "part {i}");
    }
}

/// Which groups are left out says something of the unit: who must not see it
/// must not choose that groups are left out by it.
#[test]
fn only_who_sees_the_unit_may_protect_it() {
    let protected = |unit: &str| {
        let mut terms = terms(&["origin"]);
        table(&mut terms).protection = Some(Protection {
            unit: unit.to_owned(),
            min_units: 2,
            group_by: ["origin".to_owned()].into(),
            aggregates: [Aggregate::Count].into(),
        });
        terms
    };
    let shown = terms(&["origin", "wind"]);
    assert!(protected("wind").narrows(&shown));
    assert_eq!(protected("wind").intersect(&shown), Some(protected("wind")));
    let mut masked = shown;
    table(&mut masked).masks = [("wind".to_owned(), Mask::Sha256Global)].into();
    for wide in [masked, terms(&["origin"])] {
        assert!(!protected("wind").narrows(&wide));
        assert_eq!(protected("wind").intersect(&wide), None);
        assert_eq!(wide.intersect(&protected("wind")), None);
    }
    assert!(!protected("wind").narrows(&protected("tail")));
    assert_eq!(protected("wind").intersect(&protected("tail")), None);
}

#[test]
fn time_is_open_in_its_hours_on_its_days() {
    // 2026-11-21T23:59:59Z was a Saturday.
    let saturday = 1_795_305_599;
    assert_eq!(Weekday::of(saturday), Weekday::Saturday);
    assert_eq!(Weekday::of(saturday + 1), Weekday::Sunday);
    let mut limits = Limits::default();
    assert!(limits.open_at(saturday));
    limits.hours = Some([23].into());
    assert!(limits.open_at(saturday) && !limits.open_at(saturday + 1));
    limits.weekdays = Some([Weekday::Sunday].into());
    assert!(!limits.open_at(saturday) && limits.open_at(saturday + Window::Day.seconds()));
}
