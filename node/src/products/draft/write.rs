//! The draft as a text that a person goes on writing.

use std::fmt::Write as _;

use arrow::datatypes::DataType;
use serde_json::json;

use super::profile::{ColumnProfile, Nulls, Profile};
use super::typed::{Typed, typed};
use super::{Draft, Notes, Origin};
use crate::clock;
use crate::products::rules;
use crate::sources::NO_VALUE;

/// A freshness is promised when the newest value is at most so old; older data
/// is either history or stale, and only its owner knows which.
const FRESH_DAYS: i64 = 30;

pub(super) fn contract(name: &str, origin: &Origin, notes: &Notes, profile: &Profile) -> Draft {
    let mut text = String::new();
    let (mut review, mut left_out) = (Vec::new(), origin.unread.clone());
    let (plain, name) = (name, &*named(name));
    head(&mut text, plain, origin, notes, profile);
    server(&mut text, origin);
    let description = notes.description.clone();
    let description = description.unwrap_or_else(|| row(plain));
    let _ = write!(
        text,
        "\nschema:\n  - id: {name}\n    name: {name}\n{}    physicalType: table\n    logicalType: object\n    \
         # Say what one row is; partners read it.\n    description: {}\n    properties:\n",
        origin
            .physical_name
            .as_ref()
            .map_or_else(String::new, |p| format!(
                "    physicalName: {}\n",
                quoted(p)
            )),
        quoted(&description)
    );
    let mut served = Vec::new();
    for column in &profile.columns {
        let typed = match typed(&column.kind) {
            Some(typed) if rules::is_column_name(&column.name) => typed,
            Some(_) => {
                left_out.push((
                    column.name.clone(),
                    "its name is not [A-Za-z_][A-Za-z0-9_-]*".into(),
                ));
                continue;
            }
            None => {
                let reason = match column.kind {
                    DataType::Null => NO_VALUE.to_owned(),
                    _ => format!("{} cannot cross between organizations", column.kind),
                };
                left_out.push((column.name.clone(), reason));
                continue;
            }
        };
        property(&mut text, column, &typed, origin, notes);
        match &column.guess {
            Some(guess) => review.push((
                column.name.clone(),
                format!("{} ({})", guess.kind, guess.why),
            )),
            None => served.push(column.name.as_str()),
        }
    }
    for (column, reason) in &left_out {
        let _ = writeln!(text, "      # Left out: {} ({reason}).", quoted(column));
    }
    for rule in &notes.left_out {
        let from = notes.origin.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "    # No words here for the rule {} of {from}.",
            quoted(rule)
        );
    }
    quality(&mut text, plain, origin, profile, &served);
    levels(&mut text, plain, notes, profile, &served);
    role(&mut text, plain, notes, &served);
    Draft {
        name: plain.to_owned(),
        text,
        rows: profile.rows,
        sampled: profile.sampled,
        columns: served.len() + review.len(),
        active: origin.active,
        review,
        left_out,
    }
}

/// What stands in a draft until its author says what the product is for.
pub(super) fn purpose(name: &str) -> String {
    format!("What {name} is for.")
}

/// What stands in a draft until its author says what one row is.
pub(super) fn row(name: &str) -> String {
    format!("One row of {name}.")
}

fn head(text: &mut String, name: &str, origin: &Origin, notes: &Notes, profile: &Profile) {
    let looked = match profile.rows {
        _ if !profile.looked => "The data was not looked at.".to_owned(),
        Some(rows) => format!(
            "{rows} rows were counted, the values of {} looked at.",
            profile.sampled
        ),
        None => format!(
            "The values of {} rows were looked at; counting all of them took too long.",
            profile.sampled
        ),
    };
    let status = if origin.active {
        "status: active"
    } else {
        "status: draft  # 'active' when it is ready: a draft is not announced"
    };
    let _ = write!(
        text,
        "# A draft by 'comity product init'. {looked}\n\
         # It says what could be seen; the rest is yours. Check it with 'comity product lint', see what partners\n\
         # would with 'comity product preview', and announce it with 'comity product publish'.\n\
         apiVersion: v3.1.0\nkind: DataContract\nid: {}\nname: {}\nversion: \"{}.0.0\"\n\
         {status}\n\
         description:\n  purpose: {}\n  \
         limitations: \"No onward transfer.\"\n",
        id(),
        named(name),
        notes.major.unwrap_or(1),
        quoted(&purpose(name))
    );
}

