//! Placeholders in rules: `${table}`, `${column}` and their other names, as the
//! `datacontract` command fills them.

use crate::query::identifier;

/// What the placeholders of one rule stand for.
pub(super) struct Names<'a> {
    /// The organization's alias.
    pub(super) alias: &'a str,
    /// The product's name.
    pub(super) product: &'a str,
    /// The table's name.
    pub(super) table: &'a str,
    /// The column's name, of a rule that stands at one.
    pub(super) column: Option<&'a str>,
}

impl Names<'_> {
    /// `query` with `{NAME}` and `${NAME}`, and the quotes around them, replaced
    /// by quoted names. In one pass: a name is not searched for placeholders.
    pub(super) fn fill(&self, query: &str) -> String {
        let mut out = String::with_capacity(query.len());
        let mut rest = query;
        while let Some(open) = rest.find('{') {
            let (before, after) = rest.split_at(open);
            let named = after
                .get(1..)
                .and_then(|inner| inner.split_once('}'))
                .and_then(|(name, behind)| Some((self.named(name)?, behind)));
            match named {
                Some((name, behind)) => {
                    let before = before.strip_suffix('$').unwrap_or(before);
                    let before = before.strip_suffix(QUOTES).unwrap_or(before);
                    out.push_str(before);
                    out.push_str(&identifier(name));
                    rest = behind.strip_prefix(QUOTES).unwrap_or(behind);
                }
                None => {
                    out.push_str(before);
                    out.push('{');
                    rest = after.get(1..).unwrap_or_default();
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn named(&self, placeholder: &str) -> Option<&str> {
        match placeholder {
            "table" | "model" | "object" => Some(self.table),
            "column" | "field" | "property" => self.column,
            "schema" | "dataset" => Some(self.product),
            "catalog" | "database" | "project" => Some(self.alias),
            _ => None,
        }
    }
}

const QUOTES: [char; 3] = ['"', '\'', '`'];

#[cfg(test)]
mod tests {
    use super::*;

    const AT_COLUMN: Names<'_> = Names {
        alias: "shop",
        product: "orders",
        table: "lines",
        column: Some("Amount"),
    };

    #[test]
    fn every_spelling_of_a_placeholder_is_a_quoted_name() {
        for table in [
            "${table}",
            "{table}",
            "\"${model}\"",
            "'{object}'",
            "`{table}`",
        ] {
            assert_eq!(
                AT_COLUMN.fill(&format!("FROM {table} t")),
                "FROM \"lines\" t"
            );
        }
        assert_eq!(
            AT_COLUMN.fill("SELECT max(${column}) FROM ${catalog}.${schema}.${table}"),
            "SELECT max(\"Amount\") FROM \"shop\".\"orders\".\"lines\""
        );
    }

    #[test]
    fn what_is_no_placeholder_stays() {
        for text in ["{", "SELECT '{x}'", "${secret}", "a{2}", "{table", "}{"] {
            assert_eq!(AT_COLUMN.fill(text), text);
        }
        let table = Names {
            column: None,
            ..AT_COLUMN
        };
        assert_eq!(
            table.fill("${column}"),
            "${column}",
            "not of a table's rule"
        );
        let twice = Names {
            table: "{column}",
            ..AT_COLUMN
        };
        assert_eq!(twice.fill("{table}"), "\"{column}\"", "in one pass");
    }
}
