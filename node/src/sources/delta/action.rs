//! What a Delta log says, line by line (the Delta transaction log protocol, "Actions").

use std::collections::BTreeMap;

use serde::Deserialize;

use super::DeltaError;

/// One line of a commit, or one row of a checkpoint. Kinds that say nothing about
/// which rows the table has are left out.
#[derive(Debug, Deserialize)]
pub(super) struct Action {
    pub(super) protocol: Option<Protocol>,
    #[serde(rename = "metaData")]
    pub(super) metadata: Option<Metadata>,
    pub(super) add: Option<Add>,
    pub(super) remove: Option<Remove>,
    /// A file with more rows of a checkpoint; only `v2Checkpoint` has them.
    pub(super) sidecar: Option<Sidecar>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sidecar {}

/// What a reader must know to read the table rightly.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    min_reader_version: u32,
    reader_features: Option<Vec<String>>,
}

/// The shape of the table.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    format: Provider,
    pub(super) schema_string: String,
    pub(super) partition_columns: Vec<String>,
    #[serde(default)]
    pub(super) configuration: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Provider {
    provider: String,
}

/// A file that belongs to the table.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    /// Percent-encoded, relative to the table's folder.
    pub(super) path: String,
    #[serde(default)]
    pub(super) partition_values: BTreeMap<String, Option<String>>,
    pub(super) size: u64,
    deletion_vector: Option<Deletions>,
}

/// A file that belongs to the table no longer.
#[derive(Debug, Deserialize)]
pub(super) struct Remove {
    pub(super) path: String,
}

/// Rows of a file that are deleted although the file has them.
#[derive(Clone, Debug, Deserialize)]
struct Deletions {}

/// The features of a table that this reader knows (names of the protocol).
///
/// `columnMapping` and `deletionVectors` are known in so far as a table that may
/// use them and does not is read; one that does is refused.
const FEATURES: [&str; 4] = [
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "vacuumProtocolCheck",
];

impl Protocol {
    /// Refuses what this reader does not know: it would read rows that are not there.
    pub(super) fn check(&self) -> Result<(), DeltaError> {
        let features = self.reader_features.as_deref();
        let known = |feature: &&String| FEATURES.contains(&feature.as_str());
        match (self.min_reader_version, features) {
            (1 | 2, None) => Ok(()),
            (3, Some(all)) => match all.iter().find(|feature| !known(feature)) {
                None => Ok(()),
                Some(other) => Err(DeltaError::feature(other)),
            },
            (version, _) => Err(DeltaError::feature(format!("reader version {version}"))),
        }
    }
}

impl Metadata {
    pub(super) fn check(&self) -> Result<(), DeltaError> {
        if self.format.provider != "parquet" {
            let provider = &self.format.provider;
            return Err(DeltaError::feature(format!("files of format {provider}")));
        }
        match self.property("delta.columnMapping.mode") {
            None | Some("none") => Ok(()),
            Some(mode) => Err(DeltaError::feature(format!("columnMapping by {mode}"))),
        }
    }

    pub(super) fn property(&self, name: &str) -> Option<&str> {
        self.configuration.get(name)?.as_deref()
    }
}

impl Add {
    pub(super) fn check(&self) -> Result<(), DeltaError> {
        match self.deletion_vector {
            None => Ok(()),
            Some(_) => Err(DeltaError::feature("deletionVectors")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_features_are_read() {
        for (text, read) in [
            (r#"{"minReaderVersion":1,"minWriterVersion":2}"#, true),
            (r#"{"minReaderVersion":2}"#, true),
            (r#"{"minReaderVersion":3,"readerFeatures":[]}"#, true),
            (
                r#"{"minReaderVersion":3,"readerFeatures":["timestampNtz","columnMapping"]}"#,
                true,
            ),
            (
                r#"{"minReaderVersion":3,"readerFeatures":["timestampNtz","v2Checkpoint"]}"#,
                false,
            ),
            (
                r#"{"minReaderVersion":3,"readerFeatures":["catalogManaged"]}"#,
                false,
            ),
            (
                r#"{"minReaderVersion":3,"readerFeatures":["typeWidening"]}"#,
                false,
            ),
            (
                r#"{"minReaderVersion":3,"readerFeatures":["TimestampNtz"]}"#,
                false,
            ),
            (r#"{"minReaderVersion":3}"#, false),
            (r#"{"minReaderVersion":1,"readerFeatures":[]}"#, false),
            (r#"{"minReaderVersion":4,"readerFeatures":[]}"#, false),
            (r#"{"minReaderVersion":0}"#, false),
        ] {
            let protocol: Protocol = serde_json::from_str(text).unwrap();
            assert_eq!(protocol.check().is_ok(), read, "{text}");
        }
    }
}
