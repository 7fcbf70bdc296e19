//! Guesses which columns hold personal data, by their names and their values.
//!
//! A guess is a reason to look, not a classification: the column is not served
//! until a person has looked (`spec/3-catalog.md#C-50`). A wrong guess costs the
//! owner a line to delete; a missed one could cost somebody their privacy, so
//! names count even where the values look harmless.

mod forms;
#[cfg(test)]
mod tests;
mod words;

use self::forms::{FORMS, Form};

/// Why a column may hold personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    /// What it may hold.
    pub(super) kind: &'static str,
    /// What it was guessed from; never a value.
    pub(super) why: String,
}

impl Guess {
    fn of(kind: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { kind, why }
    }
}

/// The least values of a form that may be chance: fewer must be all there are.
const MIN_HITS: usize = 3;

/// One value in so many must have a form that may be chance. Low, because a column
/// of free text with some numbers in it holds numbers.
const ONE_IN: usize = 100;

/// A guess from the name of a column; the word for a person alone counts where
/// the column holds text, and not where it holds keys.
pub(super) fn by_name(column: &str, is_text: bool) -> Option<Guess> {
    Some(Guess::of(words::alone(column, is_text)?, "its name"))
}

/// A guess from the name of a column that says nothing alone: `name`, `lat`.
/// `table` is about people by its name, or has another column that is.
pub(super) fn by_company(column: &str, table: &str, others: bool) -> Option<Guess> {
    let kind = words::beside(column)?;
    match (words::about_people(table), others) {
        (true, _) => Some(Guess::of(kind, "its name, in a table about people")),
        (_, true) => Some(Guess::of(kind, "its name, beside other such columns")),
        _ => None,
    }
}

/// A guess from values of a column of texts.
pub(super) fn by_values<'a>(values: impl Iterator<Item = &'a str>) -> Option<Guess> {
    let (mut seen, mut hits) = (0, [0; FORMS.len()]);
    for value in values {
        seen += 1;
        for (hit, form) in hits.iter_mut().zip(&FORMS) {
            *hit += usize::from((form.is)(value.trim()));
        }
    }
    let counts = |hits: usize, form: &Form| {
        let often = hits >= MIN_HITS.min(seen) && hits * ONE_IN >= seen;
        hits > 0 && (form.certain || often)
    };
    let found = hits
        .iter()
        .zip(&FORMS)
        .filter(|(hit, form)| counts(**hit, form));
    // Of two as frequent ones the first, which is the more certain.
    let (hit, form) = found.rev().max_by_key(|(hit, _)| **hit)?;
    Some(Guess::of(
        form.kind,
        format!("the form of {hit} of {seen} values"),
    ))
}

/// A guess from whole numbers, of which some pass for cards by chance: most must.
pub(super) fn by_numbers<'a>(values: impl Iterator<Item = &'a str>) -> Option<Guess> {
    let (mut seen, mut hits) = (0, 0);
    for value in values {
        seen += 1;
        hits += usize::from(forms::is_card(value));
    }
    let why = format!("the form of {hits} of {seen} values");
    (hits >= MIN_HITS && hits * 2 > seen).then(|| Guess::of("payment card", why))
}
