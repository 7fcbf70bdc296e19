//! One organization of a lab.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::{Lab, LabError, START_TIMEOUT, ports};
use crate::admin::{Client, ClientError, api};
use crate::home::Home;

/// How often an organization is founded until its ports are its own: with four
/// of 21,760 each, a second time is rare and a fifth does not happen.
const MAX_INITS: u32 = 5;

/// An organization: its home, and its node while it runs. Dropping it ends the node.
#[derive(Debug)]
pub struct Org {
    alias: String,
    home: Home,
    program: PathBuf,
    /// What its node finds in the environment besides ours.
    variables: Vec<(String, String)>,
    node: Option<Child>,
}

/// Removes what is in a folder, and not the folder: a file system may be mounted there.
fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

impl Org {
    pub(super) async fn found(
        lab: &Lab,
        alias: &str,
        name: &str,
        config: &str,
    ) -> Result<Self, LabError> {
        let home = Home::at(lab.dir.join(alias));
        // Free when they are picked, the ports of two organizations may still be
        // the same: the first one's node need not be listening yet.
        let mut tries = 0;
        loop {
            Self::init(lab, &home, alias, name).await?;
            tries += 1;
            if tries == MAX_INITS || ports::claim(&home)? {
                break;
            }
            empty(home.path()).map_err(|e| LabError::Io(home.path().display().to_string(), e))?;
        }
        if !config.is_empty() {
            let path = home.config();
            let text = std::fs::read_to_string(&path)
                .and_then(|text| std::fs::write(&path, format!("{text}\n{config}\n")));
            text.map_err(|e| LabError::Io(path.display().to_string(), e))?;
        }
        Ok(Self {
            alias: alias.to_owned(),
            home,
            program: lab.program.clone(),
            variables: Vec::new(),
            node: None,
        })
    }

    async fn init(lab: &Lab, home: &Home, alias: &str, name: &str) -> Result<(), LabError> {
        let init = Command::new(&lab.program)
            .args(["init", "--name", name, "--alias", alias])
            .args(["--free-ports", "--home"])
            .arg(home.path())
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|e| LabError::Io(lab.program.display().to_string(), e))?;
        if !init.status.success() {
            let said = String::from_utf8_lossy(&init.stderr).into_owned();
            return Err(LabError::Init(alias.to_owned(), said));
        }
        Ok(())
    }

    /// What the organization is called in the lab.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// Its home folder.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// A client of its admin API.
    pub fn admin(&self) -> Client {
        Client::new(self.home.admin_socket())
    }

    /// The process id of its node, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.node.as_ref().and_then(Child::id)
    }

    /// Has its node, when it starts, find a variable in the environment.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Starts its node and waits until it answers. Its log goes to `HOME/node.log`.
    pub async fn start(&mut self) -> Result<(), LabError> {
        let log_path = self.home.path().join("node.log");
        let io = |e| LabError::Io(log_path.display().to_string(), e);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(io)?;
        // The node stops when its standard input closes: it never outlives its lab.
        let child = Command::new(&self.program)
            .args(["up", "--stop-on-eof", "--home"])
            .arg(self.home.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| LabError::Io(self.program.display().to_string(), e))?;
        self.node = Some(child);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match self.admin().get::<api::Status>("/v1/status").await {
                Ok(_) => return Ok(()),
                Err(ClientError::NotRunning { .. }) => {}
                Err(e) => return Err(LabError::Admin(self.alias.clone(), e)),
            }
            let ended = self.node.as_mut().and_then(|c| c.try_wait().ok().flatten());
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(&log_path).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(LabError::Start(self.alias.clone(), tail));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends its node at once, as a power cut would: SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.node.take() {
            let _ = child.kill().await;
        }
    }

    /// Asks its node to stop (SIGTERM) and gives the exit status.
    pub async fn stop(&mut self) -> Result<std::process::ExitStatus, LabError> {
        let missing = || LabError::Start(self.alias.clone(), "it is not running".to_owned());
        let mut child = self.node.take().ok_or_else(missing)?;
        // Held until the end: the signal is to stop it, not the closed input.
        let _input = child.stdin.take();
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let waited = tokio::time::timeout(START_TIMEOUT, child.wait()).await;
        waited
            .map_err(|_| LabError::Timeout(self.alias.clone(), "the stop".to_owned()))?
            .map_err(|e| LabError::Io(self.alias.clone(), e))
    }

    /// Runs the `comity` command with `args` for this home, and gives what it printed.
    pub async fn run(&self, args: &[&str]) -> Result<String, LabError> {
        let output = Command::new(&self.program)
            .args(args)
            .arg("--home")
            .arg(self.home.path())
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|e| LabError::Io(self.program.display().to_string(), e))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(LabError::Command(self.alias.clone(), said))
    }

    /// `GET` from its admin API.
    pub async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, LabError> {
        self.admin()
            .get(path)
            .await
            .map_err(|e| LabError::Admin(self.alias.clone(), e))
    }

    /// `POST` to its admin API.
    pub async fn post<B: serde::Serialize + Sync, T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, LabError> {
        self.admin()
            .post(path, body)
            .await
            .map_err(|e| LabError::Admin(self.alias.clone(), e))
    }

    /// Its state.
    pub async fn status(&self) -> Result<api::Status, LabError> {
        self.get("/v1/status").await
    }

    /// Invites `guest`, which joins. Both are then federated.
    pub async fn federate(&self, guest: &Self) -> Result<api::Joined, LabError> {
        let invite = api::Invite {
            alias: Some(guest.alias.clone()),
            hours: 1,
            roles: Vec::new(),
        };
        let invitation: api::Invitation = self.post("/v1/invitations", &invite).await?;
        let join = api::Join {
            code: invitation.code,
            alias: Some(self.alias.clone()),
        };
        guest.post("/v1/join", &join).await
    }

    /// Publishes the ODCS file at `path`.
    pub async fn publish(&self, path: &std::path::Path) -> Result<api::Product, LabError> {
        let path = path.display().to_string();
        self.post("/v1/products", &api::Publish { path }).await
    }

    /// Asks again until `ready` gives something, or a bounded time has passed.
    /// `what` names the thing awaited.
    pub async fn until<T, F, Fut>(&self, what: &str, mut ready: F) -> Result<T, LabError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Option<T>, LabError>>,
    {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(found) = ready().await? {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(LabError::Timeout(self.alias.clone(), what.to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until `partner`'s `product` is in its catalog.
    pub async fn discovers(&self, partner: &str, product: &str) -> Result<api::Product, LabError> {
        let path = format!("/v1/products/{partner}/{product}");
        self.until(&format!("the discovery of {partner}/{product}"), || async {
            match self.admin().get(&path).await {
                Ok(product) => Ok(Some(product)),
                Err(ClientError::Refused(f)) if f.code == "unknown-product" => Ok(None),
                Err(e) => Err(LabError::Admin(self.alias.clone(), e)),
            }
        })
        .await
    }

    /// Waits until something was measured of `partner`'s `product`, or of an own one.
    pub async fn sees_measured(
        &self,
        partner: &str,
        product: &str,
    ) -> Result<api::Measured, LabError> {
        let path = format!("/v1/products/{partner}/{product}");
        self.until(&format!("a measurement of {partner}/{product}"), || async {
            let found: Option<api::Product> = self.get(&path).await.ok();
            let measured = found.and_then(|product| product.measured);
            Ok(measured.filter(|m| !m.statements.is_empty()))
        })
        .await
    }
}
