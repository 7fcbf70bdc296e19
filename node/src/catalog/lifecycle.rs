//! The end of a major version: announced, waited for, done.

use std::sync::Arc;
use std::time::Duration;

use comity_identity::Timestamp;
use comity_protocol::address::Address;
use comity_protocol::product::{DEFAULT_NOTICE, Deprecation};
use serde_json::Value;

use super::{Catalog, OwnProduct};
use crate::failure::{Failure, Fault};

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

impl Catalog {
    /// Announces that `address` is served until `sunset` at least, and what to
    /// read instead. Partners learn it with the next head.
    pub async fn deprecate(
        &self,
        address: &Address,
        sunset: Timestamp,
        replacement: Option<Address>,
        now: Timestamp,
    ) -> Result<Arc<OwnProduct>, Failure> {
        let _one = self.publishing.lock().await;
        let product = self.own(address)?;
        let before = product.descriptor.deprecation.as_ref();
        // The end that was announced stays good, however near it is by now.
        let earliest = now.saturating_add(notice(&product.descriptor.contract)?);
        if sunset < earliest && before.is_none_or(|b| sunset < b.sunset) {
            let message =
                format!("{address} cannot end on {sunset}: its notice period ends on {earliest}");
            return Err(Failure::new(Fault::Conflict, "notice-too-short", message)
                .next(format!("name {earliest} or a later moment")));
        }
        if let Some(instead) = &replacement {
            if instead == address {
                return Err(Failure::caller(
                    "replacement",
                    format!("{address} cannot replace itself"),
                ));
            }
            self.own(instead)?;
        }
        let deprecation = Deprecation {
            since: before.map_or(now, |b| b.since),
            sunset,
            replacement,
        };
        let ending = self.renewed(&product, Some(deprecation), now)?;
        self.announce(vec![Arc::clone(&ending)], None, now).await?;
        Ok(ending)
    }

    /// Withdraws `address` for good. While `live` agreements permit reading it,
    /// only after the end that was announced (`spec/3-catalog.md#C-79`).
    pub async fn retire(
        &self,
        address: &Address,
        live: impl FnOnce() -> usize,
        now: Timestamp,
    ) -> Result<Arc<OwnProduct>, Failure> {
        let _one = self.publishing.lock().await;
        let product = self.own(address)?;
        let end = product.descriptor.deprecation.as_ref().map(|d| d.sunset);
        let live = live();
        if live > 0 && end.is_none_or(|sunset| now < sunset) {
            let (until, next) = match end {
                None => (
                    "its end was not announced".to_owned(),
                    format!("announce it with 'comity product deprecate {address} --sunset DATE'"),
                ),
                Some(sunset) => (
                    format!("it was announced to be served until {sunset}"),
                    format!(
                        "retire it on {sunset} or later, or end the agreements with 'comity revoke'"
                    ),
                ),
            };
            let message = format!("{live} agreements permit reading {address}, and {until}");
            return Err(Failure::new(Fault::Conflict, "live-agreements", message).next(next));
        }
        self.announce(Vec::new(), Some(&product), now).await?;
        Ok(product)
    }

    fn own(&self, address: &Address) -> Result<Arc<OwnProduct>, Failure> {
        self.own_product(&address.to_string()).ok_or_else(|| {
            let message = format!("'{address}' is not announced here");
            Failure::new(Fault::Unknown, "unknown-product", message)
                .next("see 'comity product list'")
        })
    }
}

/// The notice period that a contract promises: the service level
/// `deprecationNotice`, in days unless it has another unit.
fn notice(contract: &Value) -> Result<Duration, Failure> {
    let levels = contract.get("slaProperties").and_then(Value::as_array);
    let mut levels = levels.into_iter().flatten();
    let Some(promised) = levels.find(|l| l["property"] == "deprecationNotice") else {
        return Ok(DEFAULT_NOTICE);
    };
    let unit = promised.get("unit").map_or(Some("d"), Value::as_str);
    let unit = match unit.unwrap_or_default() {
        "h" | "hour" | "hours" => 60 * 60,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7 * DAY,
        "month" | "months" => 30 * DAY,
        "y" | "year" | "years" => 365 * DAY,
        _ => 0,
    };
    let value = promised.get("value").and_then(Value::as_u64);
    let seconds = value.and_then(|v| v.checked_mul(unit));
    match seconds {
        // A promise that cannot be read must not count as none.
        Some(seconds) if unit > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(Failure::new(
            Fault::Conflict,
            "notice-unreadable",
            "the contract's deprecationNotice is not a whole number of h, d, w, months or y",
        )
        .next("correct it in the contract, and publish it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_is_what_the_contract_promises_or_ninety_days() {
        let promised = |value: Value, unit: &str| {
            serde_json::json!({"slaProperties": [
                {"property": "freshness", "value": 1, "unit": "h"},
                {"property": "deprecationNotice", "value": value, "unit": unit},
            ]})
        };
        assert_eq!(notice(&serde_json::json!({})), Ok(DEFAULT_NOTICE));
        let days = |n| Ok(Duration::from_secs(n * DAY));
        assert_eq!(notice(&promised(30.into(), "d")), days(30));
        assert_eq!(notice(&promised(1.into(), "y")), days(365));
        assert_eq!(notice(&promised(0.into(), "d")), days(0));
        for (value, unit) in [
            ("x".into(), "d"),
            (1.5.into(), "d"),
            (1.into(), "m"),
            (Value::Null, "d"),
        ] {
            assert!(notice(&promised(value, unit)).is_err(), "{unit}");
        }
    }
}
