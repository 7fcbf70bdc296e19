//! Windows that cost each row as much as all rows before it. They are computed
//! a batch at a time, or a partition, and nothing ends one in between (A50): the
//! median of what came so far, over 300,000 rows, ran ten seconds beyond its
//! deadline.

use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::{Expr, WindowFrame};

use crate::query::QueryError;

/// How far `lag` and `lead` may look for a value that is no null: they walk there for each row.
const MAX_OFFSET: i64 = 1_000;

/// Refuses a window whose cost grows with the square of its rows (`spec/5-data-plane.md#D-146`).
pub(super) fn check(window: &WindowFunction) -> Result<(), QueryError> {
    let (name, params) = (window.fun.name(), &window.params);
    if moves(&params.window_frame) {
        if name == "median" {
            return Err(QueryError::not_permitted("median over a frame that moves"));
        }
        // Counting the set that is kept anyway costs nothing.
        if params.distinct && name != "count" {
            return Err(QueryError::not_permitted(
                "DISTINCT over a frame that moves",
            ));
        }
    }
    let walks = ["lag", "lead"].contains(&name)
        && params.null_treatment == Some(NullTreatment::IgnoreNulls);
    if walks && !params.args.get(1).is_none_or(is_near) {
        return Err(QueryError::not_permitted(format_args!(
            "{name} beyond {MAX_OFFSET} rows with IGNORE NULLS"
        )));
    }
    Ok(())
}

/// Whether rows of one partition have different frames.
fn moves(frame: &WindowFrame) -> bool {
    !(frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded())
}

fn is_near(offset: &Expr) -> bool {
    let mut offset = offset;
    while let Expr::Cast(cast) = offset {
        offset = &cast.expr;
    }
    let Expr::Literal(value, _) = offset else {
        return false;
    };
    let value = value.cast_to(&arrow::datatypes::DataType::Int64);
    let value = value.ok().and_then(|v| i64::try_from(v).ok());
    value.is_some_and(|v| (-MAX_OFFSET..=MAX_OFFSET).contains(&v))
}
