//! Quality rules in SQL: the one kind whose text stays at home.

use serde_json::Value;

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
}

/// Every rule in SQL of a document.
pub(super) fn sql_rules(contract: &Value) -> Vec<SqlRule> {
    let mut rules = Vec::new();
    for table in contract.list("schema") {
        let name = table.text("name").unwrap_or_default();
        collect(table, name, None, &mut rules);
        for column in table.list("properties") {
            collect(column, name, column.text("name"), &mut rules);
        }
    }
    rules
}

fn collect(place: &Value, table: &str, column: Option<&str>, rules: &mut Vec<SqlRule>) {
    let list = place.list("quality").iter().enumerate();
    rules.extend(list.filter_map(|(index, rule)| {
        let sql = rule.text("type") == Some("sql");
        Some(SqlRule {
            table: table.to_owned(),
            column: column.map(str::to_owned),
            index,
            query: rule.text("query").filter(|_| sql)?.to_owned(),
        })
    }));
}
