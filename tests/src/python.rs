//! What of a scenario or a benchmark is done in Python, beside the nodes.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The Python of `COMITY_PYTHON`, which has what `make test` installs.
pub fn command() -> Command {
    Command::new(std::env::var_os("COMITY_PYTHON").unwrap_or_else(|| "python3".into()))
}

/// A script of `tests/lakes`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("lakes")
        .join(name)
}

/// A server that a script runs until its standard input ends, which is when this is dropped.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Starts a script of `tests/lakes`, and gives the line that it prints once it answers.
    ///
    /// # Errors
    /// A process that cannot be started, or whose output cannot be read.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> io::Result<(Self, String)> {
        let mut process = command()
            .arg(script(name))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take();
        let server = Self(process);
        let output = output.ok_or_else(|| io::Error::other("a process without its output"))?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok((server, line.trim().to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
