//! The room as a whole, over the reference contract and the examples.

use std::path::{Path, PathBuf};

use comity_identity::Digest;
use comity_protocol::terms::{Mask, Predicate};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::yaml::Document;
use super::*;

mod grammars;
mod privacy;
mod promised;
mod refusals;

/// The reference contract, of which the digests below were computed with PyYAML and Python's JCS.
const ORDERS: &str = include_str!("fixtures/orders.odcs.yaml");
const EXAMPLES: [&str; 5] = [
    "port-authority/flights",
    "weather-service/weather",
    "aircraft-registry/planes",
    "aircraft-registry/airlines",
    "aircraft-registry/airports",
];

#[test]
fn the_reference_contract_has_the_digests_that_python_computes() {
    let document = Document::parse(Path::new("orders.odcs.yaml"), ORDERS.as_bytes()).unwrap();
    schema::check(&document).unwrap();
    let mut found = Vec::new();
    let public = public::project(&document, &mut found);
    assert_eq!(found, []);

    for (value, bytes, digest) in [
        (
            document.value(),
            5196,
            "sha256:ed1a52c0b084b8e1c7dae41397730be1ac2cb15a5529f0f2e46d1a32613c245f",
        ),
        (
            &public,
            4568,
            "sha256:53021992d5daf501316c81d8bbe50df9b8e5413a82ced947c9060761ee35d5cf",
        ),
    ] {
        let canonical = serde_json_canonicalizer::to_vec(value).unwrap();
        assert_eq!(
            (canonical.len(), Digest::of(&canonical).to_string().as_str()),
            (bytes, digest)
        );
    }
}

#[test]
fn a_projection_is_a_valid_contract_itself() {
    for contract in EXAMPLES.map(example) {
        let again = Document::parse(
            Path::new("public.json"),
            contract.public().to_string().as_bytes(),
        )
        .unwrap();
        schema::check(&again).unwrap();
        assert_eq!(again.value(), contract.public());
        assert!(contract.public().get("servers").is_none());
    }
    let document = Document::parse(Path::new("orders.odcs.yaml"), ORDERS.as_bytes()).unwrap();
    let public = public::project(&document, &mut Vec::new());
    let again = Document::parse(Path::new("public.json"), public.to_string().as_bytes()).unwrap();
    schema::check(&again).unwrap();
}

#[test]
fn a_contract_says_of_itself_what_its_public_part_says() {
    let digest = |contract: &Contract| {
        Digest::of(&serde_json_canonicalizer::to_vec(contract.public()).unwrap())
    };
    for contract in EXAMPLES.map(example) {
        assert_eq!(digest(&contract), contract.contract_digest());
        let Value::Object(public) = contract.public() else {
            panic!("an object")
        };
        assert_eq!(public["name"], contract.name());
        assert_eq!(public["version"], contract.version());
    }
}

#[test]
fn every_example_promises_the_types_of_its_file() {
    for contract in EXAMPLES.map(example) {
        assert_eq!(contract.status(), Status::Active);
        for table in contract.tables() {
            let SourceSpec::Files(source) = &contract.sources()[&table.name] else {
                panic!("{} is no file", table.name);
            };
            assert_eq!(source.format, Format::Parquet);
            let file = std::fs::File::open(contract.folder().join(&source.path)).unwrap();
            let held = ParquetRecordBatchReaderBuilder::try_new(file)
                .unwrap()
                .schema()
                .clone();
            assert_eq!(table.schema().fields(), held.fields(), "{}", table.name);
        }
    }
}

#[test]
fn the_weather_offer_leaves_out_the_restricted_column() {
    let contract = example("weather-service/weather");
    let offer = contract.offer().unwrap();
    let columns = &offer.tables["weather"].columns;
    assert_eq!(columns.len(), contract.tables()[0].columns.len() - 1);
    assert!(!columns.contains("visib"));
    assert_eq!(
        offer
            .purposes
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
        ["delay-analysis", "operations-planning", "research"]
    );
    assert_eq!(
        example("aircraft-registry/planes")
            .offer()
            .unwrap()
            .limits
            .max_rows_per_query,
        Some(10_000)
    );
}

#[test]
fn a_row_filter_becomes_a_typed_predicate() {
    let contract = example("aircraft-registry/airports");
    let filter = &contract.offer().unwrap().tables["airports"].filter;
    let [Predicate::All(both)] = filter.0.iter().collect::<Vec<_>>()[..] else {
        panic!("one conjunction, not {filter:?}");
    };
    assert_eq!(both.len(), 2);
}

#[test]
fn a_masked_restricted_column_is_offered_masked() {
    let text = minimal().replace(
        "classification: restricted",
        "classification: restricted, customProperties: [ { property: comityMask, value: replace-with-null } ]",
    );
    let contract = Contract::parse(Path::new("a.odcs.yaml"), text.as_bytes()).unwrap();
    let terms = &contract.offer().unwrap().tables["people"];
    assert_eq!(terms.masks["email"], Mask::ReplaceWithNull);
    assert!(terms.columns.contains("email"));
}

#[test]
fn paths_count_from_the_contracts_folder_however_it_was_named() {
    let here = std::env::current_dir().unwrap();
    for (named, folder) in [
        ("people.odcs.yaml", here.clone()),
        ("./people.odcs.yaml", here.clone()),
        ("products/people.odcs.yaml", here.join("products")),
        ("/srv/people.odcs.yaml", PathBuf::from("/srv")),
    ] {
        let text = minimal().replace(
            "logicalType: string, classification: restricted",
            "logicalType: string",
        );
        let contract = Contract::parse(Path::new(named), text.as_bytes()).unwrap();
        assert_eq!(contract.folder(), folder, "{named}");
    }
}

fn example_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../examples/first-exchange/{name}.odcs.yaml"))
}

fn example_text(name: &str) -> String {
    std::fs::read_to_string(example_path(name)).unwrap()
}

fn example(name: &str) -> Contract {
    read(&example_path(name)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn minimal() -> String {
    "apiVersion: v3.1.0
kind: DataContract
id: people-1
name: people
version: \"1.0.0\"
status: active
servers: [ { server: files, type: local, path: people.parquet, format: parquet } ]
schema:
  - name: people
    properties:
      - { name: id, logicalType: integer, required: true }
      - { name: email, logicalType: string, classification: restricted }
roles:
  - { role: reader, customProperties: [ { property: comityPurposes, value: [research] } ] }
"
    .to_owned()
}
