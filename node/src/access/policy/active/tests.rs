//! How sets come into force, and how they do not.

use std::collections::BTreeSet;

use super::super::asked::{Action, Circumstances, Principal, Resource};
use super::super::{Permitted, Verdict};
use super::*;
use crate::home::Home;

const NO_MARKETING: &str = r#"@id("no-marketing")
forbid (principal is Partner, action == Action::"query", resource is Product)
when { context.purposes.contains("marketing") };
"#;

struct World {
    dir: tempfile::TempDir,
    ledger: Arc<Ledger>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let ledger = Arc::new(Ledger::create(&home.journal()).unwrap());
        Self { dir, ledger }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("policies")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The shipped policies and `text`.
    fn with(self, text: &str) -> Self {
        self.write("default.cedar", include_str!("../default.cedar"));
        self.write("own.cedar", text);
        self
    }

    async fn start(&self) -> Result<Arc<Policies>, Failure> {
        let started = Policies::start(self.folder(), Arc::clone(&self.ledger), Metrics::default());
        started.await.map(Arc::new)
    }

    /// The records about policies, oldest first.
    fn records(&self) -> Vec<Record> {
        let all = self.ledger.records().unwrap();
        let about = |r: &Record| matches!(r, Record::PolicyActivated(_) | Record::PolicyRefused(_));
        all.into_iter().filter(about).collect()
    }
}

fn query(purpose: &str) -> Asked {
    Asked {
        action: Action::Query,
        principal: Principal::Partner {
            id: "sha256:aa".to_owned(),
            alias: None,
            roles: BTreeSet::new(),
            assurance: BTreeSet::new(),
        },
        resource: Resource::Product {
            address: "weather".to_owned(),
            org: String::new(),
            own: true,
            classifications: BTreeSet::new(),
            tags: BTreeSet::new(),
        },
        context: Circumstances {
            purposes: BTreeSet::from([purpose.to_owned()]),
            ..Circumstances::default()
        },
    }
}

async fn settle(policies: &Policies) {
    for _ in 0..2 {
        policies.look().await;
    }
}

#[tokio::test]
async fn a_home_without_policies_uses_those_of_the_program() {
    let world = World::new();
    let policies = world.start().await.unwrap();
    assert!(policies.decide(&query("marketing")).allows());
    assert_eq!(policies.status().files, ["default.cedar"]);
    assert_eq!(world.records().len(), 1);
    // The same set is written down once.
    world.start().await.unwrap();
    assert_eq!(world.records().len(), 1);
}

#[tokio::test]
async fn an_invalid_set_stops_the_start_with_file_line_and_reason() {
    let world =
        World::new().with("@id(\"x\")\nforbid (principal, action, resource)\nwhen { nonsense };");
    let said = world.start().await.unwrap_err().to_string();
    assert!(said.starts_with("own.cedar:3: "), "{said}");
    assert!(world.records().is_empty());
}

#[tokio::test]
async fn a_change_counts_when_two_looks_agree_and_the_journal_has_it() {
    let world = World::new().with("");
    let policies = world.start().await.unwrap();
    let before = policies.digest();
    world.write("own.cedar", NO_MARKETING);
    policies.look().await;
    assert_eq!(policies.digest(), before, "a file may be half written");
    policies.look().await;
    assert_eq!(policies.epoch(), 2);
    let decision = policies.decide(&query("marketing"));
    assert_eq!(
        (decision.verdict, decision.by),
        (Verdict::Deny, vec!["own.no-marketing".to_owned()])
    );
    assert!(policies.decide(&query("delay-analysis")).allows());
    let records = world.records();
    let Some(Record::PolicyActivated(last)) = records.last() else {
        panic!("{records:?}");
    };
    assert_eq!((last.digest, records.len()), (policies.digest(), 2));
    assert_eq!(last.files["own.cedar"], Digest::of(NO_MARKETING.as_bytes()));
    settle(&policies).await;
    assert_eq!(policies.epoch(), 2, "nothing changed");
}

