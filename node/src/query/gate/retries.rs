//! How often the parser would read a part of a statement again (A31, A49).
//!
//! The parser tries words such as CASE and CAST as what they are and, when what
//! follows cannot be read, once more as a name. Within one another each of them
//! doubles the work: 40 of them in a statement of 400 bytes that lacks its end
//! keep a thread for years, and no deadline ends a thread that does not wait.
//! MAX_DEPTH bounds how deep the parser goes, and not how often.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::query::QueryError;

/// The most tokens that the parser may look at, in the worst case: what nobody
/// retries counts once. A quarter of a second at most.
pub(super) const MAX_WORK: u64 = 250_000;

/// Refuses a statement that could keep the parser busy (`spec/5-data-plane.md#D-2`).
///
/// An upper bound that needs no grammar: a word that is retried counts until its
/// brackets close, and one without brackets until the next comma or closing
/// bracket: the END of a CASE may be a name to the parser.
pub(super) fn bound(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let said = tokens.iter().map(|t| &t.token);
    let said: Vec<_> = said
        .filter(|t| !matches!(t, Token::Whitespace(_) | Token::EOF))
        .collect();
    let mut open = vec![Group::within(1)];
    let mut work: u64 = 0;
    for (at, token) in said.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| said.get(at));
        let outer = open.last().map_or(1, |group| group.now);
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                let times = before.map_or(1, |word| in_brackets(word));
                open.push(Group::within(outer.saturating_mul(times)));
            }
            Token::RParen | Token::RBracket | Token::RBrace if open.len() > 1 => {
                open.pop();
            }
            _ => {
                let after = said.get(at + 1..).unwrap_or_default();
                if let Some(group) = open.last_mut() {
                    group.read(before.copied(), token, after);
                }
            }
        }
        work = work.saturating_add(open.last().map_or(1, |group| group.now));
        if work > MAX_WORK {
            return Err(QueryError::too_large(
                "expressions such as CASE and CAST within one another",
                10,
            ));
        }
    }
    Ok(())
}

/// What stands between two brackets.
struct Group {
    /// How often its first token may be read.
    first: u64,
    /// How often the present one may.
    now: u64,
    /// Whether a comma may belong to a lambda, and end nothing.
    lambda: bool,
}

impl Group {
    fn within(times: u64) -> Self {
        Self {
            first: times,
            now: times,
            lambda: false,
        }
    }

    fn read(&mut self, before: Option<&Token>, token: &Token, after: &[&Token]) {
        let times = match token {
            Token::Comma if !self.lambda => {
                self.now = self.first;
                1
            }
            Token::Word(word) => match word.keyword {
                Keyword::CASE => 2,
                Keyword::NOT if is_retried_not(before, after) => 2,
                Keyword::INTERVAL if !is_plain_interval(after) => 3,
                Keyword::LAMBDA => {
                    self.lambda = true;
                    1
                }
                _ => 1,
            },
            _ => 1,
        };
        self.now = self.now.saturating_mul(times);
    }
}

/// Whether a NOT may be read as a name with an operator behind it. Neither the
/// one of IS NOT and `x NOT IN` is, nor one before a name.
fn is_retried_not(before: Option<&Token>, after: &[&Token]) -> bool {
    let keyword = |token: &Token| match token {
        Token::Word(word) => Some(word.keyword),
        _ => None,
    };
    let next = after.first().map(|next| (keyword(next), *next));
    let infix = match before {
        Some(Token::Word(word)) => {
            matches!(word.keyword, Keyword::NoKeyword | Keyword::IS)
        }
        Some(Token::RParen | Token::Number(..) | Token::SingleQuotedString(_)) => true,
        _ => false,
    };
    match next {
        // Its brackets count.
        None | Some((Some(Keyword::NoKeyword), _) | (_, Token::LParen)) => false,
        _ => !infix,
    }
}

