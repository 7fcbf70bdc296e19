//! What a type cannot say: ranges, names, and settings that do not go together.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use comity_identity::OrgId;
use comity_protocol::address::Address;
use comity_protocol::terms::{Limit, MAX_CLAIM_CHARS, MAX_TEXT_CHARS};
use libp2p::multiaddr::Protocol;
use tracing_subscriber::EnvFilter;

use super::keys::KEYS;
use super::{
    Approval, ApproveRule, Config, EgressRule, Notify, Oidc, PartnerNote, Source, example,
};
use crate::access::is_role;

/// Something wrong or doubtful in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, as `section.key`.
    pub key: String,
    /// Whether a node starts with it.
    pub severity: Severity,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Whether a node starts with a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It starts; the owner should know.
    Warning,
    /// It does not start.
    Error,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}: {}", self.key, self.message)
    }
}

/// Longest display name, in characters.
const MAX_NAME_CHARS: usize = 128;
/// Longest alias, in characters; a SQL catalog name.
const MAX_ALIAS_CHARS: usize = 63;
/// Most connections to one server.
const MAX_SOURCE_CONNECTIONS: u32 = 256;
/// Longest time that a statement may take at a source, in seconds.
const MAX_SOURCE_SECONDS: u32 = 86_400;
/// Most rules that are looked through for every request.
const MAX_APPROVE_RULES: usize = 1024;
/// Longest time that a rule may agree to without a person.
const MAX_APPROVE_DAYS: u32 = 3660;

/// Most attributes of one partner.
const MAX_ATTRIBUTES: usize = 32;
/// Longest name of an attribute: with `peer.` in front it is a claim's name.
const MAX_ATTRIBUTE_CHARS: usize = MAX_CLAIM_CHARS - "peer.".len();

/// Most rules about keys that leave.
const MAX_EGRESS_RULES: usize = 1_000;

/// Most classifications for which two persons must approve.
const MAX_TWO_FOR: usize = 64;

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut found = Found::default();
    organization(config, &mut found);
    ranges(config, &mut found);
    listeners(config, &mut found);
    network(config, &mut found);
    oidc(&config.oidc, &mut found);
    approval(&config.approval, &mut found);
    notify(&config.notify, &mut found);
    if let Err(error) = EnvFilter::try_new(&config.log.level) {
        found.error("log.level", format!("{error}; write for example \"info\""));
    }
    for (name, server) in &config.sources {
        source(name, server, &mut found);
    }
    if config.approve.len() > MAX_APPROVE_RULES {
        found.error(
            "approve",
            format!("there are more than {MAX_APPROVE_RULES} rules"),
        );
    }
    for (i, note) in config.partner.iter().enumerate() {
        partner(i + 1, note, &mut found);
    }
    for (i, rule) in config.approve.iter().enumerate() {
        approve(i + 1, rule, &mut found);
    }
    if config.egress.len() > MAX_EGRESS_RULES {
        found.error(
            "egress",
            format!("there are more than {MAX_EGRESS_RULES} rules"),
        );
    }
    for (i, rule) in config.egress.iter().enumerate() {
        egress(i + 1, rule, &mut found);
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    fn error(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.push(key.into(), Severity::Error, message.into());
    }

    fn warning(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.push(key.into(), Severity::Warning, message.into());
    }

    fn push(&mut self, key: String, severity: Severity, message: String) {
        self.0.push(Problem {
            key,
            severity,
            message,
        });
    }
}

fn approval(approval: &Approval, found: &mut Found) {
    let names = &approval.two_for;
    let bad = |name: &String| name.trim().is_empty() || name.len() > MAX_TEXT_CHARS;
    if names.len() > MAX_TWO_FOR || names.iter().any(bad) {
        found.error(
            "approval.two_for",
            format!("names at most {MAX_TWO_FOR} classifications, as contracts write them"),
        );
    }
}

fn notify(notify: &Notify, found: &mut Found) {
    if notify.webhook.is_some() != notify.secret_file.is_some() {
        let message = "and `secret_file` need each other: set both or none";
        found.error("notify.webhook", message);
    }
    if notify
        .webhook
        .as_ref()
        .is_some_and(|url| !is_provider_url(url))
    {
        found.error(
            "notify.webhook",
            "must be an https:// address, or http:// on this machine, without a query",
        );
    }
    let program = notify.command.first();
    if program.is_some_and(|program| !std::path::Path::new(program).is_absolute()) {
        found.error(
            "notify.command",
            "must begin with the absolute path of a program",
        );
    }
}

