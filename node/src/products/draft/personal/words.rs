//! What the names of columns say, in English and German.
//!
//! A name is read word by word, so that `page`, `origin` or `latency` are not
//! taken for `age`, `ip` or `lat`. German writes its compounds in one word: they
//! stand here whole, or by how they begin or end.

/// Words in a row, or written as one (`tax_id`, `taxId`, `taxid`), with what they stand for.
const WORDS: &[(&str, &str)] = &[
    ("mail", "e-mail address"),
    ("e mail", "e-mail address"),
    ("phone", "telephone number"),
    ("phone number", "telephone number"),
    ("phone no", "telephone number"),
    ("cell phone", "telephone number"),
    ("telephone", "telephone number"),
    ("mobile", "telephone number"),
    ("mobil", "telephone number"),
    ("mobilnummer", "telephone number"),
    ("handy", "telephone number"),
    ("rufnummer", "telephone number"),
    ("tel", "telephone number"),
    ("tel nr", "telephone number"),
    ("tel no", "telephone number"),
    ("fax", "telephone number"),
    ("msisdn", "telephone number"),
    ("first name", "name of a person"),
    ("last name", "name of a person"),
    ("middle name", "name of a person"),
    ("full name", "name of a person"),
    ("given name", "name of a person"),
    ("family name", "name of a person"),
    ("maiden", "name of a person"),
    ("maiden name", "name of a person"),
    ("fname", "name of a person"),
    ("lname", "name of a person"),
    ("surname", "name of a person"),
    ("forename", "name of a person"),
    ("vorname", "name of a person"),
    ("nachname", "name of a person"),
    ("familienname", "name of a person"),
    ("zuname", "name of a person"),
    ("contact", "name or address of a person"),
    ("kontakt", "name or address of a person"),
    ("contact person", "name of a person"),
    ("kontaktperson", "name of a person"),
    ("ansprechpartner", "name of a person"),
    ("sachbearbeiter", "name of a person"),
    ("login", "name of a user"),
    ("login name", "name of a user"),
    ("nick", "name of a user"),
    ("nickname", "name of a user"),
    ("address", "postal or network address"),
    ("addr", "postal or network address"),
    ("anschrift", "postal address"),
    ("street", "postal address"),
    ("house number", "postal address"),
    ("hausnummer", "postal address"),
    ("hausnr", "postal address"),
    ("post code", "postal address"),
    ("postal", "postal address"),
    ("postal code", "postal address"),
    ("postleitzahl", "postal address"),
    ("plz", "postal address"),
    ("zip", "postal address"),
    ("zip code", "postal address"),
    ("wohnort", "postal address"),
    ("dob", "date of birth"),
    ("yob", "date of birth"),
    ("gebdat", "date of birth"),
    ("age", "age of a person"),
    ("alter", "age of a person"),
    ("ssn", "number of a person"),
    ("social security", "number of a person"),
    ("national id", "number of a person"),
    ("passport", "number of a person"),
    ("passport number", "number of a person"),
    ("passport no", "number of a person"),
    ("reisepass", "number of a person"),
    ("ausweis", "number of a person"),
    ("ausweisnummer", "number of a person"),
    ("personalausweis", "number of a person"),
    ("personalnummer", "number of a person"),
    ("matrikelnummer", "number of a person"),
    ("tax id", "number of a person"),
    ("tax number", "number of a person"),
    ("tax no", "number of a person"),
    ("steuer id", "number of a person"),
    ("steuernummer", "number of a person"),
    ("steuernr", "number of a person"),
    ("insurance number", "number of a person"),
    ("insurance no", "number of a person"),
    ("license", "number of a person"),
    ("licence", "number of a person"),
    ("führerschein", "number of a person"),
    ("fuehrerschein", "number of a person"),
    ("iban", "bank account"),
    ("bic", "bank account"),
    ("bank account", "bank account"),
    ("account number", "bank account"),
    ("account no", "bank account"),
    ("account nr", "bank account"),
    ("kontonummer", "bank account"),
    ("kontonr", "bank account"),
    ("kontoinhaber", "bank account"),
    ("bankverbindung", "bank account"),
    ("card", "payment card"),
    ("card number", "payment card"),
    ("card no", "payment card"),
    ("credit card", "payment card"),
    ("cc number", "payment card"),
    ("cc no", "payment card"),
    ("cc num", "payment card"),
    ("cvv", "payment card"),
    ("cvc", "payment card"),
    ("pan", "payment card"),
    ("kartennummer", "payment card"),
    ("kreditkarte", "payment card"),
    ("ip", "network address"),
    ("ip address", "network address"),
    ("mac", "network address"),
    ("mac address", "network address"),
    ("device id", "device of a person"),
    ("cookie", "device of a person"),
    ("cookie id", "device of a person"),
    ("user agent", "device of a person"),
    ("advertising id", "device of a person"),
    ("idfa", "device of a person"),
    ("imei", "device of a person"),
    ("imsi", "device of a person"),
    ("gender", "trait of a person"),
    ("sex", "trait of a person"),
    ("geschlecht", "trait of a person"),
    ("religion", "trait of a person"),
    ("konfession", "trait of a person"),
    ("ethnicity", "trait of a person"),
    ("race", "trait of a person"),
    ("nationality", "trait of a person"),
    ("nationalität", "trait of a person"),
    ("nationalitaet", "trait of a person"),
    ("citizenship", "trait of a person"),
    ("staatsangehörigkeit", "trait of a person"),
    ("staatsangehoerigkeit", "trait of a person"),
    ("marital", "trait of a person"),
    ("marital status", "trait of a person"),
    ("familienstand", "trait of a person"),
    ("photo", "picture of a person"),
    ("foto", "picture of a person"),
    ("portrait", "picture of a person"),
    ("avatar", "picture of a person"),
    ("health", "health"),
    ("diagnosis", "health"),
    ("diagnose", "health"),
    ("patient", "health"),
    ("disease", "health"),
    ("allergy", "health"),
    ("allergie", "health"),
    ("blood type", "health"),
    ("blood group", "health"),
    ("blutgruppe", "health"),
    ("krankenkasse", "health"),
    ("disability", "health"),
    ("salary", "income"),
    ("gehalt", "income"),
    ("wage", "income"),
    ("income", "income"),
    ("einkommen", "income"),
    ("password", "secret"),
    ("passwort", "secret"),
    ("kennwort", "secret"),
    ("secret", "secret"),
    ("token", "secret"),
];

