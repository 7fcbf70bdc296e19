//! What a caller may say: checks on tokens, on the syntax tree and on the plan.
//!
//! The order matters. Long chains overflow the parser's and the planner's stack,
//! which ends the process (A49), so they are counted on tokens, which no
//! recursion reads. Constant folding runs functions (A51), so the plan is
//! walked before it is optimized.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, WindowFunctionDefinition};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{self, SetExpr, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::{QueryError, TableName, View, functions};

/// The longest statement, in bytes.
pub(crate) const MAX_BYTES: usize = 64 * 1024;
/// The most tokens, white space not counted. A list of 4,000 values is 8,000.
pub(crate) const MAX_TOKENS: usize = 16_384;
/// The most operators: 600 in a chain overflow a 2 MiB stack (measured).
pub(crate) const MAX_OPERATORS: usize = 256;
/// The most `UNION`, `INTERSECT` and `EXCEPT`.
pub(crate) const MAX_SET_OPERATIONS: usize = 64;
/// The most `SELECT` and `VALUES`.
pub(crate) const MAX_SELECTS: usize = 128;
/// The most common table expressions.
pub(crate) const MAX_CTES: usize = 32;
/// The most tables, in the text and in the plan, where shared expressions are repeated.
pub(crate) const MAX_TABLES: usize = 32;
/// The deepest nesting the parser follows.
pub(crate) const MAX_DEPTH: usize = 40;
/// The most nodes of the plan.
pub(crate) const MAX_NODES: usize = 2_000;
/// The most expressions of the plan.
pub(crate) const MAX_EXPRESSIONS: usize = 100_000;
/// How many times longer than its inputs concatenation may make a text: doubling
/// it in each of 32 common table expressions would make 4 GiB of one byte (A51).
pub(crate) const MAX_TEXT_GROWTH: usize = 4_096;

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
        if sql.len() > MAX_BYTES {
            return Err(QueryError::too_large("bytes", MAX_BYTES));
        }
        let dialect = GenericDialect {};
        let mut tokens = Tokenizer::new(&dialect, sql)
            .tokenize_with_location()
            .map_err(|e| QueryError::bad_sql(e.to_string()))?;
        count_tokens(&tokens)?;
        bind_positions(&mut tokens, parameters)?;
        let mut parser = DFParserBuilder::new(tokens)
            .with_dialect(&dialect)
            .with_recursion_limit(MAX_DEPTH)
            .build()
            .map_err(|e| QueryError::while_resolving(&e))?;
        let mut statements = parser
            .parse_statements()
            .map_err(|e| QueryError::while_resolving(&e))?;
        let (Some(statement), true) = (statements.pop_front(), statements.is_empty()) else {
            return Err(QueryError::bad_sql("write exactly one statement"));
        };
        let Statement::Statement(inner) = &statement else {
            return Err(QueryError::not_permitted("a statement that is not a query"));
        };
        let ast::Statement::Query(query) = inner.as_ref() else {
            return Err(QueryError::not_permitted("a statement that is not a query"));
        };
        match query.visit(&mut Syntax { tables: 0 }) {
            ControlFlow::Continue(()) => Ok(statement),
            ControlFlow::Break(error) => Err(error),
        }
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
        let mut walk = Walk {
            gate: self,
            view,
            tables: Vec::new(),
            nodes: 0,
            expressions: 0,
            growth: 1,
        };
        plan.apply_with_subqueries(|node| walk.node(node).map_err(DataFusionError::from))
            .map_err(|e| QueryError::of(&e))?;
        let tables: BTreeSet<_> = walk.tables.into_iter().collect();
        Ok((plan, tables.into_iter().collect()))
    }
}

