//! Which cells may be told, and which measures of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::row::{Row, RowConverter, Rows, SortField};
use datafusion::error::Result;

use super::cells::{ROWS, UNIT, count_of, print_in, wrong};
use super::disclosed::{Disclosed, Fact, Version};
use super::measures::value;
use super::prints::Prints;
use crate::query::guard::Budget;

/// How many rows of cells are looked at before the deadline is, and others
/// have their turn at the thread.
const PACE: usize = 16_384;

/// A cell that may be told: its rows in the batch, one for each unit.
pub(super) struct Cell {
    pub(super) rows: Vec<u64>,
    /// Of each measured column, whether its values may be told as well.
    pub(super) values: Vec<bool>,
}

/// What is judged of each cell.
pub(super) struct Judge<'a> {
    batch: &'a RecordBatch,
    disclosed: &'a Disclosed,
    prints: Prints,
    min_units: u64,
    /// The fingerprint of each row's unit.
    units: Vec<u64>,
    all: Int64Array,
    measures: Vec<Measured<'a>>,
}

/// The values of one measured column, of each cell and unit.
struct Measured<'a> {
    column: &'a String,
    counts: Int64Array,
    prints: Int64Array,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        batch: &'a RecordBatch,
        measured: &'a [String],
        disclosed: &'a Disclosed,
        min_units: u64,
    ) -> Result<Self> {
        let numbers = |name: &str| {
            let numbers = column(batch, name)?.as_primitive_opt::<Int64Type>();
            numbers.cloned().ok_or_else(|| wrong("no whole numbers"))
        };
        let measures = measured.iter().map(|column| {
            Ok(Measured {
                column,
                counts: numbers(&count_of(column))?,
                prints: numbers(&print_in(column))?,
            })
        });
        let units = named(batch, &[UNIT.to_owned()])?;
        let prints = disclosed.prints();
        Ok(Self {
            batch,
            disclosed,
            prints,
            min_units,
            units: units
                .iter()
                .map(|unit| prints.print(unit.as_ref()))
                .collect(),
            all: numbers(ROWS)?,
            measures: measures.collect::<Result<_>>()?,
        })
    }

    /// The cells of the rows that are `meant` and may be told, in the order of
    /// their names: the order of the rows would tell of hidden ones.
    pub(super) async fn cells(
        &self,
        group_by: &[String],
        meant: &[bool],
        budget: &Budget,
    ) -> Result<Vec<Cell>> {
        let names = named(self.batch, group_by)?;
        let mut all: HashMap<Row<'_>, Vec<u64>> = HashMap::new();
        for (i, name) in names.iter().enumerate() {
            pace(i, 1, budget).await?;
            if meant.get(i) == Some(&true) {
                all.entry(name).or_default().push(i as u64);
            }
        }
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        let (mut told, mut seen) = (Vec::new(), 0);
        for (name, rows) in all {
            pace(seen, rows.len(), budget).await?;
            seen += rows.len();
            let cell = self.prints.print(name.as_ref());
            if self.tells(cell, &rows) {
                let values = self.measures.iter();
                let values = values.map(|m| self.tells_values(cell, &rows, m)).collect();
                told.push(Cell { rows, values });
            }
        }
        Ok(told)
    }

    /// Whether it may be told how many rows the cell has: it has enough units,
    /// and not few others than when it was told (`spec/5-data-plane.md#D-142`, `#D-143`).
    fn tells(&self, cell: u64, rows: &[u64]) -> bool {
        let column = None;
        let adds = |row| self.prints.print(number(&self.all, row));
        self.is_enough(rows.len()) && self.admit(Fact { cell, column }, rows, adds)
    }

    /// Whether the values of a column may be told: enough units have one, none
    /// or enough lack one, and not few have others than when they were told.
    fn tells_values(&self, cell: u64, rows: &[u64], of: &Measured<'_>) -> bool {
        let has = |row: &&u64| number(&of.counts, **row) > 0;
        let lacks = |row: &&u64| number(&of.counts, **row) < number(&self.all, **row);
        let some = rows.iter().filter(has).count();
        let lacking = rows.iter().filter(lacks).count();
        let adds = |row| {
            self.prints
                .print((number(&of.counts, row), number(&of.prints, row)))
        };
        let column = Some(of.column.clone());
        self.is_enough(some)
            && (lacking == 0 || self.is_enough(lacking))
            && self.admit(Fact { cell, column }, rows, adds)
    }

    fn is_enough(&self, units: usize) -> bool {
        units as u64 >= self.min_units
    }

    /// Whether a fact of the cell with these `rows` may be told, to which the
    /// unit of each row adds what `adds` fingerprints.
    fn admit(&self, fact: Fact, rows: &[u64], adds: impl Fn(u64) -> u64) -> bool {
        let unit = |row: u64| self.units[usize::try_from(row).unwrap_or(usize::MAX)];
        let mut now: Version = rows.iter().map(|row| (unit(*row), adds(*row))).collect();
        now.sort_unstable();
        self.disclosed.admit(fact, now, self.min_units)
    }
}

/// Lets others have a turn, and looks at the deadline, whenever [`PACE`] rows are done.
async fn pace(done: usize, more: usize, budget: &Budget) -> Result<()> {
    if (done + more) / PACE > done / PACE {
        tokio::task::yield_now().await;
        budget.spend(0)?;
    }
    Ok(())
}

/// The values of `columns` in each row, comparable as one. Without a column all are equal.
pub(super) fn named(cells: &RecordBatch, columns: &[String]) -> Result<Rows> {
    let mut values = columns
        .iter()
        .map(|name| column(cells, name).cloned())
        .collect::<Result<Vec<_>>>()?;
    if values.is_empty() {
        let all_alike = vec![true; cells.num_rows()];
        values.push(Arc::new(BooleanArray::from(all_alike)));
    }
    let fields = values.iter().map(|c| SortField::new(c.data_type().clone()));
    Ok(RowConverter::new(fields.collect())?.convert_columns(&values)?)
}

pub(super) fn column<'a>(cells: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    let found = cells.column_by_name(name);
    found.ok_or_else(|| wrong("the cells lack a column"))
}

/// A number of the cells; there are no nulls among them that count.
fn number(of: &Int64Array, row: u64) -> i64 {
    value(of, row).unwrap_or(0)
}
