//! What we know: our products and theirs.
