//! `comity.toml`: every key documented, unknown keys are errors.