fn organization(config: &Config, found: &mut Found) {
    let name = &config.organization.name;
    if name.trim().is_empty() {
        found.error(
            "organization.name",
            "is not set: write the organization's name",
        );
    } else if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        found.error(
            "organization.name",
            format!("must be at most {MAX_NAME_CHARS} characters on one line"),
        );
    }
    if !is_alias(&config.organization.alias) {
        found.error(
            "organization.alias",
            "must be 1 to 63 lower-case letters, digits and hyphens, not beginning with a hyphen",
        );
    }
}

fn ranges(config: &Config, found: &mut Found) {
    let values = example::tree(config);
    for key in &KEYS {
        let Some(range) = &key.range else { continue };
        let value = values[key.section][key.name].as_u64();
        if value.is_none_or(|value| !range.contains(&value)) {
            let name = format!("{}.{}", key.section, key.name);
            let (start, end) = (range.start(), range.end());
            found.error(name, format!("must be from {start} to {end}"));
        }
    }
}

fn listeners(config: &Config, found: &mut Found) {
    let (workbench, admin) = (config.workbench.listen, config.admin.listen);
    if !workbench.ip().is_loopback() && !config.workbench.tls {
        found.error(
            "workbench.listen",
            "is reachable from other machines, and members send their tokens to it: \
             set `tls = true`, or listen on 127.0.0.1",
        );
    }
    if !admin.ip().is_loopback() {
        found.error(
            "admin.listen",
            "must be on this machine, such as 127.0.0.1:7404",
        );
    }
    let mut ports: BTreeMap<u16, (&str, SocketAddr)> = BTreeMap::new();
    for (name, address) in [
        ("peers.listen", config.peers.listen),
        ("workbench.listen", workbench),
        ("admin.listen", admin),
    ] {
        if address.port() == 0 {
            continue;
        }
        if let Some((other, taken)) = ports.get(&address.port())
            && (taken.ip() == address.ip()
                || taken.ip().is_unspecified()
                || address.ip().is_unspecified())
        {
            found.error(name, format!("has the port of {other}; choose another"));
        }
        ports.insert(address.port(), (name, address));
    }
    if let Some(advertised) = &config.peers.advertised
        && !is_host_and_port(advertised)
    {
        found.error(
            "peers.advertised",
            "must be host:port, such as \"flight.example.org:7402\"",
        );
    }
    // Partners are told the address that is signed in the organization's document.
    if config.peers.listen.ip().is_unspecified() && config.peers.advertised.is_none() {
        found.error(
            "peers.advertised",
            "must name the host:port under which partners reach the listener, \
             such as \"flight.example.org:7402\": no partner can dial every address of `listen`",
        );
    }
    if config.peers.listen.ip().is_loopback() && config.peers.advertised.is_some() {
        found.warning(
            "peers.advertised",
            "names an address for partners, while `listen` is reachable from this machine only",
        );
    }
}

fn network(config: &Config, found: &mut Found) {
    if config.network.listen.is_empty() {
        found.warning(
            "network.listen",
            "is empty: partners cannot connect to this node",
        );
    }
    for peer in &config.network.peers {
        if !matches!(peer.iter().last(), Some(Protocol::P2p(_))) {
            found.error(
                "network.peers",
                format!(
                    "{peer} must end in /p2p/ and the node's peer id, which proves who answers"
                ),
            );
        }
    }
}

fn oidc(oidc: &Oidc, found: &mut Found) {
    let mut error = |key: &str, message: &str| found.error(format!("oidc.{key}"), message);
    let Some(issuer) = &oidc.issuer else {
        if oidc.audience.is_some() {
            error("issuer", "is not set: without it `audience` has no use");
        }
        return;
    };
    let url = "must be an https URL without query and fragment, or http on this machine";
    if !is_provider_url(issuer) {
        error("issuer", url);
    }
    if oidc
        .jwks_url
        .as_deref()
        .is_some_and(|u| !is_provider_url(u))
    {
        error("jwks_url", url);
    }
    if oidc.audience.as_deref().is_none_or(str::is_empty) {
        let message = "is not set: a token that the issuer made for another service must not count";
        error("audience", message);
    }
    if oidc.algorithms.is_empty() {
        error("algorithms", "must name at least one");
    }
    if oidc.name_claim.is_empty() {
        error("name_claim", "must name a claim, such as \"sub\"");
    }
    if oidc.roles_claim.is_some() == oidc.role_map.is_empty() {
        error(
            "role_map",
            "and `roles_claim` need each other: set both or none",
        );
    }
    if !oidc.role_map.values().all(|role| is_role(role)) {
        let message = "our roles have 1 to 64 of the characters a-z A-Z 0-9 - _ . :";
        error("role_map", message);
    }
}

