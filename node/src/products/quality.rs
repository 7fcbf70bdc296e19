//! Quality rules in SQL: the one kind whose text stays at home.

use serde_json::Value;

use super::placeholder::Names;
use super::rules::Text;

/// A quality rule of type `sql`. Private: its public projection is words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlRule {
    /// The table whose rule it is.
    pub table: String,
    /// The column whose rule it is, if it stands there.
    pub column: Option<String>,
    /// Which of the rules there it is, from 0, in the public contract as well.
    pub index: usize,
    /// The query, as written.
    pub query: String,
    /// The JSON pointer of the query in the file.
    pub(crate) pointer: String,
}

impl SqlRule {
    /// The query over the product of this name of the organization `alias`, with
    /// its placeholders filled (`spec/3-catalog.md#C-101`).
    pub(crate) fn statement(&self, alias: &str, product: &str) -> String {
        let names = Names {
            alias,
            product,
            table: &self.table,
            column: self.column.as_deref(),
        };
        names.fill(&self.query)
    }
}

/// Every rule in SQL of a document.
pub(super) fn sql_rules(contract: &Value) -> Vec<SqlRule> {
    let mut rules = Vec::new();
    each_place(contract, &mut |place, at, table, column| {
        let list = place.list("quality").iter().enumerate();
        rules.extend(list.filter_map(|(index, rule)| {
            let sql = rule.text("type") == Some("sql");
            Some(SqlRule {
                table: table.to_owned(),
                column: column.map(str::to_owned),
                index,
                query: rule.text("query").filter(|_| sql)?.to_owned(),
                pointer: format!("{at}/quality/{index}/query"),
            })
        }));
    });
    rules
}

/// Every quality rule of a document of any form, with its JSON pointer.
pub(super) fn rules(contract: &Value) -> Vec<(String, &Value)> {
    let mut rules = Vec::new();
    each_place(contract, &mut |place, at, _, _| {
        let list = place.list("quality").iter().enumerate();
        rules.extend(list.map(|(index, rule)| (format!("{at}/quality/{index}"), rule)));
    });
    rules
}

/// Every table, and every column of one, with its JSON pointer and names.
fn each_place<'a>(
    contract: &'a Value,
    take: &mut impl FnMut(&'a Value, &str, &'a str, Option<&'a str>),
) {
    for (index, table) in contract.list("schema").iter().enumerate() {
        let name = table.text("name").unwrap_or_default();
        let at = format!("/schema/{index}");
        take(table, &at, name, None);
        for (index, column) in table.list("properties").iter().enumerate() {
            let at = format!("{at}/properties/{index}");
            take(column, &at, name, column.text("name"));
        }
    }
}
