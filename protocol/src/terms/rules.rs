//! Which terms are well formed, and how large they may be (A31, `spec/4-negotiation.md#N-5`).

use super::{Limit, Literal, MIN_UNITS, Predicate, RowFilter, TableTerms, Terms};
use crate::names::{Name, is_column};

/// The most tables of one product.
pub const MAX_TABLES: usize = 64;
/// The most columns of one table.
pub const MAX_COLUMNS: usize = 1024;
/// The most purposes.
pub const MAX_PURPOSES: usize = 32;
/// The most predicates of one filter, counting those inside others.
pub const MAX_PREDICATES: usize = 64;
/// How deep predicates may be nested.
pub const MAX_PREDICATE_DEPTH: usize = 8;
/// The most literals of one filter.
pub const MAX_LITERALS: usize = 1024;
/// The most characters of a purpose or a text literal.
pub const MAX_TEXT_CHARS: usize = 256;

/// The most characters of a claim's name.
pub const MAX_CLAIM_CHARS: usize = 64;

/// The most digits of a decimal literal: what a decimal column can hold.
pub const MAX_DECIMAL_DIGITS: usize = 38;

/// The largest whole number: beyond 2^53 - 1 canonical JSON (RFC 8785) writes
/// another number than the one meant, and two readers would see two filters.
pub const MAX_INT: u64 = (1 << 53) - 1;

