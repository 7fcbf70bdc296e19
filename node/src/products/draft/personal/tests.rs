use super::forms::*;
use super::*;

/// Whether a value has a form.
type Is = fn(&str) -> bool;

fn kind(name: &str) -> Option<&'static str> {
    by_name(name, true).map(|guess| guess.kind)
}

#[test]
fn names_are_read_word_by_word() {
    for (name, expected) in [
        ("customer_email", "e-mail address"),
        ("customerEMail", "e-mail address"),
        ("emailaddress", "e-mail address"),
        ("EmailAddresses", "e-mail address"),
        ("LastName", "name of a person"),
        ("last-name-2", "name of a person"),
        ("LASTNAME", "name of a person"),
        ("Vorname", "name of a person"),
        ("kundenname", "name of a person"),
        ("customer_name", "name of a person"),
        ("customerNames", "name of a person"),
        ("driver_name", "name of a person"),
        ("employee", "name of a person"),
        ("contact_person", "name or address of a person"),
        ("contact", "name or address of a person"),
        ("username", "name of a person"),
        ("nickname", "name of a user"),
        ("login", "name of a user"),
        ("dob", "date of birth"),
        ("yob", "date of birth"),
        ("birth_date", "date of birth"),
        ("birthplace", "date of birth"),
        ("Geburtsdatum", "date of birth"),
        ("age", "age of a person"),
        ("shipping_address", "postal or network address"),
        ("Lieferadresse", "postal or network address"),
        ("strasse", "postal address"),
        ("Stra\u{df}e", "postal address"),
        ("plz", "postal address"),
        ("zip_code", "postal address"),
        ("postcode", "postal address"),
        ("mobile", "telephone number"),
        ("handy", "telephone number"),
        ("tel", "telephone number"),
        ("TelNr", "telephone number"),
        ("telefonnummer", "telephone number"),
        ("phoneNumber", "telephone number"),
        ("ssn", "number of a person"),
        ("tax_id", "number of a person"),
        ("taxid", "number of a person"),
        ("Steuernummer", "number of a person"),
        ("national_id", "number of a person"),
        ("passport_no", "number of a person"),
        ("insurance_number", "number of a person"),
        ("cc_number", "payment card"),
        ("card", "payment card"),
        ("iban", "bank account"),
        ("IBANCode", "bank account"),
        ("bic", "bank account"),
        ("account_number", "bank account"),
        ("Geschlecht", "trait of a person"),
        ("sex", "trait of a person"),
        ("nationality", "trait of a person"),
        ("religion", "trait of a person"),
        ("marital_status", "trait of a person"),
        ("blood_type", "health"),
        ("diagnosis", "health"),
        ("health", "health"),
        ("photo", "picture of a person"),
        ("device_id", "device of a person"),
        ("cookie_id", "device of a person"),
        ("userAgent", "device of a person"),
        ("client_ip", "network address"),
        ("mac", "network address"),
        ("salary", "income"),
    ] {
        assert_eq!(kind(name), Some(expected), "{name}");
    }
}

#[test]
fn parts_of_other_words_are_not_words() {
    for name in [
        "description",
        "trip_id",
        "company",
        "airport_name",
        "carrier_name",
        "product_name",
        "manufacturer",
        "zone",
        "origin",
        "latency",
        "average",
        "stage",
        "page",
        "telescope",
        "image",
        "storage",
        "voltage",
        "message",
        "discarded",
        "shipped",
        "machine",
        "telemetry",
        "filename",
        "hostname",
        "platform",
        "translation",
        "population",
        "region",
        "customer_id",
        "flight",
        "tailnum",
        "carrier",
        "dest",
        "model",
        "seats",
        "wind_gust",
        "visib",
        "humid",
    ] {
        assert_eq!(kind(name), None, "{name}");
        assert_eq!(by_company(name, "customers", true), None, "{name}");
    }
    assert_eq!(by_name("customer", false), None, "a key");
}

