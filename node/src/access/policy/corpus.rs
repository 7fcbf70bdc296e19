//! Requests with the decisions that are expected of them.

use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::folder::Files;
use super::set::Problem;
use super::{PolicyEngine, Verdict};

/// The most cases of one file.
const MAX_CASES: usize = 1_000;

/// The most characters of a case's name.
const MAX_NAME_CHARS: usize = 200;

/// The tests of a set of policies: what must be decided before it may decide
/// anything (`spec/7-policy.md#R-3`).
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    cases: Vec<(String, Case)>,
}

/// One request, and what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The request.
    pub request: Asked,
    /// The decision.
    pub expect: Verdict,
    /// The ids of the policies that must have decided, if they matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Vec<String>>,
}

/// A case that was decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaseFailure {
    /// The file of the case.
    pub file: String,
    /// The case's name.
    pub case: String,
    /// What was expected, and what came.
    pub reason: String,
}

impl Corpus {
    /// The cases of the tests among `files`.
    pub fn read(files: &Files) -> Result<Self, Vec<Problem>> {
        let mut corpus = Self::default();
        let mut problems = Vec::new();
        for (file, text) in &files.tests {
            match cases(&format!("tests/{file}"), text) {
                Ok(cases) => corpus.cases.extend(cases),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(corpus)
        } else {
            Err(problems)
        }
    }

    /// Adds the cases of one more file.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Problem> {
        self.cases.extend(cases(file, text)?);
        Ok(())
    }

    /// How many cases there are.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// The cases that `engine` decides otherwise than expected.
    pub fn run(&self, engine: &dyn PolicyEngine) -> Vec<CaseFailure> {
        let failed = |(file, case): &(String, Case)| {
            let reason = case.differs(engine)?;
            Some(CaseFailure {
                file: file.clone(),
                case: case.name.clone(),
                reason,
            })
        };
        self.cases.iter().filter_map(failed).collect()
    }
}

impl Case {
    fn differs(&self, engine: &dyn PolicyEngine) -> Option<String> {
        let decision = engine.decide(&self.request);
        let (expected, came) = (self.expect.name(), decision.verdict.name());
        // A deny because of an error is no decision that anybody expects.
        if let Some(error) = decision.errors.first() {
            return Some(format!(
                "expected {expected}, and it could not be decided: {error}"
            ));
        }
        let by = decision.by.join(", ");
        if decision.verdict != self.expect {
            let by = if by.is_empty() {
                "no policy".to_owned()
            } else {
                by
            };
            return Some(format!("expected {expected}, came {came} by {by}"));
        }
        let mut wanted = self.by.clone()?;
        wanted.sort();
        let same = wanted == decision.by;
        (!same).then(|| format!("expected {expected} by {}, came by {by}", wanted.join(", ")))
    }
}

fn cases(file: &str, text: &str) -> Result<Vec<(String, Case)>, Problem> {
    let cases: Vec<Case> = serde_json::from_str(text)
        .map_err(|e| Problem::at(file, e.line(), format!("is no list of cases: {e}")))?;
    if cases.len() > MAX_CASES {
        return Err(Problem::of_file(
            file,
            format!("has more than {MAX_CASES} cases"),
        ));
    }
    if cases
        .iter()
        .any(|c| c.name.chars().count() > MAX_NAME_CHARS)
    {
        let reason = format!("a case's name has more than {MAX_NAME_CHARS} characters");
        return Err(Problem::of_file(file, reason));
    }
    Ok(cases
        .into_iter()
        .map(|case| (file.to_owned(), case))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::CedarEngine;
    use super::super::set::{ValidSet, shipped};
    use super::*;

    fn failures(cases: &str) -> Vec<String> {
        let mut corpus = Corpus::default();
        corpus.add("cases.json", cases).unwrap();
        let engine = CedarEngine::new(ValidSet::validate(&shipped()).unwrap());
        corpus.run(&engine).into_iter().map(|f| f.reason).collect()
    }

    fn case(expect: &str, by: &str) -> String {
        format!(
            r#"[{{"name": "a partner reads", "expect": "{expect}"{by}, "request": {{
                "action": "query", "principal": {{"partner": {{"alias": "port-authority"}}}},
                "resource": {{"product": {{"address": "weather"}}}},
                "context": {{"purposes": ["delay-analysis"], "hour": 12}}}}}}]"#
        )
    }

    #[test]
    fn a_case_fails_by_its_decision_or_by_who_decided() {
        assert!(failures(&case("allow", "")).is_empty());
        assert!(failures(&case("allow", r#", "by": ["default.partners-query"]"#)).is_empty());
        let denied = failures(&case("deny", ""));
        assert_eq!(
            denied,
            ["expected deny, came allow by default.partners-query"]
        );
        let other = failures(&case("allow", r#", "by": ["own.x"]"#));
        assert_eq!(
            other,
            ["expected allow by own.x, came by default.partners-query"]
        );
    }

    #[test]
    fn an_error_meets_no_expectation() {
        let wrong = case("deny", "").replace("\"query\"", "\"administer\"");
        assert!(failures(&wrong)[0].contains("could not be decided"));
    }

    #[test]
    fn a_file_that_is_no_corpus_is_refused_with_its_line() {
        let mut corpus = Corpus::default();
        let said = corpus
            .add("c.json", "[\n{\"name\": 1}]")
            .unwrap_err()
            .to_string();
        assert!(said.starts_with("c.json:2: "), "{said}");
        let unknown = case("allow", "").replace("\"hour\"", "\"hours\"");
        assert!(corpus.add("c.json", &unknown).is_err());
    }
}
