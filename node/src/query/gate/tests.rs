//! Every limit of the gate from both sides, and which words count towards it.

use std::sync::Arc;

use datafusion::logical_expr::{LogicalPlanBuilder, lit};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use super::growth::{MAX_ROW_TEXT, MAX_TEXT_GROWTH};
use super::tokens::{MAX_CTES, MAX_OPERATORS, MAX_SELECTS, MAX_SET_OPERATIONS, MAX_TOKENS};
use super::walk::{MAX_EXPRESSIONS, MAX_NODES};
use super::*;
use crate::query::tests::{memory, view};
use crate::query::{Engine, EngineSettings};

fn count(sql: &str) -> Result<(), &'static str> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .unwrap();
    tokens::count(&tokens).map_err(|e| e.code())
}

#[test]
fn each_word_and_sign_that_can_be_chained_counts_towards_its_limit() {
    for (limit, pieces) in [
        (MAX_TOKENS, &["x ", "( ", "1 ", "'a' "][..]),
        (
            MAX_OPERATORS,
            &[
                "+ ",
                "- ",
                "* ",
                "/ ",
                "% ",
                "|| ",
                "| ",
                "& ",
                "^ ",
                "= ",
                "<> ",
                "< ",
                ">= ",
                "AND ",
                "OR ",
                "XOR ",
                "NOT ",
                "LIKE ",
                "ILIKE ",
                "SIMILAR ",
                "BETWEEN ",
                "IS ",
                "IN ",
                "DIV ",
                "COLLATE ",
                "AT ",
                "OVERLAPS ",
                "~ ",
                "!~ ",
                "-> ",
                ":: ",
                "[ ",
            ][..],
        ),
        (
            MAX_SET_OPERATIONS,
            &["UNION ", "INTERSECT ", "EXCEPT ", "MINUS "][..],
        ),
        (MAX_SELECTS, &["SELECT ", "VALUES "][..]),
        (MAX_CTES, &["AS ( ", "AS MATERIALIZED ( "][..]),
        (MAX_TABLES, &["JOIN ", "APPLY "][..]),
    ] {
        for piece in pieces {
            assert_eq!(count(&piece.repeat(limit)), Ok(()), "{piece}");
            assert_eq!(count(&piece.repeat(limit + 1)), Err("too-large"), "{piece}");
        }
    }
}

#[test]
fn white_space_and_comments_are_no_tokens() {
    assert_eq!(count(&"/* x + y */ -- UNION\n".repeat(1_000)), Ok(()));
    assert_eq!(count(&" ".repeat(MAX_TOKENS + 1)), Ok(()));
}

#[test]
fn the_walk_stops_at_one_step_too_many() {
    let (gate, view) = (Gate::new(&[]), view(memory()));
    let node = LogicalPlanBuilder::empty(true).build().unwrap();
    let mut walk = Walk::new(&gate, &view);
    for _ in 0..MAX_NODES {
        walk.node(&node).unwrap();
    }
    assert_eq!(walk.node(&node).unwrap_err().code(), "too-large");
}

#[test]
fn the_walk_stops_at_one_expression_too_many() {
    let (gate, view) = (Gate::new(&[]), view(memory()));
    let values = |n: usize| {
        let rows = vec![vec![lit(1i64)]; n];
        LogicalPlanBuilder::values(rows).unwrap().build().unwrap()
    };
    // A value of a row is one expression.
    let mut walk = Walk::new(&gate, &view);
    walk.node(&values(MAX_EXPRESSIONS)).unwrap();
    assert_eq!(walk.node(&values(1)).unwrap_err().code(), "too-large");
}

fn chain(part: &str, joint: &str, n: usize) -> String {
    vec![part; n].join(joint)
}

/// A text that doubles in each of `n` steps.
fn doubled(n: usize) -> String {
    let ctes: String = (1..=n)
        .map(|i| format!(", c{i} AS (SELECT s||s AS s FROM c{})", i - 1))
        .collect();
    format!("WITH c0 AS (SELECT s FROM t){ctes} SELECT count(*) FROM c{n}")
}

/// Tables that double in each of `n` steps: 2^n scans, of which the text shows few.
fn joined(n: usize) -> String {
    let ctes: String = (1..=n)
        .map(|i| {
            let c = i - 1;
            format!(", c{i} AS (SELECT a.x FROM c{c} AS a, c{c} AS b)")
        })
        .collect();
    format!("WITH c0 AS (SELECT x FROM t){ctes} SELECT count(*) FROM c{n}")
}

/// A separator within a separator: each of `n` steps doubles it.
fn separators(n: usize) -> String {
    let text = (0..n).fold("s".to_owned(), |inner, _| {
        format!("concat_ws({inner}, '', '', '')")
    });
    format!("SELECT {text} FROM t")
}

