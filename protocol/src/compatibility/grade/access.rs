//! Who may see what: classification, masks, filters, purposes, limits, terms.
//!
//! Less is breaking for the consumer; more is the protected party's business.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Change, Grade, UNKNOWN};

/// The grade, if the difference is about access.
pub(super) fn grade(c: &Change<'_>) -> Option<Grade> {
    const RESTRICTIONS: &str = "role/comityReadRestrictions";
    Some(match c.rule {
        "column/classification" => classification(c),
        "column/comityCategory" => c.by_kind(
            Grade::additive("the category of the data is stated"),
            Grade::additive("the category of the data is gone").second_look(),
            Grade::additive("the data are of another category").second_look(),
        ),
        "column/comityMask" | "projection/action" => mask(c.old_text(), c.new_text()),
        "projection" => {
            let action = |v: Option<&Value>| {
                let action = v.and_then(|v| v.get("action"));
                action.and_then(Value::as_str).map(str::to_owned)
            };
            mask(action(c.old).as_deref(), action(c.new).as_deref())
        }
        "role" => c.by_kind(
            Grade::wider("a further role may read"),
            Grade::breaking("whoever reads in this role no longer may"),
            UNKNOWN,
        ),
        "role/access" => Grade::undetermined("the role may do something else"),
        "role/comityPurposes/word"
        | "comityVisibility/discover/word"
        | "comityVisibility/describe/word"
        | "comityVisibility/query/word"
        | "role/comityReadRestrictions/table/columns/word"
        | "role/comityReadRestrictions/table" => c.by_kind(WIDER, NARROWER, UNKNOWN),
        // Without them a role reads every table, and of a table every column.
        RESTRICTIONS
        | "role/comityReadRestrictions/table/columns"
        | "role/comityReadRestrictions/table/required-column-projections" => {
            c.by_kind(NARROWER, WIDER, UNKNOWN)
        }
        "role/comityReadRestrictions/table/required-row-filter" => filter(c),
        "role/comityLimits/maxRowsPerQuery" | "role/comityLimits/maxRowsPerDay" => limit(c, false),
        "role/comityLimits/minGroupSize" => limit(c, true),
        "port" => c.by_kind(
            Grade::additive("a further way out").second_look(),
            Grade::breaking("whoever reads through this port no longer can"),
            UNKNOWN,
        ),
        "port/protocol" | "port/mode" => Grade::breaking("the port is another one"),
        "comityCompatibility" => compatibility(c),
        "comityTerms/policy" => Grade::undetermined("another policy binds"),
        "comityTerms/onwardTransfer" => ranked(c, |v| match v {
            None | Some(Value::Bool(false)) => Some(0),
            Some(Value::Bool(true)) => Some(1),
            Some(_) => None,
        }),
        "comityTerms/derivedUse" => ranked(c, |v| match v.map(Value::as_str) {
            None | Some(Some("none")) => Some(0),
            Some(Some("internal")) => Some(1),
            Some(Some("any")) => Some(2),
            Some(_) => None,
        }),
        "comityTerms/retentionAfterEnd" => ranked(c, |v| v.and_then(Value::as_str).and_then(days)),
        _ => return None,
    })
}

const WIDER: Grade = Grade::wider("more may be read or done");
const NARROWER: Grade = Grade::breaking("less may be read or done");
const UNDETERMINED: Grade =
    Grade::undetermined("whether more or less may be read cannot be said by looking at it");

/// More is wider, less is narrower; what has no rank is undetermined.
fn ranked<T: PartialOrd>(c: &Change<'_>, rank: impl Fn(Option<&Value>) -> Option<T>) -> Grade {
    match c.ranks(rank) {
        Some((old, new)) if new > old => WIDER,
        Some((old, new)) if new < old => NARROWER,
        Some(_) => Grade::text("written another way"),
        None => UNDETERMINED,
    }
}

