//! Why something an operator asked for did not happen.

use comity_identity::OrgId;

use crate::admin::api;

/// A failed operation: a stable code, whose fault it is, what is wrong, and
/// what to do next. What a *peer* is told is never made from this (A19).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    code: &'static str,
    fault: Fault,
    message: String,
    next: Option<String>,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request makes no sense as it stands.
    Caller,
    /// What was named does not exist.
    Unknown,
    /// The request does not fit the present state.
    Conflict,
    /// The other organization misbehaved, refused or does not answer.
    Partner,
    /// This node cannot do its work now.
    Own,
}

impl Failure {
    /// A failure with a stable `code`.
    pub fn new(fault: Fault, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            fault,
            message: message.into(),
            next: None,
        }
    }

    /// The request makes no sense as it stands.
    pub fn caller(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Fault::Caller, code, message)
    }

    /// This node cannot do its work now.
    pub fn own(code: &'static str, error: impl std::fmt::Display) -> Self {
        Self::new(Fault::Own, code, error.to_string())
    }

    /// The partner called `alias` misbehaved, refused or does not answer.
    pub fn partner(code: &'static str, alias: &str, error: impl std::fmt::Display) -> Self {
        Self::new(Fault::Partner, code, format!("{alias}: {error}"))
    }

    /// No organization is called `name` here.
    pub fn no_partner(name: &str) -> Self {
        Self::new(
            Fault::Unknown,
            "unknown-partner",
            format!("no partner is called '{name}' here"),
        )
        .next("see the partners' names with 'comity status'")
    }

    /// The organization is not known here.
    pub fn not_known(org: &OrgId) -> Self {
        Self::new(
            Fault::Unknown,
            "unknown-organization",
            format!("{org} is not known here"),
        )
    }

    /// Adds what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// As the admin API says it.
    pub fn to_api(&self) -> api::Failure {
        api::Failure {
            code: self.code.to_owned(),
            message: self.message.clone(),
            next: self.next.clone(),
        }
    }
}
