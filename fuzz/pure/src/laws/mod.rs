//! What must hold for any bytes. One file for each target.
//!
//! libFuzzer tries these laws on bytes that it makes up (`fuzz/pure`), and
//! `protocol/tests/seeds` tries them on the seeds that are kept.
//!
//! No fuzzer makes a signature, so each target has two ways in: what a stranger
//! sends, which must never verify unless it is one of the published vectors, and
//! any content under an honest signature, which reaches the rules behind it.

mod descriptor;
mod envelope;
mod grant;
mod history;
mod organization;
mod statements;
mod terms;
mod world;

/// Panics where the law is broken.
pub(crate) type Law = fn(&[u8]);

/// The laws by the names of their targets and seed folders.
pub(crate) const ALL: [(&str, Law); 7] = [
    ("envelope", envelope::law),
    ("history", history::law),
    ("organization", organization::law),
    ("grant", grant::law),
    ("terms", terms::law),
    ("descriptor", descriptor::law),
    ("statements", statements::law),
];
