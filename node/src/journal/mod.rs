//! The node's append-only, fsynced, Merkle-hashed log: the truth.