#[tokio::test]
async fn a_broken_set_is_refused_as_a_whole_and_raises_the_alarm() {
    let world = World::new().with(NO_MARKETING);
    let policies = world.start().await.unwrap();
    let before = policies.digest();
    world.write("more.cedar", "@id(\"y\")\npermit (principal, action");
    settle(&policies).await;
    assert_eq!((policies.digest(), policies.epoch()), (before, 1));
    assert!(!policies.decide(&query("marketing")).allows());
    let refused = policies.status().refused.unwrap();
    assert_eq!(
        (refused[0].file.as_str(), refused[0].line),
        ("more.cedar", Some(2))
    );
    assert!(
        matches!(world.records().last(), Some(Record::PolicyRefused(r)) if r.in_force == before)
    );
    let metrics = policies.metrics.render(Default::default()).unwrap();
    assert!(
        metrics.contains(r#"comity_policy_alarms_total{kind="set-refused"} 1"#),
        "{metrics}"
    );
    // Told once, not at every look; and all is well when the file is.
    settle(&policies).await;
    assert_eq!(world.records().len(), 2);
    std::fs::remove_file(world.folder().join("more.cedar")).unwrap();
    settle(&policies).await;
    assert_eq!(policies.status().refused, None);
}

#[tokio::test]
async fn a_folder_that_goes_takes_no_rule_with_it() {
    let world = World::new().with(NO_MARKETING);
    let policies = world.start().await.unwrap();
    std::fs::remove_dir_all(world.folder()).unwrap();
    settle(&policies).await;
    assert!(!policies.decide(&query("marketing")).allows());
    assert!(
        policies.status().refused.unwrap()[0]
            .reason
            .contains("gone")
    );
}

#[tokio::test]
async fn a_set_that_fails_its_tests_is_not_activated() {
    let case = |expect: &str| {
        let request = serde_json::to_string(&query("marketing")).unwrap();
        format!(r#"[{{"name": "no marketing", "request": {request}, "expect": "{expect}"}}]"#)
    };
    let world = World::new().with(NO_MARKETING);
    world.write("tests/cases.json", &case("deny"));
    let policies = world.start().await.unwrap();
    world.write("own.cedar", "");
    settle(&policies).await;
    assert!(!policies.decide(&query("marketing")).allows());
    let refused = policies.status().refused.unwrap();
    assert!(
        refused[0]
            .to_string()
            .starts_with("tests/cases.json: no marketing: expected deny"),
        "{refused:?}"
    );
    world.write("tests/cases.json", &case("allow"));
    settle(&policies).await;
    assert!(policies.decide(&query("marketing")).allows());
    // At the start it stops the node.
    world.write("tests/cases.json", &case("deny"));
    assert!(
        world
            .start()
            .await
            .unwrap_err()
            .to_string()
            .contains("no marketing")
    );
}

#[tokio::test]
async fn a_running_answer_is_judged_again_when_the_set_or_the_hour_changes() {
    let world = World::new().with("");
    let policies = world.start().await.unwrap();
    let noon = Timestamp::from_secs(12 * 3600);
    let mut asked = query("marketing");
    asked.context.set_time(noon);
    let permitted = Permitted::decide(&policies, asked, noon).unwrap();
    assert_eq!(permitted.check(noon), Ok(()));
    let night = NO_MARKETING.replace(
        "context.purposes.contains(\"marketing\")",
        "context.hour > 21",
    );
    world.write("own.cedar", &night);
    settle(&policies).await;
    assert_eq!(permitted.check(noon), Ok(()));
    assert_eq!(
        permitted.check(Timestamp::from_secs(22 * 3600)),
        Err("policy")
    );
    world.write("own.cedar", NO_MARKETING);
    settle(&policies).await;
    assert_eq!(permitted.check(noon), Err("policy"));
}

#[tokio::test]
async fn the_owner_learns_which_policy_and_which_fact_refused() {
    let world = World::new().with(NO_MARKETING);
    let policies = world.start().await.unwrap();
    let why = policies.permit(query("marketing")).unwrap_err();
    assert_eq!(why.code, "policy");
    assert_eq!(
        why.reason,
        "query: forbidden by own.no-marketing; context.purposes = [\"marketing\"]"
    );
}

#[tokio::test]
async fn an_export_needs_the_owner() {
    let world = World::new();
    let policies = world.start().await.unwrap();
    assert!(policies.permit_export("owner", None).is_ok());
    let world = World::new().with(
        "@id(\"no\")\nforbid (principal is Administrator, action == Action::\"export\", resource)\nunless { principal.role == \"owner\" };",
    );
    let policies = world.start().await.unwrap();
    assert!(policies.permit_export("owner", None).is_ok());
    assert_eq!(
        policies.permit_export("token", None).unwrap_err().code(),
        "policy"
    );
}