/// How one word begins.
const BEGINS: &[(&str, &str)] = &[
    ("email", "e-mail address"),
    ("telefon", "telephone number"),
    ("handynummer", "telephone number"),
    ("birth", "date of birth"),
    ("geburt", "date of birth"),
    ("sozialversicherung", "number of a person"),
    ("krankenversicherung", "health"),
];

/// How one word ends.
const ENDS: &[(&str, &str)] = &[
    ("email", "e-mail address"),
    ("mailadresse", "e-mail address"),
    ("adresse", "postal or network address"),
    ("strasse", "postal address"),
    ("straße", "postal address"),
    ("versicherungsnummer", "number of a person"),
];

/// Who people are to an organization. `… name` is the name of a person, the word
/// alone in a column of text as well, and a table of them is a table of people.
const PEOPLE: &[&str] = &[
    "applicant",
    "author",
    "beneficiary",
    "buyer",
    "candidate",
    "child",
    "client",
    "customer",
    "doctor",
    "driver",
    "employee",
    "guest",
    "holder",
    "manager",
    "member",
    "owner",
    "parent",
    "passenger",
    "patient",
    "people",
    "person",
    "pilot",
    "recipient",
    "seller",
    "sender",
    "spouse",
    "staff",
    "student",
    "subscriber",
    "teacher",
    "user",
    "visitor",
    "worker",
    "absender",
    "arzt",
    "benutzer",
    "bewerber",
    "empfaenger",
    "empfänger",
    "fahrer",
    "gast",
    "halter",
    "inhaber",
    "kunde",
    "mieter",
    "mitarbeiter",
    "mitglied",
    "nutzer",
    "patienten",
    "personen",
    "schueler",
    "schüler",
];

