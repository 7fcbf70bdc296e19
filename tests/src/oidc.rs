//! A real OpenID Connect server: `tests/oidc/server.js`, as `make` installs it.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Provider {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    issuer: String,
}

impl Provider {
    /// Starts the server of the folder `COMITY_OIDC`, and waits until it answers.
    ///
    /// # Errors
    /// No such folder, or a server that does not start.
    pub fn start() -> io::Result<Self> {
        let folder = std::env::var_os("COMITY_OIDC").map(PathBuf::from);
        let folder = folder.ok_or_else(|| {
            io::Error::other("COMITY_OIDC names no folder: 'make oidc' installs the server")
        })?;
        let mut process = Command::new("node")
            .arg("server.js")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let output = output.ok_or_else(|| io::Error::other("a process without its output"))?;
        let mut provider = Self {
            process,
            input,
            output: BufReader::new(output),
            issuer: String::new(),
        };
        provider.issuer = provider.said()?;
        Ok(provider)
    }

    /// The issuer, as its tokens name it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A token for `resource`, which the server gave the client.
    ///
    /// # Errors
    /// A server that has ended or gives none.
    pub fn token(&mut self, client: &str, resource: &str) -> io::Result<String> {
        let ended = || io::Error::other("the server has ended");
        writeln!(
            self.input.as_mut().ok_or_else(ended)?,
            "{client} {resource}"
        )?;
        match self.said()? {
            none if none.is_empty() => Err(io::Error::other("the server gave no token")),
            token => Ok(token),
        }
    }

    /// The next line that is ours: the server prints notes of its own.
    fn said(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err(io::Error::other("the server has ended"));
            }
            if !line.contains("oidc-provider ") {
                return Ok(line.trim().to_owned());
            }
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}
