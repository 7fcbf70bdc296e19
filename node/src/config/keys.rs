//! Every key of `comity.toml`, with its meaning and range: the one source of
//! the example file and of the range checks.

use std::ops::RangeInclusive;

use crate::journal::SEGMENT_BYTES_RANGE;

/// What the owner is told about one key.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// What it means, in lines of the example file.
    pub(super) meaning: &'static [&'static str],
    /// The numbers that are allowed.
    pub(super) range: Option<RangeInclusive<u64>>,
    /// What a value looks like where the default is none, in TOML.
    pub(super) sample: Option<&'static str>,
}

const fn key(section: &'static str, name: &'static str, meaning: &'static [&'static str]) -> Key {
    Key {
        section,
        name,
        meaning,
        range: None,
        sample: None,
    }
}

const fn number(
    section: &'static str,
    name: &'static str,
    range: RangeInclusive<u64>,
    meaning: &'static [&'static str],
) -> Key {
    Key {
        section,
        name,
        meaning,
        range: Some(range),
        sample: None,
    }
}

const fn optional(
    section: &'static str,
    name: &'static str,
    sample: &'static str,
    meaning: &'static [&'static str],
) -> Key {
    Key {
        section,
        name,
        meaning,
        range: None,
        sample: Some(sample),
    }
}

/// The sections with what they are about, in the order of the file.
pub(super) const SECTIONS: [(&str, &str); 16] = [
    ("organization", "Who the organization is, to people."),
    (
        "network",
        "The peer network: discovery, negotiation, announcements.",
    ),
    (
        "peers",
        "The Arrow Flight listener that partners' nodes query, over mutual TLS.",
    ),
    (
        "workbench",
        "The Flight SQL listener of the organization's own members.",
    ),
    (
        "oidc",
        "The organization's identity provider: its tokens make members, beside local ones.",
    ),
    (
        "admin",
        "The node's own API, which the `comity` commands use.",
    ),
    (
        "negotiation",
        "How this organization negotiates with partners.",
    ),
    (
        "approval",
        "Data that one person alone may not open to a partner.",
    ),
    (
        "notify",
        "Whom the node tells what happened: a webhook, a program, or both.",
    ),
    (
        "query",
        "What queries may cost, of members and of partners.",
    ),
    (
        "measure",
        "Whether own products keep what their contracts promise, measured and announced.",
    ),
    (
        "evidence",
        "Receipts: what partners received, signed by both sides.",
    ),
    (
        "journal",
        "The journal: the record of everything the node promised.",
    ),
    (
        "index",
        "The index: rebuilt from the journal when it is lost.",
    ),
    ("log", "What is logged, to standard error."),
    ("shutdown", "How the node stops on SIGTERM."),
];

