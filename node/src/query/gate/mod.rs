//! What a caller may say: checks on tokens, on the syntax tree and on the plan.
//!
//! The order matters. Long chains overflow the parser's and the planner's stack,
//! which ends the process (A49), so they are counted on tokens, which no
//! recursion reads. Constant folding runs functions (A51), so the plan is
//! walked before it is optimized.

mod growth;
mod patterns;
mod steps;
mod syntax;
#[cfg(test)]
mod tests;
mod tokens;
mod walk;
mod windows;

use std::collections::HashSet;

use datafusion::common::format::ExplainStatementOptions;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast;
#[cfg(any(test, feature = "fuzzing"))]
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;

use super::{QueryError, TableName, View, functions};
use steps::{Counting, MAX_STEPS};
use walk::Walk;

/// The longest statement, in bytes: most of it is for the keys of a join. What can
/// be chained is counted besides, whatever its length.
pub(crate) const MAX_BYTES: usize = 256 * 1024;
/// The most tables, in the text and in the plan, where shared expressions are repeated.
pub(crate) const MAX_TABLES: usize = 32;
/// The deepest nesting the parser follows.
pub(crate) const MAX_DEPTH: usize = 40;

/// The gate: which functions a statement may call is set when it is built.
#[derive(Debug)]
pub(crate) struct Gate {
    functions: HashSet<String>,
}

impl Gate {
    /// A gate that permits the functions of [`functions`] and `extra` ones.
    pub(crate) fn new(extra: &[String]) -> Self {
        let listed = [functions::SCALAR, functions::AGGREGATE, functions::WINDOW];
        let listed = listed.into_iter().flatten().map(|name| (*name).to_owned());
        Self {
            functions: listed.chain(extra.iter().cloned()).collect(),
        }
    }

    pub(crate) fn permits(&self, function: &str) -> bool {
        self.functions.contains(function)
    }

    /// Steps 1 to 4: from text to one query that is worth planning.
    /// `parameters` says how many values the caller binds.
    pub(crate) fn parse(&self, sql: &str, parameters: usize) -> Result<Statement, QueryError> {
        match self.parse_explained(sql, parameters)? {
            (statement, None) => Ok(statement),
            (_, Some(_)) => Err(not_a_query()),
        }
    }

    /// As [`Gate::parse`], for who may ask how a query would be, or was, computed.
    pub(crate) fn parse_explained(
        &self,
        sql: &str,
        parameters: usize,
    ) -> Result<(Statement, Option<Explain>), QueryError> {
        // spec/5-data-plane.md#D-1
        if sql.len() > MAX_BYTES {
            return Err(QueryError::too_large("bytes", MAX_BYTES));
        }
        let dialect = Counting::default();
        let mut tokens = Tokenizer::new(&dialect, sql)
            .tokenize_with_location()
            .map_err(|e| QueryError::bad_sql(e.to_string()))?;
        tokens::count(&tokens)?;
        tokens::bind_positions(&mut tokens, parameters)?;
        let mut parser = DFParserBuilder::new(tokens)
            .with_dialect(&dialect)
            .with_recursion_limit(MAX_DEPTH)
            .build()
            .map_err(|e| QueryError::while_resolving(&e))?;
        let mut statements = parser.parse_statements().map_err(|e| {
            if dialect.is_spent() {
                return QueryError::too_large("steps of the parser", MAX_STEPS as usize);
            }
            QueryError::while_resolving(&e)
        })?;
        // spec/5-data-plane.md#D-3
        let (Some(statement), true) = (statements.pop_front(), statements.is_empty()) else {
            return Err(QueryError::bad_sql("write exactly one statement"));
        };
        let (statement, explain) = match statement {
            Statement::Explain(explained) => {
                let explain = Explain::of(&explained.options)?;
                (*explained.statement, Some(explain))
            }
            statement => (statement, None),
        };
        let Statement::Statement(inner) = &statement else {
            return Err(not_a_query());
        };
        let ast::Statement::Query(query) = inner.as_ref() else {
            return Err(not_a_query());
        };
        syntax::check(query)?;
        Ok((statement, explain))
    }

    /// Steps 5 and 6: the plan of a parsed query, and the tables it reads.
    pub(crate) async fn plan(
        &self,
        statement: Statement,
        parameters: Vec<datafusion::scalar::ScalarValue>,
        state: &SessionState,
        view: &View,
    ) -> Result<(LogicalPlan, Vec<TableName>), QueryError> {
        let mut plan = state
            .statement_to_plan(statement)
            .await
            .map_err(|e| QueryError::while_resolving(&e))?;
        if !parameters.is_empty() {
            plan = plan
                .with_param_values(parameters)
                .map_err(|e| QueryError::while_resolving(&e))?;
        }
        let mut walk = Walk::new(self, view);
        plan.apply_with_subqueries(|node| walk.node(node).map_err(DataFusionError::from))
            .map_err(|e| QueryError::of(&e))?;
        growth::check(&plan)?;
        Ok((plan, walk.tables()?))
    }
}

/// What is to be told of a query instead of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Explain {
    /// What would be asked of whom.
    Plan,
    /// What was asked, and what came: the query runs.
    Analyze,
}

impl Explain {
    fn of(options: &ExplainStatementOptions) -> Result<Self, QueryError> {
        let plain = ExplainStatementOptions {
            analyze: options.analyze,
            ..ExplainStatementOptions::default()
        };
        if *options != plain {
            return Err(QueryError::not_permitted(
                "an option of EXPLAIN other than ANALYZE",
            ));
        }
        Ok(match options.analyze {
            true => Self::Analyze,
            false => Self::Plan,
        })
    }
}

/// Whether a text is one query, as far as that can be told without its tables.
pub(crate) fn readable(sql: &str) -> Result<(), QueryError> {
    Gate::new(&[]).parse(sql, 0).map(drop)
}

/// Whether the tokens of a statement keep every limit on them.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn within(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    tokens::count(tokens)
}

fn not_a_query() -> QueryError {
    QueryError::not_permitted(
        "a statement that is not a query; the client's catalog and 'comity search' list the tables",
    )
}
