//! Who may: negotiation, grants, revocation. The only room that makes a scope.
//!
//! ```text
//! partners       who we deal with, and how they came
//! negotiations   requests, offers, signatures
//! agreements     what both signed: in force, expired, revoked
//! grants         our members, to partners
//! handed         the same, with a key of their own
//! members        our own people and programs, by their tokens
//! oidc           the identity provider's tokens
//! claims         what is known of whoever asks, for row filters
//! scope          agreement AND grant AND what is announced: one constructor
//! asker          who asks at the peer listener, proven
//! peer_gate      judges every call of a partner
//! workbench_gate judges every call of a member
//! disclosures    what each partner was told of protected tables
//! quota          how much was read under each agreement
//! policy         what the owner's policies take away from that
//! record         what was served, written down
//! refusals       what was refused, written down
//! measuring      what a measurement of an own product reads
//! ```

mod agreements;
mod asker;
mod claims;
mod disclosures;
mod egress;
mod grants;
mod handed;
mod issuers;
mod measuring;
mod members;
mod negotiations;
mod oidc;
mod partners;
mod peer_gate;
pub mod policy;
mod quota;
mod record;
mod refusals;
mod scope;
mod sizes;
mod workbench_gate;

pub use agreements::{Agreement, Agreements, Standing};
pub use disclosures::Disclosures;
pub use egress::EgressRules;
pub use grants::Grants;
pub use handed::{Handed, HandedOut, permit as permit_grant};
pub(crate) use issuers::Issuers;
pub use measuring::measuring_view;
pub(crate) use members::is_role;
pub use members::{Held, MAX_TOKENS, Members, Unproven, VerifiedMember, Wanted};
pub use negotiations::{Negotiations, Parts, Post};
pub use oidc::Issuer;
pub use partners::{Meeting, Partner, Partners, WelcomeError};
pub use peer_gate::PeerGate;
pub use quota::Quotas;
pub use scope::{Basis, OutOfScope, Scope};
pub use sizes::StatedSizes;
pub use workbench_gate::{Reach, WorkbenchGate};

pub(crate) use record::trace as new_trace;
pub use refusals::Refusals;
