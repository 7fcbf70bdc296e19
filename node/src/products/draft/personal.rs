//! Guesses which columns hold personal data, by their names and their values.
//!
//! A guess is a reason to look, not a classification: the column is not served
//! until a person has looked (`spec/3-catalog.md#C-50`). A wrong guess costs the
//! owner a line to delete; a missed one could cost somebody their privacy, so
//! names count even where the values look harmless.

use std::net::IpAddr;

/// Why a column may hold personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    /// What it may hold.
    pub(super) kind: &'static str,
    /// What it was guessed from; never a value.
    pub(super) why: String,
}

/// The least values that must look alike before they count: one may be chance.
const MIN_HITS: usize = 3;

/// One value in so many must look like personal data. Low, because a column of
/// free text with some addresses in it holds addresses.
const ONE_IN: usize = 20;

/// Words of a column's name and what they stand for. A word is a part of the name
/// between `_`, `-`, digits and changes of case; two words match in a row.
const WORDS: &[(&[&str], &str)] = &[
    (&["email"], "e-mail address"),
    (&["e", "mail"], "e-mail address"),
    (&["mail"], "e-mail address"),
    (&["phone"], "telephone number"),
    (&["telephone"], "telephone number"),
    (&["mobile"], "telephone number"),
    (&["fax"], "telephone number"),
    (&["first", "name"], "name of a person"),
    (&["firstname"], "name of a person"),
    (&["last", "name"], "name of a person"),
    (&["lastname"], "name of a person"),
    (&["full", "name"], "name of a person"),
    (&["fullname"], "name of a person"),
    (&["given", "name"], "name of a person"),
    (&["family", "name"], "name of a person"),
    (&["surname"], "name of a person"),
    (&["customer", "name"], "name of a person"),
    (&["patient", "name"], "name of a person"),
    (&["contact", "name"], "name of a person"),
    (&["user", "name"], "name of a person"),
    (&["username"], "name of a person"),
    (&["maiden"], "name of a person"),
    (&["street"], "postal address"),
    (&["address"], "postal or network address"),
    (&["addr"], "postal or network address"),
    (&["postcode"], "postal address"),
    (&["postal"], "postal address"),
    (&["zip"], "postal address"),
    (&["zipcode"], "postal address"),
    (&["birth"], "date of birth"),
    (&["birthday"], "date of birth"),
    (&["birthdate"], "date of birth"),
    (&["dob"], "date of birth"),
    (&["ssn"], "number of a person"),
    (&["social", "security"], "number of a person"),
    (&["national", "id"], "number of a person"),
    (&["passport"], "number of a person"),
    (&["tax", "id"], "number of a person"),
    (&["license"], "number of a person"),
    (&["licence"], "number of a person"),
    (&["iban"], "bank account"),
    (&["bank", "account"], "bank account"),
    (&["card", "number"], "payment card"),
    (&["credit", "card"], "payment card"),
    (&["pan"], "payment card"),
    (&["ip"], "network address"),
    (&["gender"], "trait of a person"),
    (&["sex"], "trait of a person"),
    (&["religion"], "trait of a person"),
    (&["ethnicity"], "trait of a person"),
    (&["race"], "trait of a person"),
    (&["diagnosis"], "health"),
    (&["patient"], "health"),
    (&["salary"], "income"),
    (&["password"], "secret"),
    (&["secret"], "secret"),
    (&["token"], "secret"),
];

/// Whether a value has a form.
type Form = fn(&str) -> bool;

/// Kinds of personal data that values show by their form.
const FORMS: &[(&str, Form)] = &[
    ("e-mail address", is_email),
    ("telephone number", is_telephone),
    ("bank account", is_iban),
    ("payment card", is_card),
    ("network address", is_network_address),
];

/// A guess from the name of a column.
pub(super) fn by_name(column: &str) -> Option<Guess> {
    let words = words(column);
    let of_name = |pattern: &&[&str]| words.windows(pattern.len()).any(|w| *w == **pattern);
    let (_, kind) = WORDS.iter().find(|(pattern, _)| of_name(pattern))?;
    Some(Guess {
        kind,
        why: "its name".to_owned(),
    })
}

/// A guess from values of a column.
pub(super) fn by_values<'a>(values: impl Iterator<Item = &'a str>) -> Option<Guess> {
    let (mut seen, mut hits) = (0, [0; FORMS.len()]);
    for value in values {
        seen += 1;
        for (hit, (_, is)) in hits.iter_mut().zip(FORMS) {
            *hit += usize::from(is(value.trim()));
        }
    }
    let (hit, (kind, _)) = hits.iter().zip(FORMS).max_by_key(|(hit, _)| **hit)?;
    (*hit >= MIN_HITS && hit * ONE_IN >= seen).then(|| Guess {
        kind,
        why: format!("the form of {hit} of {seen} values"),
    })
}

