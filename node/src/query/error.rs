//! What can go wrong with a query, in a closed vocabulary (`spec/5-data-plane.md#D-8`).

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

/// The longest message that is passed on from the planner, in bytes.
const MAX_MESSAGE: usize = 500;
/// How the reader of CSV begins when a value is not of the column's type.
const UNREADABLE_VALUE: &str = "Error while parsing value";
/// How the engine names its limit when a spilling query meets it: an I/O error
/// without a type of its own. Not knowing it would only blame the source.
const SPILL_LIMIT: &str = "max_temp_directory_size";

/// Why a query was refused or failed. [`QueryError::code`] and the message may
/// go to any caller; what may hold data is only in [`QueryError::owner_detail`] (A19).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    code: &'static str,
    message: String,
    owner_detail: Option<String>,
    /// The code of the partner that refused, as it gave it.
    refused_with: Option<String>,
}

impl QueryError {
    /// A stable code: one of `bad-sql`, `not-permitted`, `too-large`, `budget`,
    /// `busy`, `failed`, `source-unavailable`, `partner-unavailable`,
    /// `partner-refused`, `terms-mismatch` and `internal`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What happened, for the log of this node's owner only: it may hold data.
    pub fn owner_detail(&self) -> Option<&str> {
        self.owner_detail.as_deref()
    }

    /// The code with which a partner refused its part, as the partner gave it.
    pub(crate) fn refused_with(&self) -> Option<&str> {
        self.refused_with.as_deref()
    }

    /// Whether a partner refused to plan its part: it may answer less than that.
    /// What it has not begun to answer is not read twice when it is asked otherwise.
    pub(super) fn is_not_planned(&self) -> bool {
        let codes = ["bad-sql", "not-permitted", "too-large"];
        self.refused_with()
            .is_some_and(|code| codes.contains(&code))
    }

    /// The partner did not answer, or answered with something else. `partner`
    /// is the local alias; `detail` is for the owner's log.
    pub fn partner_unavailable(partner: &str, detail: impl Into<String>) -> Self {
        Self::new(
            "partner-unavailable",
            format!("the partner {partner} could not serve its part of the query"),
        )
        .with_detail(detail)
    }

    /// The partner refused its part of the query. `code` is the partner's own
    /// code, which is forwarded only if it looks like one; what can be done
    /// about it is said in our words.
    pub fn partner_refused(partner: &str, code: &str) -> Self {
        let tidy = code.len() <= 64
            && code
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let shown = if tidy { code } else { "unreadable code" };
        let next = match code {
            "no-agreement" => "; ask for access with 'comity request'",
            "revoked" | "expired" => "; the agreement has ended: ask again with 'comity request'",
            "too-many-rows" => {
                "; the agreement permits fewer rows in one query: 'comity agreements ID' has the number"
            }
            "withdrawn" => {
                "; it is no longer announced: 'comity status' and 'comity search' show what is"
            }
            "receipts-due" => {
                "; receipts of what it delivered are not acknowledged: see this node's log"
            }
            "purpose" => {
                "; state one of the agreement's purposes, with --purpose or in the header 'comity-purpose'"
            }
            "busy" | "unavailable" => "; try again shortly",
            _ => "",
        };
        let mut refused = Self::new(
            "partner-refused",
            format!("the partner {partner} refused its part of the query: {shown}{next}"),
        );
        refused.refused_with = tidy.then(|| code.to_owned());
        refused
    }

