//! `comity init`.

use super::output::{Output, Problem};
use crate::founding;
use crate::home::Home;
use crate::keys::PassphraseSource;

/// Create an organization: its folder, keys and configuration.
///
/// The root key and its successor lie in files of their own; move them off the
/// machine when the node runs. With --root-passphrase-file they are encrypted
/// and stock 'age -d' opens them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity init --name 'Port Authority' --alias port-authority\n  comity --home /srv/comity init --name 'Port Authority' --alias port-authority --root-passphrase-file pass.txt"
)]
pub(super) struct Init {
    /// The organization's display name.
    #[arg(long)]
    name: String,
    /// Its short name: its catalog in SQL, and what partners call it by default.
    #[arg(long)]
    alias: String,
    /// The name of this node.
    #[arg(long, default_value = "node-1")]
    node: String,
    /// Encrypt the two root keys with the passphrase in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "ask_root_passphrase")]
    root_passphrase_file: Option<std::path::PathBuf>,
    /// Encrypt the two root keys with a passphrase asked for on the terminal.
    #[arg(long)]
    ask_root_passphrase: bool,
    /// Listen on loopback ports that are free now instead of the documented
    /// ones: for several nodes on one machine.
    #[arg(long)]
    free_ports: bool,
}

impl Init {
    pub(super) fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let source = match self.root_passphrase_file {
            Some(path) => Some(PassphraseSource::File(path)),
            None if self.ask_root_passphrase => Some(PassphraseSource::Prompt),
            None => None,
        };
        let passphrase = source
            .map(|source| source.read_new("the root keys"))
            .transpose()
            .map_err(|e| Problem::failed(e.to_string()))?;
        let plan = founding::Plan {
            name: self.name,
            alias: self.alias,
            node: self.node,
            passphrase,
            free_ports: self.free_ports,
        };
        let founded = founding::found(home, &plan).map_err(|e| Problem::from_failure(&e))?;
        output.answer(&founded, |f| {
            format!(
                "organization  {}\nhome          {}\n\n\
                 Next: comity up\n\
                 Then move {}/keys/root.key and next-root.key to a safe place.\n",
                f.org, f.home, f.home
            )
        });
        Ok(())
    }
}
