//! The folder of policies, read with bounds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::set::Problem;

/// The most files of policies, and of tests.
const MAX_FILES: usize = 64;

/// The most entries of any kind that a folder may have: every look reads their names.
const MAX_ENTRIES: usize = 512;

/// The most bytes of one file of policies.
const MAX_POLICY_BYTES: u64 = 64 * 1024;

/// The most bytes of one file of tests.
const MAX_TEST_BYTES: u64 = 256 * 1024;

/// The most bytes of all files together: they are read every few seconds.
const MAX_ALL_BYTES: usize = 1024 * 1024;

/// The files of a folder of policies, as they were at one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The text of every `*.cedar`, by file name.
    pub policies: BTreeMap<String, String>,
    /// The text of every `tests/*.json`, by file name.
    pub tests: BTreeMap<String, String>,
}

impl Files {
    /// Reads `folder`: every `*.cedar` in it and every `tests/*.json`. None when
    /// there is no such folder. Bounded before anything is parsed
    /// (`spec/7-policy.md#R-8`, A31).
    pub fn read(folder: &Path) -> Result<Option<Self>, Problem> {
        let Some(policies) = texts(folder, "cedar", MAX_POLICY_BYTES)? else {
            return Ok(None);
        };
        let tests = texts(&folder.join("tests"), "json", MAX_TEST_BYTES)?;
        let files = Self {
            policies,
            tests: tests.unwrap_or_default(),
        };
        let all = files.policies.values().chain(files.tests.values());
        if all.map(String::len).sum::<usize>() > MAX_ALL_BYTES {
            let reason = format!("the files have more than {MAX_ALL_BYTES} bytes together");
            return Err(Problem::of_file(&shown(folder), reason));
        }
        Ok(Some(files))
    }
}

/// The files of `folder` whose names end in `extension`.
fn texts(
    folder: &Path,
    extension: &str,
    max_bytes: u64,
) -> Result<Option<BTreeMap<String, String>>, Problem> {
    let unreadable = |e: std::io::Error| Problem::of_file(&shown(folder), e.to_string());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(e)),
    };
    owned(folder, &folder.metadata().map_err(unreadable)?)?;
    let mut texts = BTreeMap::new();
    for (count, entry) in entries.enumerate() {
        if count >= MAX_ENTRIES {
            let reason = format!("the folder has more than {MAX_ENTRIES} entries");
            return Err(Problem::of_file(&shown(folder), reason));
        }
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|n| n.to_str());
        // An editor's hidden files are no policies.
        let Some(name) = name.filter(|n| !n.starts_with('.')) else {
            continue;
        };
        if path.extension().and_then(|e| e.to_str()) != Some(extension) {
            continue;
        }
        if texts.len() >= MAX_FILES {
            let reason = format!("the folder has more than {MAX_FILES} files *.{extension}");
            return Err(Problem::of_file(&shown(folder), reason));
        }
        texts.insert(name.to_owned(), text(&path, name, max_bytes)?);
    }
    Ok(Some(texts))
}

fn text(path: &Path, name: &str, max_bytes: u64) -> Result<String, Problem> {
    let refused = |e: std::io::Error| Problem::of_file(name, e.to_string());
    // Asked by path first: opening a named pipe would wait for a writer.
    let metadata = path.metadata().map_err(refused)?;
    if !metadata.is_file() {
        return Err(Problem::of_file(name, "is not a file"));
    }
    owned(path, &metadata)?;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(refused)?;
    file.take(max_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.len() as u64 > max_bytes {
        return Err(Problem::of_file(
            name,
            format!("has more than {max_bytes} bytes"),
        ));
    }
    String::from_utf8(bytes).map_err(|_| Problem::of_file(name, "is not UTF-8"))
}

/// Whoever can write a policy decides for the organization.
fn owned(path: &Path, metadata: &std::fs::Metadata) -> Result<(), Problem> {
    if metadata.permissions().mode() & 0o002 == 0 {
        return Ok(());
    }
    let reason = "may be written by every user of this machine; take that away with 'chmod o-w'";
    Err(Problem::of_file(&shown(path), reason))
}

/// A folder's or file's own name.
fn shown(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |n| n.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(folder: &Path) -> String {
        Files::read(folder).unwrap_err().to_string()
    }

    #[test]
    fn the_folder_is_read_and_other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("policies");
        assert_eq!(Files::read(&folder).unwrap(), None);
        std::fs::create_dir_all(folder.join("tests")).unwrap();
        for (name, text) in [
            ("a.cedar", "// a"),
            (".a.cedar.swp.cedar", "// hidden"),
            ("notes.txt", "x"),
            ("tests/cases.json", "[]"),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let files = Files::read(&folder).unwrap().unwrap();
        assert_eq!(files.policies, [("a.cedar".into(), "// a".into())].into());
        assert_eq!(files.tests, [("cases.json".into(), "[]".into())].into());
    }

    #[test]
    fn a31_the_number_and_the_size_of_files_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let file = |n: usize| dir.path().join(format!("p{n}.cedar"));
        std::fs::write(file(0), " ".repeat(MAX_POLICY_BYTES as usize)).unwrap();
        assert!(Files::read(dir.path()).is_ok());
        std::fs::write(file(0), " ".repeat(MAX_POLICY_BYTES as usize + 1)).unwrap();
        assert!(refused(dir.path()).contains("more than 65536 bytes"));
        for n in 0..MAX_FILES {
            std::fs::write(file(n), "").unwrap();
        }
        assert!(Files::read(dir.path()).is_ok());
        std::fs::write(file(MAX_FILES), "").unwrap();
        assert!(refused(dir.path()).contains("more than 64 files"));
        std::fs::remove_file(file(MAX_FILES)).unwrap();
        for n in 0..17 {
            std::fs::write(file(n), " ".repeat(MAX_POLICY_BYTES as usize)).unwrap();
        }
        assert!(refused(dir.path()).contains("together"));
    }

    #[test]
    fn what_is_no_file_no_text_or_writable_by_all_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.cedar");
        std::fs::create_dir(&path).unwrap();
        assert!(refused(dir.path()).contains("a.cedar: is not a file"));
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, [0xff]).unwrap();
        assert!(refused(dir.path()).contains("not UTF-8"));
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(refused(dir.path()).contains("written by every user"));
    }
}
