//! The narrowing rule of every field, in one place (A4).

use std::collections::{BTreeMap, BTreeSet};

use super::Grant;

/// In what a link is wider than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Widened {
    /// `iss`, `aud`, `agr` or `sub` changed.
    #[error("it speaks of another issuer, audience, agreement or subject")]
    Subject,
    /// An actor was removed or replaced.
    #[error("it drops an actor")]
    Actors,
    /// A role or authentication method was added.
    #[error("it adds a role or an authentication method")]
    Roles,
    /// A table was added, or the list was dropped.
    #[error("it adds a table")]
    Tables,
    /// A column was added, or a list was dropped.
    #[error("it adds a column")]
    Columns,
    /// A purpose was added.
    #[error("it adds a purpose")]
    Purpose,
    /// More rows are permitted.
    #[error("it permits more rows")]
    Rows,
    /// It starts earlier or ends later.
    #[error("it lives longer")]
    Time,
}

impl Grant {
    /// Whether this link permits nothing that `parent` does not
    /// (`spec/2-identity.md#I-35`).
    ///
    /// The pattern names every field on purpose: a new field does not compile
    /// until its rule stands here.
    pub fn narrows(&self, parent: &Self) -> Result<(), Widened> {
        let Self {
            v: _,
            iss,
            aud,
            agr,
            sub,
            act,
            roles,
            amr,
            cnf: _, // each link has its own holder, certificate, id and parent
            cert: _,
            tables,
            cols,
            filter: _, // filters accumulate; `LinkFilter::author_reads` bounds what they may ask
            purpose,
            max_rows,
            nbf,
            exp,
            jti: _,
            prt: _,
        } = self;
        let same =
            iss == &parent.iss && aud == &parent.aud && agr == &parent.agr && sub == &parent.sub;
        require(same, Widened::Subject)?;
        require(act.starts_with(&parent.act), Widened::Actors)?;
        require(
            roles.is_subset(&parent.roles) && amr.is_subset(&parent.amr),
            Widened::Roles,
        )?;
        require(
            subset(tables.as_ref(), parent.tables.as_ref()),
            Widened::Tables,
        )?;
        require(
            columns(cols.as_ref(), parent.cols.as_ref()),
            Widened::Columns,
        )?;
        require(purpose.is_subset(&parent.purpose), Widened::Purpose)?;
        require(at_most(*max_rows, parent.max_rows), Widened::Rows)?;
        require(*nbf >= parent.nbf && *exp <= parent.exp, Widened::Time)
    }
}

/// Absent means everything.
fn subset(child: Option<&BTreeSet<String>>, parent: Option<&BTreeSet<String>>) -> bool {
    match (child, parent) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(child), Some(parent)) => child.is_subset(parent),
    }
}

/// Every table that the parent restricts stays restricted, to no more columns.
fn columns(
    child: Option<&BTreeMap<String, BTreeSet<String>>>,
    parent: Option<&BTreeMap<String, BTreeSet<String>>>,
) -> bool {
    let Some(parent) = parent else { return true };
    let of_child = |table: &String| child.and_then(|c| c.get(table));
    parent
        .iter()
        .all(|(table, columns)| of_child(table).is_some_and(|c| c.is_subset(columns)))
}

/// Absent means no limit.
fn at_most(child: Option<u64>, parent: Option<u64>) -> bool {
    match (child, parent) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(child), Some(parent)) => child <= parent,
    }
}

fn require(holds: bool, widened: Widened) -> Result<(), Widened> {
    if holds { Ok(()) } else { Err(widened) }
}
