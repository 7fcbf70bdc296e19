//! Grants in files, and what the commands about them share.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use comity_identity::grant::Chain;
use comity_protocol::terms::RowFilter;

use super::super::output::{Output, Problem};
use crate::admin::api::GrantFile;
use crate::keys::HolderName;

/// The most bytes of a grant's file: four links of 8 KiB, addresses, and a certificate.
const MAX_FILE_BYTES: u64 = 128 * 1024;

/// Reads a grant and checks as much of it as can be checked offline.
pub(super) fn read(path: &Path) -> Result<(GrantFile, Chain), Problem> {
    let text = text(path)?;
    let unreadable =
        |e: &dyn std::fmt::Display| Problem::failed(format!("{}: {e}", path.display()));
    let file: GrantFile = serde_json::from_str(&text).map_err(|e| unreadable(&e))?;
    if file.v != 1 {
        return Err(unreadable(&"a grant's file of an unknown version"));
    }
    let chain = Chain::from_links(file.links.clone());
    chain.check_offline().map_err(|e| unreadable(&e))?;
    Ok((file, chain))
}

/// Answers with a grant: into `path`, or to the standard output.
pub(super) fn answer(
    file: &GrantFile,
    path: Option<&Path>,
    output: &Output,
) -> Result<(), Problem> {
    let text = serde_json::to_string_pretty(file).map_err(|e| Problem::failed(e.to_string()))?;
    let Some(path) = path else {
        output.answer(file, |_| format!("{text}\n"));
        return Ok(());
    };
    replace(path, text.as_bytes())?;
    output.answer(file, |_| format!("{}\n", path.display()));
    Ok(())
}

/// Writes a file for its owner alone, in place of one that was there: a renewed
/// grant is under the name that the job knows, and never half of it.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let failed = |e: std::io::Error| Problem::failed(format!("{}: {e}", path.display()));
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(failed)
}

/// The holder that `--to` names: a file that 'comity grant key' printed, or a key.
pub(super) fn holder(to: &str) -> Result<HolderName, Problem> {
    let path = Path::new(to);
    let name = match path.is_file() {
        true => text(path)?,
        false => to.to_owned(),
    };
    name.trim().parse().map_err(|e| {
        Problem::failed(format!("{to}: {e}"))
            .next("name the file with the line that 'comity grant key' printed")
    })
}

/// The row filter that `--where` gives: `{"TABLE": [PREDICATE, …]}`, or `@FILE` with it.
pub(super) fn filter(text_or_file: &str) -> Result<BTreeMap<String, RowFilter>, Problem> {
    let json = match text_or_file.strip_prefix('@') {
        Some(path) => text(Path::new(path))?,
        None => text_or_file.to_owned(),
    };
    let filter: BTreeMap<String, RowFilter> = serde_json::from_str(&json)
        .map_err(|e| Problem::usage(format!("--where is {{\"TABLE\": [PREDICATE, …]}}: {e}")))?;
    for one in filter.values() {
        one.check()
            .map_err(|e| Problem::usage(format!("--where: {e}")))?;
    }
    Ok(filter)
}

/// The tables that stay open: those named, and those whose columns are.
pub(super) fn open_tables(
    tables: &[String],
    columns: &[(String, BTreeSet<String>)],
) -> BTreeSet<String> {
    let named = tables.iter().cloned();
    named
        .chain(columns.iter().map(|(t, _)| t.clone()))
        .collect()
}

fn text(path: &Path) -> Result<String, Problem> {
    let failed = |e: std::io::Error| Problem::failed(format!("{}: {e}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    if read.map_err(failed)? as u64 > MAX_FILE_BYTES {
        return Err(Problem::failed(format!(
            "{}: more than {MAX_FILE_BYTES} bytes",
            path.display()
        )));
    }
    Ok(text)
}
