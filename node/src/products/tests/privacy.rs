//! Nothing private leaves in the public part.

use std::path::Path;

use proptest::prelude::*;

use super::super::Contract;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever stands in a private field, its text is nowhere in the public JSON.
    #[test]
    fn nothing_private_leaks(canary in "zq[a-z]{6}", noise in "[a-z]{1,8}") {
        let text = private(&canary, &noise);
        let contract = Contract::parse(Path::new("secret.odcs.yaml"), text.as_bytes()).unwrap();
        let public = contract.public().to_string();
        prop_assert!(text.matches(&canary).count() > 20);
        prop_assert!(!public.contains(&canary), "{}", public);
        prop_assert!(public.contains("visible-"));
        let source = format!("{:?}", contract.sources()["people"]);
        prop_assert!(source.contains(&canary));
    }

    /// A change of a private field changes nothing that partners hold.
    #[test]
    fn the_digest_is_of_the_public_part(a in "zq[a-z]{6}", b in "zq[a-z]{6}") {
        let digest = |canary: &str| {
            Contract::parse(Path::new("a"), private(canary, "n").as_bytes()).unwrap().contract_digest()
        };
        prop_assert_eq!(digest(&a), digest(&b));
    }
}
/// A contract with `canary` in every field that must stay at home.
fn private(canary: &str, noise: &str) -> String {
    let c = canary;
    format!(
        "apiVersion: v3.1.0
kind: DataContract
id: people-1
name: people
version: \"1.0.0\"
status: active
description:
  purpose: visible-{noise}
  authoritativeDefinitions: [ {{ type: x, url: \"https://wiki.internal/{c}\" }} ]
  customProperties: [ {{ property: owner, value: {c} }} ]
authoritativeDefinitions:
  - {{ type: canonicalUrl, url: \"https://acme.example/visible-{noise}\" }}
  - {{ type: implementation, url: \"http://git.acme.example/{c}\" }}
  - {{ type: implementation, url: ./{c}.md }}
slaDefaultElement: people.{c}
servers:
  - {{ server: \"{c}\", type: local, path: {c}/people.parquet, format: parquet, description: {c}, environment: {c} }}
  - {{ server: db, type: postgres, host: {c}.corp, port: 5432, database: {c}, schema: {c} }}
  - {{ server: lake, type: custom, host: {c}.lake, port: 1, catalog: {c}, schema: {c}, customProperties: [ {{ property: comityProtocol, value: arrow-flight-sql }} ] }}
  - {{ server: file, type: custom, path: {c}.db, customProperties: [ {{ property: comityProtocol, value: sqlite }} ] }}
schema:
  - name: people
    physicalName: {c}
    description: visible-{noise}
    customProperties: [ {{ property: steward, value: {c} }} ]
    properties:
      - name: id
        logicalType: integer
        physicalName: id
        encryptedName: {c}
        partitioned: true
        transformSourceObjects: [{c}]
        transformLogic: SELECT {c}
        transformDescription: from {c}
        examples: [{c}]
        customProperties: [ {{ property: lineage, value: {{ from: {c} }} }} ]
        quality:
          - {{ type: sql, id: q1, query: SELECT {c}, mustBe: 0, scheduler: {c}, schedule: {c}, name: {c} }}
          - {{ type: custom, engine: {c}, implementation: {c}, description: visible-rule }}
          - {{ type: library, metric: nullValues, mustBe: 0, scheduler: {c}, schedule: {c}, method: {c} }}
team:
  name: {c}
  members: [ {{ username: {c}@acme.example }} ]
support:
  - {{ channel: help, url: \"mailto:visible@acme.example\", invitationUrl: \"https://chat.internal/{c}\" }}
  - {{ channel: chat, url: \"https://chat.internal/{c}\" }}
slaProperties:
  - {{ property: latency, value: 2, scheduler: {c}, schedule: {c} }}
roles:
  - role: reader
    firstLevelApprovers: {c}
    secondLevelApprovers: {c}
    customProperties:
      - {{ property: comityPurposes, value: [research] }}
      - {{ property: costCentre, value: {c} }}
customProperties:
  - {{ property: costCentre, value: {c} }}
  - {{ property: comityServer, value: {c} }}
"
    )
}
