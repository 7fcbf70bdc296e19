//! As whom a command calls the node.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::output::Problem;
use crate::admin::Client;
use crate::config::ADMIN_PORT;
use crate::home::Home;

/// The owner, who may open the socket in the home folder, or a member over TCP.
#[derive(Debug, clap::Args)]
pub(super) struct Caller {
    /// Call as the member whose token is in this file, over TCP.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Where the node's admin API listens, with --token-file.
    #[arg(long, value_name = "HOST:PORT", requires = "token_file",
          default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT)))]
    admin: SocketAddr,
}

impl Caller {
    /// Whether it is a member.
    pub(super) fn is_member(&self) -> bool {
        self.token_file.is_some()
    }

    /// The way to the node.
    pub(super) fn client(&self, home: &Home) -> Result<Client, Problem> {
        let Some(file) = &self.token_file else {
            return Ok(Client::new(home.admin_socket()));
        };
        let token = std::fs::read_to_string(file)
            .map_err(|e| Problem::failed(format!("{}: {e}", file.display())))?;
        Client::with_token(self.admin, token.trim().to_owned()).ok_or_else(|| {
            Problem::usage("the admin API is called on this machine only")
                .next("name a loopback address with --admin")
        })
    }
}
