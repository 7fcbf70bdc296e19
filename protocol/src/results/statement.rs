//! The statement as it is signed: in-toto outside, OORS inside.
//!
//! Both name the same facts twice (`version`, `observedAt`); what is said
//! twice must be the same, so that no two readers see two measurements.

use comity_identity::{Digest, OrgId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Check, Results, TableExtent};
use crate::address::Address;
use crate::keys::StatementError;
use crate::version::Version;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "urn:comity:quality-results:v1";
const OORS: &str = "v0.1.0";
const KIND: &str = "ObservabilityResults";
const STANDARD: &str = "ODCS";

/// The payload (`spec/3-catalog.md#C-91`).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: [Subject; 1],
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: Sha256,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sha256 {
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Predicate {
    api_version: String,
    kind: String,
    id: String,
    observed_at: String,
    source: Source,
    contract: Contract,
    results: Vec<Check>,
    comity: Chain,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    process: String,
    version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contract {
    #[serde(rename = "contractID")]
    id: String,
    standard: String,
    version: Version,
}

/// What OORS has no place for: whose chain it is, and where in it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    v: u64,
    org: OrgId,
    product: Address,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    prev: Option<Digest>,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    due: Option<Timestamp>,
    #[serde(skip_serializing_if = "is_zero", default)]
    omitted: u64,
    tables: Vec<TableExtent>,
}

impl Statement {
    pub(super) fn of(results: &Results) -> Self {
        Self {
            kind: STATEMENT.to_owned(),
            subject: [subject(results)],
            predicate_type: PREDICATE.to_owned(),
            predicate: Predicate {
                api_version: OORS.to_owned(),
                kind: KIND.to_owned(),
                id: id(results),
                observed_at: results.at.to_string(),
                source: Source {
                    process: results.process.clone(),
                    version: results.process_version.clone(),
                },
                contract: Contract {
                    id: results.contract_id.clone(),
                    standard: STANDARD.to_owned(),
                    version: results.version,
                },
                results: results.checks.clone(),
                comity: Chain {
                    v: 1,
                    org: results.org,
                    product: results.product.clone(),
                    seq: results.seq,
                    prev: results.prev,
                    at: results.at,
                    due: results.due,
                    omitted: results.omitted,
                    tables: results.tables.clone(),
                },
            },
        }
    }

    /// The results, if what is said twice is the same.
    pub(super) fn results(self) -> Result<Results, StatementError> {
        let [subject_said] = self.subject;
        let said = self.predicate;
        let digest = format!("sha256:{}", subject_said.digest.sha256);
        let results = Results {
            org: said.comity.org,
            product: said.comity.product,
            version: said.contract.version,
            contract_digest: digest
                .parse()
                .map_err(|_| StatementError::Rule("the contract's digest is none"))?,
            contract_id: said.contract.id,
            seq: said.comity.seq,
            prev: said.comity.prev,
            at: said.comity.at,
            due: said.comity.due,
            process: said.source.process,
            process_version: said.source.version,
            checks: said.results,
            omitted: said.comity.omitted,
            tables: said.comity.tables,
        };
        let same = said.comity.v == 1
            && self.kind == STATEMENT
            && self.predicate_type == PREDICATE
            && said.api_version == OORS
            && said.kind == KIND
            && said.contract.standard == STANDARD
            && said.id == id(&results)
            && said.observed_at == results.at.to_string()
            && subject_said.name == subject(&results).name;
        if same {
            Ok(results)
        } else {
            Err(StatementError::Rule(
                "the statement is of another kind, or says two things at once",
            ))
        }
    }
}

fn subject(results: &Results) -> Subject {
    let digest = results.contract_digest.to_string();
    Subject {
        name: format!("{}@{}", results.product.product, results.version),
        digest: Sha256 {
            sha256: digest.replacen("sha256:", "", 1),
        },
    }
}

fn id(results: &Results) -> String {
    format!("{}/{}", results.product, results.seq)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