/// Whether the identity provider may be asked there: nobody on the way can
/// change its keys (A34).
pub(crate) fn is_provider_url(text: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(text) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    plain && !host.is_empty() && (url.scheme() == "https" || (url.scheme() == "http" && here))
}

fn source(name: &str, source: &Source, found: &mut Found) {
    let mut error =
        |key: &str, message: &str| found.error(format!("sources.{name}.{key}"), message);
    if !(1..=MAX_SOURCE_CONNECTIONS).contains(&source.connections) {
        let message = format!("must be from 1 to {MAX_SOURCE_CONNECTIONS}");
        error("connections", &message);
    }
    if !(1..=MAX_SOURCE_SECONDS).contains(&source.timeout_seconds) {
        let message = format!("must be from 1 to {MAX_SOURCE_SECONDS}");
        error("timeout_seconds", &message);
    }
    if source.tls == Some(false) && source.ca_file.is_some() {
        error(
            "ca_file",
            "has no use with `tls = false`: leave one of them out",
        );
    }
}

fn partner(number: usize, note: &PartnerNote, found: &mut Found) {
    let mut error = |key: &str, message: &str| {
        found.error(
            format!("partner.{key}"),
            format!("entry {number}: {message}"),
        );
    };
    if !is_alias(&note.partner) && note.partner.parse::<OrgId>().is_err() {
        error("partner", "must be an alias or an organization id");
    }
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let is_attribute = |name: &String| {
        (1..=MAX_ATTRIBUTE_CHARS).contains(&name.len()) && name.bytes().all(legal) && name != "org"
    };
    if note.attributes.len() > MAX_ATTRIBUTES || !note.attributes.keys().all(is_attribute) {
        error(
            "attributes",
            "at most 32 names of 1 to 59 of a-z, 0-9 and _, and not org",
        );
    }
    let long = |value: &String| value.chars().count() > MAX_TEXT_CHARS;
    if note.attributes.values().any(long) {
        error("attributes", "a value has at most 256 characters");
    }
}

fn egress(number: usize, rule: &EgressRule, found: &mut Found) {
    let mut error = |key: &str, message: &str| {
        found.error(format!("egress.{key}"), format!("rule {number}: {message}"));
    };
    let is_partner = |name: &String| is_alias(name) || name.parse::<OrgId>().is_ok();
    for (key, name) in [("to", &rule.to), ("of", &rule.of)] {
        if !name.iter().all(is_partner) {
            error(key, "must be an alias or an organization id");
        }
    }
    if !is_address(&rule.product) {
        error("product", NOT_AN_ADDRESS);
    }
    if !is_name(&rule.table) {
        error("table", "must be a table's name in the product");
    }
    if rule.columns.iter().any(|column| column.trim().is_empty()) {
        error("columns", "must name columns, or be left out for all");
    }
}

fn approve(number: usize, rule: &ApproveRule, found: &mut Found) {
    let mut error = |key: &str, message: &str| {
        found.error(
            format!("approve.{key}"),
            format!("rule {number}: {message}"),
        );
    };
    if !is_alias(&rule.partner) && rule.partner.parse::<OrgId>().is_err() {
        error("partner", "must be an alias or an organization id");
    }
    if !is_address(&rule.product) {
        error("product", NOT_AN_ADDRESS);
    }
    if rule.purposes.is_empty() || rule.purposes.iter().any(|p| p.trim().is_empty()) {
        error("purposes", "must name at least one purpose");
    }
    if !rule.tables.keys().all(|name| is_name(name)) {
        error("tables", "must name tables by their names in the product");
    }
    if rule.tables.values().any(|table| table.columns.is_empty()) {
        error("tables", "every table must name at least one column");
    }
    if !(1..=MAX_APPROVE_DAYS).contains(&rule.max_days) {
        error("max_days", &format!("must be from 1 to {MAX_APPROVE_DAYS}"));
    }
    let nothing = |limit| rule.limits.get(limit) == Some(0);
    if Limit::all().any(nothing) {
        error("limits", "each must be at least 1, or left out");
    }
}

const NOT_AN_ADDRESS: &str = "must be a product's name, or NAME@MAJOR for another major than 1";

/// Written as the catalog writes it: `orders@1` would never match `orders`.
fn is_address(product: &String) -> bool {
    let address = product.parse::<Address>();
    address.map(|a| a.to_string()).as_ref() == Ok(product)
}

/// `[a-z0-9][a-z0-9-]{0,62}`
fn is_alias(text: &str) -> bool {
    (1..=MAX_ALIAS_CHARS).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `[a-z][a-z0-9_-]{0,62}`: a product or a table.
fn is_name(text: &str) -> bool {
    (1..=MAX_ALIAS_CHARS).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(host_is_plain)
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}
