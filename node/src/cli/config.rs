//! `comity config`.

use super::output::{Output, Problem};
use crate::config;
use crate::home::Home;

/// Check the configuration, or print the documented example.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity config example > comity.toml\n  comity config check")]
pub(super) struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Read the configuration and say whether the node would start with it.
    #[command(after_help = "Example:\n  comity --home /srv/comity config check")]
    Check,
    /// Print an example with every key, its default and its meaning.
    #[command(after_help = "Example:\n  comity config example > comity.toml")]
    Example,
}

impl Config {
    pub(super) fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        match self.verb {
            Verb::Example => {
                output.answer(&config::Config::example(), String::clone);
                Ok(())
            }
            Verb::Check => check(home, output),
        }
    }
}

fn check(home: &Home, output: &Output) -> Result<(), Problem> {
    let path = home.config();
    let config = config::Config::load(&path).map_err(|e| Problem::failed(e.to_string()))?;
    let problems: Vec<String> = config.check().iter().map(ToString::to_string).collect();
    if !problems.is_empty() {
        return Err(Problem::failed(format!(
            "{}:\n{}",
            path.display(),
            problems.join("\n")
        )));
    }
    output.answer(&serde_json::json!({"config": path, "ok": true}), |_| {
        format!("{} is fine\n", path.display())
    });
    Ok(())
}
