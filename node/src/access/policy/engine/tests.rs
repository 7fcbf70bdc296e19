//! The contract of the wrapper around Cedar, line by line.

use comity_protocol::terms::Weekday;

use super::super::Files;
use super::super::asked::Agreement;
use super::super::set::{shipped, unlinted};
use super::*;

fn files(text: &str) -> Files {
    let mut files = shipped();
    files
        .policies
        .insert("own.cedar".to_owned(), text.to_owned());
    files
}

fn engine(text: &str) -> CedarEngine {
    CedarEngine::new(ValidSet::validate(&files(text)).unwrap())
}

/// A partner's query for `purpose`, at three on a Monday.
fn query(purpose: &str) -> Asked {
    let purposes = BTreeSet::from([purpose.to_owned()]);
    Asked {
        action: Action::Query,
        principal: Principal::Partner {
            id: "sha256:aa".to_owned(),
            alias: Some("port-authority".to_owned()),
            roles: BTreeSet::from(["analyst".to_owned()]),
            assurance: BTreeSet::from(["local-token".to_owned()]),
        },
        resource: Resource::Product {
            address: "weather".to_owned(),
            org: "sha256:bb".to_owned(),
            own: true,
            classifications: BTreeSet::from(["public".to_owned(), "restricted".to_owned()]),
            tags: BTreeSet::from(["climate".to_owned()]),
        },
        context: Circumstances {
            purposes: purposes.clone(),
            columns: BTreeSet::from(["weather.temp".to_owned()]),
            classifications: BTreeSet::from(["public".to_owned()]),
            roles: BTreeSet::from(["analyst".to_owned()]),
            authentication: BTreeSet::from(["local-token".to_owned()]),
            on_behalf: Some("5f".to_owned()),
            agreement: Some(Agreement {
                id: "sha256:cc".to_owned(),
                purposes,
            }),
            days: None,
            call: None,
            hour: 3,
            weekday: Weekday::Monday,
        },
    }
}

fn forbid(condition: &str) -> String {
    format!(
        "@id(\"x\")\nforbid (principal is Partner, action == Action::\"query\", resource is Product)\nwhen {{ {condition} }};"
    )
}

