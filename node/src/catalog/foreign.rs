//! What another organization announces, as far as it is known here.

use std::collections::BTreeMap;
use std::sync::Arc;

use comity_identity::Digest;
use comity_protocol::catalog::{Standing, VerifiedHead};
use comity_protocol::product::VerifiedDescriptor;

/// Another organization's catalog: complete as of one head.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    head: Option<VerifiedHead>,
    list: String,
    products: BTreeMap<String, Arc<VerifiedDescriptor>>,
    contradicted: bool,
}

impl Foreign {
    /// A catalog as of `head`.
    pub fn new(
        head: VerifiedHead,
        list: String,
        descriptors: impl IntoIterator<Item = VerifiedDescriptor>,
    ) -> Self {
        let named = |d: VerifiedDescriptor| (d.descriptor().address().to_string(), Arc::new(d));
        let products = descriptors.into_iter().map(named).collect();
        Self {
            head: Some(head),
            list,
            products,
            contradicted: false,
        }
    }

    /// What `head` means beside the one that is known.
    pub fn standing(&self, head: &VerifiedHead) -> Standing {
        head.beside(self.head.as_ref())
    }

    /// Two heads with one number (A36): nothing of this catalog is served as
    /// current until the organization signs a higher one. Gives the text of the
    /// known head the first time.
    pub fn contradicted(&mut self, other: &VerifiedHead) -> Option<String> {
        if self.contradicted || self.standing(other) != Standing::Equivocation {
            return None;
        }
        self.contradicted = true;
        self.head.as_ref().map(|known| known.text().to_owned())
    }

    /// The journal holds the evidence that this head was contradicted.
    pub fn recall_contradiction(&mut self) {
        self.contradicted = true;
    }

    /// Whether the organization contradicted itself.
    pub fn is_contradicted(&self) -> bool {
        self.contradicted
    }

    /// The number of the newest head.
    pub fn seq(&self) -> Option<u64> {
        self.head.as_ref().map(|h| h.head().seq)
    }

    /// The descriptor with this id, if it is part of the catalog.
    pub fn descriptor(&self, digest: &Digest) -> Option<&Arc<VerifiedDescriptor>> {
        self.products.values().find(|d| d.digest() == *digest)
    }

    /// The list that the head commits to.
    pub fn list(&self) -> &str {
        &self.list
    }

    /// The digest of the list of results that the head commits to.
    pub fn results(&self) -> Option<Digest> {
        self.head.as_ref()?.head().results
    }

    /// The products that may be shown, by address.
    pub fn products(&self) -> impl Iterator<Item = (&String, &Arc<VerifiedDescriptor>)> {
        let shown = !self.contradicted;
        self.products.iter().filter(move |_| shown)
    }

    /// The product at this address.
    pub fn product(&self, name: &str) -> Option<&Arc<VerifiedDescriptor>> {
        self.products()
            .find(|(known, _)| *known == name)
            .map(|(_, d)| d)
    }
}
