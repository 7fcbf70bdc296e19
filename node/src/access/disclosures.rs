//! What each partner was told of each table that is read in groups only.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use comity_identity::{Digest, OrgId};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::home::Home;
use crate::query::{Disclosed, KeptError};

/// By partner, product and table; each in a file of its own. Bounded by what was
/// agreed: only tables of agreements in force are asked for.
#[derive(Debug)]
pub struct Disclosures {
    folder: PathBuf,
    key: Zeroizing<Vec<u8>>,
    opened: Mutex<HashMap<(OrgId, String, String), Arc<Disclosed>>>,
}

impl Disclosures {
    /// Those that are kept in `home`; `key` is a secret of this organization that
    /// stays the same.
    pub fn of_home(home: &Home, key: &[u8]) -> Self {
        Self {
            folder: home.told(),
            key: Zeroizing::new(key.to_vec()),
            opened: Mutex::default(),
        }
    }

    /// What `org` was ever told of `table` of `product`. It is read once, when it
    /// is first asked for.
    ///
    /// # Errors
    /// It cannot be read: the table must not be told any more.
    pub(super) fn of(
        &self,
        org: OrgId,
        product: &str,
        table: &str,
    ) -> Result<Arc<Disclosed>, KeptError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let of = (org, product.to_owned(), table.to_owned());
        if let Some(known) = opened.get(&of) {
            return Ok(Arc::clone(known));
        }
        let names = [org.to_string(), product.to_owned(), table.to_owned()];
        let names = serde_json::json!(names).to_string();
        // One for the name of the file, which anybody may see, one for what is in it.
        let derived = |purpose: &[u8]| {
            let digest = Digest::keyed(&self.key, &[purpose, names.as_bytes()]);
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&digest.as_bytes()[..16]);
            bytes
        };
        let mut folder = DirBuilder::new();
        let made = folder.recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|e| KeptError::of(&self.folder, e))?;
        let path = self
            .folder
            .join(HEXLOWER.encode(&derived(b"comity-told-file-v1")));
        let prints = derived(b"comity-told-prints-v1");
        let disclosed = Arc::new(Disclosed::open(&path, prints)?);
        opened.insert(of, Arc::clone(&disclosed));
        Ok(disclosed)
    }
}
