//! A throwaway PostgreSQL server of Debian's packages.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::LabError;

/// Where Debian puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The server refuses to run as root; this is whom Debian's package runs it as.
const UNPRIVILEGED: &str = "postgres";
/// The longest that a server may take to start or to stop.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a free port is looked for.
const MAX_PORTS: u32 = 5;

/// A server in a folder of its own, on loopback, with nothing kept on disk for
/// certain and every statement in its log. Dropping it stops the server.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// The database.
    pub const DATABASE: &'static str = "shop";
    /// The superuser, without a password on the Unix socket.
    pub const OWNER: &'static str = "owner";
    /// A user that can read what [`Postgres::sql`] grants it.
    pub const READER: &'static str = "reader";
    /// The reader's password, asked for over TCP.
    pub const PASSWORD: &'static str = "correct horse";

    /// Makes and starts a server. Texts are ordered as in English, which is not
    /// the order of their bytes.
    pub fn start() -> Result<Self, LabError> {
        let dir = tempfile::Builder::new()
            .prefix("comity-postgres-")
            .tempdir()
            .map_err(|e| failed("a temporary folder", e))?;
        let mut postgres = Self {
            programs: programs()?,
            dir,
            port: 0,
            server: None,
        };
        postgres.give_folder_away()?;
        let initdb = postgres
            .program("initdb")
            .args(["--username", Self::OWNER, "--no-sync", "--encoding", "UTF8"])
            .args(["--auth-local", "trust", "--auth-host", "scram-sha-256"])
            .args([
                "--locale",
                "C.UTF-8",
                "--locale-provider",
                "icu",
                "--icu-locale",
                "en-US",
            ])
            .arg("--pgdata")
            .arg(postgres.data())
            .output()
            .map_err(|e| failed("initdb", e))?;
        if !initdb.status.success() {
            return Err(said("initdb", &initdb.stderr));
        }
        postgres.up()?;
        postgres.query("postgres", &format!("CREATE DATABASE {}", Self::DATABASE))?;
        postgres.sql(&format!(
            "CREATE ROLE {} LOGIN PASSWORD '{}'; \
             ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {}",
            Self::READER,
            Self::PASSWORD,
            Self::READER
        ))?;
        Ok(postgres)
    }

    /// Starts a server that was stopped, on the port that it had.
    pub fn up(&mut self) -> Result<(), LabError> {
        for _ in 0..MAX_PORTS {
            if self.port == 0 {
                self.port = free_port()?;
            }
            if self.try_up()? {
                return Ok(());
            }
            self.port = 0;
        }
        Err(said("postgres", self.log().as_bytes()))
    }

    /// Stops the server at once, as after a crash of it.
    pub fn down(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                // Immediate shutdown: connections are cut.
                let _ = kill_process(pid, Signal::QUIT);
            }
            let _ = server.wait();
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements as the owner and gives what they return, unaligned.
    pub fn sql(&self, statements: &str) -> Result<String, LabError> {
        self.query(Self::DATABASE, statements)
    }

    /// A client of the owner's in interactive mode, for transactions that stay open.
    pub fn client(&self) -> Command {
        let mut client = Command::new(self.programs.join("psql"));
        client
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-U", Self::OWNER, "-d", Self::DATABASE])
            .args(["-p", &self.port.to_string(), "-h"])
            .arg(self.dir.path())
            .env("PGOPTIONS", "-c client_min_messages=warning");
        client
    }

    /// The folder, which the server can read.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The server's log: every statement that it executed is in there.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The statements of copies that the server executed, in their order.
    pub fn copies(&self) -> Vec<String> {
        let log = self.log();
        let copies = log.lines().filter_map(|line| {
            let (_, copy) = line.split_once("COPY (")?;
            let (sql, _) = copy.split_once(") TO STDOUT")?;
            line.contains("execute").then(|| sql.to_owned())
        });
        copies.collect()
    }

    /// A server entry of a contract, in YAML, for this database.
    pub fn servers(&self) -> String {
        format!(
            "servers: [ {{ server: warehouse, type: postgres, host: 127.0.0.1, port: {}, \
             database: {}, schema: public }} ]",
            self.port,
            Self::DATABASE
        )
    }

    fn query(&self, database: &str, statements: &str) -> Result<String, LabError> {
        let psql = self
            .client()
            .args(["-d", database, "-c", statements])
            .stdin(Stdio::null())
            .output()
            .map_err(|e| failed("psql", e))?;
        match psql.status.success() {
            true => Ok(String::from_utf8_lossy(&psql.stdout).trim_end().to_owned()),
            false => Err(said("psql", &psql.stderr)),
        }
    }

    /// Whether the server came up; it does not if the port was taken meanwhile.
    fn try_up(&mut self) -> Result<bool, LabError> {
        let path = self.dir.path().join("log");
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(|e| failed("the server's log", e))?;
        let mut program = self.program("postgres");
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "full_page_writes=off",
            "log_statement=all",
            "log_line_prefix=",
        ] {
            program.args(["-c", setting]);
        }
        let server = program
            .args(["-p", &self.port.to_string(), "-k"])
            .arg(self.dir.path())
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| failed("postgres", e))?;
        let server = self.server.insert(server);
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if server.try_wait().ok().flatten().is_some() {
                self.server = None;
                return Ok(false);
            }
            let mut client = Command::new(self.programs.join("pg_isready"));
            client.args(["-q", "-p", &self.port.to_string(), "-h"]);
            let ready = client.arg(self.dir.path()).status();
            if ready.is_ok_and(|s| s.success()) {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Err(LabError::Timeout("postgres".into(), "its start".into()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A program of the server's, never as root. `setpriv` becomes the program,
    /// so that the process started is the server.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            let reuid = format!("--reuid={UNPRIVILEGED}");
            let regid = format!("--regid={UNPRIVILEGED}");
            command
                .args([&reuid, &regid, "--init-groups", "--"])
                .arg(path);
            command
        } else {
            Command::new(path)
        };
        command
            .current_dir(self.dir.path())
            .env("LC_ALL", "C.UTF-8");
        command
    }

    fn give_folder_away(&self) -> Result<(), LabError> {
        let path = self.dir.path();
        if is_root() {
            let chown = Command::new("chown").arg(UNPRIVILEGED).arg(path).status();
            let chown = chown.map_err(|e| failed("chown", e))?;
            if !chown.success() {
                return Err(said("chown", b"the package postgresql makes that user"));
            }
        }
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, open).map_err(|e| failed("the server's folder", e))
    }

    /// Writes a file that only the server's user can read, as it wants its keys.
    pub fn file(&self, name: &str, content: &str) -> Result<PathBuf, LabError> {
        let path = self.dir.path().join(name);
        let write = || {
            File::create(&path)?.write_all(content.as_bytes())?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        };
        write().map_err(|e| failed(name, e))?;
        if is_root() {
            let chown = Command::new("chown").arg(UNPRIVILEGED).arg(&path).status();
            chown.map_err(|e| failed("chown", e))?;
        }
        Ok(path)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.down();
    }
}

/// The programs of the newest version that is installed.
fn programs() -> Result<PathBuf, LabError> {
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let number = version.file_name().to_str()?.parse().ok()?;
            let programs = version.path().join("bin");
            programs
                .join("initdb")
                .exists()
                .then_some((number, programs))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, programs)| programs).ok_or_else(|| {
        said(
            "postgres",
            b"it is not installed: run the tests with 'make test', or 'apt-get install postgresql'",
        )
    })
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn free_port() -> Result<u16, LabError> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
    free.map(|a| a.port()).map_err(|e| failed("a free port", e))
}

fn failed(what: &str, error: io::Error) -> LabError {
    LabError::Io(what.to_owned(), error)
}

fn said(program: &str, text: &[u8]) -> LabError {
    let text = String::from_utf8_lossy(text).trim_end().to_owned();
    LabError::Start(program.to_owned(), text)
}
