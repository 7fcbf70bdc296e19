use super::*;

use core::time::Duration;

use crate::fixture::{DAY, Directory, NOW, Party, terms};

const SECOND: Duration = Duration::from_secs(1);

fn column(name: &str, kind: ColumnType) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        description: None,
        classification: None,
    }
}

fn descriptor(org: OrgId) -> Descriptor {
    let contract = serde_json::json!({"apiVersion": "v3.1.0", "kind": "DataContract", "id": "w"});
    Descriptor {
        v: 1,
        org,
        product: "weather".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        seq: 0,
        prev: None,
        issued_at: NOW,
        expires_at: NOW.saturating_add(7 * DAY),
        contract_digest: Descriptor::digest_of_contract(&contract).unwrap(),
        contract,
        tables: vec![Table {
            name: "weather".parse().unwrap(),
            columns: vec![
                column("origin", ColumnType::Utf8),
                column("temp", ColumnType::Float64),
            ],
        }],
        offer: Some(terms(&["temp"])),
        deprecation: None,
    }
}

/// Signs and reads without the checks before signing, as an adversary would.
fn judge(descriptor: &Descriptor) -> Result<VerifiedDescriptor, StatementError> {
    let party = Party::new(1);
    let text = Compact::sign(DESCRIPTOR, descriptor, &party.announce)?;
    VerifiedDescriptor::verify(&text, &party.org, &Directory::of(&[&party]), NOW)
}

#[test]
fn a_descriptor_keeps_its_exact_text() {
    let party = Party::new(1);
    let text = descriptor(party.org).sign(&party.announce).unwrap();
    let keys = Directory::of(&[&party]);
    let read = VerifiedDescriptor::verify(&text, &party.org, &keys, NOW).unwrap();
    assert_eq!(*read.descriptor(), descriptor(party.org));
    assert_eq!(read.text(), text);
    assert_eq!(read.digest(), Digest::of(text.as_bytes()));
}

/// A9
#[test]
fn only_an_announcing_key_of_the_same_organization_describes() {
    let (party, other) = (Party::new(1), Party::new(2));
    let keys = Directory::of(&[&party, &other]);
    for key in [&party.agree, &party.none, &other.announce] {
        let text = descriptor(party.org).sign(key).unwrap();
        let refused = VerifiedDescriptor::verify(&text, &party.org, &keys, NOW).unwrap_err();
        assert_eq!(refused, StatementError::NotAnIssuer);
    }
    // A descriptor of one organization, signed by another that does announce its own.
    let text = descriptor(party.org).sign(&other.announce).unwrap();
    let refused = VerifiedDescriptor::verify(&text, &other.org, &keys, NOW).unwrap_err();
    assert_eq!(refused, StatementError::OtherOrganization);
}

#[test]
fn a_descriptor_holds_from_its_issue_until_its_expiry() {
    let org = Party::new(1).org;
    let with = |from: Timestamp, until: Timestamp| {
        let mut descriptor = descriptor(org);
        (descriptor.issued_at, descriptor.expires_at) = (from, until);
        judge(&descriptor).map(|_| ())
    };
    let rule = |r: Result<(), _>| matches!(r, Err(StatementError::Rule(_)));
    let early = NOW.saturating_add(MAX_SKEW);
    with(early, early.saturating_add(DAY)).unwrap();
    let too_early = early.saturating_add(SECOND);
    assert_eq!(
        with(too_early, early.saturating_add(DAY)),
        Err(StatementError::Time)
    );
    let began = NOW.saturating_sub(DAY);
    with(began, NOW.saturating_add(SECOND)).unwrap();
    assert_eq!(with(began, NOW), Err(StatementError::Time));
    with(NOW, NOW.saturating_add(MAX_DESCRIPTOR_LIFETIME)).unwrap();
    let too_long = NOW.saturating_add(MAX_DESCRIPTOR_LIFETIME + SECOND);
    assert!(rule(with(NOW, too_long)));
    assert!(rule(with(NOW, NOW)));
}

fn end(since: Timestamp, sunset: Timestamp) -> Deprecation {
    Deprecation {
        since,
        sunset,
        replacement: Some("weather@2".parse().unwrap()),
    }
}

/// The address of a product is made of its version: one that two readers take
/// for two majors would be two products.
#[test]
fn a_version_that_is_not_three_numbers_is_no_descriptor() {
    let mut json = serde_json::to_value(descriptor(Party::new(1).org)).unwrap();
    let read = |json: &serde_json::Value| serde_json::from_value::<Descriptor>(json.clone());
    assert!(read(&json).is_ok());
    for bad in ["1.0", "01.0.0", "1.0.0-rc1", ""] {
        json["version"] = bad.into();
        assert!(read(&json).is_err(), "{bad}");
    }
}

#[test]
fn an_announced_end_is_signed_with_the_descriptor() {
    let mut ending = descriptor(Party::new(1).org);
    ending.deprecation = Some(end(NOW, NOW.saturating_add(90 * DAY)));
    let read = judge(&ending).unwrap();
    assert_eq!(read.descriptor().deprecation, ending.deprecation);
    assert_eq!(read.descriptor().address().to_string(), "weather");
}

