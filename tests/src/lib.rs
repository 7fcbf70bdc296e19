//! Scenarios across real nodes.
