//! Statements that are refused, and statements that run with the answer they must give (A20).

mod accepted;
mod refused;

use arrow::util::display::array_value_to_string;

use self::accepted::ACCEPTED;
use self::refused::REFUSED;
use super::*;

#[tokio::test]
async fn refused_statements_are_refused_with_a_code_of_their_own() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let view = view(memory());
    let mut wrong = Vec::new();
    for sql in REFUSED {
        match ask(&engine, &view, sql).await {
            Ok(_) => wrong.push(format!("{sql}: was answered")),
            Err(e) if ["bad-sql", "not-permitted"].contains(&e.code()) => {
                // Neither the hidden column nor its values are named (D-11), unless by the caller.
                let text = e.to_string();
                if text.to_lowercase().contains("tenant") && !sql.to_lowercase().contains("tenant")
                {
                    wrong.push(format!("{sql}: {text}"));
                }
            }
            Err(e) => wrong.push(format!("{sql}: {e:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn accepted_statements_give_their_answer() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let view = view(memory());
    let mut wrong = Vec::new();
    for (sql, expected) in ACCEPTED {
        match ask(&engine, &view, sql).await {
            Ok(batches) if text(&batches) == *expected => {}
            Ok(batches) => wrong.push(format!("{sql}: {} instead of {expected}", text(&batches))),
            Err(e) => wrong.push(format!("{sql}: {e:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rows joined by `;`, values by `,`, null as nothing.
fn text(batches: &[RecordBatch]) -> String {
    let rows = batches.iter().flat_map(|batch| {
        (0..batch.num_rows()).map(|row| {
            let values = batch.columns().iter();
            let values: Vec<_> = values
                .map(|c| array_value_to_string(c, row).unwrap())
                .collect();
            values.join(",")
        })
    });
    rows.collect::<Vec<_>>().join(";")
}