/// `INTERVAL '1' DAY`, in which nothing stands that could be read again.
fn is_plain_interval(after: &[&Token]) -> bool {
    let [Token::SingleQuotedString(_), Token::Word(unit), ..] = after else {
        return false;
    };
    let units = [
        Keyword::YEAR,
        Keyword::MONTH,
        Keyword::WEEK,
        Keyword::DAY,
        Keyword::HOUR,
        Keyword::MINUTE,
        Keyword::SECOND,
    ];
    units.contains(&unit.keyword)
}

/// How often what is in brackets behind `token` may be read (measured).
fn in_brackets(token: &Token) -> u64 {
    let Token::Word(word) = token else {
        return 1;
    };
    match word.keyword {
        Keyword::POSITION => 3,
        Keyword::ARRAY
        | Keyword::CAST
        | Keyword::CEIL
        | Keyword::CONVERT
        | Keyword::CURRENT_DATE
        | Keyword::CURRENT_TIME
        | Keyword::CURRENT_TIMESTAMP
        | Keyword::EXISTS
        | Keyword::EXTRACT
        | Keyword::FLOOR
        | Keyword::INTERVAL
        | Keyword::LAMBDA
        | Keyword::LOCALTIME
        | Keyword::LOCALTIMESTAMP
        | Keyword::MAP
        | Keyword::MATCH
        | Keyword::NOT
        | Keyword::OVERLAY
        | Keyword::SAFE_CAST
        | Keyword::STRUCT
        | Keyword::SUBSTR
        | Keyword::SUBSTRING
        | Keyword::TRIM
        | Keyword::TRY_CAST
        | Keyword::TRY_CONVERT => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use crate::query::gate::Gate;

    /// Found by the target `gate`. Without the bound this does not end.
    #[test]
    fn a49_what_the_parser_would_try_again_and_again_is_refused() {
        let gate = Gate::new(&[]);
        let forms = [
            "CASE WHEN TRUE THEN ",
            "CASE WHEN end THEN ",
            "CASE ",
            "CAST(",
            "TRY_CAST(",
            "CONVERT(",
            "POSITION(",
            "OVERLAY(",
            "CEIL(",
            "FLOOR(",
            "ARRAY[",
            "NOT (",
            "CURRENT_TIMESTAMP(",
            "CASE WHEN CAST(",
            "CASE WHEN LAMBDA x, y : ",
            "INTERVAL ",
            "INTERVAL '1' + ",
            "NOT - ",
            "NOT IN (",
        ];
        for form in forms {
            let sql = format!("SELECT {}~DZ!x 1", form.repeat(39));
            let refused = gate.parse(&sql, 0).map(drop).unwrap_err();
            assert_eq!(refused.code(), "too-large", "{form}");
        }
    }

    #[test]
    fn what_people_write_passes() {
        let gate = Gate::new(&[]);
        let case = "CASE WHEN x > 1 THEN 'a' WHEN x > 2 THEN 'b' ELSE 'c' END";
        let flat = vec![case; 60].join(", ");
        let nested = (0..8).fold("x".to_owned(), |inner, n| {
            format!("CASE WHEN x = {n} THEN 0 ELSE {inner} END")
        });
        let casts = (0..10).fold("x".to_owned(), |inner, _| {
            format!("CAST({inner} AS BIGINT)")
        });
        let sum = vec![format!("({case})"); 30].join(" || ");
        let days = vec!["x + INTERVAL '1' DAY"; 20].join(" + ");
        let nots = vec!["x IS NOT NULL AND NOT x AND x NOT IN (1)"; 20].join(" AND ");
        let list = vec!["1"; 4_000].join(", ");
        let listed = format!("CASE WHEN CAST(x AS BIGINT) IN ({list}) THEN 1 END");
        for expression in [flat, nested, casts, sum, days, nots, listed] {
            let sql = format!("SELECT {expression} FROM t WHERE NOT (x = 1)");
            assert!(gate.parse(&sql, 0).is_ok(), "{sql}");
        }
    }
}
