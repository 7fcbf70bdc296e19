//! Writing a configuration as a file that explains itself.

use std::fmt::Write as _;

use serde_json::Value;

use super::Config;
use super::keys::{APPROVE, EGRESS, KEYS, Key, PARTNER, SECTIONS, SOURCES};

/// `config` as a file with every key and its meaning.
pub(super) fn render(config: &Config) -> String {
    let values = tree(config);
    let defaults = tree(&Config::default());
    let mut out = String::from(
        "# Comity node. Keys that are left out have the values that are given as defaults.\n\
         # `comity config check` reports mistakes.\n",
    );
    for (section, about) in SECTIONS {
        let _ = write!(out, "\n# {about}\n[{section}]\n");
        for key in KEYS.iter().filter(|key| key.section == section) {
            render_key(&mut out, key, &values[section], &defaults[section]);
        }
    }
    out.push('\n');
    out.push_str(SOURCES);
    for (server, source) in values["sources"].as_object().into_iter().flatten() {
        let _ = write!(out, "\n[sources.{}]\n", bare_or_quoted(server));
        for (name, value) in source.as_object().into_iter().flatten() {
            let _ = writeln!(out, "{name} = {}", inline(value));
        }
    }
    out.push('\n');
    for (list, about) in [
        ("approve", APPROVE),
        ("partner", PARTNER),
        ("egress", EGRESS),
    ] {
        out.push_str(about);
        for entry in values[list].as_array().into_iter().flatten() {
            let _ = write!(out, "\n[[{list}]]\n");
            for (name, value) in entry.as_object().into_iter().flatten() {
                let _ = writeln!(out, "{} = {}", bare_or_quoted(name), inline(value));
            }
        }
        out.push('\n');
    }
    out
}

/// `config` as a tree of sections and values.
pub(super) fn tree(config: &Config) -> Value {
    serde_json::to_value(config).expect("numbers, texts, lists and tables with text keys")
}

fn render_key(out: &mut String, key: &Key, values: &Value, defaults: &Value) {
    out.push('\n');
    for line in key.meaning {
        let _ = writeln!(out, "# {line}");
    }
    let default = defaults.get(key.name);
    let _ = match (default, &key.range) {
        (Some(default), Some(range)) => writeln!(
            out,
            "# Default: {}; allowed: {} to {}.",
            inline(default),
            grouped(*range.start()),
            grouped(*range.end())
        ),
        (Some(default), None) => writeln!(out, "# Default: {}.", inline(default)),
        (None, _) => writeln!(out, "# Default: none."),
    };
    let _ = match (values.get(key.name), key.sample) {
        (Some(value), _) => writeln!(out, "{} = {}", key.name, inline(value)),
        (None, sample) => writeln!(out, "# {} = {}", key.name, sample.unwrap_or_default()),
    };
}

/// `value` as one line of TOML.
fn inline(value: &Value) -> String {
    match value {
        // JSON's escapes are TOML's as well; only DEL must be escaped in addition.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007F"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{} = {}", bare_or_quoted(key), inline(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), grouped),
        // TOML has no null; absent values are not written at all.
        other => other.to_string(),
    }
}

/// `number` with an underscore between thousands, as TOML allows, from five digits on.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        inline(&Value::from(key))
    }
}
