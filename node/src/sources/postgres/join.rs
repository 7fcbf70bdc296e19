//! Joins that a PostgreSQL server makes exactly as this node's engine does.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::group::{bytewise, is_text};
use super::keys::{Key, Keys, Relied};
use super::types::Kind;
use super::{Column, PostgresTable, schema, sql};
use crate::query::{JoinKind, Joining, identifier};

/// The most tables of one statement: each one more may take the memory of one
/// more hash table at the owner's server.
const MAX_TABLES: usize = 4;

/// The names of both sides in the statement.
const LEFT: &str = "l";
const RIGHT: &str = "r";

impl PostgresTable {
    /// The joined table; else why this node joins.
    pub(super) fn join(&self, joining: &Joining<'_>) -> Result<Self, String> {
        let right = joining.right.source.as_ref() as &dyn Any;
        let right: &Self = right
            .downcast_ref()
            .ok_or("the tables are of two kinds of sources")?;
        if !Arc::ptr_eq(&self.server, &right.server) {
            return Err("the tables are of two servers".to_owned());
        }
        let (lefts, rights) = joining.columns;
        let used_left: Vec<_> = lefts
            .iter()
            .chain(joining.on.iter().map(|(l, _)| l))
            .collect();
        let used_right: Vec<_> = rights
            .iter()
            .chain(joining.on.iter().map(|(_, r)| r))
            .collect();
        let relied = [self.relied(&used_left), right.relied(&used_right)].concat();
        if relied.len() > MAX_TABLES {
            return Err(format!("one statement joins at most {MAX_TABLES} tables"));
        }
        let one_right = right.is_key(joining.on.iter().map(|(_, r)| r));
        let one_left = self.is_key(joining.on.iter().map(|(l, _)| l));
        match joining.kind {
            JoinKind::Inner if one_left || one_right => {}
            JoinKind::Left if one_right => {}
            // Each row on the left is there at most once.
            JoinKind::Semi | JoinKind::Anti => {}
            _ => return Err("no unique index says that it does not multiply rows".to_owned()),
        }
        let mut on = Vec::with_capacity(joining.on.len());
        for (l, r) in joining.on {
            on.push(equal(self.column(l)?, right.column(r)?, self.utf8)?);
        }
        let on = on.join(" AND ");
        let predicates = self.predicates(joining.predicates)?;
        let from = self.side(LEFT, &used_left, &predicates);
        let predicates = right.predicates(&joining.right.predicates)?;
        let with = right.side(RIGHT, &used_right, &predicates);
        let (mut columns, mut selected) = (Vec::new(), Vec::new());
        let sides = [(LEFT, self, lefts), (RIGHT, right, rights)];
        for (side, table, names) in sides {
            for name in names {
                let column = Column {
                    name: format!("c{}", columns.len()),
                    ..table.column(name)?.clone()
                };
                selected.push(format!(
                    "{side}.{} AS {}",
                    identifier(name),
                    identifier(&column.name)
                ));
                columns.push(column);
            }
        }
        let selected = selected.join(", ");
        let joined = match joining.kind {
            JoinKind::Inner => format!("SELECT {selected} FROM {from} JOIN {with} ON {on}"),
            JoinKind::Left => format!("SELECT {selected} FROM {from} LEFT JOIN {with} ON {on}"),
            JoinKind::Semi => {
                format!(
                    "SELECT {selected} FROM {from} WHERE EXISTS (SELECT 1 FROM {with} WHERE {on})"
                )
            }
            JoinKind::Anti => format!(
                "SELECT {selected} FROM {from} WHERE NOT EXISTS (SELECT 1 FROM {with} WHERE {on})"
            ),
        };
        // A side of which no row is there twice keeps its keys.
        let mut keys = Vec::new();
        if one_right || matches!(joining.kind, JoinKind::Semi | JoinKind::Anti) {
            keys.extend(self.keys_as(lefts, 0));
        }
        if one_left && joining.kind == JoinKind::Inner {
            keys.extend(right.keys_as(rights, lefts.len()));
        }
        Ok(Self {
            server: Arc::clone(&self.server),
            table: format!("{} and {}", self.table, right.table).into(),
            relation: format!("({joined}) AS joined").into(),
            keys: Arc::new(Keys::known(keys)),
            relied,
            schema: schema(&columns),
            columns,
            utf8: self.utf8,
        })
    }

    fn is_key<'a>(&self, columns: impl Iterator<Item = &'a String>) -> bool {
        let columns: Key = columns.cloned().collect();
        self.keys.now().iter().any(|key| key.is_subset(&columns))
    }

    /// What a statement over `columns` takes for granted.
    fn relied(&self, columns: &[&String]) -> Vec<Relied> {
        if !self.relied.is_empty() {
            return self.relied.clone();
        }
        let columns = self.columns.iter().filter(|c| columns.contains(&&c.name));
        vec![Relied {
            table: Arc::clone(&self.table),
            columns: columns.cloned().collect(),
            had: self.keys.now(),
            keys: Arc::clone(&self.keys),
        }]
    }

    /// The keys of which all columns are in the answer, where they begin at `first`.
    fn keys_as(&self, columns: &[String], first: usize) -> Vec<Key> {
        let name = |column: &String| {
            let place = columns.iter().position(|c| c == column)?;
            Some(format!("c{}", first + place))
        };
        let keys = self.keys.now().into_iter();
        keys.filter_map(|key| key.iter().map(name).collect())
            .collect()
    }

    /// The rows that count, as an item of `FROM`: what the owner hides is left
    /// out before anything else is said of it.
    fn side(&self, name: &str, columns: &[&String], predicates: &[String]) -> String {
        let wanted: BTreeSet<_> = columns.iter().collect();
        let columns = self.columns.iter().filter(|c| wanted.contains(&&c.name));
        let rows = sql::select(columns, &self.relation, predicates, None);
        format!("({rows}) AS {name}")
    }
}

/// The columns are equal there if and only if they are here.
fn equal(left: &Column, right: &Column, utf8: bool) -> Result<String, String> {
    let names =
        [(LEFT, left), (RIGHT, right)].map(|(side, c)| format!("{side}.{}", identifier(&c.name)));
    let [l, r] = &names;
    let integer = |kind: &Kind| matches!(kind, Kind::Int2 | Kind::Int4 | Kind::Int8);
    let text = |kind: &Kind| is_text(kind) || *kind == Kind::Uuid;
    Ok(match (&left.kind, &right.kind) {
        (Kind::Bool, Kind::Bool)
        | (Kind::Uuid, Kind::Uuid)
        | (Kind::Bytea, Kind::Bytea)
        | (Kind::Date, Kind::Date)
        | (Kind::Time, Kind::Time)
        | (Kind::Timestamp, Kind::Timestamp)
        | (Kind::Timestamptz, Kind::Timestamptz)
        | (Kind::Numeric { .. }, Kind::Numeric { .. }) => format!("{l} = {r}"),
        (a, b) if integer(a) && integer(b) => format!("{l} = {r}"),
        // Other encodings have several forms of one character.
        (a, b) if utf8 && text(a) && text(b) => format!("{} = {}", bytewise(l, a), bytewise(r, b)),
        // Zeros of both signs and numbers that are none are not equal alike; JSON has no equality.
        _ => {
            return Err(format!(
                "{} and {} are compared here only",
                left.said, right.said
            ));
        }
    })
}