/// Every key, section by section.
pub(super) const KEYS: [Key; 50] = [
    key("organization", "name", &["The name that people read."]),
    key(
        "organization",
        "alias",
        &[
            "The name in SQL and in commands: lower-case letters, digits and hyphens, at most 63.",
            "Partners may know the organization under another one.",
        ],
    ),
    key(
        "network",
        "listen",
        &[
            "Addresses to listen on (multiaddr). Port 0 takes any free port.",
            "Beyond this machine: \"/ip4/0.0.0.0/udp/7401/quic-v1\", \"/ip4/0.0.0.0/tcp/7401\".",
        ],
    ),
    key(
        "network",
        "external",
        &["Addresses under which others reach this node, where they differ from those above."],
    ),
    key(
        "network",
        "lan",
        &["Whether to find nodes on the local network (mDNS)."],
    ),
    optional(
        "network",
        "dial",
        "[\"public\", \"private\", \"loopback\"]",
        &[
            "Where partners are dialled, whatever their documents say: \"public\" (the internet),",
            "\"private\" (RFC 1918, CGNAT and ULA), \"loopback\" (this machine). Names count as what they",
            "resolve to. Link-local, multicast and metadata addresses are never dialled. Unset: \"public\",",
            "and the areas in which this node can be reached itself.",
        ],
    ),
    number(
        "network",
        "max_connections",
        1..=65_536,
        &["Connections at most, in both directions."],
    ),
    number(
        "network",
        "memory_budget_bytes",
        (64 << 20)..=(1 << 44),
        &[
            "Memory of the process, in bytes and besides memory_bytes of [query], above which new",
            "connections are refused, partners' as well.",
        ],
    ),
    key(
        "network",
        "peers",
        &[
            "Nodes to connect to at start, besides those known from invitations.",
            "Each ends in /p2p/ and the peer id.",
        ],
    ),
    key(
        "peers",
        "listen",
        &["Address and port to listen on. Port 0 takes any free port."],
    ),
    optional(
        "peers",
        "advertised",
        "\"flight.example.org:7402\"",
        &[
            "Host and port under which partners reach the listener, where they differ; needed with 0.0.0.0.",
        ],
    ),
    key(
        "peers",
        "direct",
        &[
            "Whether holders of partners' grants may come by themselves, with certificates of their own",
            "('comity grant client'), and not through their organization's node only.",
        ],
    ),
    key(
        "workbench",
        "listen",
        &[
            "Address and port to listen on. Port 0 takes any free port.",
            "Beyond this machine only with `tls = true`: members send their tokens here.",
        ],
    ),
    key(
        "workbench",
        "tls",
        &[
            "Whether members connect with TLS, to a certificate of the organization's own authority.",
        ],
    ),
    optional(
        "oidc",
        "issuer",
        "\"https://login.example.org/realms/staff\"",
        &["The issuer, exactly as it stands in its tokens. Plain http on this machine only."],
    ),
    optional(
        "oidc",
        "audience",
        "\"https://comity.example.org\"",
        &["What tokens for this node name as their audience. Needed with `issuer`."],
    ),
    key(
        "oidc",
        "clients",
        &[
            "The programs (client ids, `azp`) whose tokens count. Empty: any that the issuer gives the",
            "audience to; a token for several audiences must then have been given to `audience` itself.",
        ],
    ),
    optional(
        "oidc",
        "jwks_url",
        "\"https://login.example.org/realms/staff/keys\"",
        &["Where the issuer's keys are. Unset: where its discovery document says."],
    ),
    key(
        "oidc",
        "algorithms",
        &[
            "The signatures that count: of \"RS256\", \"RS384\", \"RS512\", \"PS256\", \"PS384\", \"PS512\",",
            "\"ES256\", \"ES384\", \"EdDSA\".",
        ],
    ),
    key(
        "oidc",
        "name_claim",
        &[
            "The claim that is the member's name, behind \"oidc:\". It must never pass to somebody else.",
        ],
    ),
    optional(
        "oidc",
        "roles_claim",
        "\"groups\"",
        &[
            "The claim with the issuer's groups or roles; with a slash in front a JSON pointer, such as",
            "\"/realm_access/roles\".",
        ],
    ),
    key(
        "oidc",
        "role_map",
        &[
            "What the issuer's roles are called here, as { theirs = \"ours\" }. Others give no role.",
        ],
    ),
    key(
        "oidc",
        "required_claims",
        &["Claims that a token must have, with these values, as { tenant = \"harbour\" }."],
    ),
    number(
        "oidc",
        "leeway_seconds",
        0..=300,
        &["Seconds by which the issuer's clock may differ."],
    ),
    number(
        "oidc",
        "keys_max_age_seconds",
        60..=86_400,
        &["Seconds for which fetched keys count. They are fetched again after half of that."],
    ),
    optional(
        "oidc",
        "ca_file",
        "\"login-ca.pem\"",
        &[
            "The certificates that vouch for the issuer's servers; a relative path starts at the home",
            "folder. Unset: the authorities of this system. The issuer is asked without a proxy.",
        ],
    ),
    key(
        "admin",
        "listen",
        &["Address and port to listen on: this machine only. Port 0 takes any free port."],
    ),
    optional(
        "admin",
        "socket",
        "\"admin.sock\"",
        &["The Unix socket. A relative path starts at the home folder."],
    ),
    number(
        "negotiation",
        "open_days",
        1..=90,
        &[
            "Days that a request or an offer of this organization can be accepted by the partner, unless",
            "`--open-days` says otherwise. Afterwards it is expired and binds nobody.",
        ],
    ),
    key(
        "approval",
        "two_for",
        &[
            "Classifications of columns, as contracts write them, for which two persons must approve:",
            "[\"personal\"]. Then no [[approve]] rule agrees, and one person's approval waits for another's.",
        ],
    ),
    key(
        "approval",
        "two_for_protected",
        &["Whether two persons must approve what opens tables that are read in groups only."],
    ),
    optional(
        "notify",
        "webhook",
        "\"https://hooks.example.com/comity\"",
        &[
            "Where notices are posted as JSON, signed as Standard Webhooks describes (webhook-id,",
            "webhook-timestamp, webhook-signature). Only https, or plain HTTP on this machine.",
        ],
    ),
    optional(
        "notify",
        "secret_file",
        "\"webhook.secret\"",
        &[
            "The file with the secret that signs them: 'whsec_' and 24 to 64 random bytes in Base64. A",
            "relative path starts at the home folder.",
        ],
    ),
    key(
        "notify",
        "command",
        &[
            "A program, as an absolute path, and its arguments: it gets the JSON on its standard input,",
            "with an empty environment, and may run for 30 seconds.",
        ],
    ),
    key("notify", "events", &["What is told of."]),
    number(
        "query",
        "partitions",
        0..=1024,
        &["Parts that a query is worked on in at the same time; 0 is one for each processor."],
    ),
    number(
        "query",
        "memory_bytes",
        (16 << 20)..=(1 << 44),
        &["Memory for all running queries together, in bytes."],
    ),
    number(
        "query",
        "deadline_seconds",
        1..=86_400,
        &["Seconds after which a query is ended."],
    ),
    number(
        "query",
        "max_rows",
        1..=1_000_000_000_000,
        &["Rows that one query may deliver."],
    ),
    number(
        "query",
        "concurrent",
        1..=1024,
        &[
            "Queries that run at the same time. Further ones take turns, and one caller never has all",
            "places.",
        ],
    ),
    number(
        "query",
        "wait_seconds",
        0..=60,
        &["Seconds that a query waits for its turn before it is answered \"busy\"."],
    ),
    number(
        "measure",
        "every_seconds",
        0..=2_592_000,
        &[
            "Seconds between two measurements of a product, which partners are told; 0 measures only",
            "on demand, with `comity product measure`. A product is also measured once it is published.",
        ],
    ),
    number(
        "measure",
        "timeout_seconds",
        1..=3600,
        &[
            "Seconds that one query of a measurement may take; all of one product's, ten times as long.",
            "What takes longer has no verdict, which is not a pass.",
        ],
    ),
    number(
        "evidence",
        "receipt_seconds",
        1..=3600,
        &[
            "Seconds after a delivery until a receipt of it, and of all since, is made and sent to the",
            "partner; 256 deliveries do not wait. While one is unanswered the next waits 12 times as long.",
        ],
    ),
    number(
        "evidence",
        "max_unacknowledged",
        1..=1000,
        &[
            "Receipts under one agreement that the partner may leave unanswered; then its queries under",
            "it are refused with `receipts-due` until it answers.",
        ],
    ),
    number(
        "journal",
        "segment_bytes",
        SEGMENT_BYTES_RANGE,
        &["Bytes after which a new file begins."],
    ),
    number(
        "index",
        "cache_bytes",
        (1 << 20)..=(1 << 40),
        &["Memory for the cache, in bytes."],
    ),
    key(
        "log",
        "format",
        &["\"text\" for people, \"json\" for one JSON object a line."],
    ),
    key(
        "log",
        "level",
        &[
            "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"; also by part, as in",
            "\"info,comity::network=debug\".",
        ],
    ),
    number(
        "shutdown",
        "grace_seconds",
        0..=3600,
        &["Seconds that running queries get to end before they are cut off."],
    ),
];

