use std::os::unix::fs::PermissionsExt as _;

use comity_identity::Signer as _;
use tempfile::TempDir;

use super::*;

fn options(passphrase: Option<&str>) -> CreateOptions {
    CreateOptions {
        root_passphrase: passphrase.map(SecretString::from),
        tls_ca: Zeroizing::new(vec![0x30; 138]),
        tls_node: Zeroizing::new(vec![0x31; 138]),
    }
}

/// Different bytes at every call, the same in every run.
fn counting() -> impl FnMut(&mut [u8]) {
    let mut next = 0u8;
    move |bytes| {
        next += 1;
        bytes.fill(next);
    }
}

fn create(home: &Path, passphrase: Option<&str>) -> Result<(Keys, RootKeys), KeysError> {
    Keys::create(home, &options(passphrase), &mut counting())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keys_are_created_once_and_open_as_they_were() {
    let home = TempDir::new().unwrap();
    let (made, roots) = create(home.path(), None).unwrap();
    let keys = Keys::open(home.path()).unwrap();
    let public = |keys: &Keys| [keys.doc.public(), keys.issuer.public(), keys.node.public()];
    assert_eq!(public(&made), public(&keys));
    assert_eq!(
        (&**keys.tls_ca, &**keys.tls_node),
        (&[0x30; 138][..], &[0x31; 138][..])
    );
    assert_eq!(keys.pseudonym, made.pseudonym);
    assert_eq!(
        Keys::open_root(home.path(), None).unwrap().public(),
        roots.root.public()
    );
    assert_eq!(
        Keys::open_next_root(home.path(), None).unwrap().public(),
        roots.next.public()
    );

    let mut all = vec![roots.root.public(), roots.next.public()];
    all.extend(public(&keys));
    for (i, key) in all.iter().enumerate() {
        assert!(!all[..i].contains(key), "every key is its own");
    }
}

#[test]
fn keys_are_never_overwritten() {
    let home = TempDir::new().unwrap();
    create(home.path(), None).unwrap();
    let doc = home.path().join("keys/doc.key");
    let before = fs::read(&doc).unwrap();
    assert!(matches!(
        create(home.path(), None),
        Err(KeysError::Exists { .. })
    ));
    assert!(matches!(
        create(home.path(), Some("secret")),
        Err(KeysError::Exists { .. })
    ));
    assert_eq!(fs::read(&doc).unwrap(), before);
    // One file of a set is enough to refuse, and the refusal leaves nothing behind.
    let home = TempDir::new().unwrap();
    create_folder(&home.path().join(FOLDER)).unwrap();
    fs::write(home.path().join("keys/pseudonym.key"), "mine").unwrap();
    assert!(matches!(
        create(home.path(), None),
        Err(KeysError::Exists { .. })
    ));
    assert_eq!(fs::read_dir(home.path().join(FOLDER)).unwrap().count(), 1);
}

#[test]
fn a_creation_that_fails_half_way_can_be_tried_again() {
    let home = TempDir::new().unwrap();
    let mut bad = options(None);
    bad.tls_node = Zeroizing::new(Vec::new());
    let failed = Keys::create(home.path(), &bad, &mut counting());
    assert!(matches!(failed, Err(KeysError::TlsKeySize { bytes: 0 })));
    assert_eq!(fs::read_dir(home.path().join(FOLDER)).unwrap().count(), 0);
    create(home.path(), None).unwrap();
}

#[test]
fn files_are_for_their_owner_only_and_exposed_ones_are_refused() {
    let home = TempDir::new().unwrap();
    create(home.path(), None).unwrap();
    let dir = home.path().join(FOLDER);
    assert_eq!(mode(&dir), 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let issuer = dir.join("issuer.key");
    for exposed in [0o640, 0o604, 0o620, 0o601, 0o666] {
        set_mode(&issuer, exposed);
        let error = Keys::open(home.path()).unwrap_err();
        assert!(
            matches!(error, KeysError::Exposed { .. }),
            "{exposed:o}: {error}"
        );
        let command = format!("chmod 600 '{}'", issuer.display());
        assert!(error.to_string().contains(&command), "{error}");
    }
    set_mode(&issuer, 0o400);
    Keys::open(home.path()).unwrap();
    set_mode(&dir, 0o750);
    let error = Keys::open(home.path()).unwrap_err().to_string();
    assert!(
        error.contains(&format!("chmod 700 '{}'", dir.display())),
        "{error}"
    );
    set_mode(&dir, 0o700);
    set_mode(&dir.join("root.key"), 0o644);
    assert!(matches!(
        Keys::open_root(home.path(), None),
        Err(KeysError::Exposed { .. })
    ));
}

#[test]
fn encrypted_root_keys_open_with_their_passphrase_only() {
    let home = TempDir::new().unwrap();
    let (_, roots) = create(home.path(), Some("correct horse")).unwrap();
    assert!(Keys::root_is_encrypted(home.path()));
    assert!(!home.path().join("keys/root.key").exists());
    let opened = Keys::open_root(home.path(), Some(&"correct horse".into())).unwrap();
    assert_eq!(opened.public(), roots.root.public());
    assert!(matches!(
        Keys::open_root(home.path(), Some(&"Correct horse".into())),
        Err(KeysError::WrongPassphrase { .. })
    ));
    assert!(matches!(
        Keys::open_next_root(home.path(), None),
        Err(KeysError::PassphraseNeeded { .. })
    ));
    let sealed = fs::read_to_string(home.path().join("keys/root.key.age")).unwrap();
    assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
}

#[test]
fn an_encrypted_key_is_recoverable_with_the_age_library_alone() {
    let home = TempDir::new().unwrap();
    create(home.path(), Some("correct horse")).unwrap();
    let sealed = fs::read(home.path().join("keys/root.key.age")).unwrap();
    let identity = age::scrypt::Identity::new("correct horse".into());
    let plain = age::decrypt(&identity, &sealed).unwrap();
    let text = String::from_utf8(plain).unwrap();
    // The first key of `counting` is 32 ones.
    assert_eq!(
        text,
        "comity-key 1 root\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\n"
    );
}

#[test]
fn a_damaged_encrypted_key_is_refused_wherever_it_is_changed() {
    let home = TempDir::new().unwrap();
    create(home.path(), Some("correct horse")).unwrap();
    let path = home.path().join("keys/root.key.age");
    let whole = fs::read(&path).unwrap();
    let opens = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Keys::open_root(home.path(), Some(&"correct horse".into())).is_ok()
    };
    assert!(opens(&whole));
    // Every 31st byte: each attempt costs a key derivation.
    for at in (0..whole.trim_ascii_end().len()).step_by(31) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert!(!opens(&bytes), "byte {at} changed");
        assert!(!opens(&whole[..at]), "cut at {at}");
    }
}

