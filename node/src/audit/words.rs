//! Records as people read them.

use std::collections::HashMap;
use std::path::Path;

use comity_identity::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// Longer texts in a record are signed envelopes and lists: shown by their
/// beginning. Digests and ids are shorter.
const SHORT_CHARS: usize = 80;

/// Which records are shown; an absent condition holds for all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// The record's kind, such as `delivery`.
    pub kind: Option<String>,
    /// The other organization: its id, or its alias here.
    pub partner: Option<String>,
    /// The agreement's digest, or the beginning of it.
    pub agreement: Option<String>,
    /// The member's name, or the pseudonym of a partner's member.
    pub member: Option<String>,
    /// The trace, or the half of it that this node made.
    pub trace: Option<String>,
}

/// One record as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Where it stands in the journal.
    pub position: u64,
    /// The record's time, or that of the newest record before it that has one.
    pub at: Option<Timestamp>,
    /// Its kind.
    pub kind: String,
    /// What it says, for people.
    pub says: String,
    /// The record itself, with long texts cut unless all was asked for.
    pub record: Value,
}

/// Gives the records of the journal in the folder `journal` that `filter`
/// wants to `each`, oldest first, until it says that it has enough.
pub fn show(
    journal: &Path,
    filter: &Filter,
    full: bool,
    mut each: impl FnMut(Line),
) -> Result<(), Failure> {
    let mut names = Names::default();
    let mut now = None;
    let walk = super::walk(journal, |position, bytes| {
        let Ok(Value::Object(mut record)) = serde_json::from_slice(bytes) else {
            return;
        };
        if let Some(at) = record.get("at").and_then(Value::as_u64) {
            now = Some(Timestamp::from_secs(at));
        }
        let kind = text(&record, "record").unwrap_or("unknown").to_owned();
        names.learn(&kind, &record);
        if !filter.wants(&kind, now, &record, &names) {
            return;
        }
        let says = says(&kind, &record, &names.aliases);
        record.remove("record");
        let mut record = Value::Object(record);
        if !full {
            shorten(&mut record);
        }
        each(Line {
            position,
            at: now,
            kind,
            says,
            record,
        });
    })?;
    match walk.broken {
        None => Ok(()),
        Some(broken) => Err(Failure::own("journal-broken", broken)
            .next("run 'comity audit verify'; what is before the break was shown")),
    }
}

/// Who is meant by the ids in records, as earlier records told.
#[derive(Default)]
struct Names {
    /// Aliases of organizations, by id.
    aliases: HashMap<String, String>,
    /// The other side of each agreement.
    peers: HashMap<String, String>,
}

impl Names {
    fn learn(&mut self, kind: &str, record: &Map<String, Value>) {
        let (map, members) = match kind {
            "partner" => (&mut self.aliases, ["org", "alias"]),
            "signed" => (&mut self.peers, ["id", "peer"]),
            _ => return,
        };
        if let [Some(key), Some(value)] = members.map(|member| text(record, member)) {
            map.insert(key.to_owned(), value.to_owned());
        }
    }

    /// Whether `record` is about the organization with the id or alias `wanted`.
    fn is_about(&self, record: &Map<String, Value>, wanted: &str) -> bool {
        let named = ["org", "peer", "by", "provider"].map(|member| text(record, member));
        let marked = record.get("mark").and_then(|mark| mark.get("org"));
        let agreement = text(record, "agreement").and_then(|id| self.peers.get(id));
        let ids = named.into_iter().chain([
            marked.and_then(Value::as_str),
            agreement.map(String::as_str),
        ]);
        ids.flatten()
            .any(|id| id == wanted || self.aliases.get(id).is_some_and(|alias| alias == wanted))
    }
}

impl Filter {
    fn wants(
        &self,
        kind: &str,
        at: Option<Timestamp>,
        record: &Map<String, Value>,
        names: &Names,
    ) -> bool {
        let any = |members: &[&str], wanted: &str| {
            members.iter().any(|m| text(record, m) == Some(wanted))
        };
        let partner = |wanted: &str| names.is_about(record, wanted);
        let agreement = |wanted: &str| {
            let named = |m| text(record, m).is_some_and(|id| digest_begins(id, wanted));
            named("agreement") || (kind == "signed" && named("id"))
        };
        let member = |wanted: &str| {
            let named = matches!(
                kind,
                "member" | "member-removed" | "member-token-ended" | "member-seen"
            ) && any(&["name"], wanted);
            named || any(&["subject", "member"], wanted)
        };
        let trace = |wanted: &str| text(record, "trace").is_some_and(|t| t.contains(wanted));
        self.since
            .is_none_or(|since| at.is_none_or(|at| at >= since))
            && self
                .until
                .is_none_or(|until| at.is_none_or(|at| at <= until))
            && self.kind.as_deref().is_none_or(|wanted| wanted == kind)
            && self.partner.as_deref().is_none_or(partner)
            && self.agreement.as_deref().is_none_or(agreement)
            && self.member.as_deref().is_none_or(member)
            && self.trace.as_deref().is_none_or(trace)
    }
}

/// Whether the digest `id` is `wanted` or begins with it, with or without its `sha256:`.
pub(super) fn digest_begins(id: &str, wanted: &str) -> bool {
    let bare = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).to_owned();
    let wanted = bare(wanted);
    !wanted.is_empty() && bare(id).starts_with(&wanted)
}

fn text<'a>(record: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    record.get(member).and_then(Value::as_str)
}