    /// Finds the closed error inside an item of a result stream. Everything
    /// that a running query reports comes through here; engine text stays in
    /// the owner's detail.
    pub fn of(error: &DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast_ref::<Self>() {
                Some(own) => own.clone(),
                None => match inner.downcast_ref::<DataFusionError>() {
                    Some(nested) => Self::of(nested),
                    None => Self::internal(error.to_string()),
                },
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::of(inner)
            }
            DataFusionError::Shared(inner) => Self::of(inner),
            DataFusionError::Collection(all) => match all.first() {
                Some(first) => Self::of(first),
                None => Self::internal("an empty collection of errors"),
            },
            DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
                arrow::error::ArrowError::ExternalError(boxed) => {
                    match (
                        boxed.downcast_ref::<Self>(),
                        boxed.downcast_ref::<DataFusionError>(),
                    ) {
                        (Some(own), _) => own.clone(),
                        (None, Some(nested)) => Self::of(nested),
                        (None, None) => Self::internal(error.to_string()),
                    }
                }
                arrow::error::ArrowError::IoError(text, _) if text.contains(SPILL_LIMIT) => {
                    Self::memory(error)
                }
                arrow::error::ArrowError::IoError(..) => {
                    Self::source_unavailable(error.to_string())
                }
                arrow::error::ArrowError::ParseError(text)
                    if text.starts_with(UNREADABLE_VALUE) =>
                {
                    Self::source_unavailable(error.to_string())
                }
                // What a reader says of a file; no function of a statement says it.
                arrow::error::ArrowError::CsvError(_)
                | arrow::error::ArrowError::JsonError(_)
                | arrow::error::ArrowError::IpcError(_)
                | arrow::error::ArrowError::ParquetError(_) => {
                    Self::source_unavailable(error.to_string())
                }
                _ => Self::failed(error.to_string()),
            },
            DataFusionError::ResourcesExhausted(_) => Self::memory(error),
            DataFusionError::IoError(inner) if inner.to_string().contains(SPILL_LIMIT) => {
                Self::memory(error)
            }
            DataFusionError::Execution(_) => Self::failed(error.to_string()),
            DataFusionError::NotImplemented(_) => Self::new(
                "bad-sql",
                "the statement uses something the engine cannot do",
            )
            .with_detail(error.to_string()),
            DataFusionError::ParquetError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::IoError(_) => Self::source_unavailable(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }

