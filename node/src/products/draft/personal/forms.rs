//! What values show by their form.

use std::net::{IpAddr, SocketAddr};

/// What values of a form are, and when they count.
pub(super) struct Form {
    /// What such a value is.
    pub(super) kind: &'static str,
    /// Whether a value is such a one, or has one in it.
    pub(super) is: fn(&str) -> bool,
    /// Whether a single value counts: hardly anything else has this form.
    pub(super) certain: bool,
}

pub(super) const FORMS: [Form; 6] = [
    Form {
        kind: "e-mail address",
        is: has_email,
        certain: true,
    },
    Form {
        kind: "bank account",
        is: is_iban,
        certain: true,
    },
    Form {
        kind: "payment card",
        is: is_card,
        certain: true,
    },
    Form {
        kind: "number of a person",
        is: is_social_security,
        certain: false,
    },
    Form {
        kind: "telephone number",
        is: is_telephone,
        certain: false,
    },
    Form {
        kind: "network address",
        is: is_network_address,
        certain: false,
    },
];

/// Anywhere in a text: notes and JSON hold addresses too.
pub(super) fn has_email(value: &str) -> bool {
    value.match_indices('@').any(|(at, _)| {
        let local = |c: char| c.is_alphanumeric() || "._%+-'".contains(c);
        let host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
        let (before, after) = (value.get(..at), value.get(at + 1..));
        let before = before.unwrap_or_default().chars().rev();
        let after = after.unwrap_or_default();
        let end = after.find(|c| !host(c)).unwrap_or(after.len());
        // A sentence may end behind it.
        let domain = after.get(..end).unwrap_or_default().trim_end_matches('.');
        let last = domain.rsplit('.').next().unwrap_or_default();
        (1..=64).contains(&before.take_while(|c| local(*c)).count())
            && (4..=253).contains(&domain.len())
            && domain.contains('.')
            && domain.split('.').all(|part| !part.is_empty())
            && last.chars().count() >= 2
            && last.chars().all(char::is_alphabetic)
    })
}

/// With a country code, in groups, or as it is dialled within a country: other
/// bare digits are more often a key.
pub(super) fn is_telephone(value: &str) -> bool {
    let digits = value.chars().filter(char::is_ascii_digit).count();
    let form = |c: char| c.is_ascii_digit() || " +-()./".contains(c);
    let groups = value.split([' ', '-', '.', '/']).count();
    (7..=15).contains(&digits)
        && value.chars().all(form)
        && (value.starts_with(['+', '('])
            || groups == 3 && !is_date(value)
            || is_dialled(value, digits))
        && !is_network_address(value)
        && !is_social_security(value)
}

/// `0170/1234567`, `030 901820`, `01701234567`, `0049170…`.
fn is_dialled(value: &str, digits: usize) -> bool {
    let mut groups = value.split([' ', '-', '/']);
    match (groups.next(), groups.next(), groups.next()) {
        (Some(code), Some(rest), None) => {
            code.starts_with('0')
                && (3..=6).contains(&code.len())
                && (4..=9).contains(&rest.len())
                && digits == code.len() + rest.len()
                && (8..=13).contains(&digits)
        }
        // Without a gap, only what mobile telephones and foreign lines begin with.
        (Some(all), None, None) => {
            digits == all.len()
                && (all.starts_with("00") && (11..=15).contains(&digits)
                    || ["015", "016", "017"]
                        .iter()
                        .any(|code| all.starts_with(code))
                        && (11..=12).contains(&digits))
        }
        _ => false,
    }
}

/// The United States' `078-05-1120`.
pub(super) fn is_social_security(value: &str) -> bool {
    let groups: Vec<&str> = value.split('-').collect();
    groups.iter().map(|g| g.len()).eq([3, 2, 4])
        && groups.concat().chars().all(|c| c.is_ascii_digit())
}

fn is_date(value: &str) -> bool {
    let mut parts = value.split(['-', '/', '.', ' ']).map(str::len);
    matches!(
        (parts.next(), parts.next(), parts.next(), parts.next()),
        (Some(4), Some(1..=2), Some(1..=2), None) | (Some(1..=2), Some(1..=2), Some(2 | 4), None)
    )
}

/// ISO 13616: the remainder by 97 of the account with the country moved behind.
pub(super) fn is_iban(value: &str) -> bool {
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
pub(super) fn is_card(value: &str) -> bool {
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

/// An address of the internet, with or without a port, or of a device.
pub(super) fn is_network_address(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok() || value.parse::<SocketAddr>().is_ok() || is_mac(value)
}

/// `00:1b:44:11:3a:b7`, `00-1B-44-11-3A-B7`, `001b.4411.3ab7`.
fn is_mac(value: &str) -> bool {
    let of = |mark: char, lengths: &[usize]| {
        let groups = value.split(mark);
        groups.clone().map(str::len).eq(lengths.iter().copied())
            && groups.flat_map(str::chars).all(|c| c.is_ascii_hexdigit())
    };
    of(':', &[2; 6]) || of('-', &[2; 6]) || of('.', &[4; 3])
}
