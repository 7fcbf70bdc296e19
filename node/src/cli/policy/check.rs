//! `comity policy check`.

use std::collections::BTreeMap;

use comity_identity::Digest;
use serde::Serialize;

use crate::access::policy::{self, CedarEngine, Files};
use crate::cli::output::{Output, Problem, printable};
use crate::home::Home;

/// Read the policies as the node would, and say whether it would take them.
///
/// Validates every file against the schema, without a warning, and runs the
/// tests in HOME/policies/tests. Ends with 1 and FILE:LINE: REASON otherwise.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity policy check\n  comity --home /srv/comity policy check --json"
)]
pub(super) struct Check {}

/// What would be taken.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    policies: usize,
    files: BTreeMap<String, Digest>,
    problems: Vec<policy::Problem>,
}

impl Check {
    pub(super) fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let checked = match files(home).and_then(|f| CedarEngine::compile(&f)) {
            Ok(engine) => Checked {
                ok: true,
                digest: Some(engine.set().digest()),
                policies: engine.set().policies(),
                files: engine.set().files().clone(),
                problems: Vec::new(),
            },
            Err(problems) => Checked {
                ok: false,
                digest: None,
                policies: 0,
                files: BTreeMap::new(),
                problems,
            },
        };
        output.answer(&checked, text);
        match checked.ok {
            true => Ok(()),
            false => Err(Problem::told()),
        }
    }
}

/// The files that the node would read.
pub(super) fn files(home: &Home) -> Result<Files, Vec<policy::Problem>> {
    let read = Files::read(&home.policies()).map_err(|problem| vec![problem])?;
    Ok(read.unwrap_or_else(policy::shipped))
}

/// The engine that the node would decide with.
pub(super) fn engine(home: &Home) -> Result<CedarEngine, Problem> {
    let compiled = files(home).and_then(|files| CedarEngine::compile(&files));
    compiled.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Problem::failed(lines.join("\n")).next("correct the files, then 'comity policy check'")
    })
}

fn text(checked: &Checked) -> String {
    match checked.digest {
        Some(digest) => {
            let files: Vec<&str> = checked.files.keys().map(String::as_str).collect();
            let (files, count) = (files.join(", "), checked.policies);
            format!("{count} policies in {files} are fine\ndigest {digest}\n")
        }
        None => checked
            .problems
            .iter()
            .map(|p| format!("{}\n", printable(p)))
            .collect(),
    }
}
