//! Which state of their sources the runs of one question read
//! (`spec/5-data-plane.md#D-147`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use comity_identity::Digest;
use datafusion::catalog::Session;

use super::QueryError;

/// The states that the first run of a question met: later ones read the same, or
/// fail. Held by a ticket, so only names are in it, and no lists of files.
#[derive(Debug, Default)]
pub struct Snapshots(Mutex<Met>);

#[derive(Clone, Debug, Default)]
struct Met {
    by_source: BTreeMap<SourceId, String>,
    /// What partners call theirs, by the digest of the statement that they were
    /// asked: one of a join's keys may have a quarter of a megabyte.
    by_statement: BTreeMap<(String, Digest), String>,
    /// A run was planned whole: what is not in it was not there.
    sealed: bool,
}

/// An opened source. One that is opened anew is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceId(u64);

impl SourceId {
    /// The next one of this process.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Snapshots {
    /// Those of the run that `session` plans. What is planned for itself, as
    /// descriptions and measurements are, has none.
    pub(crate) fn of(session: &dyn Session) -> Option<Arc<Self>> {
        session.config().get_extension()
    }

    /// The name of the state in which `source` was read before.
    ///
    /// # Errors
    /// `terms-mismatch` if an earlier run did not read it: its product was
    /// published anew since.
    pub(crate) fn met(&self, source: SourceId) -> Result<Option<String>, QueryError> {
        let met = self.lock();
        match met.by_source.get(&source) {
            None if met.sealed => Err(QueryError::another_snapshot()),
            name => Ok(name.cloned()),
        }
    }

    /// `source` is about to be read in the state `name`.
    ///
    /// # Errors
    /// `terms-mismatch` if another run that is planned at the same time met
    /// another state.
    pub(crate) fn meet(&self, source: SourceId, name: &str) -> Result<(), QueryError> {
        let mut met = self.lock();
        let known = met.by_source.entry(source);
        match known.or_insert_with(|| name.to_owned()) == name {
            true => Ok(()),
            false => Err(QueryError::another_snapshot()),
        }
    }

    /// The answer of `partner` to `sql`, without the keys that it is told besides,
    /// reads a state that it calls `name`.
    ///
    /// # Errors
    /// `terms-mismatch` if an earlier run read another state: what came then and
    /// what comes now are not of one answer.
    pub(super) fn meet_at_partner(
        &self,
        partner: &str,
        sql: &str,
        name: &str,
    ) -> Result<(), QueryError> {
        let mut met = self.lock();
        let known = &mut met.by_statement;
        let known = known.entry((partner.to_owned(), Digest::of(sql.as_bytes())));
        match known.or_insert_with(|| name.to_owned()) == name {
            true => Ok(()),
            false => Err(QueryError::another_snapshot()),
        }
    }

    /// The same, for a plan that may not be run.
    pub(super) fn fork(&self) -> Self {
        Self(Mutex::new(self.lock().clone()))
    }

    /// The plan over `fork` is run.
    ///
    /// # Errors
    /// `terms-mismatch` if another run met other states meanwhile.
    pub(super) fn join(&self, fork: &Self) -> Result<(), QueryError> {
        let met = fork.lock().clone();
        for (source, name) in met.by_source {
            self.meet(source, &name)?;
        }
        if met.sealed {
            self.seal();
        }
        Ok(())
    }

    /// A run was planned.
    pub(super) fn seal(&self) {
        self.lock().sealed = true;
    }

    /// The names of all states that were met; nothing when no source has such.
    /// For this node only: they hold times, counts and tags of files.
    pub fn names(&self) -> Option<String> {
        let met = self.lock();
        let names = met.by_source.values().chain(met.by_statement.values());
        let mut names: Vec<_> = names.map(String::as_str).collect();
        // The numbers of sources are those of this process.
        names.sort_unstable();
        (!names.is_empty()).then(|| names.join("\n"))
    }

    fn lock(&self) -> MutexGuard<'_, Met> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_runs_read_what_the_first_one_met() {
        let (snapshots, one, other) = (Snapshots::default(), SourceId::next(), SourceId::next());
        assert_eq!(snapshots.met(one).unwrap(), None);
        snapshots.meet(one, "version 1").unwrap();
        assert_eq!(snapshots.met(one).unwrap().as_deref(), Some("version 1"));
        // Planned at the same time, a moment later.
        assert!(snapshots.meet(one, "version 2").is_err());
        assert_eq!(snapshots.met(other).unwrap(), None, "a second table");
        snapshots.seal();
        assert!(snapshots.met(one).is_ok());
        let opened_anew = snapshots.met(other).unwrap_err();
        assert_eq!(opened_anew.code(), "terms-mismatch");
    }

    #[test]
    fn the_names_do_not_depend_on_the_order_in_which_sources_were_opened() {
        let ids = [SourceId::next(), SourceId::next()];
        let names = |first: &str, second: &str| {
            let snapshots = Snapshots::default();
            snapshots.meet(ids[0], first).unwrap();
            snapshots.meet(ids[1], second).unwrap();
            snapshots.names()
        };
        assert_eq!(names("a", "b"), names("b", "a"));
        assert_eq!(Snapshots::default().names(), None);
    }
}
