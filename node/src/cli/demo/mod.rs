//! `comity demo`: three organizations on this machine exchange real data.

mod data;
mod story;
mod tell;

use std::path::PathBuf;

use super::output::{Output, Problem};
use super::up::signalled;
use crate::lab::{Lab, LabError};

/// Run three organizations on this machine and let them exchange real data.
///
/// Port Authority, Weather Service and Aircraft Registry each start a real node
/// on loopback with keys, journal and listeners of their own. They federate,
/// publish, negotiate, and answer one SQL statement over all three.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity demo\n  comity demo --keep --dir ./three-organizations")]
pub(super) struct Demo {
    /// Leave the nodes up until Ctrl-C and print how to connect.
    #[arg(long)]
    keep: bool,
    /// Where the organizations' homes go; a temporary folder when absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Demo {
    pub(super) async fn run(self, output: &Output) -> Result<(), Problem> {
        let program = std::env::current_exe()
            .map_err(|e| Problem::failed(format!("where this program lies: {e}")))?;
        let (dir, temporary) = self.place()?;
        let lab = Lab::new(&dir, program);
        let told = tokio::select! {
            told = story::tell(&lab, output, self.keep) => told.map_err(problem),
            why = signalled() => Err(Problem::failed(why?)),
        };
        let mut orgs = told?;
        if self.keep {
            signalled().await?;
        }
        for org in &mut orgs {
            org.stop().await.map_err(problem)?;
        }
        drop(temporary);
        Ok(())
    }

    /// The folder to use, and the guard that removes it when it is temporary.
    fn place(&self) -> Result<(PathBuf, Option<tempfile::TempDir>), Problem> {
        if let Some(dir) = &self.dir {
            if dir.exists() {
                return Err(Problem::usage(format!("{} exists already", dir.display()))
                    .next("name a folder that does not exist yet"));
            }
            std::fs::create_dir_all(dir)
                .map_err(|e| Problem::failed(format!("{}: {e}", dir.display())))?;
            let dir = dir
                .canonicalize()
                .map_err(|e| Problem::failed(format!("{}: {e}", dir.display())))?;
            return Ok((dir, None));
        }
        let guard = tempfile::Builder::new()
            .prefix("comity-demo-")
            .tempdir()
            .map_err(|e| Problem::failed(format!("a temporary folder: {e}")))?;
        Ok((guard.path().to_owned(), Some(guard)))
    }
}

fn problem(error: LabError) -> Problem {
    let next = match &error {
        LabError::Admin(_, e) => e.next(),
        _ => Some("run it again with '--dir DIR' and read DIR/*/node.log".to_owned()),
    };
    let problem = Problem::failed(format!("the demo stopped: {error}"));
    match next {
        Some(next) => problem.next(next),
        None => problem,
    }
}