fn server(text: &mut String, origin: &Origin) {
    text.push_str("\nservers:  # private: never published\n");
    if let Some(remark) = origin.remark {
        let _ = writeln!(text, "  # {remark}");
    }
    for (index, (key, value)) in origin.server.iter().enumerate() {
        let lead = if index == 0 { "  - " } else { "    " };
        let _ = writeln!(text, "{lead}{key}: {value}");
    }
}

fn property(
    text: &mut String,
    column: &ColumnProfile,
    typed: &Typed,
    origin: &Origin,
    notes: &Notes,
) {
    let name = &named(&column.name);
    let noted = notes.column(&column.name);
    let _ = write!(
        text,
        "      - id: {name}\n        name: {name}\n        logicalType: {}\n        physicalType: {}\n",
        typed.logical,
        quoted(origin.types.get(&column.name).unwrap_or(&typed.physical))
    );
    if let Some(zone) = typed.zone {
        let _ = writeln!(text, "        logicalTypeOptions: {{ timezone: {zone} }}");
    }
    if let Some(item) = &typed.items {
        let (logical, physical) = (item.logical, quoted(&item.physical));
        let zone = item.zone.map_or_else(String::new, |zone| {
            format!(", logicalTypeOptions: {{ timezone: {zone} }}")
        });
        let _ = writeln!(
            text,
            "        items: {{ logicalType: {logical}, physicalType: {physical}{zone} }}"
        );
    }
    let (required, why) = match column.nulls {
        Nulls::Never => (true, ""),
        Nulls::NoneToday => (true, "  # no null today: a promise to keep, or to take out"),
        Nulls::Possible => (false, ""),
    };
    let _ = writeln!(text, "        required: {required}{why}");
    if let Some(position) = origin
        .primary_key
        .iter()
        .position(|key| *key == column.name)
    {
        let _ = writeln!(
            text,
            "        primaryKey: true\n        primaryKeyPosition: {}",
            position + 1
        );
    }
    if noted.is_some_and(|n| n.unique) && origin.primary_key != [column.name.clone()] {
        text.push_str("        unique: true\n");
    }
    if let Some(description) = noted.and_then(|n| n.description.as_ref()) {
        let _ = writeln!(text, "        description: {}", quoted(description));
    }
    if let Some(values) = noted.map(|n| &n.values).filter(|v| !v.is_empty()) {
        let _ = writeln!(
            text,
            "        quality:\n          - {{ id: {name}_values, type: library, metric: invalidValues, \
             arguments: {{ validValues: {} }}, mustBe: 0, dimension: conformity, severity: error }}",
            json!(values)
        );
    }
    let classification = noted.and_then(|n| n.classification.as_ref());
    let Some(guess) = &column.guess else {
        if let Some(classification) = classification {
            let _ = writeln!(text, "        classification: {}", quoted(classification));
        }
        return;
    };
    let _ = write!(
        text,
        "        # REVIEW: may be personal data: not served while the line of comityReview stands here. Decide on the\n        \
         # classification (public, internal, confidential, restricted), then delete that line; partners may ask for\n        \
         # the column once a role below names it. To mask it, write 'required: false' above and instead of that line:\n        \
         # customProperties: [ {{ property: comityMask, value: replace-with-null }} ]\n        \
         classification: {}\n        \
         customProperties: [ {{ property: comityReview, value: {} }} ]\n",
        quoted(classification.map_or("restricted", String::as_str)),
        quoted(&format!("{}: {}", guess.kind, guess.why))
    );
}

