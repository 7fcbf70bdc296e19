//! A product of this organization, ready to be served.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use comity_identity::Digest;
use comity_protocol::address::Address;
use comity_protocol::product::{Descriptor, Table};
use datafusion::catalog::TableProvider;

/// A published product: what was announced, and where its data lies.
#[derive(Debug)]
pub struct OwnProduct {
    /// The announced descriptor.
    pub descriptor: Descriptor,
    /// The signed descriptor.
    pub text: String,
    /// The descriptor's id.
    pub digest: Digest,
    /// The ODCS file it was published from. Private.
    pub file: PathBuf,
    /// The digest of that file's bytes when it was published.
    pub file_digest: Digest,
    /// The data of each table, or why it cannot be read now. Private.
    pub sources: BTreeMap<String, Result<Arc<dyn TableProvider>, String>>,
}

impl OwnProduct {
    /// The address of this major version.
    pub fn address(&self) -> Address {
        self.descriptor.address()
    }

    /// The announced table of this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.descriptor
            .tables
            .iter()
            .find(|t| t.name.as_str() == name)
    }
}
