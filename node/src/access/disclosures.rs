//! What each partner was told of each table that is read in groups only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use comity_identity::OrgId;

use crate::query::Disclosed;

/// By partner, product and table. Bounded by what was agreed: only tables of
/// agreements in force are asked for.
#[derive(Debug, Default)]
pub struct Disclosures(Mutex<HashMap<(OrgId, String, String), Arc<Disclosed>>>);

impl Disclosures {
    /// What `org` was told of `table` of `product` since the node started.
    pub(super) fn of(&self, org: OrgId, product: &str, table: &str) -> Arc<Disclosed> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (org, product.to_owned(), table.to_owned());
        Arc::clone(all.entry(key).or_default())
    }
}
