//! What holds for all contracts.

use proptest::prelude::*;
use serde_json::Value;

use super::{compare, orders};
use crate::compatibility::{Comparison, Edition, Kind};
use crate::version::{Bump, Version};

/// Every place of the example, as JSON pointers.
fn places() -> Vec<String> {
    fn walk(at: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, below)| {
                let here = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                found.push(here.clone());
                walk(&here, below, found);
            }),
            Value::Array(list) => list.iter().enumerate().for_each(|(index, below)| {
                let here = format!("{at}/{index}");
                found.push(here.clone());
                walk(&here, below, found);
            }),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk("", &orders(), &mut found);
    found.retain(|place| place != "/version");
    found
}

/// Takes away what stands at `place`, or puts `value` there.
fn change(contract: &mut Value, place: &str, value: Option<Value>) {
    let (above, key) = place.rsplit_once('/').expect("below the root");
    let Some(holder) = contract.pointer_mut(above) else {
        return;
    };
    match (holder, value) {
        (Value::Object(map), Some(value)) => {
            map.insert(key.to_owned(), value);
        }
        (Value::Object(map), None) => {
            map.remove(key);
        }
        (Value::Array(list), value) => {
            // An earlier change may have put a list where an object was.
            let Ok(index) = key.parse::<usize>() else {
                return;
            };
            match value {
                Some(value) if index < list.len() => list[index] = value,
                None if index < list.len() => {
                    list.remove(index);
                }
                _ => {}
            }
        }
        _ => {}
    }
}

fn values() -> impl Strategy<Value = Option<Value>> {
    let known = places();
    let borrowed = proptest::sample::select(known).prop_map(|p| orders().pointer(&p).cloned());
    let plain = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|b| Some(Value::from(b))),
        any::<i32>().prop_map(|n| Some(Value::from(n))),
        "[a-z]{0,6}".prop_map(|t| Some(Value::from(t))),
        Just(Some(serde_json::json!([]))),
        Just(Some(serde_json::json!({}))),
        Just(Some(Value::Null)),
    ];
    prop_oneof![3 => plain, 1 => borrowed]
}

/// The example after a few changes anywhere.
fn contracts() -> impl Strategy<Value = Value> {
    let places = proptest::sample::select(places());
    proptest::collection::vec((places, values()), 0..4).prop_map(|changes| {
        let mut contract = orders();
        for (place, value) in changes {
            change(&mut contract, &place, value);
        }
        contract
    })
}

fn version() -> impl Strategy<Value = Version> {
    (0..1000_u32, 0..1000_u32, 0..1000_u32).prop_map(|(major, minor, patch)| Version {
        major,
        minor,
        patch,
    })
}

/// The findings with the two sides exchanged, without their grades.
fn mirrored(comparison: &Comparison) -> Vec<String> {
    let turned = comparison.findings().iter().map(|f| {
        let kind = match f.kind {
            Kind::Add => Kind::Remove,
            Kind::Remove => Kind::Add,
            Kind::Change => Kind::Change,
        };
        format!("{kind:?} {} {} {:?} {:?}", f.section, f.field, f.new, f.old)
    });
    sorted(turned.collect())
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort_unstable();
    list
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_differs_from_itself(contract in contracts()) {
        let comparison = compare(&contract, &contract);
        prop_assert!(comparison.findings().is_empty());
    }

    #[test]
    fn no_change_is_passed_over(old in contracts(), new in contracts()) {
        let comparison = compare(&old, &new);
        let (mut left, mut right) = (old, new);
        change(&mut left, "/version", None);
        change(&mut right, "/version", None);
        prop_assert_eq!(comparison.findings().is_empty(), left == right);
    }

    #[test]
    fn what_goes_one_way_comes_the_other(old in contracts(), new in contracts()) {
        let there = compare(&old, &new);
        let back = compare(&new, &old);
        let plain = back.findings().iter().map(|f| {
            format!("{:?} {} {} {:?} {:?}", f.kind, f.section, f.field, f.old, f.new)
        });
        prop_assert_eq!(mirrored(&there), sorted(plain.collect()));
    }

    /// Taking an entry of a list away and adding it: never an addition both ways.
    #[test]
    fn what_is_additive_one_way_is_not_additive_both_ways(place in proptest::sample::select(places())) {
        let old = orders();
        let mut new = orders();
        change(&mut new, &place, None);
        let bumps = [compare(&old, &new).bump(), compare(&new, &old).bump()];
        prop_assert_ne!(bumps[0], None);
        // Whose data it is, and an announced end: neither way breaks anything.
        let exempt = place.starts_with("/schema/0/properties/1/customProperties/0")
            || place == "/schema/0/properties/1/customProperties"
            || place == "/slaProperties/4";
        prop_assert!(exempt || bumps != [Some(Bump::Minor); 2], "{}: {:?}", place, bumps);
    }

    #[test]
    fn the_suggested_version_rises_exactly_enough(
        old in contracts(), new in contracts(), before in version(), after in version(),
    ) {
        let edition = |contract, version| Edition { version, contract, tables: None, offer: None };
        let comparison = Comparison::of(&edition(&old, before), &edition(&new, after));
        let suggested = comparison.suggested();
        match comparison.bump() {
            None => prop_assert_eq!(suggested, before),
            Some(bump) => {
                prop_assert!(suggested > before);
                prop_assert_eq!(suggested, before.raised(bump));
            }
        }
        prop_assert_eq!(comparison.is_too_low(), after < suggested);
    }
}
