//! Two contracts side by side: what belongs together, and where they differ.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::grade::{self, Change};
use super::{Finding, Kind};

/// Everything in which two public contracts differ, but their versions.
pub(super) fn contracts(old: &Value, new: &Value) -> Vec<Finding> {
    let mut walk = Walk::default();
    walk.fields(&Place::root(), object(Some(old)), object(Some(new)));
    walk.findings
}

/// Where in a contract something stands.
#[derive(Clone, Debug)]
struct Place {
    /// What the contract calls it, down from the root: for people.
    path: Vec<String>,
    /// What it is: the rule's name. Tables, columns and rules have one wherever they stand.
    rule: String,
}

impl Place {
    fn root() -> Self {
        Self {
            path: Vec::new(),
            rule: String::new(),
        }
    }

    fn below(&self, name: &str, rule: String) -> Self {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        Self { path, rule }
    }

    fn field(&self, key: &str) -> Self {
        let rule = match self.rule.as_str() {
            "" => key.to_owned(),
            above => format!("{above}/{key}"),
        };
        self.below(key, rule)
    }
}

/// The lists whose entries have an identity: what one entry is, and the keys
/// that name it, the first that fits.
fn entries(rule: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match rule {
        "schema" => ("table", &["id", "name"]),
        "table/properties" => ("column", &["id", "name"]),
        "table/quality" | "column/quality" => ("rule", &["id", "name", "rule", "metric"]),
        "slaProperties" => ("sla", &["id", "property"]),
        "roles" => ("role", &["role"]),
        "support" => ("support", &["channel"]),
        "comityOutputPorts" => ("port", &["name"]),
        "comityInputs" => ("input", &["product"]),
        "role/comityReadRestrictions/table/required-column-projections" => {
            ("projection", &["property-id"])
        }
        _ if rule.ends_with("authoritativeDefinitions") => ("link", &["id", "type", "url"]),
        _ => return None,
    })
}

/// The lists that are sets of words, where an absent one is empty.
fn is_set(rule: &str) -> bool {
    rule.ends_with("tags") || rule == "role/comityPurposes"
}

/// The lists that are sets of words, where an absent one is something else than an empty one.
fn is_stated_set(rule: &str) -> bool {
    rule.starts_with("comityVisibility/") || rule == "role/comityReadRestrictions/table/columns"
}

/// The objects that are compared field by field, where an absent one is empty.
fn is_object(rule: &str) -> bool {
    matches!(
        rule,
        "description"
            | "price"
            | "column/logicalTypeOptions"
            | "rule/comityThreshold"
            | "role/comityLimits"
            | "comityVisibility"
            | "comityTerms"
    )
}

#[derive(Default)]
struct Walk {
    findings: Vec<Finding>,
}

