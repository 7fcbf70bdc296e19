//! Policies that were validated, all together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    ActionConstraint, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator,
};
use comity_identity::Digest;
use serde::{Deserialize, Serialize};

use super::folder::Files;
use super::{Action, bounds};

/// The schema that policies are validated against. It comes with the program:
/// one beside the policies could be changed to make a wrong policy valid.
pub const SCHEMA: &str = include_str!("comity.cedarschema");

/// The file of the shipped policies, and their text.
const SHIPPED: (&str, &str) = ("default.cedar", include_str!("default.cedar"));

/// The most policies of a set: a decision takes longer with each.
const MAX_POLICIES: usize = 512;

/// The most problems that are told at one time.
const MAX_PROBLEMS: usize = 20;

/// The most characters of a problem's reason.
const MAX_REASON_CHARS: usize = 500;

/// Policies that decide: every file of them parsed, strictly valid, without a
/// warning. [`ValidSet::validate`] is the one constructor
/// (`spec/7-policy.md#R-7`).
#[derive(Clone, Debug)]
pub struct ValidSet {
    schema: Schema,
    by_action: BTreeMap<Action, PolicySet>,
    files: BTreeMap<String, Digest>,
    digest: Digest,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

/// The policies that come with the program: they permit whatever agreements,
/// grants and rules permit.
pub fn shipped() -> Files {
    let (name, text) = SHIPPED;
    Files {
        policies: [(name.to_owned(), text.to_owned())].into(),
        tests: BTreeMap::new(),
    }
}

impl ValidSet {
    /// Validates `files` as a whole: one problem refuses them all.
    pub fn validate(files: &Files) -> Result<Self, Vec<Problem>> {
        let policies = parsed(files)?;
        let calculating: Vec<Problem> = policies
            .iter()
            .filter(|known| calculates(&known.policy))
            .map(|known| {
                let reason = "calculates: '+', '-' and '*' can overflow, and a policy that fails would decide nothing; compare instead";
                Problem::of_file(&known.file, format!("policy {} {reason}", known.policy.id()))
            })
            .collect();
        if !calculating.is_empty() {
            return Err(calculating);
        }
        Self::checked(files, policies)
    }

    /// Everything that [`ValidSet::validate`] asks of parsed policies but that
    /// they do not calculate: strict validation lets an overflow pass, and a
    /// test must be able to bring one about (A32).
    fn checked(files: &Files, policies: Vec<Known>) -> Result<Self, Vec<Problem>> {
        let schema = schema()?;
        let file_of: BTreeMap<PolicyId, String> = policies
            .iter()
            .map(|known| (known.policy.id().clone(), known.file.clone()))
            .collect();
        let whole = PolicySet::from_policies(policies.iter().map(|k| k.policy.clone()))
            .map_err(|e| vec![Problem::of_file("policies", e.to_string())])?;
        let result = Validator::new(schema.clone()).validate(&whole, ValidationMode::Strict);
        if !result.validation_passed_without_warnings() {
            let told = |id: &PolicyId, error: DetailedError| {
                let file = file_of.get(id).cloned().unwrap_or_default();
                let text = files.policies.get(&file).map_or("", String::as_str);
                problem(&file, text, &error)
            };
            let errors = result.validation_errors();
            let errors = errors.map(|e| told(e.policy_id(), DetailedError::from(e)));
            let warnings = result.validation_warnings();
            let warnings = warnings.map(|w| told(w.policy_id(), DetailedError::from(w)));
            return Err(errors.chain(warnings).take(MAX_PROBLEMS).collect());
        }
        // Sliced by action: a decision's time grows with the policies it reads.
        let mut by_action = BTreeMap::new();
        for action in Action::ALL {
            let about = policies.iter().map(|k| &k.policy);
            let about = about.filter(|p| is_about(p, action)).cloned();
            let slice = PolicySet::from_policies(about)
                .map_err(|e| vec![Problem::of_file("policies", e.to_string())])?;
            by_action.insert(action, slice);
        }
        let texts = files.policies.iter();
        let files: BTreeMap<String, Digest> = texts
            .map(|(name, text)| (name.clone(), Digest::of(text.as_bytes())))
            .collect();
        let digest = digest(&files).map_err(|reason| vec![Problem::of_file("policies", reason)])?;
        Ok(Self {
            schema,
            by_action,
            files,
            digest,
        })
    }

    /// The schema.
    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The policies that may have something to say about `action`.
    pub(super) fn about(&self, action: Action) -> Option<&PolicySet> {
        self.by_action.get(&action)
    }

    /// The digest of every file, by name.
    pub fn files(&self) -> &BTreeMap<String, Digest> {
        &self.files
    }

    /// The digest of the whole set (`spec/7-policy.md#R-6`).
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many policies there are.
    pub fn policies(&self) -> usize {
        let ids = self.by_action.values().flat_map(PolicySet::policies);
        ids.map(Policy::id).collect::<BTreeSet<_>>().len()
    }
}

impl Problem {
    /// A problem of a whole file.
    pub(super) fn of_file(file: &str, reason: impl Into<String>) -> Self {
        let reason: String = reason.into();
        Self {
            file: file.to_owned(),
            line: None,
            reason: reason.chars().take(MAX_REASON_CHARS).collect(),
        }
    }

    /// A problem at a line.
    pub(super) fn at(file: &str, line: usize, reason: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::of_file(file, reason)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.reason),
            None => write!(f, "{}: {}", self.file, self.reason),
        }
    }
}