#[test]
fn every_fact_of_a_query_can_decide() {
    for (condition, holds) in [
        (r#"context.purposes.contains("delay-analysis")"#, true),
        (r#"context.purposes.contains("marketing")"#, false),
        (r#"context.columns.contains("weather.temp")"#, true),
        (r#"context.classifications.contains("restricted")"#, false),
        (r#"resource.classifications.contains("restricted")"#, true),
        (r#"resource.tags.contains("climate")"#, true),
        (r#"resource.address == "weather" && resource.own"#, true),
        (r#"resource == Product::"weather""#, true),
        (r#"principal == Partner::"sha256:aa""#, true),
        (
            r#"principal has alias && principal.alias == "port-authority""#,
            true,
        ),
        (r#"principal.roles.contains("analyst")"#, true),
        (r#"principal.assurance.contains("oidc")"#, false),
        (r#"context.roles.contains("analyst")"#, true),
        (r#"context.authentication.contains("local-token")"#, true),
        (r#"context has onBehalf && context.onBehalf == "5f""#, true),
        (
            r#"context has agreement && context.agreement == Agreement::"sha256:cc""#,
            true,
        ),
        (
            r#"context has agreement && context.agreement.purposes.contains("x")"#,
            false,
        ),
        (r#"context.hour < 6 && context.weekday == "monday""#, true),
        (r#"context has days"#, false),
    ] {
        let decision = engine(&forbid(condition)).decide(&query("delay-analysis"));
        assert_eq!(!decision.allows(), holds, "{condition}: {decision:?}");
        let by = if holds {
            "own.x"
        } else {
            "default.partners-query"
        };
        assert_eq!(decision.by, [by], "{condition}");
        assert!(decision.errors.is_empty());
    }
}

#[test]
fn what_nothing_permits_is_denied() {
    let only = Files {
        policies: shipped().policies,
        ..Files::default()
    };
    let mut only = only;
    let text = only.policies.get_mut("default.cedar").unwrap();
    *text = text.replace(
        "Action::\"query\", resource is Product",
        "Action::\"query\", resource == Product::\"other\"",
    );
    let decision = CedarEngine::new(ValidSet::validate(&only).unwrap()).decide(&query("x"));
    assert!(!decision.allows() && decision.by.is_empty());
    assert_eq!(decision.reason(), "no policy permits it");
}

#[test]
fn a32_a_forbid_that_fails_at_run_time_denies_and_says_so() {
    // Strictly valid, and it overflows on any number: Cedar skips it, and the
    // permit of the shipped set would win.
    let overflows = forbid("context.hour + 9223372036854775807 > 0");
    let set = unlinted::set(&files(&overflows));
    let decision = CedarEngine::new(set).decide(&query("delay-analysis"));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert!(decision.errors[0].contains("own.x"), "{decision:?}");
    assert!(decision.reason().contains("could not be evaluated"));
    // Asked of policies that are loaded as the node loads them, it is refused before.
    assert!(ValidSet::validate(&files(&overflows)).is_err());
}

#[test]
fn a_request_that_is_none_of_the_schema_is_denied_as_an_error() {
    let mut asked = query("x");
    asked.action = Action::Administer;
    let decision = engine(&forbid("context.hour > 23")).decide(&asked);
    assert!(
        !decision.allows() && !decision.errors.is_empty(),
        "{decision:?}"
    );
}

#[test]
fn numbers_are_clamped_at_the_boundary() {
    for (number, clamped) in [
        (3, 3),
        (MAX_NUMBER, i64::from(i32::MAX)),
        (u64::MAX, i64::from(i32::MAX)),
    ] {
        assert_eq!(super::number(number), Value::Number(clamped));
    }
    let mut asked = query("x");
    asked.action = Action::Negotiate;
    asked.context.days = Some(u64::MAX);
    let limit = "@id(\"x\")\nforbid (principal is Partner, action == Action::\"negotiate\", resource is Product)\nwhen { context has days && context.days > 365 };";
    let decision = engine(limit).decide(&asked);
    assert_eq!(
        (decision.allows(), decision.by),
        (false, vec!["own.x".to_owned()])
    );
}

#[test]
fn what_a_peer_sends_stays_a_text() {
    // A purpose, a role, a pseudonym that read like Cedar, JSON or an entity.
    let hostile = r#"{"__entity":{"type":"Administrator","id":"owner"}}"#;
    let mut asked = query(hostile);
    asked.context.on_behalf = Some("Member::\"owner\"".to_owned());
    asked.context.roles = BTreeSet::from([hostile.to_owned()]);
    let engine = engine(&forbid(
        r#"context.roles.contains("owner") || context.purposes.contains("owner")"#,
    ));
    let decision = engine.decide(&asked);
    assert!(
        decision.allows() && decision.errors.is_empty(),
        "{decision:?}"
    );
}

#[test]
fn a_partners_product_is_never_an_own_one() {
    let own = resource(&query("x").resource);
    let Resource::Product {
        address,
        org,
        classifications,
        tags,
        ..
    } = query("x").resource
    else {
        panic!("a product");
    };
    let theirs = resource(&Resource::Product {
        address,
        org,
        own: false,
        classifications,
        tags,
    });
    assert_eq!(
        (own.id.as_str(), theirs.id.as_str()),
        ("weather", "sha256:bb/weather")
    );
}

#[test]
fn every_decision_names_the_set() {
    let engine = engine(&forbid("context.hour > 23"));
    assert_eq!(engine.decide(&query("x")).policy, engine.digest());
}

#[test]
fn every_action_of_the_shipped_set_leaves_things_as_they_are() {
    let engine = CedarEngine::new(ValidSet::validate(&shipped()).unwrap());
    let base = query("x");
    let member = Principal::Member {
        name: "ana".to_owned(),
        roles: BTreeSet::new(),
    };
    let owner = Principal::Administrator {
        role: "owner".to_owned(),
    };
    let agreement = Resource::Agreement {
        id: "sha256:cc".to_owned(),
        purposes: BTreeSet::new(),
    };
    let product = base.resource.clone();
    let partner = base.principal.clone();
    for (action, principal, resource, allowed) in [
        (Action::Discover, &partner, &Resource::Node, true),
        (Action::Negotiate, &partner, &product, true),
        (Action::AutoApprove, &partner, &product, true),
        (Action::Query, &partner, &product, true),
        (Action::Query, &member, &product, true),
        (Action::IssueGrant, &member, &product, true),
        (Action::Administer, &owner, &Resource::Node, true),
        (Action::Export, &owner, &agreement, true),
        (Action::Export, &owner, &Resource::Node, true),
        (Action::Export, &member, &agreement, false),
        (Action::Administer, &member, &Resource::Node, false),
        (Action::IssueGrant, &partner, &product, false),
    ] {
        let asked = Asked {
            action,
            principal: principal.clone(),
            resource: resource.clone(),
            context: base.context.clone(),
        };
        let decision = engine.decide(&asked);
        assert_eq!(decision.allows(), allowed, "{action:?}: {decision:?}");
    }
}
