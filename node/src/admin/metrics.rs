//! `/metrics`: what the node counts, in OpenMetrics text.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The counters of one node. Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    queries: Family<Outcome, Counter>,
    rows: Family<Side, Counter>,
    bytes: Family<Side, Counter>,
    refusals: Family<Code, Counter>,
    negotiations: Family<State, Counter>,
    policy_alarms: Family<Alarm, Counter>,
    receipts: Family<State, Counter>,
    alarms: Family<State, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    listener: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Side {
    listener: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Alarm {
    kind: &'static str,
}

/// What is read from the node when somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Records in the journal.
    pub journal_records: u64,
    /// Organizations federated with.
    pub partners: u64,
    /// Partners' nodes connected now.
    pub connected: u64,
    /// Agreements in force.
    pub agreements: u64,
}

/// Which listener served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Other organizations' nodes.
    Peers,
    /// Own members.
    Workbench,
}

impl Listener {
    const fn label(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Workbench => "workbench",
        }
    }
}

impl Metrics {
    /// A query ended.
    pub fn query(&self, listener: Listener, outcome: &'static str, rows: u64, bytes: u64) {
        let listener = listener.label();
        self.queries
            .get_or_create(&Outcome { listener, outcome })
            .inc();
        self.rows.get_or_create(&Side { listener }).inc_by(rows);
        self.bytes.get_or_create(&Side { listener }).inc_by(bytes);
    }

    /// Something was refused with `code`. Codes come from closed vocabularies, so labels are bounded.
    pub fn refused(&self, code: &str) {
        self.refusals
            .get_or_create(&Code {
                code: code.to_owned(),
            })
            .inc();
    }

    /// A negotiation came to `state`.
    pub fn negotiation(&self, state: &'static str) {
        self.negotiations.get_or_create(&State { state }).inc();
    }

    /// Policies need a person: `set-refused`, or `evaluation-error`.
    pub fn policy_alarm(&self, kind: &'static str) {
        self.policy_alarms.get_or_create(&Alarm { kind }).inc();
    }

    /// A receipt came to `state`.
    pub fn receipt(&self, state: &'static str) {
        self.receipts.get_or_create(&State { state }).inc();
    }

    /// Something happened that the owner must look at.
    pub fn alarm(&self, state: &'static str) {
        self.alarms.get_or_create(&State { state }).inc();
    }

    /// Everything as OpenMetrics text.
    pub fn render(&self, reading: Reading) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("comity");
        registry.register(
            "queries",
            "queries ended, by listener and outcome",
            self.queries.clone(),
        );
        registry.register("rows", "rows that left the node", self.rows.clone());
        registry.register(
            "bytes",
            "bytes of Arrow data that left the node",
            self.bytes.clone(),
        );
        registry.register(
            "refusals",
            "refusals, by stable code",
            self.refusals.clone(),
        );
        registry.register(
            "negotiations",
            "state changes of negotiations",
            self.negotiations.clone(),
        );
        registry.register(
            "policy_alarms",
            "sets of policies refused, and policies that could not be evaluated",
            self.policy_alarms.clone(),
        );
        registry.register(
            "receipts",
            "receipts, by what became of them",
            self.receipts.clone(),
        );
        registry.register("alarms", "what the owner must look at", self.alarms.clone());
        for (name, help, value) in [
            (
                "journal_records",
                "records in the journal",
                reading.journal_records,
            ),
            ("partners", "organizations federated with", reading.partners),
            (
                "partners_connected",
                "partners whose node is connected",
                reading.connected,
            ),
            ("agreements", "agreements in force", reading.agreements),
        ] {
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        }
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = Metrics::default();
        metrics.query(Listener::Peers, "ok", 3, 100);
        let same = metrics.clone();
        same.query(Listener::Peers, "ok", 4, 100);
        let text = metrics
            .render(Reading {
                partners: 2,
                ..Reading::default()
            })
            .expect("text");
        assert!(
            text.contains("comity_rows_total{listener=\"peers\"} 7"),
            "{text}"
        );
        assert!(text.contains("comity_partners 2"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
