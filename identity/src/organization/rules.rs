//! What an organization document may say (`spec/2-identity.md#I-16`).

use std::collections::BTreeSet;

use super::document::{Document, Node};
use super::{DocumentError, MAX_LIFETIME, PROTOCOL_VERSION, peer_id};

/// The version of the payload.
const VERSION: u64 = 1;
/// The most characters of the display name.
pub(super) const MAX_NAME_CHARS: usize = 100;
/// The most issuer keys.
pub(super) const MAX_ISSUERS: usize = 32;
/// The most nodes.
pub(super) const MAX_NODES: usize = 64;
/// The most TLS keys of one node: the current, the next, and one to spare.
pub(super) const MAX_SPKI: usize = 4;
/// The most addresses of each kind of one node.
pub(super) const MAX_ADDRESSES: usize = 16;
/// The most characters of an address.
pub(super) const MAX_ADDRESS_CHARS: usize = 256;
/// The most revocations; grants live for minutes, so old ones can be dropped.
pub(super) const MAX_REVOCATIONS: usize = 512;
/// The most characters of a revoked thing's id.
pub(super) const MAX_REVOKED_CHARS: usize = 128;
/// The most bytes of the TLS certificate authority.
pub(super) const MAX_CA_BYTES: usize = 4096;

/// Checks everything that can be judged from the document alone.
pub(super) fn content(document: &Document) -> Result<(), DocumentError> {
    let d = document;
    require(d.v == VERSION, "unknown version of the payload")?;
    require(d.version >= 1, "version starts at 1")?;
    // spec/2-identity.md#I-52: talking on would be the downgrade that it rules out (A8).
    require(
        (1..=PROTOCOL_VERSION).contains(&d.min_version),
        "the organization asks for a newer version of the protocol than this program speaks: update it",
    )?;
    // spec/2-identity.md#I-17
    require(
        d.issued_at < d.expires_at && d.expires_at.since(d.issued_at) <= MAX_LIFETIME,
        "it must expire after it is issued, and within 7 days",
    )?;
    require(
        is_display_text(&d.name),
        "name has 1 to 100 printable characters",
    )?;
    let ca = d.tls_ca.as_bytes().len();
    require(
        (1..=MAX_CA_BYTES).contains(&ca),
        "tls_ca has 1 to 4096 bytes",
    )?;
    require(
        d.issuers.len() <= MAX_ISSUERS,
        "there are at most 32 issuers",
    )?;
    require(
        d.issuers
            .iter()
            .all(|i| !i.roles.is_empty() && i.since < i.until),
        "an issuer has a role and a span of time",
    )?;
    require(
        distinct(d.issuers.iter().map(|i| i.key.id())),
        "an issuer key is listed twice",
    )?;
    require(d.nodes.len() <= MAX_NODES, "there are at most 64 nodes")?;
    d.nodes.iter().try_for_each(node)?;
    // One TLS key or name under two nodes would make the peer's identity ambiguous.
    require(
        distinct(d.nodes.iter().map(|n| &n.node))
            && distinct(d.nodes.iter().map(|n| n.key.id()))
            && distinct(d.nodes.iter().flat_map(|n| &n.tls_spki)),
        "a node name, node key or TLS key is listed twice",
    )?;
    require(
        d.revoked.len() <= MAX_REVOCATIONS,
        "there are at most 512 revocations",
    )?;
    require(
        d.revoked
            .iter()
            .all(|r| !r.id.is_empty() && r.id.len() <= MAX_REVOKED_CHARS),
        "a revoked id has 1 to 128 characters",
    )
}

fn node(node: &Node) -> Result<(), DocumentError> {
    // spec/2-identity.md#I-30: RUSTSEC-2022-0009 was the lack of this comparison in another protocol.
    require(
        node.peer_id == peer_id(&node.key),
        "a node's peer_id is not the one of its key",
    )?;
    require(
        node.tls_spki.len() <= MAX_SPKI,
        "a node has at most 4 TLS keys",
    )?;
    let addresses = [&node.addresses, &node.flight];
    require(
        addresses.iter().all(|list| list.len() <= MAX_ADDRESSES),
        "a node has at most 16 addresses of each kind",
    )?;
    require(
        addresses
            .iter()
            .all(|list| list.iter().all(|a| is_address(a))),
        "an address has 1 to 256 printable ASCII characters",
    )
}

/// Control and format characters could rewrite a terminal or hide a difference (A27).
fn is_display_text(text: &str) -> bool {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..)
    };
    !text.trim().is_empty() && text.chars().count() <= MAX_NAME_CHARS && !text.chars().any(hidden)
}

fn is_address(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_ADDRESS_CHARS
        && text.bytes().all(|b| b.is_ascii_graphic())
}

fn distinct<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}

fn require(holds: bool, rule: &'static str) -> Result<(), DocumentError> {
    if holds {
        Ok(())
    } else {
        Err(DocumentError::Rule(rule))
    }
}
