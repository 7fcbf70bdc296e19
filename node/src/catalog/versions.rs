//! The gate before an announcement: a version rises enough for what changed.

use comity_protocol::address::Address;
use comity_protocol::compatibility::{Comparison, Edition, Finding};
use comity_protocol::product::Descriptor;
use comity_protocol::version::Version;

use super::{Catalog, read};
use crate::failure::{Failure, Fault};

/// The most differences that a refusal names; `comity product diff` shows all.
const MAX_NAMED: usize = 5;

impl Catalog {
    /// Checks that this major may be announced at all: it is there already, or
    /// above every other that is or was (`spec/3-catalog.md#C-75`).
    pub(super) fn may_be_announced(&self, name: &str, version: Version) -> Result<(), Failure> {
        let address = address_of(name, version);
        let retired = read(&self.retired).clone();
        if let Some(last) = retired.get(&address) {
            let message =
                format!("{address} was retired with {last}; a retired major does not come back");
            return Err(Failure::new(Fault::Conflict, "retired", message)
                .next("announce the next major version"));
        }
        if self.own_product(&address).is_some() {
            return Ok(());
        }
        let products = self.own_products();
        let announced = products.iter().map(|p| (p.address(), p.descriptor.version));
        let gone = retired
            .iter()
            .filter_map(|(a, v)| Some((a.parse().ok()?, *v)));
        let mut known = announced
            .chain(gone)
            .filter(|(a, _)| a.product.as_str() == name);
        match known.find(|(_, known)| *known > version) {
            None => Ok(()),
            Some((_, higher)) => {
                let message =
                    format!("{name} {version} is lower than {higher}, which is or was announced");
                Err(Failure::new(Fault::Conflict, "version-too-low", message)
                    .next("a further major is higher than every other"))
            }
        }
    }
}

/// The address of this version of the product with this name.
pub(super) fn address_of(name: &str, version: Version) -> String {
    name.parse().map_or_else(
        |_| String::new(),
        |product| {
            Address {
                product,
                major: version.major,
            }
            .to_string()
        },
    )
}

/// Checks that `new` may follow `old` under its own number
/// (`spec/3-catalog.md#C-71`). Gives what a second person should look at.
pub(super) fn risen(old: &Descriptor, new: &Descriptor) -> Result<Vec<String>, Failure> {
    let comparison = Comparison::of(&Edition::of(old), &Edition::of(new));
    if comparison.is_too_low() {
        return Err(too_low(&comparison, &new.address().to_string()));
    }
    Ok(comparison.second_looks().map(in_words).collect())
}

fn too_low(comparison: &Comparison, product: &str) -> Failure {
    let (old, new) = (comparison.old_version(), comparison.new_version());
    let Some(bump) = comparison.bump() else {
        let message = format!("{product} {new} is lower than {old}, which is announced");
        return Failure::new(Fault::Conflict, "version-too-low", message)
            .next(format!("write version: \"{old}\", or a higher one"));
    };
    let worst = comparison.findings().iter().filter(|f| f.impact == bump);
    let mut named: Vec<String> = worst.clone().take(MAX_NAMED).map(in_words).collect();
    let more = worst.count().saturating_sub(MAX_NAMED);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    let message = format!(
        "{product} {new} is too low: since {old} there are changes that need a new {bump} version:\n  {}",
        named.join("\n  ")
    );
    let suggested = comparison.suggested();
    Failure::new(Fault::Conflict, "version-too-low", message).next(format!(
        "write version: \"{suggested}\"; all changes: 'comity product diff {product} FILE'"
    ))
}

/// A difference in one line.
pub fn in_words(finding: &Finding) -> String {
    let shown = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let what = match (&finding.old, &finding.new) {
        (Some(old), Some(new)) => format!(" ({} -> {})", short(&shown(old)), short(&shown(new))),
        (Some(old), None) if old.is_string() => format!(" (-{})", short(&shown(old))),
        (None, Some(new)) if new.is_string() => format!(" (+{})", short(&shown(new))),
        _ => String::new(),
    };
    format!("{}{what}: {}", finding.path, finding.reason)
}

/// The beginning of a long value.
fn short(text: &str) -> String {
    const MAX_SHOWN: usize = 60;
    let mut cut: String = text.chars().take(MAX_SHOWN).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}