#[test]
fn a_name_and_a_place_are_of_a_person_in_the_company_of_others() {
    for column in ["name", "lat", "lon", "Latitude", "home_longitude", "geo"] {
        assert_eq!(kind(column), None, "{column}");
        assert_eq!(by_company(column, "airports", false), None, "{column}");
        assert!(by_company(column, "airports", true).is_some(), "{column}");
        for table in ["customers", "Kunden", "person", "bonus_members", "children"] {
            assert!(
                by_company(column, table, false).is_some(),
                "{table}.{column}"
            );
        }
    }
}

#[test]
fn values_are_judged_by_their_form() {
    let cases: [(Is, &[&str], &[&str]); 6] = [
        (
            has_email,
            &[
                "a@b.example",
                "o'neil+x@mail.example.org",
                "write to ann@shop.example.",
                r#"{"to":["ann@shop.example"]}"#,
                "<ann@shop.example>, later",
            ],
            &[
                "a@b",
                "@b.example",
                "a b@",
                "a@b..c",
                "no",
                "3@2.5",
                "a@ b.example",
            ],
        ),
        (
            is_telephone,
            &[
                "+49 30 901820",
                "(212) 555-0100",
                "212-555-0100",
                "+12125550100",
                "0170/1234567",
                "0170 1234567",
                "030 901820",
                "01701234567",
                "00491701234567",
            ],
            &[
                "2013-01-02",
                "01.02.2013",
                "12345678",
                "192.168.100.200",
                "1 2",
                "N12-345",
                "078-05-1120",
                "00123",
                "0012345678",
                "2013/1234567",
            ],
        ),
        (
            is_social_security,
            &["078-05-1120"],
            &["2013-01-02", "212-555-0100", "078051120"],
        ),
        (
            is_iban,
            &["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19"],
            &["DE89370400440532013001", "DE89", "8989370400440532013000"],
        ),
        (
            is_card,
            &["4111 1111 1111 1111", "5555555555554444"],
            &["4111111111111112", "1234567890128", "20130101120000"],
        ),
        (
            is_network_address,
            &[
                "10.0.0.1",
                "2001:db8::1",
                "10.0.0.1:8080",
                "[2001:db8::1]:443",
                "00:1b:44:11:3a:b7",
                "00-1B-44-11-3A-B7",
                "001b.4411.3ab7",
            ],
            &["10.0.0", "1.2.3.4.5", "10:30:00", "00:1b:44:11:3a"],
        ),
    ];
    for (is, yes, no) in cases {
        for value in yes {
            assert!(is(value), "{value}");
        }
        for value in no {
            assert!(!is(value), "{value}");
        }
    }
}

#[test]
fn one_address_counts_and_other_forms_must_be_frequent() {
    let of = |value: &'static str, hits: usize, others: usize| {
        let hits = std::iter::repeat_n(value, hits);
        by_values(hits.chain(std::iter::repeat_n("-", others)))
    };
    for certain in ["a@b.example", "DE89370400440532013000", "5555555555554444"] {
        assert!(of(certain, 1, 9_999).is_some(), "{certain}");
        assert_eq!(of(certain, 0, 10), None);
    }
    let number = "0170/1234567";
    assert!(of(number, 1, 0).is_some());
    assert_eq!(of(number, 1, 2), None);
    assert_eq!(of(number, 2, 1), None);
    assert!(of(number, 3, 297).is_some());
    assert_eq!(of(number, 3, 298), None);
    assert!(
        !of("a@b.example", 3, 0).unwrap().why.contains('@'),
        "no value is told"
    );
    assert_eq!(of("078-05-1120", 3, 0).unwrap().kind, "number of a person");
}

#[test]
fn whole_numbers_are_cards_where_most_pass_for_one() {
    let of = |hits: usize, others: usize| {
        let hits = std::iter::repeat_n("5555555555554444", hits);
        by_numbers(hits.chain(std::iter::repeat_n("5555555555554445", others)))
    };
    assert!(of(3, 2).is_some());
    assert_eq!(of(3, 3), None);
    assert_eq!(of(2, 0), None);
}
