//! The command line: one file per command.
//!
//! Every command but `init`, `keys`, `up`, `config`, `audit` and `demo` is a client
//! of the running node's admin API. Exit codes: 0 done, 1 tried and not done, 64
//! the command line itself is malformed; `audit verify` has verdicts of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::home::Home;

mod agreements;
mod amend;
mod audit;
mod caller;
mod config;
mod decide;
mod demo;
mod grant;
mod init;
mod invite;
mod keys;
mod measured;
mod member;
mod output;
mod policy;
mod product;
mod progress;
mod pull;
mod receipts;
mod request;
mod revoke;
mod search;
mod sql;
mod status;
mod up;

use output::{Output, Problem};

/// The exit code of wrong usage (`EX_USAGE` of BSD's sysexits).
pub const EXIT_USAGE: u8 = 64;

/// Exchange data products with other organizations, node to node.
#[derive(Debug, Parser)]
#[command(
    name = "comity",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Args {
    /// The organization's folder: configuration, keys, journal.
    #[arg(
        long,
        global = true,
        env = "COMITY_HOME",
        default_value = "~/.comity",
        value_name = "DIR"
    )]
    home: PathBuf,

    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

// No doc comments here: they would hide those of the commands themselves, which are the help.
#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Keys(keys::KeysCommand),
    Up(up::Up),
    Status(status::Status),
    Invite(invite::Invite),
    Join(invite::Join),
    Product(product::Product),
    Publish(product::Publish),
    Search(search::Search),
    Show(search::Show),
    Request(request::Request),
    Requests(request::Requests),
    Approve(decide::Approve),
    Counter(decide::Counter),
    Decline(decide::Decline),
    Agreements(agreements::Agreements),
    Receipts(receipts::Receipts),
    Amend(amend::Amend),
    Renew(amend::Renew),
    End(amend::End),
    Revoke(revoke::Revoke),
    Grant(grant::Grant),
    Sql(sql::Sql),
    Pull(pull::Pull),
    Member(member::Member),
    Policy(policy::Policy),
    Config(config::Config),
    Audit(audit::Audit),
    Demo(demo::Demo),
}

/// Parses the process's arguments, runs the command, and says how it ended.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not mistakes.
            if error.use_stderr() && std::env::args_os().any(|a| a == "--json") {
                let said = error.render().to_string();
                let said = said.trim_start_matches("error: ").trim_end();
                return Output::new(true).fail(&Problem::usage(said));
            }
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let output = Output::new(args.json);
    match run(args, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => output.fail(&problem),
    }
}

fn run(args: Args, output: &Output) -> Result<(), Problem> {
    let home = Home::at(expand_home(args.home));
    // These own their threads: the others are clients of a running node.
    let command = match args.command {
        Command::Up(c) => return c.run(&home),
        Command::Init(c) => return c.run(&home, output),
        Command::Keys(c) => return c.run(&home, output),
        Command::Config(c) => return c.run(&home, output),
        Command::Audit(c) => return c.run(&home, output),
        command => command,
    };
    runtime()?.block_on(async {
        match command {
            Command::Up(_)
            | Command::Init(_)
            | Command::Keys(_)
            | Command::Config(_)
            | Command::Audit(_) => Ok(()),
            Command::Status(c) => c.run(&home, output).await,
            Command::Invite(c) => c.run(&home, output).await,
            Command::Join(c) => c.run(&home, output).await,
            Command::Product(c) => c.run(&home, output).await,
            Command::Publish(c) => c.run(&home, output).await,
            Command::Search(c) => c.run(&home, output).await,
            Command::Show(c) => c.run(&home, output).await,
            Command::Request(c) => c.run(&home, output).await,
            Command::Requests(c) => c.run(&home, output).await,
            Command::Approve(c) => c.run(&home, output).await,
            Command::Counter(c) => c.run(&home, output).await,
            Command::Decline(c) => c.run(&home, output).await,
            Command::Agreements(c) => c.run(&home, output).await,
            Command::Amend(c) => c.run(&home, output).await,
            Command::Renew(c) => c.run(&home, output).await,
            Command::End(c) => c.run(&home, output).await,
            Command::Revoke(c) => c.run(&home, output).await,
            Command::Grant(c) => c.run(&home, output).await,
            Command::Sql(c) => c.run(&home, output).await,
            Command::Pull(c) => c.run(&home, output).await,
            Command::Receipts(c) => c.run(&home, output).await,
            Command::Member(c) => c.run(&home, output).await,
            Command::Policy(c) => c.run(&home, output).await,
            Command::Demo(c) => c.run(output).await,
        }
    })
}

/// For calls of a running node.
fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Problem::failed(format!("the runtime does not start: {e}")))
}

/// `~` is the shell's; a default value never passes a shell.
fn expand_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        let top = Args::command();
        let mut left: Vec<&clap::Command> = top.get_subcommands().collect();
        while let Some(command) = left.pop() {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.unwrap_or_default().contains("Example"),
                "comity {} has no example",
                command.get_name()
            );
            left.extend(command.get_subcommands());
        }
    }

    #[test]
    fn the_long_help_is_the_commands_own() {
        let top = Args::command();
        let of = |name: &str| top.find_subcommand(name).and_then(|c| c.get_long_about());
        for (command, says) in [
            ("sql", r#""ORGANIZATION"."PRODUCT"."TABLE""#),
            ("approve", "--beyond-offer"),
            ("request", "rules may agree at once"),
        ] {
            let help = of(command).map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(says), "comity {command}: {help}");
        }
    }
}
