//! The servers of one kind, each with what it keeps open between queries.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Source;

/// A server that the configuration says how to connect to.
pub(super) trait Server: Sized {
    /// Where it is: what contracts say of it.
    type At: Clone + Ord;

    /// Its name in contracts, under which the configuration has it.
    fn name(at: &Self::At) -> &str;

    /// The server at `at`; relative paths of the configuration start at `home`.
    fn new(at: Self::At, access: Source, home: PathBuf) -> Self;
}

/// The servers of one kind that contracts have named so far.
#[derive(Debug)]
pub(super) struct Servers<S: Server> {
    access: BTreeMap<String, Source>,
    home: PathBuf,
    open: Mutex<BTreeMap<S::At, Arc<S>>>,
}

impl<S: Server> Servers<S> {
    pub(super) fn new(access: BTreeMap<String, Source>, home: PathBuf) -> Self {
        Self {
            access,
            home,
            open: Mutex::default(),
        }
    }

    /// The server at `at`, the same for all tables that it has.
    pub(super) fn server(&self, at: &S::At) -> Arc<S> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let server = open.entry(at.clone()).or_insert_with(|| {
            let access = self.access.get(S::name(at)).cloned().unwrap_or_default();
            Arc::new(S::new(at.clone(), access, self.home.clone()))
        });
        Arc::clone(server)
    }
}

impl<S: Server> Default for Servers<S> {
    fn default() -> Self {
        Self::new(BTreeMap::new(), PathBuf::new())
    }
}
