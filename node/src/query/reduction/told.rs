//! A statement to a partner with the keys that it is told.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::scalar::ScalarValue;

use super::egress::{KeyForm, KeysTold};
use super::filter::{KeyFilter, MAX_KEYS, NAME, each_key};
use super::source::Sources;
use crate::query::predicate_sql::{identifier, text};
use crate::query::remote_sql::literal;

/// The most keys that are told as a list; more are told as a filter, also where
/// they may be told plainly: a gate reads a few thousand words.
const MAX_LISTED: usize = 1_000;

/// The most text of all keys of one statement, in bytes: as much as the largest
/// filter has. The part has the rest of what a gate reads.
const MAX_TEXT: usize = 216 * 1024;

/// Keys of one column that a partner may be told: which side has them, and which
/// of the statement's columns is equal to them.
#[derive(Clone, Debug)]
pub(crate) struct Narrowing {
    /// The side's number.
    pub(super) source: usize,
    /// The key's place among the side's columns.
    pub(super) key: usize,
    /// The column of the statement's answer.
    pub(super) column: usize,
    /// Where the keys come from, for members and the journal.
    pub(crate) of: String,
    /// In which form at most.
    pub(crate) form: KeyForm,
    /// How many at most: more would leave out few rows.
    pub(super) most: u64,
}

impl Narrowing {
    /// What `EXPLAIN` says of it.
    pub(crate) fn shown(&self) -> String {
        let Self { of, form, .. } = self;
        format!("tells keys of {of}, {form}")
    }
}

/// `sql`, whose columns are those of `schema`, with the keys of this run; and
/// what it tells. Without keys, or with too many, it stays as it is.
pub(crate) async fn narrowed(
    sql: &str,
    schema: &Schema,
    narrowings: &[Narrowing],
    run: &Arc<TaskContext>,
) -> Result<(String, Vec<KeysTold>)> {
    let (mut conditions, mut told) = (Vec::new(), Vec::new());
    let mut room = MAX_TEXT;
    for narrowing in narrowings {
        let Some(rows) = Sources::rows(run, narrowing.source).await? else {
            continue;
        };
        let keys = Keys::of(&rows, narrowing.key)?;
        let Some(keys) = keys.filter(|keys| keys.count() <= narrowing.most) else {
            continue;
        };
        let Some(field) = schema.fields().get(narrowing.column) else {
            continue;
        };
        let column = format!("\"t\".{}", identifier(field.name()));
        let listed = match narrowing.form {
            KeyForm::Plain => keys.listed().filter(|list| list.len() <= room),
            KeyForm::Hashed | KeyForm::Never => None,
        };
        let (form, condition) = match listed {
            Some(list) => (KeyForm::Plain, format!("{column} IN ({list})")),
            None => match keys.filter().filter(|filter| filter.len() <= room) {
                Some(filter) => (
                    KeyForm::Hashed,
                    format!("{NAME}({column}, {})", text(&filter)),
                ),
                None => continue,
            },
        };
        room = room.saturating_sub(condition.len());
        conditions.push(condition);
        told.push(KeysTold {
            of: narrowing.of.clone(),
            form,
            count: keys.count(),
        });
    }
    if conditions.is_empty() {
        return Ok((sql.to_owned(), told));
    }
    let columns = schema.fields().iter().map(|field| {
        let name = identifier(field.name());
        format!("\"t\".{name} AS {name}")
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let conditions = conditions.join(" AND ");
    Ok((
        format!("SELECT {columns} FROM ({sql}) AS \"t\" WHERE {conditions}"),
        told,
    ))
}

/// Different keys of one column, by their bytes, and where each was met first;
/// null is none.
struct Keys<'a> {
    rows: &'a [RecordBatch],
    column: usize,
    met: HashMap<Box<[u8]>, (usize, usize)>,
}

impl<'a> Keys<'a> {
    /// Those of one column; none if they are too many to be told.
    fn of(rows: &'a [RecordBatch], column: usize) -> Result<Option<Self>> {
        let mut met: HashMap<Box<[u8]>, (usize, usize)> = HashMap::new();
        for (n, batch) in rows.iter().enumerate() {
            each_key(batch.column(column), |row, key| {
                let new = key.filter(|key| met.len() <= MAX_KEYS && !met.contains_key(*key));
                met.extend(new.map(|key| (key.into(), (n, row))));
            })?;
            if met.len() > MAX_KEYS {
                return Ok(None);
            }
        }
        Ok(Some(Self { rows, column, met }))
    }

    fn count(&self) -> u64 {
        self.met.len() as u64
    }

    /// As a list of literals; none if there are too many, or one has no form.
    fn listed(&self) -> Option<String> {
        if self.met.is_empty() || self.met.len() > MAX_LISTED {
            return None;
        }
        let literals = self.met.values().map(|(n, row)| {
            let values = self.rows.get(*n)?.column(self.column);
            literal(&ScalarValue::try_from_array(values, *row).ok()?)
        });
        let mut literals = literals.collect::<Option<Vec<_>>>()?;
        // The order in which they were met says something of the rows.
        literals.sort_unstable();
        Some(literals.join(", "))
    }

    fn filter(&self) -> Option<String> {
        let mut filter = KeyFilter::sized(self.met.len())?;
        self.met.keys().for_each(|key| filter.add(key));
        Some(filter.text())
    }
}
