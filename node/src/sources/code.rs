//! What callers are told when a server does not answer (`spec/5-data-plane.md#D-152`).

use datafusion::error::DataFusionError;

use crate::query::QueryError;

/// Whose fault it is that a statement has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// Of the others that are asking.
    Busy,
    /// Of the statement, which takes too long.
    Budget,
    /// Of the source.
    Unavailable,
}

impl Code {
    /// The error for callers; `reason` is for the owner only.
    pub(super) fn with(self, reason: String) -> QueryError {
        match self {
            Self::Busy => QueryError::busy().with_detail(reason),
            Self::Budget => QueryError::budget("time budget at the source").with_detail(reason),
            Self::Unavailable => QueryError::source_unavailable(reason),
        }
    }
}

/// An error of a source that knows its code.
pub(super) trait Coded: std::fmt::Display {
    /// The code.
    fn code(&self) -> Code;

    /// The error as a plan gives it.
    fn into_plan(self) -> DataFusionError
    where
        Self: Sized,
    {
        self.code().with(self.to_string()).into()
    }
}
