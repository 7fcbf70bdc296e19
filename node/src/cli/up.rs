//! `comity up`.

use std::io::Read as _;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::output::Problem;
use crate::config::{Config, LogFormat};
use crate::home::Home;
use crate::keys;
use crate::node::Node;

/// Run the node in the foreground until SIGTERM or Ctrl-C.
///
/// Logs go to standard error, as text or JSON ([log] in comity.toml).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity up\n  COMITY_HOME=/srv/comity comity up")]
pub(super) struct Up {
    /// Stop when standard input closes, for a parent that may die.
    #[arg(long, hide = true)]
    stop_on_eof: bool,
}

impl Up {
    /// Configuration is read whole before any port is bound.
    pub(super) fn run(self, home: &Home) -> Result<(), Problem> {
        keys::refuse_key_log().map_err(|e| Problem::failed(e.to_string()))?;
        let config = Config::load(&home.config()).map_err(|e| {
            let problem = Problem::failed(e.to_string());
            if home.config().exists() {
                problem
            } else {
                problem.next("comity init --name NAME --alias ALIAS")
            }
        })?;
        start_logging(&config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Problem::failed(format!("the runtime does not start: {e}")))?;
        let grace = Duration::from_secs(config.shutdown.grace_seconds);
        let stop_on_eof = self.stop_on_eof;
        let done = runtime.block_on(async {
            let node = Node::start(home, config).await.map_err(|e| Problem::from_failure(&e))?;
            let status = node.status().await.map_err(|e| Problem::from_failure(&e))?;
            tracing::info!(
                organization = %status.org, alias = status.alias, network = ?status.listening.network,
                peers = status.listening.peers, workbench = status.listening.workbench, "the node is up"
            );
            let why = tokio::select! {
                why = signalled() => why?,
                () = stdin_closed(), if stop_on_eof => "standard input closed",
                why = node.failed() => return Err(Problem::failed(why)),
            };
            tracing::info!(why, "stopping");
            match tokio::time::timeout(grace, node.stop()).await {
                Ok(()) => tracing::info!("stopped"),
                Err(_) => tracing::warn!(?grace, "did not stop in time; ending now"),
            }
            Ok(())
        });
        // Threads that still run a query are not waited for: their streams are gone.
        runtime.shutdown_background();
        done
    }
}

/// Ends at SIGTERM or Ctrl-C, and says which.
pub(super) async fn signalled() -> Result<&'static str, Problem> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())
        .map_err(|e| Problem::failed(format!("SIGTERM cannot be awaited: {e}")))?;
    tokio::select! {
        _ = term.recv() => Ok("SIGTERM"),
        _ = tokio::signal::ctrl_c() => Ok("interrupt"),
    }
}

/// Ends when standard input does. A thread, because reading a terminal blocks.
async fn stdin_closed() {
    let closed = CancellationToken::new();
    let tell = closed.clone();
    let spawned = std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let mut byte = [0; 64];
            while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
            tell.cancel();
        });
    if spawned.is_err() {
        tracing::warn!("standard input is not watched");
    }
    closed.cancelled().await;
}

fn start_logging(config: &Config) -> Result<(), Problem> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.level)
        .map_err(|e| Problem::failed(format!("[log] level: {e}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match config.log.format {
        LogFormat::Json => log.json().try_init(),
        LogFormat::Text => log
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
    };
    started.map_err(|e| Problem::failed(format!("logging does not start: {e}")))
}
