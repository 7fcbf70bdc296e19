//! The node's own API for its operators: HTTP/JSON on loopback and a Unix socket.

mod administer;
pub mod api;
mod client;
mod metrics;
mod results;
mod server;

pub use client::{Client, ClientError};
pub use metrics::{Listener, Metrics, Reading};
pub use server::{bind_socket, serve_socket, serve_tcp};
