//! A node whose clock is wrong, or is set.

use std::path::{Path, PathBuf};

use comity::lab::Org;

use crate::Outcome;

/// The library that shows a process another time of the day, from Debian's
/// `faketime`; it leaves the time since the machine was started alone, as
/// whoever sets a clock does.
fn library() -> Result<PathBuf, String> {
    let folder = format!("/usr/lib/{}-linux-gnu/faketime", std::env::consts::ARCH);
    let path = Path::new(&folder).join("libfaketimeMT.so.1");
    let missing = || format!("{}: install Debian's faketime", path.display());
    path.exists().then(|| path.clone()).ok_or_else(missing)
}

/// Starts `org` again with a clock that is `offset` from the machine's, and that
/// [`set`] can set while it runs: `clock` is the file which says so.
pub async fn with_a_clock(org: &mut Org, clock: &Path, offset: &str) -> Outcome {
    org.stop().await?;
    set(clock, offset)?;
    let library = library()?;
    let library = library.to_str().ok_or("a path")?;
    org.set_variable("LD_PRELOAD", library);
    org.set_variable("FAKETIME_TIMESTAMP_FILE", clock.to_str().ok_or("a path")?);
    org.set_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    org.set_variable("FAKETIME_NO_CACHE", "1");
    org.start().await?;
    Ok(())
}

/// Sets the clock, so many days or seconds from what the machine's is: `+0`, `-1d`.
pub fn set(clock: &Path, offset: &str) -> std::io::Result<()> {
    let next = clock.with_extension("next");
    std::fs::write(&next, format!("{offset}\n"))?;
    std::fs::rename(next, clock)
}
