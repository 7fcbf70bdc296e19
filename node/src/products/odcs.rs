//! The versions of ODCS that are read, each with the official schema.

use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

/// The version that new contracts are written in.
pub(super) const CURRENT: &str = "v3.1.0";

/// One grammar of the standard.
pub(super) struct Odcs {
    /// The schema, for the keys that it knows.
    pub(super) schema: Value,
    /// The schema, compiled.
    pub(super) validator: Validator,
}

/// The values of `apiVersion`, and the grammar that they mean, each with the hash
/// that `odcs/README.md` names.
const VENDORED: [(&[&str], &str); 3] = [
    // Checked against the last of them, as the `datacontract` command does.
    (
        &["v3.0.0", "v3.0.1", "v3.0.2"],
        include_str!("odcs/v3.0.2.schema.json"),
    ),
    (&[CURRENT], include_str!("odcs/v3.1.0.schema.json")),
    (&["v3.2.0"], include_str!("odcs/v3.2.0.schema.json")),
];

/// Each is compiled when a contract first needs it: most nodes see one of them.
static READ: [OnceLock<Odcs>; VENDORED.len()] = [const { OnceLock::new() }; VENDORED.len()];

impl Odcs {
    /// The grammar that an `apiVersion` names.
    pub(super) fn of(version: &str) -> Option<&'static Self> {
        let mut grammars = VENDORED.iter().zip(&READ);
        let ((_, text), read) = grammars.find(|((versions, _), _)| versions.contains(&version))?;
        Some(read.get_or_init(|| Self::compile(text)))
    }

    fn compile(text: &str) -> Self {
        let schema = serde_json::from_str(text)
            .expect("the vendored schemas are JSON; a test pins their hashes");
        let validator = jsonschema::validator_for(&schema)
            .expect("the vendored schemas compile; a test pins their hashes");
        Self { schema, validator }
    }

    /// Every version that is read, oldest first.
    pub(super) fn versions() -> String {
        let versions = VENDORED.iter().flat_map(|(versions, _)| *versions);
        versions.copied().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use comity_identity::Digest;

    use super::*;

    #[test]
    fn the_vendored_schemas_are_the_ones_that_their_note_names() {
        let note = include_str!("odcs/README.md");
        for (versions, text) in VENDORED {
            let hash = Digest::of(text.as_bytes()).to_string();
            let hash = hash.trim_start_matches("sha256:");
            let line = note.lines().find(|line| line.contains(hash));
            let line = line.unwrap_or_else(|| panic!("{versions:?} is not {hash}"));
            assert!(versions.iter().all(|v| line.contains(v)), "{line}");
        }
    }
}
