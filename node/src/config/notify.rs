//! `[notify]`: whom the node tells what happened.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::notify::Event;

/// `[notify]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// Where notices are posted: https, or this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// The file that holds the secret with which they are signed; a relative
    /// path starts at the home folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// A program and its arguments that gets notices on its standard input.
    pub command: Vec<String>,
    /// What is told of.
    pub events: BTreeSet<Event>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            webhook: None,
            secret_file: None,
            command: Vec::new(),
            events: Event::ALL.into(),
        }
    }
}