/// Of a person only where something else in the table is: airports have names and
/// places too.
const BESIDE: &[(&str, &str)] = &[
    ("lat", "place of a person"),
    ("lon", "place of a person"),
    ("lng", "place of a person"),
    ("latitude", "place of a person"),
    ("longitude", "place of a person"),
    ("geo", "place of a person"),
];

/// What a column of this name holds, whatever else is in its table.
pub(super) fn alone(column: &str, is_text: bool) -> Option<&'static str> {
    let words = words(column);
    let listed = |list: &'static [(&str, &'static str)]| {
        let mut list = list.iter();
        list.find(|(pattern, _)| has(&words, pattern))
            .map(|(_, kind)| *kind)
    };
    let word = |list: &'static [(&str, &'static str)], is: fn(&str, &str) -> bool| {
        let mut list = list.iter();
        list.find(|(part, _)| words.iter().any(|word| is(word, part)))
            .map(|(_, kind)| *kind)
    };
    listed(WORDS)
        .or_else(|| word(BEGINS, |word, part| word.starts_with(part)))
        .or_else(|| word(ENDS, |word, part| word.ends_with(part)))
        .or_else(|| names_people(&words).then_some("name of a person"))
        .or_else(|| match words.as_slice() {
            [word] if is_text && is_people(word) => Some("name of a person"),
            _ => None,
        })
}

/// What a column of this name holds in a table about people.
pub(super) fn beside(column: &str) -> Option<&'static str> {
    let words = words(column);
    if words == ["name"] {
        return Some("name of a person");
    }
    let mut list = BESIDE.iter();
    list.find(|(pattern, _)| has(&words, pattern))
        .map(|(_, kind)| *kind)
}

/// Whether a table of this name is about people.
pub(super) fn about_people(table: &str) -> bool {
    words(table).iter().any(|word| is_people(word))
}

/// `customer_name`, `kundenname`.
fn names_people(words: &[String]) -> bool {
    let mut pairs = words.windows(2);
    let apart = pairs.any(|pair| matches!(pair, [who, name] if is(name, "name") && is_people(who)));
    let one = |word: &String| word.strip_suffix("name").is_some_and(is_people);
    apart || words.iter().any(one)
}

fn is_people(word: &str) -> bool {
    let mut endings = PEOPLE.iter().filter_map(|who| word.strip_prefix(who));
    endings.any(|ending| matches!(ending, "" | "s" | "n" | "en" | "es" | "ren"))
}

/// Whether the words of `pattern` stand in a row, or written as one; the last may be a plural.
fn has(words: &[String], pattern: &str) -> bool {
    let wanted: Vec<&str> = pattern.split(' ').collect();
    let row = |row: &[String]| {
        row.iter()
            .zip(&wanted)
            .all(|(word, wanted)| is(word, wanted))
    };
    words.windows(wanted.len()).any(row) || words.iter().any(|word| is(word, &wanted.concat()))
}

/// Whether a word is the wanted one, or more of it.
fn is(word: &str, wanted: &str) -> bool {
    let rest = word.strip_prefix(wanted);
    matches!(rest, Some("")) || wanted.len() > 2 && matches!(rest, Some("s" | "es"))
}

/// The words of a name, in small letters: `customerEMail_2` is `customer e mail`.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut before) = (String::new(), ' ');
    let mut letters = name.chars().peekable();
    while let Some(c) = letters.next() {
        let ends_capitals =
            before.is_uppercase() && letters.peek().is_some_and(|c| c.is_lowercase());
        let begins = c.is_uppercase() && (before.is_lowercase() || ends_capitals);
        if !c.is_alphabetic() || begins {
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