/// A lowered class lets more leave; a raised one binds whoever has the data.
/// What is not classified counts as internal.
fn classification(c: &Change<'_>) -> Grade {
    let rank = |v: Option<&Value>| {
        let Some(value) = v else {
            return Some(1);
        };
        match value.as_str()?.to_ascii_lowercase().as_str() {
            "public" => Some(0),
            "internal" => Some(1),
            "confidential" => Some(2),
            "restricted" => Some(3),
            _ => None,
        }
    };
    match c.ranks(rank) {
        Some((old, new)) if new < old => Grade::wider("the column is protected less"),
        Some((old, new)) if new > old => Grade::breaking(
            "the column is protected more: it may leave offers, and binds its readers",
        ),
        Some(_) => Grade::text("the class that it had is stated"),
        None => Grade::undetermined("the class is the owner's own word"),
    }
}

/// A mask that goes shows more; any other change of it changes the values too.
pub(in crate::compatibility) fn mask(old: Option<&str>, new: Option<&str>) -> Grade {
    const NULL: &str = "replace-with-null";
    match (old, new) {
        (_, None) => Grade::wider("the column is no longer masked"),
        (Some(NULL), Some(_)) => Grade::wider("the column is masked less"),
        (None, _) => Grade::breaking("the column is masked"),
        (_, Some(NULL)) => Grade::breaking("the column is masked wholly"),
        _ => Grade::undetermined("the column is masked another way"),
    }
}

/// Filters are compared by their conjunctions as written; `true` and none
/// permit every row. That a predicate implies another is not guessed.
fn filter(c: &Change<'_>) -> Grade {
    let (Some(old), Some(new)) = (conjunction(c.old), conjunction(c.new)) else {
        return UNDETERMINED;
    };
    if old == new {
        Grade::text("the same filter, written another way")
    } else if new.is_subset(&old) {
        Grade::wider("more rows may be read")
    } else if new.is_superset(&old) {
        Grade::breaking("fewer rows may be read")
    } else {
        UNDETERMINED
    }
}

/// The predicates that must all hold, as canonical JSON; nothing for a form
/// that no filter has.
fn conjunction(filter: Option<&Value>) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Value> = filter.into_iter().collect();
    while let Some(next) = open.pop() {
        match next {
            Value::Bool(true) => {}
            Value::Object(node) if node.get("type").and_then(Value::as_str) == Some("and") => {
                open.extend([node.get("left")?, node.get("right")?]);
            }
            Value::Object(_) => {
                found.insert(serde_json_canonicalizer::to_string(next).ok()?);
            }
            _ => return None,
        }
    }
    Some(found)
}

/// No limit is the widest. A smallest group size works the other way round.
fn limit(c: &Change<'_>, smallest: bool) -> Grade {
    if smallest {
        let size = |v: Option<&Value>| v.map_or(Some(0.0), Value::as_f64);
        return ranked(c, |v| size(v).map(|n| -n));
    }
    ranked(c, |v| v.map_or(Some(f64::INFINITY), Value::as_f64))
}

/// The promise about later versions: more of it is more.
fn compatibility(c: &Change<'_>) -> Grade {
    let promises = |v: Option<&Value>| -> Option<u8> {
        Some(match v.map_or(Some("NONE"), Value::as_str)? {
            "NONE" => 0b0000,
            "BACKWARD" => 0b0001,
            "BACKWARD_TRANSITIVE" => 0b0011,
            "FORWARD" => 0b0100,
            "FORWARD_TRANSITIVE" => 0b1100,
            "FULL" => 0b0101,
            "FULL_TRANSITIVE" => 0b1111,
            _ => return None,
        })
    };
    match (promises(c.old), promises(c.new)) {
        (Some(old), Some(new)) if old == new => Grade::text("what it was is stated"),
        (Some(old), Some(new)) if old & new == old => {
            Grade::additive("more compatibility is promised")
        }
        (Some(_), Some(_)) => Grade::breaking("less compatibility is promised"),
        _ => UNKNOWN,
    }
}

/// An ISO 8601 duration of one or more whole parts, as days. A month counts 30
/// and a year 365 days, which orders them rightly against each other.
fn days(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('P')?;
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest.get(..end)?.parse().ok()?;
        let unit = match rest.get(end..end + 1)? {
            "D" => 1,
            "W" => 7,
            "M" => 30,
            "Y" => 365,
            _ => return None,
        };
        sum = sum.checked_add(count.checked_mul(unit)?)?;
        rest = rest.get(end + 1..)?;
    }
    Some(sum)
}