/// What a record says, in one line.
fn says(kind: &str, record: &Map<String, Value>, aliases: &HashMap<String, String>) -> String {
    let of = |member| text(record, member).unwrap_or("?");
    let short = |member| of(member).chars().take(19).collect::<String>();
    let org = |member| {
        let id = of(member);
        aliases
            .get(id)
            .cloned()
            .unwrap_or_else(|| id.chars().take(12).collect())
    };
    let number = |member| record.get(member).and_then(Value::as_u64);
    match kind {
        "own" => "this organization's key history and document".to_owned(),
        "known" => {
            let id = record.get("mark").and_then(|mark| mark.get("org"));
            let id = id.and_then(Value::as_str).unwrap_or("?");
            let frozen = record.get("fork").is_some_and(|fork| !fork.is_null());
            let name = aliases.get(id).map_or(id, String::as_str);
            let what = if frozen {
                "forked its key history: frozen"
            } else {
                "showed its keys"
            };
            format!("{name} {what}")
        }
        "partner" => format!("{} is known here as {}", short("org"), of("alias")),
        "invited" => format!("made the invitation {}", short("id")),
        "invitation-used" => format!("{} used the invitation {}", org("by"), short("id")),
        "published" => format!("published {}", of("product")),
        "retired" => format!("retired {} after {}", of("product"), of("version")),
        "announced" => "announced a new head of the catalog".to_owned(),
        "foreign-descriptor" => format!("{} describes a product", org("org")),
        "foreign-head" => format!("{} announces its catalog", org("org")),
        "contradiction" => format!("{} contradicted itself: {}", org("org"), of("what")),
        "measured" => format!(
            "measured {} (statement {})",
            of("product"),
            number("seq").unwrap_or(0)
        ),
        "message" => {
            let sent = record.get("sent").and_then(Value::as_bool).unwrap_or(false);
            let way = if sent { "sent to" } else { "received from" };
            format!(
                "negotiation {}: a message {way} {}",
                short("negotiation"),
                org("peer")
            )
        }
        "signed" => format!(
            "{} {} with {}, signed by both",
            of("kind"),
            short("id"),
            org("peer")
        ),
        "revoked" => format!("{} revoked the agreement {}", org("by"), short("agreement")),
        "member" => format!("gave the member {} a token", of("name")),
        "member-removed" => format!("ended the tokens of the member {}", of("name")),
        "member-token-ended" => format!("ended a token of the member {}", of("name")),
        "member-seen" => format!("the member {} was here for the first time", of("name")),
        "grant-issued" => format!(
            "handed out the grant {} under {}",
            of("jti"),
            short("agreement")
        ),
        "delivery" => delivery(record, &org("org"), of("subject")),
        "refused" => format!("refused {}: {} ({})", org("org"), of("code"), of("reason")),
        "keys-told" => keys_told(record, &org("org")),
        "received" => format!(
            "received from {} {} rows, {} bytes under {}",
            org("org"),
            number("rows").unwrap_or(0),
            number("bytes").unwrap_or(0),
            short("agreement")
        ),
        "receipt" => format!(
            "signed the receipt {} under {}",
            number("seq").unwrap_or(0),
            short("agreement")
        ),
        "receipt-answered" | "receipt-taken" => {
            let disputed = record
                .get("disputed")
                .and_then(Value::as_bool)
                .unwrap_or(false);
            let what = if disputed {
                "disputed"
            } else {
                "countersigned"
            };
            let whose = if kind == "receipt-taken" {
                "here"
            } else {
                "by the partner"
            };
            let seq = number("seq").unwrap_or(0);
            format!("receipt {seq} under {} {what} {whose}", short("agreement"))
        }
        "witnessed" => format!(
            "saw {}'s journal with {} records",
            org("org"),
            number("size").unwrap_or(0)
        ),
        "journal-rewritten" => format!("{} REWROTE ITS JOURNAL: the proof is here", org("org")),
        "refused-more" => format!(
            "refused {} {} more times in that minute",
            org("org"),
            number("count").unwrap_or(0)
        ),
        "erased" => {
            let positions = record.get("positions").and_then(Value::as_array);
            format!("{} records", positions.map_or(0, Vec::len))
        }
        "administered" => format!("{}: {} by {}", of("act"), of("target"), of("by")),
        // A kind that this version has no words for is shown by its members.
        _ => record
            .iter()
            .filter(|(name, value)| *name != "record" && (value.is_string() || value.is_number()))
            .map(|(name, value)| {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                format!("{name}={}", value.chars().take(24).collect::<String>())
            })
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn delivery(record: &Map<String, Value>, org: &str, subject: &str) -> String {
    let number = |member| record.get(member).and_then(Value::as_u64);
    let under = text(record, "agreement").map_or_else(String::new, |id| {
        format!(" under {}", id.chars().take(19).collect::<String>())
    });
    match number("rows") {
        None => format!("began to serve {subject} of {org}{under}"),
        Some(rows) => {
            let bytes = number("bytes").unwrap_or(0);
            let ended = text(record, "ended")
                .map_or_else(String::new, |code| format!(", broken off: {code}"));
            format!("served {subject} of {org} {rows} rows, {bytes} bytes{under}{ended}")
        }
    }
}

fn keys_told(record: &Map<String, Value>, org: &str) -> String {
    let sets = record.get("keys").and_then(Value::as_array);
    let keys = sets.into_iter().flatten().filter_map(|set| {
        let set = set.as_object()?;
        let (of, form) = (text(set, "of")?, text(set, "form")?);
        let count = set.get("count").and_then(Value::as_u64)?;
        Some(format!("{count} keys of {of}, {form}"))
    });
    let keys: Vec<_> = keys.collect();
    format!("told {org} {}", keys.join("; "))
}

/// Cuts the long texts of a record: envelopes are kilobytes.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().count() > SHORT_CHARS => {
            let bytes = text.len();
            let mut cut: String = text.chars().take(SHORT_CHARS / 2).collect();
            cut.push_str(&format!("… ({bytes} bytes)"));
            *text = cut;
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}