impl Walk {
    fn fields(&mut self, at: &Place, old: &Map<String, Value>, new: &Map<String, Value>) {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            // The number under judgement is no part of what it judges.
            if at.rule.is_empty() && key == "version" {
                continue;
            }
            let (old, new) = (old.get(key), new.get(key));
            match key.as_str() {
                "customProperties" => self.custom(at, old, new),
                // Judged together: a value means nothing without its unit.
                "value" | "valueExt" | "unit" if at.rule == "sla" => {}
                _ => self.pair(&at.field(key), old, new),
            }
        }
        if at.rule == "sla" {
            self.service_level(at, old, new);
        }
    }

    fn pair(&mut self, at: &Place, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            return;
        }
        let listed = |v: Option<&Value>| v.is_none_or(Value::is_array);
        let mapped = |v: Option<&Value>| v.is_none_or(Value::is_object);
        let (lists, maps) = (listed(old) && listed(new), mapped(old) && mapped(new));
        let both = old.is_some() && new.is_some();
        let before = self.findings.len();
        match entries(&at.rule) {
            Some((what, keys)) if lists => self.entries(at, what, keys, list(old), list(new)),
            _ if lists && (is_set(&at.rule) || both && is_stated_set(&at.rule)) => {
                self.words(at, list(old), list(new));
            }
            _ if maps && is_object(&at.rule) => self.fields(at, object(old), object(new)),
            _ if maps && both && at.rule == "role/comityReadRestrictions" => {
                self.restrictions(at, object(old), object(new));
            }
            _ => self.found(at, old, new),
        }
        self.at_least(before, at, old, new);
    }

    /// An empty list for none: nothing means more or less, and still it is another text.
    fn at_least(&mut self, before: usize, at: &Place, old: Option<&Value>, new: Option<&Value>) {
        if self.findings.len() == before {
            let here = Place {
                rule: "shape".to_owned(),
                ..at.clone()
            };
            self.found(&here, old, new);
        }
    }

    /// The entries of a list, each with its counterpart.
    fn entries(&mut self, at: &Place, what: &str, keys: &[&str], old: &[Value], new: &[Value]) {
        let pairs = matched(old, new, keys);
        let mut order = Vec::new();
        for (earlier, later) in &pairs {
            let (before, after) = (earlier.map(|i| &old[i]), later.map(|i| &new[i]));
            let shown = after.or(before).map(|v| title(v, keys)).unwrap_or_default();
            let here = at.below(&shown, what.to_owned());
            match (before, after) {
                (Some(Value::Object(before)), Some(Value::Object(after))) => {
                    self.fields(&here, before, after);
                }
                (before, after) => self.pair(&here, before, after),
            }
            order.extend(earlier.zip(*later));
        }
        order.sort_unstable();
        self.order(at, old, new, order.is_sorted_by_key(|(_, later)| *later));
    }

    /// A list of words: which came, which went.
    fn words(&mut self, at: &Place, old: &[Value], new: &[Value]) {
        let here = Place {
            path: at.path.clone(),
            rule: format!("{}/word", at.rule),
        };
        let before = self.findings.len();
        for gone in old.iter().filter(|word| !new.contains(word)) {
            self.found(&here, Some(gone), None);
        }
        for come in new.iter().filter(|word| !old.contains(word)) {
            self.found(&here, None, Some(come));
        }
        let same = self.findings.len() != before || old == new;
        self.order(at, old, new, same);
    }

    /// Nothing came and nothing went, and still the contract is another text.
    fn order(&mut self, at: &Place, old: &[Value], new: &[Value], same: bool) {
        if !same {
            let names = |list: &[Value]| list.iter().map(|v| title(v, &["name", "id"])).collect();
            let here = at.below("order", "order".to_owned());
            self.found(&here, Some(&names(old)), Some(&names(new)));
        }
    }

    /// Custom properties are a map that is written as a list.
    fn custom(&mut self, at: &Place, old: Option<&Value>, new: Option<&Value>) {
        let whole = at.field("customProperties");
        let entries = |v: &Value| v.as_array().is_some_and(|l| l.iter().all(Value::is_object));
        if ![old, new].into_iter().flatten().all(entries) {
            return self.found(&whole, old, new);
        }
        let before = self.findings.len();
        for (earlier, later) in matched(list(old), list(new), &["property"]) {
            let old = earlier.and_then(|i| list(old).get(i));
            let new = later.and_then(|i| list(new).get(i));
            let name = new.or(old).map(|v| title(v, &["property"]));
            let here = at.field(&name.unwrap_or_default());
            let part = |entry: Option<&Value>, key: &str| entry.and_then(|e| e.get(key)).cloned();
            self.pair(
                &here,
                part(old, "value").as_ref(),
                part(new, "value").as_ref(),
            );
            let about = |entry: Option<&Value>| {
                let mut rest = object(entry).clone();
                rest.retain(|key, _| key != "property" && key != "value");
                rest
            };
            let (old, new) = (about(old), about(new));
            for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                let here = here.below(key, format!("custom/{key}"));
                self.pair(&here, old.get(key), new.get(key));
            }
        }
        self.at_least(before, &whole, old, new);
    }

    /// What a role may read, by table; a table that is not named is not read.
    fn restrictions(&mut self, at: &Place, old: &Map<String, Value>, new: &Map<String, Value>) {
        for table in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let here = at.below(table, format!("{}/table", at.rule));
            match (old.get(table), new.get(table)) {
                (Some(Value::Object(old)), Some(Value::Object(new))) => {
                    self.fields(&here, old, new);
                }
                (old, new) => self.pair(&here, old, new),
            }
        }
    }

    fn service_level(&mut self, at: &Place, old: &Map<String, Value>, new: &Map<String, Value>) {
        let judged = ["value", "valueExt", "unit"];
        if judged.iter().all(|key| old.get(*key) == new.get(*key)) {
            return;
        }
        let (old, new) = (Value::Object(old.clone()), Value::Object(new.clone()));
        let here = at.below("value", "sla/value".to_owned());
        self.found(&here, Some(&old), Some(&new));
    }

    fn found(&mut self, at: &Place, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            return;
        }
        let kind = match (old, new) {
            (None, _) => Kind::Add,
            (_, None) => Kind::Remove,
            _ => Kind::Change,
        };
        let change = Change {
            rule: &at.rule,
            kind,
            old,
            new,
        };
        let grade = grade::grade(&change);
        self.findings.push(Finding {
            kind,
            section: at.path.first().cloned().unwrap_or_default(),
            path: at.path.join("."),
            field: at.path.last().cloned().unwrap_or_default(),
            old: old.map(|v| grade::shown(&at.rule, v)),
            new: new.map(|v| grade::shown(&at.rule, v)),
            impact: grade.impact,
            producer: grade.producer,
            second_look: grade.second_look,
            reason: grade.reason,
        });
    }
}

