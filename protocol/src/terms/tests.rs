//! The laws of terms and the limits on them.

mod bounds;
mod laws;

use super::*;
use crate::fixture::terms;

/// Terms over one column whose one table has `filter`.
fn filtered(filter: impl IntoIterator<Item = Predicate>) -> Terms {
    let mut terms = terms(&["temp"]);
    table(&mut terms).filter = RowFilter(filter.into_iter().collect());
    terms
}

fn table(terms: &mut Terms) -> &mut TableTerms {
    terms.tables.get_mut("weather").unwrap()
}

fn compare(value: Literal) -> Predicate {
    Predicate::Compare {
        column: "temp".to_owned(),
        op: Comparison::Eq,
        value,
    }
}
