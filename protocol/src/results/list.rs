//! The newest statement of every product: what a head commits to.

use std::collections::BTreeMap;

use comity_identity::Digest;

use crate::address::Address;
use crate::catalog::MAX_PRODUCTS;
use crate::keys::StatementError;

/// The most bytes of an entry: an address of 74 characters, a digest of 71, and
/// their signs.
const MAX_ENTRY_BYTES: usize = 74 + 71 + 6;

/// The newest statement of each measured product, by address. Its text is
/// canonical JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultsList(BTreeMap<String, Digest>);

impl ResultsList {
    /// The list of these statements.
    pub fn new(newest: impl IntoIterator<Item = (Address, Digest)>) -> Self {
        let named = newest.into_iter().map(|(a, d)| (a.to_string(), d));
        Self(named.collect())
    }

    /// The list's text.
    pub fn to_text(&self) -> String {
        serde_json::to_string(&self.0).expect("addresses and digests are strings, which serialise")
    }

    /// Reads a list and checks that its digest is the one of `committed`
    /// (`spec/3-catalog.md#C-94`).
    pub fn read(text: &str, committed: &Digest) -> Result<Self, StatementError> {
        if text.len() > 2 + MAX_PRODUCTS * MAX_ENTRY_BYTES {
            return Err(StatementError::Rule("the list of results is too long"));
        }
        if Digest::of(text.as_bytes()) != *committed {
            return Err(StatementError::Rule(
                "the list of results is not the one that the head commits to",
            ));
        }
        let malformed = || StatementError::Rule("the list of results is not well formed");
        let entries: BTreeMap<String, Digest> =
            serde_json::from_str(text).map_err(|_| malformed())?;
        let list = Self(entries);
        let named = list.0.keys().all(|name| name.parse::<Address>().is_ok());
        // Its one form: no entry twice, none out of order.
        if !named || list.0.len() > MAX_PRODUCTS || list.to_text() != text {
            return Err(malformed());
        }
        Ok(list)
    }

    /// The statements, by address.
    pub fn entries(&self) -> impl Iterator<Item = (&String, &Digest)> {
        self.0.iter()
    }

    /// Whether no product was measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