/// The words of a name, in small letters: `customerEMail_2` is `customer e mail`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut before) = (String::new(), ' ');
    for c in name.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    words
}

fn is_email(value: &str) -> bool {
    let Some((local, domain)) = value.split_once('@') else {
        return false;
    };
    let plain = |c: char| c.is_alphanumeric() || "._%+-'".contains(c);
    (1..=64).contains(&local.len())
        && local.chars().all(plain)
        && domain.len() <= 253
        && domain.contains('.')
        && domain
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '-'))
}

/// With a country code or in groups: bare digits are more often a key.
fn is_telephone(value: &str) -> bool {
    let digits = value.chars().filter(char::is_ascii_digit).count();
    let form = |c: char| c.is_ascii_digit() || " +-()./".contains(c);
    let groups = value.split([' ', '-', '.', '/']).count();
    (7..=15).contains(&digits)
        && value.chars().all(form)
        && (value.starts_with('+') || value.starts_with('(') || groups == 3 && !is_date(value))
        && !is_network_address(value)
}

fn is_date(value: &str) -> bool {
    let mut parts = value.split(['-', '/', '.', ' ']).map(str::len);
    matches!(
        (parts.next(), parts.next(), parts.next(), parts.next()),
        (Some(4), Some(1..=2), Some(1..=2), None) | (Some(1..=2), Some(1..=2), Some(2 | 4), None)
    )
}

/// ISO 13616: the remainder by 97 of the account with the country moved behind.
fn is_iban(value: &str) -> bool {
    let value: String = value.chars().filter(|c| *c != ' ').collect();
    if !(15..=34).contains(&value.len()) || !value.is_ascii() {
        return false;
    }
    let (front, rest) = value.split_at(4);
    let mut front_chars = front.chars();
    let country = front_chars.by_ref().take(2).all(|c| c.is_ascii_uppercase());
    if !country || !front_chars.all(|c| c.is_ascii_digit()) {
        return false;
    }
    let remainder = rest.chars().chain(front.chars()).try_fold(0, |sum, c| {
        let digit = c.to_digit(36)?;
        Some((sum * if digit > 9 { 100 } else { 10 } + digit) % 97)
    });
    remainder == Some(1)
}

/// ISO/IEC 7812: 13 to 19 digits with Luhn's check digit, in a form that cards have.
fn is_card(value: &str) -> bool {
    let digits: Vec<u32> = value.chars().filter_map(|c| c.to_digit(10)).collect();
    let form = value
        .chars()
        .all(|c| c.is_ascii_digit() || c == ' ' || c == '-');
    let starts = matches!(digits.first(), Some(3..=6));
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) => double / 10 + double % 10,
        })
        .sum();
    form && starts && (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}

fn is_network_address(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_word_by_word() {
        for (name, kind) in [
            ("customer_email", Some("e-mail address")),
            ("customerEMail", Some("e-mail address")),
            ("LastName", Some("name of a person")),
            ("last-name-2", Some("name of a person")),
            ("dob", Some("date of birth")),
            ("client_ip", Some("network address")),
            ("shipping_address", Some("postal or network address")),
            // Parts of other words are not words.
            ("description", None),
            ("trip_id", None),
            ("company", None),
            ("airport_name", None),
            ("manufacturer", None),
            ("zone", None),
        ] {
            assert_eq!(by_name(name).map(|g| g.kind), kind, "{name}");
        }
    }

    #[test]
    fn values_are_judged_by_their_form() {
        let cases: [(Form, &[&str], &[&str]); 5] = [
            (
                is_email,
                &["a@b.example", "o'neil+x@mail.example.org"],
                &["a@b", "@b.example", "a b@c.example", "a@b..c", "no"],
            ),
            (
                is_telephone,
                &[
                    "+49 30 901820",
                    "(212) 555-0100",
                    "212-555-0100",
                    "+12125550100",
                ],
                &[
                    "2013-01-02",
                    "01.02.2013",
                    "12345678",
                    "192.168.100.200",
                    "1 2",
                    "N12-345",
                ],
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
                &["10.0.0.1", "2001:db8::1"],
                &["10.0.0", "1.2.3.4.5"],
            ),
        ];
        for (is, yes, no) in cases {
            assert!(yes.iter().all(|v| is(v)), "{yes:?}");
            for value in no {
                assert!(!is(value), "{value}");
            }
        }
    }

    #[test]
    fn a_few_values_among_many_are_chance_and_one_in_twenty_is_not() {
        let of = |hits: usize, others: usize| {
            let hits = std::iter::repeat_n("a@b.example", hits);
            by_values(hits.chain(std::iter::repeat_n("-", others)))
        };
        assert_eq!(of(2, 0), None);
        assert!(of(3, 0).is_some());
        assert!(of(3, 57).is_some());
        assert_eq!(of(3, 58), None);
        assert!(!of(3, 0).unwrap().why.contains('@'), "no value is told");
    }
}
