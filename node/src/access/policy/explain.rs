//! Which policy and which fact decided.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::asked::Asked;
use super::engine::{Attributes, CedarEngine, agreement, circumstances, principal, resource};
use super::{Decision, PolicyEngine as _};

/// A decision with what it rests on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Explanation {
    /// What was asked, with all that the node knew of it.
    pub request: Asked,
    /// What was decided.
    pub decision: Decision,
    /// What the deciding policies looked at; where none decided, what those
    /// looked at that could have permitted it.
    pub facts: Vec<Fact>,
}

/// A fact that a policy looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fact {
    /// The policy's id.
    pub policy: String,
    /// The fact as policies name it, such as `context.purposes`.
    pub fact: String,
    /// What it was, as JSON text; none where it was absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Decides `asked` by `engine` and says what that rests on.
pub(super) fn explain(engine: &CedarEngine, asked: Asked) -> Explanation {
    let decision = engine.decide(&asked);
    let decided = decision.by.iter();
    let mut policies: Vec<&Policy> = decided
        .filter_map(|id| engine.policy(asked.action, id))
        .collect();
    if policies.is_empty() {
        let all = engine.set().about(asked.action);
        policies = all.into_iter().flat_map(|set| set.policies()).collect();
    }
    let facts: BTreeSet<Fact> = policies.iter().flat_map(|p| facts(p, &asked)).collect();
    Explanation {
        request: asked,
        decision,
        facts: facts.into_iter().collect(),
    }
}

fn facts(policy: &Policy, asked: &Asked) -> Vec<Fact> {
    let Ok(json) = policy.to_json() else {
        return Vec::new();
    };
    let mut paths = BTreeSet::new();
    if let Some(conditions) = json.get("conditions") {
        named(conditions, &mut paths);
    }
    let fact = |path: String| Fact {
        policy: policy.id().to_string(),
        value: value(&path, asked),
        fact: path,
    };
    paths.into_iter().map(fact).collect()
}

/// Collects the attributes that an expression names, longest paths only.
fn named(expression: &Json, paths: &mut BTreeSet<String>) {
    if let Some(path) = path(expression) {
        paths.insert(path);
        return;
    }
    match expression {
        Json::Array(list) => list.iter().for_each(|e| named(e, paths)),
        Json::Object(map) => {
            let values = map.iter().filter(|(key, _)| *key != "Value");
            values.for_each(|(_, e)| named(e, paths));
        }
        _ => {}
    }
}

/// `context.agreement.id` of `{".": {"left": …, "attr": "id"}}`, and of `has` likewise.
fn path(expression: &Json) -> Option<String> {
    if let Some(variable) = expression.get("Var").and_then(Json::as_str) {
        return Some(variable.to_owned());
    }
    let access = expression.get(".").or_else(|| expression.get("has"))?;
    let left = path(access.get("left")?)?;
    Some(format!("{left}.{}", access.get("attr")?.as_str()?))
}

fn value(path: &str, asked: &Asked) -> Option<String> {
    let of =
        |attributes: &Attributes, name: &str| serde_json::to_string(attributes.get(name)?).ok();
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["principal"] => serde_json::to_string(&asked.principal).ok(),
        ["resource"] => serde_json::to_string(&asked.resource).ok(),
        ["action"] => Some(asked.action.name().to_owned()),
        ["principal", name] => of(&principal(&asked.principal).attributes, name),
        ["resource", name] => of(&resource(&asked.resource).attributes, name),
        ["context", name] => of(&circumstances(&asked.context), name),
        ["context", "agreement", name] => of(&agreement(&asked.context)?.attributes, name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::asked::{Action, Circumstances, Principal, Resource};
    use super::super::set::{ValidSet, shipped};
    use super::*;

    #[test]
    fn the_policy_and_the_facts_that_decided_are_named() {
        let mut files = shipped();
        let text = r#"@id("night")
            forbid (principal is Member, action == Action::"query", resource is Product)
            when { context.hour < 6 && !(principal.roles.contains("night-shift")) && !(context has onBehalf) };"#;
        files
            .policies
            .insert("own.cedar".to_owned(), text.to_owned());
        let engine = CedarEngine::new(ValidSet::validate(&files).unwrap());
        let asked = Asked {
            action: Action::Query,
            principal: Principal::Member {
                name: "ana".to_owned(),
                roles: ["day-shift".to_owned()].into(),
            },
            resource: Resource::Product {
                address: "flights".to_owned(),
                org: String::new(),
                own: true,
                classifications: BTreeSet::new(),
                tags: BTreeSet::new(),
            },
            context: Circumstances {
                hour: 3,
                ..Circumstances::default()
            },
        };
        let explained = engine.explain(asked);
        assert_eq!(explained.decision.by, ["own.night"]);
        let fact = |fact: &str, value: Option<&str>| Fact {
            policy: "own.night".to_owned(),
            fact: fact.to_owned(),
            value: value.map(str::to_owned),
        };
        let facts = [
            fact("context.hour", Some("3")),
            fact("context.onBehalf", None),
            fact("principal.roles", Some("[\"day-shift\"]")),
        ];
        assert_eq!(explained.facts, facts);
    }
}
