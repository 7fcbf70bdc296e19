//! An organization for the tests of this crate.

use std::sync::Arc;

use tempfile::TempDir;

use crate::founding::{Plan, found};
use crate::home::Home;
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::own::Own;
use crate::{index, journal};

/// A newly founded organization, and the folder that it lives in as long as
/// the test holds it.
pub(crate) fn own(alias: &str) -> (Arc<Own>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join(alias));
    let plan = Plan {
        name: alias.to_owned(),
        alias: alias.to_owned(),
        node: "node-1".to_owned(),
        passphrase: None,
        free_ports: true,
    };
    found(&home, &plan).unwrap();
    let settings = (journal::Settings::default(), index::Settings::default());
    let ledger = Arc::new(Ledger::open(&home, settings.0, settings.1).unwrap());
    let keys = Keys::open(home.path()).unwrap();
    (Arc::new(Own::load(ledger, keys, alias).unwrap()), dir)
}
