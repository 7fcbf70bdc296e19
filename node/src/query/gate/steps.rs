//! How many steps the parser takes (A31, A49).
//!
//! The parser tries words such as CASE and CAST as what they are and, when what
//! follows cannot be read, once more as a name; and each dot of a name as the
//! beginning of an expression. Within one another each of them doubles the
//! work: 40 of them in a statement of 400 bytes that lacks its end keep a thread
//! for years, and no deadline ends a thread that does not wait. MAX_DEPTH bounds
//! how deep the parser goes, and not how often.
//!
//! What it retries is the parser's own affair and changes with its versions, so
//! the statement is not searched for it: the steps are counted while it goes.
//! Before each expression it asks its dialect, which can say that it is enough.

use std::any::TypeId;
use std::sync::atomic::{AtomicU32, Ordering};

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// The most expressions that the parser begins to read, those that it reads
/// again counted again: a few for each of the most words that there can be.
pub(super) const MAX_STEPS: u32 = 100_000;

/// The dialect of all statements, which counts.
#[derive(Debug, Default)]
pub(super) struct Counting(AtomicU32);

impl Counting {
    /// Whether the parser was stopped.
    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MAX_STEPS
    }
}

/// Answers as the dialect that this one behaves as.
macro_rules! as_generic {
    ($($question:ident)*) => {
        $(fn $question(&self) -> bool {
            GenericDialect.$question()
        })*
    };
}

impl Dialect for Counting {
    fn dialect(&self) -> TypeId {
        GenericDialect.dialect()
    }

    /// Spends one step. That error is one that the parser does not try to get
    /// around by reading something else.
    fn parse_prefix(&self, _: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        (before >= MAX_STEPS).then_some(Err(ParserError::RecursionLimitExceeded))
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        GenericDialect.is_identifier_part(ch)
    }

    as_generic! {
        supports_unicode_string_literal
        supports_partition_by_after_order_by
        supports_array_join_syntax
        supports_group_by_expr
        supports_group_by_with_modifier
        supports_left_associative_joins_without_parens
        supports_connect_by
        supports_match_recognize
        supports_pipe_operator
        supports_start_transaction_modifier
        supports_window_function_null_treatment_arg
        supports_dictionary_syntax
        supports_window_clause_named_window_reference
        supports_parenthesized_set_variables
        supports_select_wildcard_except
        support_map_literal_syntax
        allow_extract_custom
        allow_extract_single_quotes
        supports_extract_comma_syntax
        supports_create_view_comment_syntax
        supports_parens_around_table_factor
        supports_values_as_table_factor
        supports_create_index_with_clause
        supports_explain_with_utility_options
        supports_limit_comma
        supports_update_order_by
        supports_from_first_select
        supports_projection_trailing_commas
        supports_asc_desc_in_column_definition
        supports_try_convert
        supports_bitwise_shift_operators
        supports_comment_on
        supports_load_extension
        supports_named_fn_args_with_assignment_operator
        supports_struct_literal
        supports_empty_projections
        supports_nested_comments
        supports_multiline_comment_hints
        supports_user_host_grantee
        supports_string_escape_constant
        supports_array_typedef_with_brackets
        supports_match_against
        supports_set_names
        supports_comma_separated_set_assignments
        supports_filter_during_aggregation
        supports_select_wildcard_exclude
        supports_data_type_signed_suffix
        supports_interval_options
        supports_quote_delimited_string
        supports_select_wildcard_replace
        supports_select_wildcard_ilike
        supports_select_wildcard_rename
        supports_optimize_table
        supports_install
        supports_detach
        supports_prewhere
        supports_with_fill
        supports_limit_by
        supports_interpolate
        supports_settings
        supports_select_format
        supports_comment_optimizer_hint
        supports_constraint_keyword_without_name
        supports_key_column_option
        supports_comma_separated_trim
        supports_cte_without_as
        supports_select_item_multi_column_alias
        supports_xml_expressions
    }
}

#[cfg(test)]
mod tests {
    use crate::query::gate::Gate;

    /// Found by the target `gate`. Without the bound this does not end.
    #[test]
    fn a49_what_the_parser_would_try_again_and_again_is_refused() {
        // As deep as the engine's threads are.
        let deep = std::thread::Builder::new().stack_size(16 << 20);
        let tried = deep.spawn(try_again_and_again).unwrap().join();
        tried.unwrap();
    }

    fn try_again_and_again() {
        let gate = Gate::new(&[]);
        let found = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../fuzz/seeds/gate/finding-long-name-without-an-end"
        );
        // Its first byte chooses the form.
        let name = std::fs::read_to_string(found).unwrap().split_off(1);
        let refused = gate.parse(&name, 0).map(drop).unwrap_err();
        assert_eq!(refused.code(), "too-large", "a name without its end");
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
            // Some end by themselves when their depth is bounded; what does not is stopped.
            assert!(["too-large", "bad-sql"].contains(&refused.code()), "{form}");
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