#[tokio::test]
async fn statements_pass_at_each_limit_and_not_beyond() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let view = view(memory());
    let padded = |bytes: usize| format!("SELECT x FROM t{}", " ".repeat(bytes - 15));
    // Each of these takes a thousand times its length before it can be too large.
    let classes = "\\w".repeat(2 * 1024 + 1);
    let long = format!("SELECT x FROM t WHERE s ~ '{classes}'");
    let refused = engine.prepare(Arc::clone(&view), &long).await;
    assert_eq!(refused.unwrap_err().code(), "too-large");
    let listed = |n: usize| format!("SELECT x FROM t WHERE x IN ({})", chain("1", ",", n));
    let ctes = |n: usize| {
        let all: Vec<_> = (0..n).map(|i| format!("c{i} AS (SELECT 1 AS a)")).collect();
        format!("WITH {} SELECT a FROM c0", all.join(", "))
    };
    let mut wrong = Vec::new();
    let constant = |bytes: usize| format!("SELECT '{}' FROM t", "a".repeat(bytes));
    for (limit, passes, refused) in [
        ("bytes", padded(MAX_BYTES), padded(MAX_BYTES + 1)),
        (
            "tokens",
            listed(8_188),
            listed(8_188).replace("FROM t", "FROM t u"),
        ),
        (
            "operators",
            format!("SELECT {} FROM t", chain("x", "+", MAX_OPERATORS + 1)),
            format!("SELECT {} FROM t", chain("x", "+", MAX_OPERATORS + 2)),
        ),
        (
            "set operations",
            chain("SELECT 1", " UNION ALL ", MAX_SET_OPERATIONS + 1),
            chain("SELECT 1", " UNION ALL ", MAX_SET_OPERATIONS + 2),
        ),
        (
            "selections",
            format!("SELECT {}", values(MAX_SELECTS - 1)),
            format!("SELECT {}", values(MAX_SELECTS)),
        ),
        ("common tables", ctes(MAX_CTES), ctes(MAX_CTES + 1)),
        (
            "tables of unions",
            chain("SELECT x FROM t", " UNION ALL ", MAX_TABLES),
            chain("SELECT x FROM t", " UNION ALL ", MAX_TABLES + 1),
        ),
        (
            "tables of a list",
            format!("SELECT 1 FROM {}", tables(MAX_TABLES)),
            format!("SELECT 1 FROM {}", tables(MAX_TABLES + 1)),
        ),
        (
            "tables of the plan",
            joined(5),
            joined(5).replace("FROM c5", "FROM c5, t"),
        ),
        ("growth by steps", doubled(6), doubled(7)),
        (
            "growth in one step",
            format!("SELECT {} FROM t", chain("s", "||", MAX_TEXT_GROWTH)),
            format!("SELECT {} FROM t", chain("s", "||", MAX_TEXT_GROWTH + 1)),
        ),
        (
            "growth over columns",
            format!("SELECT {} FROM t", columns(MAX_TEXT_GROWTH / 2)),
            format!("SELECT {} FROM t", columns(MAX_TEXT_GROWTH / 2 + 1)),
        ),
        ("growth of separators", separators(3), separators(4)),
        (
            "text of the statement",
            constant(MAX_ROW_TEXT),
            constant(MAX_ROW_TEXT + 1),
        ),
    ] {
        if let Err(error) = engine.prepare(Arc::clone(&view), &passes).await {
            wrong.push(format!("{limit}: {error:?}"));
        }
        match engine.prepare(Arc::clone(&view), &refused).await {
            Ok(_) => wrong.push(format!("{limit}: passed beyond the limit")),
            Err(error) if error.code() == "too-large" => {}
            Err(error) => wrong.push(format!("{limit}: {error:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn values(n: usize) -> String {
    let all: Vec<_> = (0..n).map(|i| format!("(SELECT 1) AS c{i}")).collect();
    all.join(", ")
}

fn tables(n: usize) -> String {
    let all: Vec<_> = (0..n).map(|i| format!("t AS t{i}")).collect();
    all.join(", ")
}

fn columns(n: usize) -> String {
    let all: Vec<_> = (0..n).map(|i| format!("concat(s, s) AS c{i}")).collect();
    all.join(", ")
}

#[tokio::test]
async fn nesting_passes_up_to_one_depth_and_never_beyond_it() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let view = view(memory());
    let brackets = |n: usize| format!("SELECT {}x{} FROM t", "(".repeat(n), ")".repeat(n));
    let not = |n: usize| format!("SELECT {}true", "NOT ".repeat(n));
    let calls = |n: usize| format!("SELECT {}x{} FROM t", "abs(".repeat(n), ")".repeat(n));
    let queries = |n: usize| {
        (0..n).fold("SELECT x FROM t".to_owned(), |q, i| {
            format!("SELECT x FROM ({q}) AS q{i}")
        })
    };
    let forms: [&dyn Fn(usize) -> String; 4] = [&brackets, &not, &calls, &queries];
    for form in forms {
        let mut passed = 0;
        for depth in 1..=MAX_DEPTH + 1 {
            let result = engine.prepare(Arc::clone(&view), &form(depth)).await;
            match result {
                Ok(_) => {
                    assert_eq!(passed, depth - 1, "{}", form(depth));
                    passed = depth;
                }
                // What the parser would read again is refused before it is so deep.
                Err(error) => assert!(["bad-sql", "too-large"].contains(&error.code()), "{error}"),
            }
        }
        assert!((8..=MAX_DEPTH).contains(&passed), "{passed} {}", form(1));
    }
}
