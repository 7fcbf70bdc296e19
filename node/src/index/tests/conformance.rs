//! One suite for every implementation of the store.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Apply(Table, Vec<Op>),
    Get(Table, Vec<u8>),
    Range(Table, Vec<u8>, Vec<u8>, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let table = prop::sample::select(vec![Table::Heads, Table::Grants]);
    // Few distinct keys, so that steps meet; the bytes at both ends of the order are among them.
    let key = prop::collection::vec(prop::sample::select(vec![0, 1, 2, 0xff]), 0..3);
    let value = prop::collection::vec(any::<u8>(), 0..20);
    let op = (key.clone(), prop::option::of(value)).prop_map(|(key, value)| match value {
        Some(value) => Op::put(key, value),
        None => Op::delete(key),
    });
    prop_oneof![
        (table.clone(), prop::collection::vec(op, 0..6)).prop_map(|(t, ops)| Step::Apply(t, ops)),
        (table.clone(), key.clone()).prop_map(|(t, key)| Step::Get(t, key)),
        (table, key.clone(), key, 0usize..8).prop_map(|(t, a, b, n)| Step::Range(t, a, b, n)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Every implementation does what a sorted map does.
    #[test]
    fn stores_conform(steps in prop::collection::vec(step(), 0..40)) {
        let dir = TempDir::new().unwrap();
        let stores: [Box<dyn Store>; 2] = [
            Box::new(SledStore::open(dir.path(), SMALL.cache_bytes).unwrap()),
            Box::<MemStore>::default(),
        ];
        let mut model: BTreeMap<(Table, Vec<u8>), Vec<u8>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Apply(table, ops) => {
                    for store in &stores {
                        store.apply(table, &ops).unwrap();
                    }
                    for op in ops {
                        match op {
                            Op::Put { key, value } => model.insert((table, key), value),
                            Op::Delete { key } => model.remove(&(table, key)),
                        };
                    }
                }
                Step::Get(table, key) => {
                    let expected = model.get(&(table, key.clone())).cloned();
                    for store in &stores {
                        prop_assert_eq!(store.get(table, &key).unwrap(), expected.clone());
                    }
                }
                Step::Range(table, from, to, limit) => {
                    let expected: Vec<Entry> = model
                        .iter()
                        .filter(|((t, key), _)| {
                            *t == table && *key >= from && (to.is_empty() || *key < to)
                        })
                        .take(limit)
                        .map(|((_, key), value)| (key.clone(), value.clone()))
                        .collect();
                    for store in &stores {
                        prop_assert_eq!(store.range(table, &from, &to, limit).unwrap(), expected.clone());
                    }
                }
            }
        }
        for store in &stores {
            store.barrier().unwrap();
        }
    }

    /// The sums do not depend on the way that led to the content.
    #[test]
    fn sums_are_those_of_the_content(steps in prop::collection::vec(step(), 0..40)) {
        let store = MemStore::default();
        for step in steps {
            if let Step::Apply(table, ops) = step {
                let batch = Sums::batch(&store, table, &ops).unwrap();
                store.apply(table, &batch).unwrap();
            }
        }
        for table in [Table::Heads, Table::Grants] {
            let measured = Sums::measured(&store, table).unwrap();
            prop_assert_eq!(Sums::recorded(&store, table).unwrap(), Some(measured));
        }
    }

    /// A refused batch changes nothing in any implementation.
    #[test]
    fn a_batch_is_applied_whole_or_not_at_all(good in 0usize..5) {
        let dir = TempDir::new().unwrap();
        let stores: [Box<dyn Store>; 2] = [
            Box::new(SledStore::open(dir.path(), SMALL.cache_bytes).unwrap()),
            Box::<MemStore>::default(),
        ];
        let mut batch: Vec<Op> = (0..good).map(|i| Op::put([i as u8], "v")).collect();
        batch.push(Op::put("long", vec![0; MAX_VALUE + 1]));
        for store in &stores {
            prop_assert!(store.apply(Table::Heads, &batch).is_err());
            prop_assert_eq!(store.range(Table::Heads, &[], &[], 10).unwrap(), vec![]);
        }
    }
}
