//! Which statement of the vector file is accepted when, and by which rule it is refused.

use std::time::Duration;

use comity_identity::Timestamp;
use serde_json::{Value, json};

use crate::world::{DAY, NOW, Party};

const SECOND: Duration = Duration::from_secs(1);

/// The cases of the file.
pub(crate) fn cases(provider: &Party, consumer: &Party) -> Vec<Value> {
    let (p, c) = (Some(provider.org()), Some(consumer.org()));
    let week = NOW.saturating_add(7 * DAY);
    let mut cases = Vec::new();
    let mut case = |rule: &str, kind: &str, text: &str, org, now: Timestamp, accepted, name| {
        let mut case = json!({
            "name": name, "rule": rule, "kind": kind, "text": text, "now": now,
            "accepted": accepted,
        });
        if let Some(org) = org {
            case["org"] = json!(org);
        }
        cases.push(case);
    };
    let before = |t: Timestamp| t.saturating_sub(SECOND);
    let early = NOW.saturating_sub(Duration::from_secs(60));
    case(
        "C-1",
        "descriptor",
        "descriptor",
        p,
        NOW,
        true,
        "an honest descriptor",
    );
    case(
        "C-1",
        "descriptor",
        "descriptor-by-agree",
        p,
        NOW,
        false,
        "a key without the role (A9)",
    );
    case(
        "C-1",
        "descriptor",
        "descriptor-by-consumer",
        p,
        NOW,
        false,
        "another organization's key (A9)",
    );
    case(
        "C-2",
        "descriptor",
        "descriptor-by-consumer",
        c,
        NOW,
        false,
        "for another organization (A9)",
    );
    case(
        "C-4",
        "descriptor",
        "descriptor-other-contract",
        p,
        NOW,
        false,
        "another contract",
    );
    case(
        "C-7",
        "descriptor",
        "descriptor",
        p,
        early,
        true,
        "issued a minute ahead",
    );
    case(
        "C-7",
        "descriptor",
        "descriptor",
        p,
        before(week),
        true,
        "the last second of a descriptor",
    );
    case(
        "C-7",
        "descriptor",
        "descriptor",
        p,
        week,
        false,
        "an expired descriptor",
    );
    case("C-10", "head", "head", p, NOW, true, "an honest head");
    case(
        "C-10",
        "head",
        "head-by-agree",
        p,
        NOW,
        false,
        "a head by a key without the role (A9)",
    );
    case(
        "C-11",
        "head",
        "head-31-days",
        p,
        NOW,
        false,
        "a head that lives too long",
    );
    case("C-12", "head", "head", p, week, false, "an expired head");
    for (rule, text, accepted, name) in [
        ("C-90", "results", true, "honest results"),
        ("C-93", "results-second", true, "the statement that follows"),
        (
            "C-90",
            "results-by-agree",
            false,
            "results by a key without the role (A9)",
        ),
        (
            "C-91",
            "results-two-versions",
            false,
            "results that say two things",
        ),
        (
            "C-93",
            "results-no-prev",
            false,
            "a second statement without a first",
        ),
    ] {
        case(rule, "results", text, p, NOW, accepted, name);
    }
    case("C-13", "list", "list", p, NOW, true, "the list of the head");
    case(
        "C-13",
        "list",
        "list-spaced",
        p,
        NOW,
        false,
        "the same list in another spelling",
    );
    case(
        "N-1",
        "invitation",
        "invitation",
        None,
        NOW,
        true,
        "an honest invitation",
    );
    case(
        "N-1",
        "invitation",
        "invitation-by-announce",
        None,
        NOW,
        false,
        "by a key without the role",
    );
    case(
        "N-2",
        "invitation",
        "invitation-other-node",
        None,
        NOW,
        false,
        "to a node of another",
    );
    let tomorrow = NOW.saturating_add(DAY);
    case(
        "N-3",
        "invitation",
        "invitation",
        None,
        tomorrow,
        false,
        "an expired invitation",
    );
    for text in ["request", "counter", "accept", "verify"] {
        case(
            "N-9",
            "message",
            text,
            c,
            NOW,
            true,
            "a message of the consumer",
        );
        case(
            "N-9",
            "message",
            text,
            p,
            NOW,
            false,
            "the same in the provider's name",
        );
    }
    for (text, name) in [
        ("request-without-end", "a proposal that never ends"),
        ("request-open-for-a-year", "a proposal that ends too late"),
    ] {
        case("N-90", "message", text, c, NOW, false, name);
    }
    for text in ["offer", "agree", "finalize", "terminate"] {
        case(
            "N-9",
            "message",
            text,
            p,
            NOW,
            true,
            "a message of the provider",
        );
    }
    case(
        "N-21",
        "agreement",
        "agreement",
        None,
        NOW,
        true,
        "signed by both",
    );
    case(
        "N-21",
        "agreement",
        "agreement-half",
        None,
        NOW,
        false,
        "signed by the provider only",
    );
    case(
        "N-21",
        "agreement",
        "agreement-other-role",
        None,
        NOW,
        false,
        "countersigned by a key without the role",
    );
    case(
        "N-21",
        "agreement",
        "agreement-third-signature",
        None,
        NOW,
        false,
        "a third signature beside",
    );
    case(
        "N-21",
        "agreement",
        "agreement-other-terms",
        None,
        NOW,
        false,
        "other terms under both signatures (A48)",
    );
    case(
        "N-21",
        "agreement",
        "federation",
        None,
        NOW,
        false,
        "a federation is no agreement",
    );
    case(
        "N-21",
        "federation",
        "federation",
        None,
        NOW,
        true,
        "a federation",
    );
    case(
        "N-23",
        "revocation",
        "revocation",
        p,
        NOW,
        true,
        "an honest revocation",
    );
    case(
        "N-23",
        "revocation",
        "revocation-by-consumer",
        p,
        NOW,
        false,
        "signed by the other side",
    );
    case(
        "N-26",
        "receipt",
        "receipt",
        None,
        NOW,
        true,
        "signed by both",
    );
    case(
        "N-26",
        "receipt",
        "receipt-half",
        None,
        NOW,
        false,
        "signed by the provider only",
    );
    for (text, accepted, name) in [
        ("checkpoint", true, "an honest checkpoint"),
        (
            "checkpoint-by-consumer",
            false,
            "signed by another organization",
        ),
    ] {
        case("V-5", "checkpoint", text, p, NOW, accepted, name);
    }
    case(
        "N-65",
        "dispute",
        "dispute",
        c,
        NOW,
        true,
        "the consumer received something else",
    );
    case(
        "N-65",
        "dispute",
        "dispute",
        p,
        NOW,
        false,
        "a dispute of the consumer is not the provider's",
    );
    cases
}