fn count_tokens(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
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
fn bind_positions(tokens: &mut [TokenWithSpan], parameters: usize) -> Result<(), QueryError> {
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

/// Refuses what the planner would ignore or what is no plain query.
struct Syntax {
    tables: usize,
}

impl Visitor for Syntax {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<QueryError> {
        let refused = [
            (!query.locks.is_empty(), "FOR UPDATE"),
            (query.for_clause.is_some(), "FOR"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (!query.pipe_operators.is_empty(), "pipe operators"),
            (query.fetch.is_some(), "FETCH (write LIMIT)"),
            (
                query.with.as_ref().is_some_and(|with| with.recursive),
                "WITH RECURSIVE",
            ),
        ];
        refuse(&refused)?;
        body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<QueryError> {
        refuse(&[
            (select.into.is_some(), "INTO"),
            (select.top.is_some(), "TOP (write LIMIT)"),
            (!select.optimizer_hints.is_empty(), "optimizer hints"),
            (select.select_modifiers.is_some(), "select modifiers"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.value_table_mode.is_some(), "AS VALUE or AS STRUCT"),
        ])
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<QueryError> {
        match factor {
            TableFactor::Table {
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => {
                self.tables += 1;
                if self.tables > MAX_TABLES {
                    return ControlFlow::Break(QueryError::too_large("tables", MAX_TABLES));
                }
                refuse(&[
                    (args.is_some() || *with_ordinality, "table functions"),
                    (sample.is_some(), "TABLESAMPLE"),
                    (version.is_some(), "FOR SYSTEM_TIME"),
                    (
                        !with_hints.is_empty() || !index_hints.is_empty(),
                        "table hints",
                    ),
                    (!partitions.is_empty(), "PARTITION"),
                    (json_path.is_some(), "paths into a table"),
                ])
            }
            TableFactor::Derived { sample, .. } => refuse(&[(sample.is_some(), "TABLESAMPLE")]),
            TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            _ => ControlFlow::Break(QueryError::not_permitted("table functions")),
        }
    }
}

fn refuse(cases: &[(bool, &str)]) -> ControlFlow<QueryError> {
    match cases.iter().find(|(present, _)| *present) {
        Some((_, what)) => ControlFlow::Break(QueryError::not_permitted(what)),
        None => ControlFlow::Continue(()),
    }
}

fn body(body: &SetExpr) -> ControlFlow<QueryError> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
        SetExpr::SetOperation { left, right, .. } => {
            self::body(left)?;
            self::body(right)
        }
        _ => ControlFlow::Break(QueryError::not_permitted("a statement that is not a query")),
    }
}

/// The walk over the plan: an allow-list, so that what the engine learns later is refused.
struct Walk<'a> {
    gate: &'a Gate,
    view: &'a View,
    tables: Vec<TableName>,
    nodes: usize,
    expressions: usize,
    growth: usize,
}

impl Walk<'_> {
    fn node(&mut self, node: &LogicalPlan) -> Result<TreeNodeRecursion, QueryError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(QueryError::too_large("steps", MAX_NODES));
        }
        match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Distinct(_) => {}
            LogicalPlan::TableScan(scan) => {
                let provider: Arc<dyn TableProvider> = source_as_provider(&scan.source)
                    .map_err(|_| QueryError::not_permitted("this table"))?;
                let name = self
                    .view
                    .name_of(&provider)
                    .ok_or_else(|| QueryError::not_permitted("this table"))?;
                self.tables.push(name.clone());
                if self.tables.len() > MAX_TABLES {
                    return Err(QueryError::too_large("tables", MAX_TABLES));
                }
            }
            _ => return Err(QueryError::not_permitted("this kind of statement")),
        }
        let mut longest = 0;
        node.apply_expressions(|top| {
            let mut joined = 0;
            let next = top.apply(|e| {
                self.expression(e, &mut joined)
                    .map_err(DataFusionError::from)
            });
            longest = longest.max(joined);
            next
        })
        .map_err(|e| QueryError::of(&e))?;
        self.growth = self.growth.saturating_mul(longest + 1);
        if self.growth > MAX_TEXT_GROWTH {
            return Err(QueryError::too_large(
                "concatenations of concatenations",
                MAX_TEXT_GROWTH,
            ));
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn expression(
        &mut self,
        e: &Expr,
        joined: &mut usize,
    ) -> Result<TreeNodeRecursion, QueryError> {
        self.expressions += 1;
        if self.expressions > MAX_EXPRESSIONS {
            return Err(QueryError::too_large("expressions", MAX_EXPRESSIONS));
        }
        let name = match e {
            Expr::BinaryExpr(b) if b.op == Operator::StringConcat => {
                *joined += 1;
                return Ok(TreeNodeRecursion::Continue);
            }
            Expr::ScalarFunction(f) => {
                match f.name() {
                    "concat" | "concat_ws" => *joined += f.args.len(),
                    "arrow_cast" if !plain_cast(&f.args) => {
                        return Err(QueryError::not_permitted("arrow_cast to this type"));
                    }
                    _ => {}
                }
                f.name()
            }
            Expr::AggregateFunction(f) => f.func.name(),
            Expr::WindowFunction(w) => match &w.fun {
                WindowFunctionDefinition::AggregateUDF(f) => f.name(),
                WindowFunctionDefinition::WindowUDF(f) => f.name(),
            },
            Expr::HigherOrderFunction(_)
            | Expr::Lambda(_)
            | Expr::LambdaVariable(_)
            | Expr::ScalarVariable(..)
            | Expr::Placeholder(_)
            | Expr::Unnest(_) => return Err(QueryError::not_permitted("this kind of expression")),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        if !self.gate.permits(name) {
            return Err(QueryError::not_permitted(format_args!(
                "the function {name}"
            )));
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

/// `arrow_cast` names types that SQL cannot, among them lists of a fixed size,
/// which allocate without bound. Numbers, dates, times and text are permitted.
fn plain_cast(args: &[Expr]) -> bool {
    let Some(Expr::Literal(value, _)) = args.get(1) else {
        return false;
    };
    let name = value.try_as_str().flatten().unwrap_or_default();
    [
        "Int",
        "UInt",
        "Float",
        "Decimal128(",
        "Date",
        "Timestamp(",
        "Utf8",
        "LargeUtf8",
        "Boolean",
    ]
    .iter()
    .any(|plain| name.starts_with(plain))
}
