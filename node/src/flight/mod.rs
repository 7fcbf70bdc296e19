//! How data moves: the peer listener, the workbench listener, tickets, encoding.
