//! `comity keys`.

use std::path::PathBuf;

use comity_identity::Timestamp;

use super::output::{Output, Problem};
use crate::config::Config;
use crate::home::Home;
use crate::keys::{Keys, PassphraseSource};
use crate::renewal::{Plan, Renewal, renew};
use crate::{index, journal};

/// Replace keys, while the node is stopped. The organization stays who it is.
///
/// Partners follow by themselves when the node is up again: agreements stand, and
/// what the old keys signed stays provable. RUNBOOKS.md says which command is for
/// which day.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity keys rotate\n  comity keys renew node --stolen-since 2026-11-20"
)]
pub(super) struct KeysCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Put the committed root key in force and commit to a new one. Needs root.key and next-root.key.
    #[command(after_help = "Example:\n  comity keys rotate --root-passphrase-file pass.txt")]
    Rotate(How),
    /// Take the organization back when its root, doc or issuer keys are lost or stolen. Needs next-root.key alone.
    #[command(
        after_help = "Example:\n  comity keys recover --stolen-since 2026-11-20T08:00:00Z --reason 'laptop stolen'"
    )]
    Recover(How),
    /// Replace one key of the node's daily work.
    #[command(
        after_help = "Example:\n  comity keys renew issuer\n  comity keys renew node --stolen-since 2026-11-20"
    )]
    Renew {
        /// Which key: node means the node's own key and its TLS key; doc takes a rotation.
        key: Daily,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Daily {
    Issuer,
    Doc,
    Node,
    Tls,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Since when the replaced key may have been somebody else's: it counts no more at all.
    #[arg(long, value_name = "TIME")]
    stolen_since: Option<Timestamp>,
    /// A word for those who read the key history, partners among them.
    #[arg(long, default_value = "")]
    reason: String,
    /// The passphrase of the root keys is in this file.
    #[arg(long, value_name = "FILE")]
    root_passphrase_file: Option<PathBuf>,
}

impl KeysCommand {
    pub(super) fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let (renewal, how) = match self.verb {
            Verb::Rotate(how) => (Renewal::Rotate, how),
            Verb::Recover(how) => (Renewal::Recover, how),
            Verb::Renew { key, how } => (key.renewal(), how),
        };
        let needs_root = matches!(renewal, Renewal::Rotate | Renewal::Recover | Renewal::Doc);
        let source = match how.root_passphrase_file {
            Some(path) => Some(PassphraseSource::File(path)),
            None if needs_root && Keys::root_is_encrypted(home.path()) => {
                Some(PassphraseSource::Prompt)
            }
            None => None,
        };
        let passphrase = source
            .map(|source| source.read("the root keys"))
            .transpose()
            .map_err(|e| Problem::failed(e.to_string()))?;
        let config = Config::load(&home.config()).map_err(|e| Problem::failed(e.to_string()))?;
        let plan = Plan {
            renewal,
            passphrase,
            stolen_since: how.stolen_since,
            reason: how.reason,
            journal: journal::Settings {
                segment_bytes: config.journal.segment_bytes,
            },
            index: index::Settings {
                cache_bytes: config.index.cache_bytes,
            },
        };
        let renewed = renew(home, &plan).map_err(|e| Problem::from_failure(&e))?;
        output.answer(&renewed, |r| {
            format!(
                "organization  {}\nnew keys      {}\nkey event     {}\ndocument      {}\nnode          {}\n\n\
                 Next: comity up\n",
                r.org,
                r.keys.join(", "),
                r.key_event,
                r.document,
                r.peer_id
            )
        });
        Ok(())
    }
}

impl Daily {
    fn renewal(self) -> Renewal {
        match self {
            Self::Issuer => Renewal::Issuer,
            Self::Doc => Renewal::Doc,
            Self::Node => Renewal::Node,
            Self::Tls => Renewal::Tls,
        }
    }
}
