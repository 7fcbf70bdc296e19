//! The gate over one contract: what each change costs, and the laws.

mod laws;
mod probe;
mod rules;

use serde_json::Value;

use super::{Comparison, Edition};

/// The public projection of a contract with one of everything.
fn orders() -> Value {
    serde_json::from_str(include_str!("tests/orders.json")).unwrap()
}

fn edition(contract: &Value) -> Edition<'_> {
    Edition {
        version: "1.4.0".parse().unwrap(),
        contract,
        tables: None,
        offer: None,
    }
}

fn compare(old: &Value, new: &Value) -> Comparison {
    Comparison::of(&edition(old), &edition(new))
}

/// The contract with the value at `pointer` changed.
fn with(pointer: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut contract = orders();
    change(contract.pointer_mut(pointer).expect(pointer));
    contract
}

fn set(pointer: &str, value: impl Into<Value>) -> Value {
    with(pointer, |v| *v = value.into())
}

fn removed(pointer: &str, index: usize) -> Value {
    with(pointer, |v| {
        v.as_array_mut().unwrap().remove(index);
    })
}

fn pushed(pointer: &str, value: Value) -> Value {
    with(pointer, |v| v.as_array_mut().unwrap().push(value))
}
