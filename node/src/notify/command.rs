//! The command: a program of the owner's that gets the JSON on its standard input.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::config;

/// How long the program may run.
const RUN_TIME: Duration = Duration::from_secs(30);

/// A program and its arguments. No shell reads them, and nothing that a partner
/// sent is among them.
#[derive(Debug)]
pub(super) struct Command {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Command {
    pub(super) fn new(settings: &config::Notify) -> Option<Self> {
        let (program, arguments) = settings.command.split_first()?;
        Some(Self {
            program: program.into(),
            arguments: arguments.to_vec(),
        })
    }

    /// Runs the program with `body`. It is killed when its time is over, and
    /// with the node.
    pub(super) async fn run(&self, body: &[u8]) {
        let run = self.exchange(body);
        match tokio::time::timeout(RUN_TIME, run).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(Ok(status)) => tracing::warn!(%status, "the notify command failed"),
            Ok(Err(error)) => tracing::warn!(%error, "the notify command did not run"),
            Err(_) => tracing::warn!("the notify command took too long"),
        }
    }

    async fn exchange(&self, body: &[u8]) -> std::io::Result<std::process::ExitStatus> {
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            // The node's environment may hold secrets of its sources.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // One that does not read it may still have done its work.
            let _ = input.write_all(body).await;
        }
        child.wait().await
    }
}
