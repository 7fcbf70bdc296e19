//! What a number must be: the operators of ODCS.

use core::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a measured number must be, with the operators of an ODCS quality rule.
/// All that are present must hold; the bounds of `Between` are inside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Threshold {
    /// Exactly this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must_be: Option<f64>,
    /// Anything but this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must_not_be: Option<f64>,
    /// More than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must_be_greater_than: Option<f64>,
    /// This or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must_be_greater_or_equal_to: Option<f64>,
    /// Less than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must_be_less_than: Option<f64>,
    /// This or less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must_be_less_or_equal_to: Option<f64>,
    /// From the first to the second, both included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must_be_between: Option<[f64; 2]>,
    /// Below the first or above the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must_not_be_between: Option<[f64; 2]>,
}

/// A rule's operator has no number to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an operator of the rule is not followed by a number, or by two for 'between'")]
pub struct NotAThreshold;

/// The comparison operators of a quality rule.
pub const OPERATORS: [&str; 8] = [
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
];

impl Threshold {
    /// The operators of a quality rule, or of its `comityThreshold`; `None`
    /// when it has none, so that nothing is promised.
    ///
    /// # Errors
    /// One of them has no number: nobody can say whether the promise is kept.
    pub fn of(rule: &Value) -> Result<Option<Self>, NotAThreshold> {
        let given = OPERATORS.iter().filter_map(|name| {
            let value = rule.get(*name).filter(|v| !v.is_null())?;
            Some(((*name).to_owned(), value.clone()))
        });
        let given: serde_json::Map<String, Value> = given.collect();
        if given.is_empty() {
            return Ok(None);
        }
        serde_json::from_value(Value::Object(given))
            .map(Some)
            .map_err(|_| NotAThreshold)
    }

    /// At most this, and less: what a duration must be.
    pub fn below(bound: f64) -> Self {
        Self {
            must_be_less_than: Some(bound),
            ..Self::default()
        }
    }

    /// None at all.
    pub fn none() -> Self {
        Self {
            must_be: Some(0.0),
            ..Self::default()
        }
    }

    /// Whether `value` is as promised (`spec/3-catalog.md#C-99`). What is no
    /// number keeps no promise.
    pub fn holds(&self, value: f64) -> bool {
        let within = |[low, high]: [f64; 2]| low <= value && value <= high;
        value.is_finite()
            && self.must_be.is_none_or(|v| value == v)
            && self.must_not_be.is_none_or(|v| value != v)
            && self.must_be_greater_than.is_none_or(|v| value > v)
            && self.must_be_greater_or_equal_to.is_none_or(|v| value >= v)
            && self.must_be_less_than.is_none_or(|v| value < v)
            && self.must_be_less_or_equal_to.is_none_or(|v| value <= v)
            && self.must_be_between.is_none_or(within)
            && !self.must_not_be_between.is_some_and(within)
    }

    /// Whether every number in it can be written and read back.
    pub(super) fn is_sound(&self) -> bool {
        let pairs = [self.must_be_between, self.must_not_be_between];
        self.bounds()
            .iter()
            .filter_map(|(_, bound)| *bound)
            .chain(pairs.into_iter().flatten().flatten())
            .all(super::check::is_number)
    }

    fn bounds(&self) -> [(&'static str, Option<f64>); 6] {
        [
            ("=", self.must_be),
            ("not", self.must_not_be),
            (">", self.must_be_greater_than),
            (">=", self.must_be_greater_or_equal_to),
            ("<", self.must_be_less_than),
            ("<=", self.must_be_less_or_equal_to),
        ]
    }
}

impl fmt::Display for Threshold {
    /// In words: `>= 3`, `between 1 and 5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self
            .bounds()
            .iter()
            .filter_map(|(sign, bound)| Some(format!("{sign} {}", (*bound)?)))
            .collect();
        for (words, pair) in [
            ("between", self.must_be_between),
            ("not between", self.must_not_be_between),
        ] {
            parts.extend(pair.map(|[low, high]| format!("{words} {low} and {high}")));
        }
        f.write_str(&parts.join(" and "))
    }
}
