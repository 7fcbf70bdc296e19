//! What the owner's Cedar policies decide, and how they come into force.
//!
//! A policy can take away, never add: it is asked after the agreement, the
//! grant and the rules have permitted something, and its answer is one more AND
//! (`spec/7-policy.md#R-1`). Row filters and masks are not policies: they are
//! typed data in the terms, because they must be signed by both sides and be
//! compiled into every plan.
//!
//! ```text
//! asked      what somebody asks: all that a policy can look at
//! subject    the same, made of partners, products, grants that were verified
//! named      the same, of names alone
//! bounds     what is refused before it is parsed
//! folder     the files, read with bounds
//! set        files that were validated as a whole: one constructor
//! engine     the decision
//! explain    which policy and which fact decided
//! corpus     requests with expected decisions
//! active     the set that decides now; reload, journal, alarm
//! permitted  a decision that must go on to hold while an answer streams
//! ```

mod active;
mod asked;
mod bounds;
mod corpus;
mod engine;
mod explain;
mod folder;
mod named;
mod permitted;
mod set;
mod subject;

use comity_identity::Digest;
use serde::{Deserialize, Serialize};

pub use active::{Policies, Refusal};
pub use asked::{Action, Asked, Circumstances, Principal, Resource};
pub use corpus::{Case, CaseFailure, Corpus};
pub use engine::CedarEngine;
pub use explain::{Explanation, Fact};
pub use folder::Files;
pub use named::Named;
pub use permitted::Permitted;
pub use set::{Problem, SCHEMA, ValidSet, shipped};

/// Decides whether something that agreements, grants and rules permit may
/// happen. A trait, so that an organization with another policy language can
/// bring its engine.
pub trait PolicyEngine: Send + Sync + std::fmt::Debug {
    /// Decides. Never fails: what cannot be decided is denied, with the reason
    /// among the errors (`spec/7-policy.md#R-4`).
    fn decide(&self, asked: &Asked) -> Decision;

    /// Decides, and says which policies and which facts decided
    /// (`spec/7-policy.md#R-9`).
    fn explain(&self, asked: Asked) -> Explanation;

    /// The digest of the policies that decide (`spec/7-policy.md#R-6`).
    fn digest(&self) -> Digest;
}

/// What was decided, by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The ids of the policies that decided. None when nothing permits.
    pub by: Vec<String>,
    /// What went wrong. Any error makes the verdict a deny.
    pub errors: Vec<String>,
    /// The digest of the set that decided.
    pub policy: Digest,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Policy takes nothing away.
    Allow,
    /// Policy refuses.
    Deny,
}

/// The stable code that whoever is refused by policy reads.
pub const CODE: &str = "policy";

impl Decision {
    /// Whether policy leaves it as it is.
    pub fn allows(&self) -> bool {
        self.verdict == Verdict::Allow
    }

    /// Why it was denied, for the owner's log.
    pub fn reason(&self) -> String {
        match (self.errors.first(), self.by.is_empty()) {
            (Some(error), _) => format!("a policy could not be evaluated: {error}"),
            (None, true) => "no policy permits it".to_owned(),
            (None, false) => format!("forbidden by {}", self.by.join(", ")),
        }
    }
}

impl Verdict {
    /// As policies' tests and people say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}
