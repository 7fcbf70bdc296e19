//! The versions of ODCS that are read.

use arrow::datatypes::{DataType, TimeUnit};

use super::*;

fn parse(text: &str) -> Result<Contract, Problems> {
    Contract::parse(Path::new("people.odcs.yaml"), text.as_bytes())
}

fn of(version: &str) -> String {
    minimal()
        .replace("v3.1.0", version)
        .replace(", classification: restricted", "")
}

#[test]
fn every_version_from_3_0_to_3_2_is_read_by_its_own_grammar() {
    for version in ["v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0"] {
        let contract = parse(&of(version)).unwrap_or_else(|e| panic!("{version}: {e}"));
        let public = contract.public().to_string();
        let again = Document::parse(Path::new("public.json"), public.as_bytes()).unwrap();
        schema::check(&again).unwrap_or_else(|e| panic!("{version}: {e}"));
        assert_eq!(contract.public()["apiVersion"], version);
    }
    for version in ["v2.2.2", "v3.3.0", "3.1.0"] {
        let refused = parse(&of(version)).unwrap_err().to_string();
        assert!(refused.contains("this release reads ODCS"), "{refused}");
    }
}

#[test]
fn a_key_of_a_later_version_is_refused() {
    // The relationships of a column came with 3.1, its synonyms with 3.2.
    for (version, old, new, since) in [
        (
            "v3.0.2",
            "logicalType: string",
            "logicalType: string, relationships: [ { to: people.id } ]",
            "v3.1.0",
        ),
        (
            "v3.1.0",
            "logicalType: string",
            "logicalType: string, synonyms: [ { synonym: mail } ]",
            "v3.2.0",
        ),
    ] {
        let text = of(version).replace(old, new);
        let refused = parse(&text).unwrap_err().to_string();
        assert!(refused.contains("is not a key of ODCS here"), "{refused}");
        parse(&text.replace(version, since)).unwrap_or_else(|e| panic!("{since}: {e}"));
    }
}

#[test]
fn before_3_1_a_moment_is_a_date_whose_physical_type_says_so() {
    let typed = |physical: &str| {
        let text = of("v3.0.2").replace("string", &format!("date, physicalType: \"{physical}\""));
        parse(&text).unwrap().tables()[0].columns[1].arrow.clone()
    };
    let moment =
        |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    assert_eq!(typed("date"), DataType::Date32);
    assert_eq!(typed("timestamptz"), moment(Some("UTC")));
    assert_eq!(typed("timestamp without time zone"), moment(None));
}

#[test]
fn since_3_2_what_does_not_say_its_status_is_a_draft() {
    let without = of("v3.2.0").replace("status: active\n", "");
    assert_eq!(parse(&without).unwrap().status(), Status::Draft);
    let refused = parse(&without.replace("v3.2.0", "v3.1.0")).unwrap_err();
    assert!(
        refused.to_string().contains("status is missing"),
        "{refused}"
    );
}