/// A parsed policy under its own id, and where it stands.
struct Known {
    policy: Policy,
    file: String,
}

/// Parses every file; ids are `FILE.ID`, with the `@id` of the policy.
fn parsed(files: &Files) -> Result<Vec<Known>, Vec<Problem>> {
    let (mut known, mut problems) = (Vec::new(), Vec::new());
    for (file, text) in &files.policies {
        match policies_of(file, text) {
            Ok(policies) => known.extend(policies),
            Err(found) => problems.extend(found),
        }
    }
    if known.is_empty() && problems.is_empty() {
        let reason = "no policy, so nothing would be permitted; write 'permit' policies, or remove the folder to use those that come with the program";
        problems.push(Problem::of_file("policies", reason));
    }
    if known.len() > MAX_POLICIES {
        let reason = format!("more than {MAX_POLICIES} policies");
        problems.push(Problem::of_file("policies", reason));
    }
    let mut ids = BTreeSet::new();
    for twice in known.iter().filter(|k| !ids.insert(k.policy.id().clone())) {
        let reason = format!("two policies have the id {}", twice.policy.id());
        problems.push(Problem::of_file(&twice.file, reason));
    }
    problems.truncate(MAX_PROBLEMS);
    if problems.is_empty() {
        Ok(known)
    } else {
        Err(problems)
    }
}

fn policies_of(file: &str, text: &str) -> Result<Vec<Known>, Vec<Problem>> {
    bounds::check(file, text).map_err(|p| vec![p])?;
    let set: PolicySet = text
        .parse()
        .map_err(|e: cedar_policy::ParseErrors| problems(file, text, &DetailedError::from(&e)))?;
    if set.templates().next().is_some() {
        let reason = "a template decides nothing here; write the principal and the resource out";
        return Err(vec![Problem::of_file(file, reason)]);
    }
    let stem = file.trim_end_matches(".cedar");
    let known = set.policies().map(|policy| {
        // An id that is told to people and stands in tests must outlive the
        // insertion of a policy before it; the parser's numbers do not.
        let Some(id) = policy.annotation("id").filter(|id| is_id(id)) else {
            let reason = "a policy has no id of 1 to 64 letters, digits, '-' and '_'; write @id(\"NAME\") before it";
            let first = policy.to_string();
            let first = first.lines().next().unwrap_or_default();
            return Err(vec![Problem::of_file(file, format!("{reason}: {first}"))]);
        };
        Ok(Known {
            policy: policy.new_id(PolicyId::new(format!("{stem}.{id}"))),
            file: file.to_owned(),
        })
    });
    known.collect()
}

fn is_id(id: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    (1..=64).contains(&id.len()) && id.bytes().all(fits)
}

/// Whether `policy` may have something to say about `action`.
fn is_about(policy: &Policy, action: Action) -> bool {
    let is = |uid: &cedar_policy::EntityUid| uid.id().unescaped() == action.name();
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => is(&uid),
        ActionConstraint::In(uids) => uids.iter().any(is),
    }
}

/// Whether a policy has an operator that can overflow (`spec/7-policy.md#R-5`).
fn calculates(policy: &Policy) -> bool {
    fn found(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Array(list) => list.iter().any(found),
            serde_json::Value::Object(map) => map.iter().any(|(key, inner)| {
                // A literal is no operator, whatever it says.
                key != "Value" && (["+", "-", "*", "neg"].contains(&key.as_str()) || found(inner))
            }),
            _ => false,
        }
    }
    // What cannot be looked through does not pass.
    policy
        .to_json()
        .map_or(true, |json| json.get("conditions").is_some_and(found))
}

fn schema() -> Result<Schema, Vec<Problem>> {
    let parsed = Schema::from_cedarschema_str(SCHEMA);
    let refused = |e: String| vec![Problem::of_file("comity.cedarschema", e)];
    let (schema, mut warnings) = parsed.map_err(|e| refused(e.to_string()))?;
    match warnings.next() {
        None => Ok(schema),
        Some(warning) => Err(refused(warning.to_string())),
    }
}

/// The digest of a set: SHA-256 over the canonical JSON (RFC 8785) of the
/// digests of the schema and of every file.
fn digest(files: &BTreeMap<String, Digest>) -> Result<Digest, String> {
    let value = serde_json::json!({"files": files, "schema": Digest::of(SCHEMA.as_bytes())});
    let bytes = serde_json_canonicalizer::to_vec(&value).map_err(|e| e.to_string())?;
    Ok(Digest::of(&bytes))
}

/// A problem for each of the errors that a parser's error holds.
fn problems(file: &str, text: &str, error: &DetailedError) -> Vec<Problem> {
    let first = problem(file, text, error);
    let related = error.related.iter().map(|e| problem(file, text, e));
    std::iter::once(first)
        .chain(related)
        .take(MAX_PROBLEMS)
        .collect()
}

fn problem(file: &str, text: &str, error: &DetailedError) -> Problem {
    let mut reason = error.message.clone();
    if let Some(help) = &error.help {
        reason = format!("{reason} ({help})");
    }
    let start = error.source_locations.first().map(|label| label.loc.start);
    match start.and_then(|start| text.get(..start)) {
        Some(before) => Problem::at(file, before.matches('\n').count() + 1, reason),
        None => Problem::of_file(file, reason),
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) mod unlinted {
    //! A set that may calculate, for the test of what happens when a policy fails.

    use super::*;

    pub(in crate::access::policy) fn set(files: &Files) -> ValidSet {
        ValidSet::checked(files, parsed(files).unwrap()).unwrap()
    }
}