    /// Maps an error met while a statement is parsed and resolved. No row has
    /// been read by then: the text holds only the caller's own words and the
    /// names in the caller's own view, so its first line may be shown.
    pub(crate) fn while_resolving(error: &DataFusionError) -> Self {
        match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::while_resolving(inner)
            }
            DataFusionError::Shared(inner) => Self::while_resolving(inner),
            DataFusionError::Collection(all) if !all.is_empty() => Self::while_resolving(&all[0]),
            DataFusionError::SQL(parser, _) => Self::bad_sql(parser.to_string()),
            DataFusionError::Plan(text)
            | DataFusionError::NotImplemented(text)
            | DataFusionError::Execution(text) => Self::bad_sql(text.clone()),
            DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
                SchemaError::FieldNotFound {
                    field,
                    valid_fields,
                } => {
                    let valid: Vec<_> = valid_fields.iter().map(|c| c.name.as_str()).collect();
                    Self::bad_sql(format!(
                        "column {} not found; there are: {}",
                        field.name,
                        valid.join(", ")
                    ))
                }
                other => Self::bad_sql(other.to_string()),
            },
            other => Self::of(other),
        }
    }

    /// Maps an error met while a resolved plan is analysed and optimized. Types
    /// are compared there for the first time: that they do not fit is the
    /// statement's fault, and its text holds what [`QueryError::while_resolving`]
    /// may show. Expressions of constants are evaluated there as well; what
    /// these say stays with the owner.
    pub(crate) fn while_optimizing(error: &DataFusionError) -> Self {
        match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::while_optimizing(inner)
            }
            DataFusionError::Shared(inner) => Self::while_optimizing(inner),
            DataFusionError::Collection(all) if !all.is_empty() => Self::while_optimizing(&all[0]),
            DataFusionError::Plan(_) | DataFusionError::SchemaError(..) => {
                Self::while_resolving(error)
            }
            other => Self::of(other),
        }
    }

    pub(crate) fn bad_sql(message: impl Into<String>) -> Self {
        let message: String = message.into();
        let line = message.lines().next().unwrap_or_default();
        let mut end = line.len().min(MAX_MESSAGE);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        Self::new("bad-sql", hinted(&line[..end]))
    }

    pub(crate) fn not_permitted(what: impl std::fmt::Display) -> Self {
        Self::new("not-permitted", format!("not permitted here: {what}"))
    }

    /// A policy of this node refuses; which one is in the owner's log
    /// (`spec/7-policy.md#R-2`).
    pub(crate) fn policy() -> Self {
        Self::new("policy", "a policy of this organization does not permit it")
    }

    pub(crate) fn too_large(what: &str, limit: usize) -> Self {
        Self::new(
            "too-large",
            format!("the statement has too many or too large {what}; the limit is {limit}"),
        )
    }

    pub(crate) fn budget(what: &str) -> Self {
        Self::new(
            "budget",
            format!("the query passed its {what}; ask for less, or in parts"),
        )
    }

    fn memory(error: &DataFusionError) -> Self {
        Self::new(
            "budget",
            "the query needs more memory or time than this node gives one query; ask for fewer rows or columns",
        )
        .with_detail(error.to_string())
    }

    pub(crate) fn busy() -> Self {
        Self::new(
            "busy",
            "this node is running as many queries as it may; try again shortly",
        )
    }

    pub(crate) fn terms_mismatch(what: impl Into<String>) -> Self {
        Self::new("terms-mismatch", what)
    }

    /// The sources are not what the same question met before.
    pub(crate) fn another_snapshot() -> Self {
        Self::new(
            "terms-mismatch",
            "the data is not in the state any more in which this question was first answered; ask again",
        )
    }

    pub(crate) fn source_unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            "source-unavailable",
            "the data behind a table cannot be read now; its owner's log says why",
        )
        .with_detail(detail)
    }

    pub(crate) fn failed(detail: impl Into<String>) -> Self {
        Self::new(
            "failed",
            "an expression failed on a value it met, for example a division by zero or a cast",
        )
        .with_detail(detail)
    }

    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(
            "internal",
            "the query failed inside the node; the owner's log says why",
        )
        .with_detail(detail)
    }

    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            owner_detail: None,
            refused_with: None,
        }
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.owner_detail = Some(detail.into());
        self
    }
}

/// What the engine says of a statement, with what to write instead where a
/// newcomer stumbles.
fn hinted(line: &str) -> String {
    if line.contains("found: -") {
        return format!("{line}; a name that contains '-' stands in double quotes");
    }
    match line
        .strip_prefix("table '")
        .and_then(|l| l.strip_suffix("' not found"))
    {
        // The engine's name for a schema that was not written.
        Some(name) => format!(
            "table '{}' not found; 'comity search' shows what there is, named \"ORGANIZATION\".\"PRODUCT\".\"TABLE\"",
            name.replacen("._.", ".", 1)
        ),
        None => line.to_owned(),
    }
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_engine_stays_with_the_owner() {
        let error = QueryError::of(&DataFusionError::Execution(
            "cannot cast 'SECRET' to int".into(),
        ));
        assert_eq!(error.code(), "failed");
        assert!(!error.to_string().contains("SECRET"));
        assert!(error.owner_detail().unwrap().contains("SECRET"));
    }

    #[test]
    fn own_error_survives_the_engine() {
        let inner = DataFusionError::from(QueryError::busy());
        let wrapped = DataFusionError::Context("x".into(), Box::new(inner));
        assert_eq!(QueryError::of(&wrapped), QueryError::busy());
    }

    #[test]
    fn a_partner_cannot_write_into_our_messages() {
        let error = QueryError::partner_refused("weather", "<b>hello</b>");
        assert!(!error.to_string().contains('<'));
        assert!(
            QueryError::partner_refused("weather", "not-permitted")
                .to_string()
                .contains("not-permitted")
        );
    }
}
