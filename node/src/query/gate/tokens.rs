//! Counts on tokens, which no recursion reads: long chains overflow the
//! parser's and the planner's stack, which ends the process (A49).

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::MAX_TABLES;
use crate::query::QueryError;

/// The most tokens, white space not counted. A list of 4,000 values is 8,000.
pub(super) const MAX_TOKENS: usize = 16_384;
/// The most operators: 600 in a chain overflow a 2 MiB stack (measured).
pub(super) const MAX_OPERATORS: usize = 256;
/// The most `UNION`, `INTERSECT` and `EXCEPT`.
pub(super) const MAX_SET_OPERATIONS: usize = 64;
/// The most `SELECT` and `VALUES`.
pub(super) const MAX_SELECTS: usize = 128;
/// The most common table expressions.
pub(super) const MAX_CTES: usize = 32;

/// Refuses a statement with too much of anything that can be chained
/// (`spec/5-data-plane.md#D-2`).
pub(super) fn count(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let (mut all, mut operators, mut sets, mut selects, mut ctes, mut joins) = (0, 0, 0, 0, 0, 0);
    let mut previous = Keyword::NoKeyword;
    for token in tokens {
        let mut current = Keyword::NoKeyword;
        match &token.token {
            Token::Whitespace(_) | Token::EOF => continue,
            Token::Word(word) => {
                current = word.keyword;
                match word.keyword {
                    Keyword::AND
                    | Keyword::OR
                    | Keyword::XOR
                    | Keyword::NOT
                    | Keyword::LIKE
                    | Keyword::ILIKE
                    | Keyword::RLIKE
                    | Keyword::REGEXP
                    | Keyword::SIMILAR
                    | Keyword::BETWEEN
                    | Keyword::IS
                    | Keyword::IN
                    | Keyword::DIV
                    | Keyword::COLLATE
                    | Keyword::AT
                    | Keyword::OVERLAPS
                    | Keyword::MEMBER
                    | Keyword::NOTNULL => operators += 1,
                    Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => {
                        sets += 1
                    }
                    Keyword::SELECT | Keyword::VALUES => selects += 1,
                    Keyword::JOIN | Keyword::APPLY => joins += 1,
                    Keyword::MATERIALIZED => ctes += 1,
                    _ => {}
                }
            }
            Token::LParen if previous == Keyword::AS => ctes += 1,
            Token::Comma
            | Token::LParen
            | Token::RParen
            | Token::SemiColon
            | Token::Period
            | Token::Number(..)
            | Token::Placeholder(_)
            | Token::SingleQuotedString(_) => {}
            // Whatever else there is, or will be, may be chained.
            _ => operators += 1,
        }
        previous = current;
        all += 1;
    }
    for (count, limit, what) in [
        (all, MAX_TOKENS, "words and signs"),
        (operators, MAX_OPERATORS, "operators"),
        (sets, MAX_SET_OPERATIONS, "set operations"),
        (selects, MAX_SELECTS, "selections"),
        (ctes, MAX_CTES, "common table expressions"),
        (joins, MAX_TABLES, "tables"),
    ] {
        if count > limit {
            return Err(QueryError::too_large(what, limit));
        }
    }
    Ok(())
}

/// Turns `?` into `$1`, `$2`, … and refuses places for which no value came.
pub(super) fn bind_positions(
    tokens: &mut [TokenWithSpan],
    parameters: usize,
) -> Result<(), QueryError> {
    let mut next = 0;
    for token in tokens {
        if let Token::Placeholder(name) = &mut token.token {
            if name == "?" {
                next += 1;
                *name = format!("${next}");
            }
            let position = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
            if !position.is_some_and(|n| (1..=parameters).contains(&n)) {
                return Err(QueryError::bad_sql(
                    "the statement has a place for a value, and no value was bound to it",
                ));
            }
        }
    }
    Ok(())
}