/// Which entry of `old` is which of `new`: equal ones are each other's; others
/// are matched by the first of `keys`, what is left by the next. Each is in one pair.
fn matched(old: &[Value], new: &[Value], keys: &[&str]) -> Vec<(Option<usize>, Option<usize>)> {
    let mut partner: Vec<Option<usize>> = vec![None; old.len()];
    let mut taken = vec![false; new.len()];
    let mut equal: BTreeMap<String, VecDeque<usize>> = BTreeMap::new();
    for (index, entry) in new.iter().enumerate() {
        equal.entry(entry.to_string()).or_default().push_back(index);
    }
    for (index, entry) in old.iter().enumerate() {
        let queue = equal.get_mut(&entry.to_string());
        if let Some(found) = queue.and_then(VecDeque::pop_front) {
            partner[index] = Some(found);
            taken[found] = true;
        }
    }
    for key in keys {
        // Of two with one name the first stands for the first.
        let mut named: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
        for (index, entry) in new.iter().enumerate().filter(|(i, _)| !taken[*i]) {
            if let Some(name) = entry.get(key).and_then(Value::as_str) {
                named.entry(name).or_default().push_back(index);
            }
        }
        for (index, entry) in old.iter().enumerate() {
            let name = entry.get(key).and_then(Value::as_str);
            let queue = name.and_then(|name| named.get_mut(name));
            if partner[index].is_none()
                && let Some(found) = queue.and_then(VecDeque::pop_front)
            {
                partner[index] = Some(found);
                taken[found] = true;
            }
        }
    }
    let pairs = partner.into_iter().enumerate();
    let mut pairs: Vec<_> = pairs.map(|(old, new)| (Some(old), new)).collect();
    let rest = taken.iter().enumerate().filter(|(_, taken)| !**taken);
    pairs.extend(rest.map(|(new, _)| (None, Some(new))));
    pairs
}

/// How an entry is called: by its name where it has one.
fn title(entry: &Value, keys: &[&str]) -> String {
    if let Some(word) = entry.as_str() {
        return word.to_owned();
    }
    let mut named = ["name", "property"].iter().chain(keys.iter());
    let name = named.find_map(|key| entry.get(key).and_then(Value::as_str));
    name.unwrap_or("?").to_owned()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn object(value: Option<&Value>) -> &Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.and_then(Value::as_object).unwrap_or(&EMPTY)
}