/// Rules that hold today: rows there are, and keys without doubles.
fn quality(text: &mut String, name: &str, origin: &Origin, profile: &Profile, served: &[&str]) {
    if profile.looked && profile.rows.is_none_or(|rows| rows > 0) {
        let _ = writeln!(
            text,
            "    quality:\n      - {{ id: {name}_rows, type: library, metric: rowCount, mustBeGreaterThan: 0, \
             dimension: completeness, severity: error }}"
        );
        if let [key] = origin.primary_key.as_slice()
            && served.contains(&key.as_str())
        {
            let _ = writeln!(
                text,
                "      - {{ id: {name}_{key}_unique, type: library, metric: duplicateValues, arguments: {{ properties: [{key}] }}, \
                 mustBe: 0, dimension: uniqueness, severity: error }}"
            );
        }
    }
}

/// What is promised of the product as a service.
fn levels(text: &mut String, name: &str, notes: &Notes, profile: &Profile, served: &[&str]) {
    let mut promised = Vec::new();
    if let Some(end) = &notes.end {
        promised.push(format!(
            "- {{ id: end, property: endOfSupport, value: {} }}",
            quoted(end)
        ));
    }
    freshness(text, name, profile, served, &mut promised);
    if !promised.is_empty() {
        let _ = writeln!(text, "slaProperties:\n  {}", promised.join("\n  "));
    }
}

/// Twice the age of the newest row now, and a day at least.
fn freshness(
    text: &mut String,
    name: &str,
    profile: &Profile,
    served: &[&str],
    levels: &mut Vec<String>,
) {
    let dated = profile
        .columns
        .iter()
        .filter(|c| served.contains(&c.name.as_str()));
    // A moment without a zone may be anybody's local time, and look hours older or newer.
    let zoned = |c: &ColumnProfile| matches!(c.kind, DataType::Timestamp(_, Some(_)));
    let newest = dated
        .filter_map(|c| Some((zoned(c), c.newest?, c.name.as_str())))
        .max();
    let Some((_, newest, column)) = newest else {
        return;
    };
    let now = i64::try_from(clock::now().as_secs()).unwrap_or(i64::MAX);
    let hours = now.saturating_sub(newest).max(0) / 3600;
    let level = |hours: i64| {
        format!(
            "- {{ id: fresh, property: freshness, value: {hours}, unit: h, element: \"{name}.{column}\", driver: operational }}"
        )
    };
    text.push('\n');
    if hours <= FRESH_DAYS * 24 {
        let promised = (hours * 2).max(24);
        let _ = writeln!(
            text,
            "# The newest {column} is {hours} h old. Partners see this beside what is measured."
        );
        levels.push(level(promised));
    } else {
        let _ = writeln!(
            text,
            "# The newest {column} is {} days old, so no freshness is promised. If the data is renewed:\n\
             # slaProperties:\n#   {}",
            hours / 24,
            level(24)
        );
    }
}

/// What partners may ask for without further talk: all that is served.
fn role(text: &mut String, name: &str, notes: &Notes, served: &[&str]) {
    if notes.closed {
        text.push_str("\n# Not offered to others: dbt says that its access is not public. To offer it, add a role.\n");
        return;
    }
    if served.is_empty() {
        text.push_str(
            "\n# No column can be offered yet: see the reviews above, then add a role.\n",
        );
        return;
    }
    let _ = write!(
        text,
        "\n# What partners may ask for. An agreement can be narrower.\n\
         roles:\n  - role: {name}.partner.read\n    access: read\n    customProperties:\n      \
         - property: comityReadRestrictions\n        value:\n          {}:\n            \
         columns: [{}]\n            required-row-filter: true\n            required-column-projections: []\n      \
         # For what the data may be used, in words of yours.\n      \
         - {{ property: comityPurposes, value: [evaluation] }}\n",
        named(name),
        served
            .iter()
            .map(|column| named(column))
            .collect::<Vec<_>>()
            .join(", ")
    );
}

/// A random UUID (RFC 9562, version 4): the contract's identity for life.
fn id() -> String {
    let mut bytes = [0; 16];
    // Without randomness the text is still a contract; `lint` takes any UUID.
    let _ = getrandom::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

/// A name as a YAML scalar that every parser takes for text.
fn named(name: &str) -> String {
    const OTHERWISE: [&str; 10] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan",
    ];
    if OTHERWISE.contains(&name.to_ascii_lowercase().as_str()) {
        quoted(name)
    } else {
        name.to_owned()
    }
}

/// A YAML scalar with one reading: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}