/// Why terms are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermsError {
    /// A name is not one.
    #[error("the name '{0}' is not allowed")]
    Name(String),
    /// Something is empty that must not be, or larger than allowed.
    #[error("{0}")]
    Size(&'static str),
    /// A literal is not of the form that its type demands.
    #[error("the literal '{0}' is not well formed")]
    Literal(String),
    /// A protection contradicts the columns.
    #[error("{0}")]
    Protection(&'static str),
    /// A mask names a column that is not permitted.
    #[error("the mask on '{0}' belongs to no permitted column")]
    Mask(String),
}

impl Terms {
    /// Checks every bound and every name. Terms that a peer sent are used only after this.
    pub fn check(&self) -> Result<(), TermsError> {
        size(self.tables.is_empty(), "terms name at least one table")?;
        size(
            self.tables.len() > MAX_TABLES,
            "terms name at most 64 tables",
        )?;
        size(self.purposes.is_empty(), "terms name at least one purpose")?;
        size(
            self.purposes.len() > MAX_PURPOSES,
            "terms name at most 32 purposes",
        )?;
        size(
            self.not_before >= self.expires,
            "terms end after they begin",
        )?;
        let times = [self.not_before.as_secs(), self.expires.as_secs()];
        let limits = Limit::all().filter_map(|limit| self.limits.get(limit));
        size(
            times.into_iter().chain(limits).any(|n| n > MAX_INT),
            "a time or a limit is above 2^53 - 1",
        )?;
        let quotas = self.limits.per.values();
        let says_nothing = |q: &super::Quota| *q == super::Quota::default();
        size(
            quotas.into_iter().any(says_nothing),
            "a window limits queries, rows or bytes",
        )?;
        let (hours, days) = (&self.limits.hours, &self.limits.weekdays);
        size(
            hours
                .as_ref()
                .is_some_and(|h| h.is_empty() || h.iter().any(|h| *h > 23))
                || days.as_ref().is_some_and(|d| d.is_empty()),
            "hours are 0 to 23, and there is at least one hour and one day",
        )?;
        for purpose in &self.purposes {
            let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
            let fits = (1..=MAX_TEXT_CHARS).contains(&purpose.len());
            if !fits || !purpose.bytes().all(legal) {
                return Err(TermsError::Name(shown(purpose)));
            }
        }
        for (name, table) in &self.tables {
            name.parse::<Name>()
                .map_err(|_| TermsError::Name(shown(name)))?;
            table.check()?;
        }
        Ok(())
    }
}

impl TableTerms {
    fn check(&self) -> Result<(), TermsError> {
        size(
            self.columns.is_empty(),
            "a table permits at least one column",
        )?;
        size(
            self.columns.len() > MAX_COLUMNS,
            "a table permits at most 1024 columns",
        )?;
        if let Some(bad) = self.columns.iter().find(|c| !is_column(c)) {
            return Err(TermsError::Name(shown(bad)));
        }
        if let Some(bad) = self.masks.keys().find(|c| !self.columns.contains(*c)) {
            return Err(TermsError::Mask(shown(bad)));
        }
        self.filter.check()?;
        self.check_protection()
    }

    /// `spec/4-negotiation.md#N-81`
    fn check_protection(&self) -> Result<(), TermsError> {
        let Some(protection) = &self.protection else {
            return Ok(());
        };
        column_name(&protection.unit)?;
        let rule = |breaks, text| match breaks {
            true => Err(TermsError::Protection(text)),
            false => Ok(()),
        };
        let (unit, groups) = (&protection.unit, &protection.group_by);
        rule(
            self.columns.contains(unit),
            "the unit of a protection is not a permitted column",
        )?;
        rule(
            !groups.is_subset(&self.columns),
            "a protection groups by permitted columns only",
        )?;
        rule(
            protection.aggregates.is_empty(),
            "a protection names at least one aggregate",
        )?;
        rule(
            !(MIN_UNITS..=MAX_INT).contains(&protection.min_units),
            "a protection demands at least 2 units",
        )
    }
}

impl RowFilter {
    /// Checks the filter's size, depth, names and literals.
    pub fn check(&self) -> Result<(), TermsError> {
        let mut counted = Counted::default();
        for predicate in &self.0 {
            counted.predicate(predicate, 1)?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Counted {
    predicates: usize,
    literals: usize,
}

impl Counted {
    /// Recursion is bounded by [`MAX_PREDICATE_DEPTH`]; the JSON reader's own
    /// limit (128) has already bounded what could be built.
    fn predicate(&mut self, predicate: &Predicate, depth: usize) -> Result<(), TermsError> {
        self.predicates += 1;
        size(
            self.predicates > MAX_PREDICATES,
            "a filter has at most 64 predicates",
        )?;
        size(
            depth > MAX_PREDICATE_DEPTH,
            "predicates are nested at most 8 deep",
        )?;
        match predicate {
            Predicate::Compare { column, value, .. } => {
                column_name(column)?;
                self.literal(value)
            }
            Predicate::In { column, values } => {
                column_name(column)?;
                size(values.is_empty(), "an 'in' names at least one value")?;
                values.iter().try_for_each(|v| self.literal(v))
            }
            Predicate::IsNull { column } => column_name(column),
            Predicate::Not(inner) => self.predicate(inner, depth + 1),
            Predicate::Any(inner) | Predicate::All(inner) => {
                size(
                    inner.is_empty(),
                    "'any' and 'all' hold at least one predicate",
                )?;
                inner.iter().try_for_each(|p| self.predicate(p, depth + 1))
            }
        }
    }

    /// spec/4-negotiation.md#N-6
    fn literal(&mut self, literal: &Literal) -> Result<(), TermsError> {
        self.literals += 1;
        size(
            self.literals > MAX_LITERALS,
            "a filter has at most 1024 literals",
        )?;
        let text = match literal {
            Literal::Bool(_) => return Ok(()),
            Literal::Int(n) if n.unsigned_abs() <= MAX_INT => return Ok(()),
            Literal::Int(n) => return Err(TermsError::Literal(n.to_string())),
            Literal::Text(text) if text.chars().count() <= MAX_TEXT_CHARS => return Ok(()),
            Literal::Decimal(text) if is_decimal(text) => return Ok(()),
            Literal::Date(text) if is_date(text) => return Ok(()),
            Literal::Timestamp(text) if is_timestamp(text) => return Ok(()),
            Literal::Claim(name) if is_claim(name) => return Ok(()),
            Literal::Text(text)
            | Literal::Decimal(text)
            | Literal::Date(text)
            | Literal::Timestamp(text)
            | Literal::Claim(text) => text,
        };
        Err(TermsError::Literal(shown(text)))
    }
}

fn size(breaks: bool, rule: &'static str) -> Result<(), TermsError> {
    if breaks {
        Err(TermsError::Size(rule))
    } else {
        Ok(())
    }
}

fn column_name(column: &str) -> Result<(), TermsError> {
    if is_column(column) {
        Ok(())
    } else {
        Err(TermsError::Name(shown(column)))
    }
}

/// A hostile text, cut short for a message.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// `peer.NAME`, or one of the names that are known (`spec/4-negotiation.md#N-80`).
fn is_claim(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let attribute = name.strip_prefix("peer.");
    let attribute = attribute.is_some_and(|n| !n.is_empty() && n.bytes().all(legal));
    name.len() <= MAX_CLAIM_CHARS
        && (attribute || matches!(name, "grant.subject" | "grant.roles" | "purpose"))
}

/// `-?[0-9]+\.[0-9]+`, at most [`MAX_DECIMAL_DIGITS`] digits.
fn is_decimal(text: &str) -> bool {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    unsigned.len() <= MAX_DECIMAL_DIGITS + 1
        && unsigned
            .split_once('.')
            .is_some_and(|(a, b)| digits(a) && digits(b))
}

/// `YYYY-MM-DD`, a day of the calendar: two engines do not agree on February 30.
fn is_date(text: &str) -> bool {
    if !matches_shape(text, "dddd-dd-dd") {
        return false;
    }
    let number = |range| text.get(range).and_then(|t: &str| t.parse::<u32>().ok());
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// `YYYY-MM-DDTHH:MM:SSZ`, with up to six digits of a second.
fn is_timestamp(text: &str) -> bool {
    let Some(text) = text.strip_suffix('Z') else {
        return false;
    };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let fits = (1..=6).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    let (date, time) = seconds.split_once('T').unwrap_or((seconds, ""));
    let below = |range, most: &str| time.get(range).is_some_and(|t: &str| t <= most);
    fits && is_date(date)
        && matches_shape(time, "dd:dd:dd")
        && below(0..2, "23")
        && below(3..5, "59")
        && below(6..8, "59")
}

fn matches_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(t, s)| match s {
            b'd' => t.is_ascii_digit(),
            s => t == s,
        })
}