#[test]
fn a_running_node_does_not_need_the_root_keys() {
    let home = TempDir::new().unwrap();
    create(home.path(), None).unwrap();
    for name in ["root.key", "next-root.key"] {
        fs::remove_file(home.path().join(FOLDER).join(name)).unwrap();
    }
    Keys::open(home.path()).unwrap();
    let error = Keys::open_root(home.path(), None).unwrap_err();
    assert!(matches!(error, KeysError::Missing { .. }), "{error}");
    fs::remove_file(home.path().join("keys/node.key")).unwrap();
    assert!(matches!(
        Keys::open(home.path()),
        Err(KeysError::Missing { .. })
    ));
}

#[test]
fn files_that_are_not_that_key_are_refused() {
    let home = TempDir::new().unwrap();
    create(home.path(), None).unwrap();
    let doc = home.path().join("keys/doc.key");
    let good = fs::read_to_string(&doc).unwrap();
    let issuer = fs::read_to_string(home.path().join("keys/issuer.key")).unwrap();
    let bad = [
        String::new(),
        "comity-key 1 doc".to_owned(),
        "comity-key 1 doc\n".to_owned(),
        "comity-key 1 doc\nAQ\n".to_owned(),
        "comity-key 1 doc\n!!!\n".to_owned(),
        good.replace("key 1", "key 2"),
        good.replace('\n', "\r\n"),
        format!("{good}{good}"),
        "x".repeat(100_000),
        issuer,
    ];
    for text in bad {
        fs::write(&doc, &text).unwrap();
        let error = Keys::open(home.path()).unwrap_err();
        assert!(
            matches!(error, KeysError::Malformed { .. }),
            "{text:.40?}: {error}"
        );
    }
    fs::write(&doc, good).unwrap();
    Keys::open(home.path()).unwrap();
}

#[test]
fn tls_keys_are_bounded_on_both_sides() {
    for (bytes, fits) in [(MAX_PKCS8_BYTES, true), (MAX_PKCS8_BYTES + 1, false)] {
        let home = TempDir::new().unwrap();
        let mut options = options(None);
        options.tls_ca = Zeroizing::new(vec![1; bytes]);
        assert_eq!(
            Keys::create(home.path(), &options, &mut counting()).is_ok(),
            fits
        );
    }
}

#[test]
fn messages_and_debug_output_hold_no_secret() {
    let home = TempDir::new().unwrap();
    let (keys, roots) = create(home.path(), None).unwrap();
    let text = format!("{keys:?} {roots:?}");
    for secret in ["AQEBAQ", "AwMDAw", "[1, 1", "[8, 8"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn the_operating_system_gives_different_bytes_each_time() {
    let (mut a, mut b) = ([0; 32], [0; 32]);
    os_random(&mut a);
    os_random(&mut b);
    assert_ne!(a, b);
}
