//! What is told with every plan: readers of a product that it ends
//! (`spec/3-catalog.md#C-80`), and members why their node computes what a source
//! could have (`spec/5-data-plane.md#D-160`).

use arrow_flight::FlightInfo;
use comity_identity::Timestamp;
use comity_protocol::product::Deprecation;
use serde_json::json;
use tonic::Response;

/// When the earliest of the ends was announced: `@` and seconds (RFC 9745).
const DEPRECATION: &str = "deprecation";

/// The earliest end, as HTTP writes dates (RFC 8594).
const SUNSET: &str = "sunset";

/// `info` with the ends of the products that it reads, and why parts of the
/// statement are computed here: all as JSON in its `app_metadata`, the earliest
/// end in the headers. Without any, as it is.
pub(super) fn told<'a>(
    info: FlightInfo,
    ends: impl Iterator<Item = (&'a str, &'a str, &'a Deprecation)>,
    computed_here: &[String],
) -> Response<FlightInfo> {
    let mut ends: Vec<_> = ends.collect();
    ends.sort_by_key(|(_, _, end)| end.sunset);
    if ends.is_empty() && computed_here.is_empty() {
        return Response::new(info);
    }
    let headers = ends.first().map(|(_, _, first)| {
        [
            (DEPRECATION, format!("@{}", first.since.as_secs())),
            (SUNSET, http_date(first.sunset)),
        ]
    });
    let entry = |(partner, product, end): &(&str, &str, &Deprecation)| {
        json!({
            "product": format!("{partner}/{product}"),
            "since": end.since.to_string(),
            "sunset": end.sunset.to_string(),
            "replacement": end.replacement,
        })
    };
    let all: Vec<_> = ends.iter().map(entry).collect();
    let metadata = json!({ "deprecations": all, "computedHere": computed_here });
    let mut response = Response::new(info.with_app_metadata(metadata.to_string()));
    for (name, value) in headers.into_iter().flatten() {
        // Digits, letters and punctuation of ASCII: always a header.
        if let Ok(value) = value.parse() {
            response.metadata_mut().insert(name, value);
        }
    }
    response
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; the seconds where no calendar has the moment.
fn http_date(at: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = at.to_string();
    let parts = || {
        let (date, clock) = text.split_once('T')?;
        let (year, rest) = date.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
        let days = at.as_secs() / (24 * 60 * 60);
        let weekday = DAYS.get(usize::try_from(days % 7).ok()?)?;
        let clock = clock.trim_end_matches('Z');
        Some(format!("{weekday}, {day} {month} {year} {clock} GMT"))
    };
    parts().unwrap_or_else(|| at.as_secs().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_http_writes_them() {
        let at = |text: &str| http_date(text.parse().unwrap());
        assert_eq!(at("1994-11-06T08:49:37Z"), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at("2027-01-01"), "Fri, 01 Jan 2027 00:00:00 GMT");
    }

    #[test]
    fn the_earliest_end_is_in_the_headers_and_all_are_in_the_metadata() {
        let end = |sunset: &str| Deprecation {
            since: Timestamp::from_secs(1_795_000_000),
            sunset: sunset.parse().unwrap(),
            replacement: None,
        };
        let (late, early) = (end("2028-01-01"), end("2027-01-01"));
        let ends = [("b", "late", &late), ("a", "early@2", &early)];
        let told = told(FlightInfo::new(), ends.into_iter(), &["why".to_owned()]);
        assert_eq!(told.metadata().get("deprecation").unwrap(), "@1795000000");
        let sunset = told.metadata().get("sunset").unwrap();
        assert_eq!(sunset, "Fri, 01 Jan 2027 00:00:00 GMT");
        let json: serde_json::Value = serde_json::from_slice(&told.get_ref().app_metadata).unwrap();
        assert_eq!(json["deprecations"][0]["product"], "a/early@2");
        assert_eq!(json["deprecations"][1]["sunset"], "2028-01-01T00:00:00Z");
        assert_eq!(json["computedHere"], json!(["why"]));

        let plain = super::told(FlightInfo::new(), std::iter::empty(), &[]);
        assert!(plain.metadata().is_empty() && plain.get_ref().app_metadata.is_empty());
    }
}