/// What is said about the servers of sources, with an entry to copy.
pub(super) const SOURCES: &str = r#"# The servers that hold the data: one [sources.NAME] for each `server: NAME` of your
# contracts that needs a login. A relative path starts at the home folder.
#
# For a Flight SQL server the defaults are COMITY_FLIGHT_SQL_USERNAME and
# COMITY_FLIGHT_SQL_PASSWORD. A `password_file` without a `username` holds a token
# (default: COMITY_FLIGHT_SQL_TOKEN). Without `ca_file`, the authorities of this
# system vouch for it. Of a SQLite file, `connections` and `timeout_seconds` count.
#
# [sources.warehouse]
# username = "comity_reader"            # default: DATACONTRACT_POSTGRES_USERNAME of the environment
# password_file = "warehouse.password"  # default: DATACONTRACT_POSTGRES_PASSWORD of the environment
# tls = true                            # default: true, false for a server on this machine
# ca_file = "warehouse-ca.pem"          # the certificates that vouch for the server; needed with tls
# connections = 4                       # at most; 1 to 256
# timeout_seconds = 300                 # the server ends a longer statement; 1 to 86400
"#;

/// What is said about auto-approval, with a rule to copy.
pub(super) const APPROVE: &str = r#"# Requests that are agreed to without a person: one [[approve]] for each rule.
#
# A request falls under a rule when it comes from that partner, is for that
# product, and asks no more than the rule gives: the same or fewer tables,
# columns and purposes, the rule's conditions on rows or stricter ones, the
# rule's masks, and an end within `max_days` from now. Anything else waits for
# `comity approve`, `counter` or `decline`.
#
# [[approve]]
# partner = "weather-service"           # organization id, or the name given to it here (--as)
# product = "flights"
# purposes = ["delay-forecast"]
# max_days = 90
# limits = { max_rows_per_query = 1000000, per = { day = { rows = 10000000 } } }  # default: the offer's
# tables.flights.columns = ["origin", "dep_delay", "time_hour"]
# tables.flights.filter = [{ compare = { column = "origin", op = "eq", value = { text = "JFK" } } }]
# tables.flights.masks = { dep_delay = "replace-with-null" }
"#;

/// What is said about partners, with an entry to copy.
pub(super) const PARTNER: &str = r#"# What you say of partners: one [[partner]] for each. Row filters of contracts
# and agreements refer to an attribute as { claim: peer.NAME }.
#
# [[partner]]
# partner = "port-authority"            # organization id, or the name given to it here (--as)
# attributes = { country = "DE" }
"#;

/// What is said about keys that leave, with a rule to copy.
pub(super) const EGRESS: &str = r#"# Which keys partners may be told, so that a join with their tables asks for the
# matching rows only: one [[egress]] for each rule; of several the strictest counts.
# "plain" tells a few keys as they are, "hashed" a salted filter only, "never"
# none. Without a rule, keys of own columns are told hashed, unless the contract
# classifies the column otherwise than public; keys of partners' columns are not
# told to others. `EXPLAIN` shows what a query would tell, the journal what was told.
#
# [[egress]]
# to = "port-authority"                 # organization id, or the name given to it here; default: every partner
# of = "weather-service"                # whose product the keys are from; default: this organization's
# product = "flights"
# table = "flights"
# columns = ["origin"]                  # default: all columns of the table
# keys = "plain"
"#;