#[test]
fn a_descriptor_that_breaks_a_rule_is_neither_signed_nor_read() {
    let party = Party::new(1);
    let changes: [fn(&mut Descriptor); 15] = [
        |d| d.v = 2,
        |d| d.seq = MAX_INT + 1,
        |d| d.deprecation = Some(end(NOW.saturating_add(DAY), NOW.saturating_add(2 * DAY))),
        |d| d.deprecation = Some(end(NOW, NOW.saturating_sub(DAY))),
        |d| d.deprecation = Some(end(NOW, Timestamp::from_secs(MAX_INT + 1))),
        |d| d.contract_digest = Digest::of(b"another contract"),
        |d| d.contract["id"] = "x".into(),
        |d| d.tables.clear(),
        |d| d.tables.push(d.tables[0].clone()),
        |d| d.tables[0].columns.clear(),
        |d| {
            let again = d.tables[0].columns[0].clone();
            d.tables[0].columns.push(again);
        },
        |d| d.tables[0].columns[0].name = "dep time".to_owned(),
        |d| d.offer = Some(terms(&["pressure"])),
        |d| {
            let mut offer = terms(&["temp"]);
            let table = offer.tables.remove("weather").unwrap();
            offer.tables.insert("flights".to_owned(), table);
            d.offer = Some(offer);
        },
        |d| d.offer.as_mut().unwrap().purposes.clear(),
    ];
    descriptor(party.org).sign(&party.announce).unwrap();
    judge(&descriptor(party.org)).unwrap();
    for (i, change) in changes.into_iter().enumerate() {
        let mut bad = descriptor(party.org);
        change(&mut bad);
        assert!(bad.sign(&party.announce).is_err(), "change {i}");
        assert!(
            matches!(judge(&bad), Err(StatementError::Rule(_))),
            "change {i}"
        );
    }
}

#[test]
fn counts_and_types_have_limits() {
    let org = Party::new(1).org;
    let fits = |change: &dyn Fn(&mut Descriptor)| {
        let mut descriptor = descriptor(org);
        descriptor.offer = None;
        change(&mut descriptor);
        descriptor.check().is_ok()
    };
    for (extra, ok) in [(0, true), (1, false)] {
        let tables = |d: &mut Descriptor| {
            let one = d.tables[0].clone();
            let named = |i| Table {
                name: format!("t{i}").parse().unwrap(),
                ..one.clone()
            };
            d.tables = (0..MAX_TABLES + extra).map(named).collect();
        };
        assert_eq!(fits(&tables), ok);
        let columns = |d: &mut Descriptor| {
            let named = |i| column(&format!("c{i}"), ColumnType::Int64);
            d.tables[0].columns = (0..MAX_COLUMNS + extra).map(named).collect();
        };
        assert_eq!(fits(&columns), ok);
    }
    for (precision, scale, ok) in [
        (1, 0, true),
        (38, 38, true),
        (0, 0, false),
        (39, 0, false),
        (5, 6, false),
    ] {
        let kind = ColumnType::Decimal128 { precision, scale };
        assert_eq!(fits(&|d| d.tables[0].columns[0].kind = kind.clone()), ok);
    }
}

#[test]
fn too_many_bytes_are_refused_before_parsing() {
    let party = Party::new(1);
    let mut large = descriptor(party.org);
    large.contract["description"] = "x".repeat(DESCRIPTOR.limit()).into();
    large.contract_digest = Descriptor::digest_of_contract(&large.contract).unwrap();
    let refused = large.sign(&party.announce).unwrap_err();
    assert!(matches!(refused, StatementError::Envelope(_)));
}

fn list(item: ColumnType) -> ColumnType {
    ColumnType::List {
        item: Box::new(item),
    }
}

#[test]
fn a_list_holds_values_and_no_lists() {
    let party = Party::new(1);
    let signs = |kind: ColumnType| {
        let mut descriptor = descriptor(party.org);
        descriptor.tables[0].columns[0].kind = kind;
        descriptor.sign(&party.announce).is_ok()
    };
    let decimal = |precision| ColumnType::Decimal128 {
        precision,
        scale: 0,
    };
    assert!(signs(list(ColumnType::Int32)) && signs(list(decimal(38))));
    assert!(!signs(list(list(ColumnType::Int32))) && !signs(list(decimal(39))));
}

#[test]
fn types_have_their_names_on_the_wire() {
    for (kind, text) in [
        (ColumnType::UInt16, r#""uint16""#),
        (ColumnType::Utf8, r#""utf8""#),
        (ColumnType::TimestampMicrosUtc, r#""timestamp-micros-utc""#),
        (
            ColumnType::Decimal128 {
                precision: 10,
                scale: 2,
            },
            r#"{"decimal128":{"precision":10,"scale":2}}"#,
        ),
        (ColumnType::TimeMicros, r#""time-micros""#),
        (list(ColumnType::Utf8), r#"{"list":{"item":"utf8"}}"#),
    ] {
        assert_eq!(serde_json::to_string(&kind).unwrap(), text);
        assert_eq!(serde_json::from_str::<ColumnType>(text).unwrap(), kind);
    }
    serde_json::from_str::<ColumnType>(r#"{"decimal128":{"precision":1,"scale":0,"x":1}}"#)
        .unwrap_err();
}

/// Regression: a request could filter by a column that is not announced, and
/// an approving rule agreed to it.
#[test]
fn a_request_filters_by_announced_columns_or_as_the_offer_does() {
    let asks = |column: &str| {
        let mut asked = terms(&["temp"]);
        let table = asked.tables.get_mut("weather").unwrap();
        table.filter.0 = [Predicate::Not(Box::new(Predicate::IsNull {
            column: column.to_owned(),
        }))]
        .into();
        asked
    };
    let mut product = descriptor(Party::new(1).org);
    assert!(product.may_be_asked(&terms(&["temp"])));
    assert!(product.may_be_asked(&asks("temp")));
    assert!(!product.may_be_asked(&asks("hidden")));
    assert!(!product.may_be_asked(&terms(&["hidden"])));
    product.offer = Some(asks("hidden"));
    assert!(
        product.may_be_asked(&asks("hidden")),
        "the owner's own filter"
    );
    assert!(!product.may_be_asked(&asks("hidden_too")));
}
