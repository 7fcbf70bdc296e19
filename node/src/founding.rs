//! `comity init`: an organization comes into being.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_identity::history::{History, KeyEvent, KeySet};
use comity_identity::tls::{Authority, TlsKey};
use comity_identity::{Digest, NodeName, Signer as _};
use secrecy::SecretString;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::access::policy;
use crate::clock;
use crate::config::Config;
use crate::failure::Failure;
use crate::home::Home;
use crate::keys::{CreateOptions, Keys, os_random};
use crate::ledger::{Evidence, Ledger, Member, Record};
use crate::own::first_document;

/// The member whose token `comity sql` uses.
pub const OWNER: &str = "owner";

/// What to found.
#[derive(Debug)]
pub struct Plan {
    /// The organization's display name.
    pub name: String,
    /// Its short name.
    pub alias: String,
    /// The name of its first node.
    pub node: String,
    /// Encrypts the two root keys.
    pub passphrase: Option<SecretString>,
    /// Listen on free loopback ports.
    pub free_ports: bool,
}

/// What was founded.
#[derive(Clone, Debug, Serialize)]
pub struct Founded {
    /// The organization's id.
    pub org: String,
    /// Its folder.
    pub home: String,
}

/// Creates keys, configuration, journal and the owner's tokens in `home`.
/// Nothing that exists is overwritten.
pub fn found(home: &Home, plan: &Plan) -> Result<Founded, Failure> {
    let node: NodeName = plan
        .node
        .parse()
        .map_err(|e| Failure::caller("bad-node-name", format!("{}: {e}", plan.node)))?;
    let config = configuration(plan)?;
    if home.config().exists() || home.journal().exists() {
        return Err(Failure::caller(
            "exists",
            format!("an organization exists in {}", home.path().display()),
        )
        .next("name another folder with --home"));
    }
    make_private(home.path())?;

    let tls_failed = |e| Failure::own("tls-key", e);
    let ca_key = TlsKey::generate().map_err(tls_failed)?;
    let node_key = TlsKey::generate().map_err(tls_failed)?;
    let options = CreateOptions {
        root_passphrase: plan.passphrase.clone(),
        tls_ca: Zeroizing::new(ca_key.pkcs8().to_vec()),
        tls_node: Zeroizing::new(node_key.pkcs8().to_vec()),
    };
    let (keys, roots) =
        Keys::create(home.path(), &options, &mut os_random).map_err(|e| Failure::own("keys", e))?;

    let now = clock::now();
    let set = KeySet::single(roots.root.public(), &roots.next.public(), keys.doc.public());
    let inception = KeyEvent::inception(set, now, "founded")
        .sign(&[&roots.root])
        .map_err(|e| Failure::own("inception", e))?;
    let history = History::verify(std::slice::from_ref(&inception))
        .map_err(|e| Failure::own("inception", e))?;
    let ca = Authority::create(history.org(), ca_key, now).map_err(tls_failed)?;
    let document = first_document(&history, &plan.name, node, &keys, ca.certificate(), now)?
        .sign(&*keys.doc)
        .map_err(|e| Failure::own("document", e))?;

    let token = random_token()?;
    let ledger = Ledger::create(&home.journal())?;
    let evidence = Evidence {
        org: history.org(),
        history: vec![inception],
        document,
    };
    let owner = Member {
        terms: None,
        name: OWNER.to_owned(),
        token_hash: Digest::of(token.as_bytes()),
        at: now,
    };
    // One unit: a home is founded wholly or not at all.
    ledger.commit_all_blocking(&[Record::Own(evidence), Record::Member(owner)])?;
    write_private(&home.workbench_token(), &token)?;
    write_private(&home.admin_token(), &random_token()?)?;
    let pem = pem::encode(&pem::Pem::new("CERTIFICATE", ca.certificate()));
    write_private(&home.ca_pem(), &pem)?;
    write_policies(home)?;
    // Last: its presence says that the founding was complete.
    write_private(&home.config(), &config)?;
    Ok(Founded {
        org: history.org().to_string(),
        home: home.path().display().to_string(),
    })
}

fn configuration(plan: &Plan) -> Result<String, Failure> {
    let mut config = Config::default();
    config.organization.name.clone_from(&plan.name);
    config.organization.alias.clone_from(&plan.alias);
    if plan.free_ports {
        config
            .use_free_ports()
            .map_err(|e| Failure::own("ports", e))?;
    }
    let problems: Vec<String> = config.check().into_iter().map(|p| p.message).collect();
    if !problems.is_empty() {
        return Err(Failure::caller("bad-name", problems.join("; "))
            .next("correct --name or --alias; an alias is like port-authority"));
    }
    Ok(config.render())
}

/// A random token with the prefix that secret scanners look for.
pub(crate) fn random_token() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| Failure::own("no-randomness", e))?;
    Ok(format!("comity_{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The policies that come with the program, for the owner to change, and their
/// schema for editors.
fn write_policies(home: &Home) -> Result<(), Failure> {
    make_private(&home.policies())?;
    for (name, text) in policy::shipped().policies {
        write_private(&home.policies().join(name), &text)?;
    }
    let schema = home.policies().join("comity.cedarschema");
    write_private(&schema, policy::SCHEMA)
}

fn make_private(path: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Failure::own("home", format!("{}: {e}", path.display())))
}

pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(|e| Failure::own("home", format!("{}: {e}", path.display())))
}
