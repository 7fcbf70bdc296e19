//! Regular expressions of a statement. The engine compiles one for each text
//! that it meets as a pattern, outside of every budget, and nothing ends it
//! while it does (A31, A51): so a pattern is a literal, and is compiled here
//! first, within a limit.

use datafusion::logical_expr::{Expr, Operator};
use regex::RegexBuilder;

use crate::query::QueryError;

/// The most bytes of a compiled regular expression. Time is proportional to it,
/// for each letter that it looks at. `\w` takes about twenty thousand.
const MAX_COMPILED_BYTES: usize = 256 * 1024;

/// The longest pattern, in bytes: before its compiled form can be too large, each
/// `\w` of it takes six thousand bytes.
const MAX_PATTERN_BYTES: usize = 4 * 1024;

/// Refuses `e` if it matches with anything but one small regular expression.
pub(super) fn check(e: &Expr) -> Result<(), QueryError> {
    match e {
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::RegexMatch | Operator::RegexNotMatch => small(&binary.right, ""),
            Operator::RegexIMatch | Operator::RegexNotIMatch => small(&binary.right, "i"),
            _ => Ok(()),
        },
        Expr::ScalarFunction(f) if f.name() == "regexp_like" => match &f.args[..] {
            [_, pattern] => small(pattern, ""),
            [_, pattern, flags] => small(pattern, literal(flags)?),
            _ => Err(QueryError::not_permitted("regexp_like in this form")),
        },
        _ => Ok(()),
    }
}

fn small(pattern: &Expr, flags: &str) -> Result<(), QueryError> {
    let pattern = literal(pattern)?;
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(QueryError::too_large(
            "bytes of a regular expression",
            MAX_PATTERN_BYTES,
        ));
    }
    // As the engine writes it.
    let whole = match flags {
        "" => pattern.to_owned(),
        flags => format!("(?{flags}){pattern}"),
    };
    let compiled = RegexBuilder::new(&whole)
        .size_limit(MAX_COMPILED_BYTES)
        .build();
    match compiled {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => Err(QueryError::not_permitted(format_args!(
            "a regular expression of more than {MAX_COMPILED_BYTES} bytes when compiled"
        ))),
        Err(_) => Err(QueryError::bad_sql(format!(
            "'{pattern}' is not a regular expression"
        ))),
    }
}

fn literal(e: &Expr) -> Result<&str, QueryError> {
    let mut e = e;
    while let Expr::Cast(cast) = e {
        e = &cast.expr;
    }
    let text = match e {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    };
    text.ok_or_else(|| QueryError::not_permitted("a regular expression that is not a literal"))
}
