//! The defence against TLS key logging (A44).

use std::ffi::OsStr;

use super::KeysError;

/// The variable that TLS libraries read the file's name from.
const VARIABLE: &str = "SSLKEYLOGFILE";

/// Refuses to go on while `SSLKEYLOGFILE` is set.
///
/// A debugging variable left in a service's environment would have any library
/// in the process write the secrets of every connection to a file (A44).
/// Removing the variable here would be a data race with threads that read it,
/// so `main` calls this first and ends.
pub fn refuse_key_log() -> Result<(), KeysError> {
    refuse(std::env::var_os(VARIABLE).as_deref())
}

fn refuse(value: Option<&OsStr>) -> Result<(), KeysError> {
    match value {
        // An empty value turns logging off in the libraries that read it.
        Some(file) if !file.is_empty() => Err(KeysError::KeyLog),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a44_a_key_log_file_is_refused() {
        assert!(refuse(None).is_ok());
        assert!(refuse(Some(OsStr::new(""))).is_ok());
        let error = refuse(Some(OsStr::new("keys.log"))).unwrap_err();
        assert!(error.to_string().contains("unset it"), "{error}");
    }
}
