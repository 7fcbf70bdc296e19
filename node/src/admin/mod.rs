//! The node's own API for its operators: HTTP/JSON on loopback and a Unix socket.
