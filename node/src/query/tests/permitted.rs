//! The law of governed tables as a whole: whatever is asked of them, the answer is
//! that of a database which holds only the permitted rows, with the masked values.

use arrow::compute::concat_batches;
use comity_protocol::terms::Mask;
use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::select;

use super::generated::statement;
use super::laws::{COLUMNS, law, law_of, plain, plainly, policy, rows_of, sorted, table};
use super::*;
use crate::query::mask::applied;

/// The masks that there are, each on a column of a type that it is for.
fn masks() -> impl Strategy<Value = BTreeMap<String, Mask>> {
    let on = |column: &'static str, masks: &'static [Mask]| {
        select(masks).prop_map(move |mask| (column, mask))
    };
    let of_text = &[
        Mask::MaskAlphanum,
        Mask::ShowFirst4,
        Mask::ShowLast4,
        Mask::Sha256Global,
        Mask::Sha256QueryLocal,
        Mask::Sha256AgreementLocal,
    ];
    let one = prop_oneof![
        on("s", of_text),
        on("i", &[Mask::Sha256Global, Mask::MaskToFixedValue]),
        on("j", &[Mask::Sha256QueryLocal, Mask::ReplaceWithNull]),
        on("f", &[Mask::MaskToFixedValue, Mask::ReplaceWithNull]),
        on("d", &[Mask::MaskToFixedValue]),
        on("b", &[Mask::MaskToFixedValue, Mask::ReplaceWithNull]),
        on("day", &[Mask::TruncateToYear, Mask::TruncateToMonth]),
        on("at", &[Mask::TruncateToMonth, Mask::ReplaceWithNull]),
    ];
    btree_map(0..8u8, one, 0..4)
        .prop_map(|all| all.into_values().map(|(c, m)| (c.to_owned(), m)).collect())
}

/// What the terms leave of `batch`, made by a plain engine and the masks alone.
async fn permitted(
    batch: &RecordBatch,
    sql: &str,
    terms: &TableTerms,
    salts: &Salts,
) -> RecordBatch {
    let there = plain(&[("t", batch)]);
    let rows = plainly(&there, &format!("SELECT * FROM p.t WHERE {sql}")).await;
    let rows = concat_batches(&batch.schema(), &rows).unwrap();
    let schema = rows.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| {
            let mask = terms.masks.get(field.name());
            let column =
                mask.map_or_else(|| Arc::clone(column), |mask| applied(*mask, salts, column));
            (field.name().clone(), column, true)
        });
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
}

fn terms_of(filter: Predicate, masks: BTreeMap<String, Mask>) -> TableTerms {
    TableTerms {
        columns: COLUMNS.iter().map(|c| (*c).to_owned()).collect(),
        filter: RowFilter([filter].into()),
        masks,
        protection: None,
    }
}

fn view_of(tables: [(&str, &RecordBatch, &TableTerms); 2], salts: &Salts) -> Arc<View> {
    let mut view = View::builder("own");
    for (name, batch, terms) in tables {
        let source = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap();
        let governed = GovernedTable::asked(Arc::new(source), terms, salts, Arc::default());
        let name = TableName {
            catalog: "own".into(),
            schema: "p".into(),
            table: name.into(),
        };
        view = view.governed(name, governed.unwrap());
    }
    view.build()
}

/// How many statements are made: most are of another shape than the one before.
const STATEMENTS: u32 = 200;

#[test]
fn an_answer_is_that_of_a_database_of_permitted_rows_and_masked_values() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    law_of(
        STATEMENTS,
        (
            (rows_of(), policy(), masks()),
            (rows_of(), policy(), masks()),
            statement(&["a", "b"]),
        ),
        async |((a, (fa, sa), ma), (b, (fb, sb), mb), sql)| {
            let (a, b) = (table(&a), table(&b));
            let (ta, tb) = (terms_of(fa, ma), terms_of(fb, mb));
            let salts = Salts::draw(b"key", None).unwrap();
            let view = view_of([("a", &a, &ta), ("b", &b, &tb)], &salts);
            let (pa, pb) = (
                permitted(&a, &sa, &ta, &salts).await,
                permitted(&b, &sb, &tb, &salts).await,
            );
            let there = plain(&[("a", &pa), ("b", &pb)]);
            let here = ask(&engine, &view, &sql).await.expect(&sql);
            let expected = plainly(&there, &sql).await;
            assert_eq!(sorted(&here), sorted(&expected), "{sql}\n{ta:?}\n{tb:?}");
        },
    );
}

/// An error is an answer too: it comes from permitted rows and shown values, or not at all.
#[test]
fn an_error_tells_of_permitted_rows_and_shown_values_alone() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let failing = [
        "SELECT count(*) FROM p.a WHERE CAST(s AS BIGINT) >= 0",
        "SELECT count(*) FROM p.a WHERE 1 / j > 0",
        "SELECT count(*) FROM p.a WHERE CAST(i AS INT) > 0",
        "SELECT 10 / i FROM p.a",
        "SELECT x.s FROM p.a AS x JOIN p.b AS y ON CAST(x.s AS BIGINT) = y.i",
        "SELECT sum(1 / j) FROM p.b GROUP BY s",
    ];
    law(
        (
            (rows_of(), policy(), masks()),
            (rows_of(), policy(), masks()),
            select(failing.to_vec()),
        ),
        async |((a, (fa, sa), ma), (b, (fb, sb), mb), sql)| {
            let (a, b) = (table(&a), table(&b));
            let (ta, tb) = (terms_of(fa, ma), terms_of(fb, mb));
            let salts = Salts::draw(b"key", None).unwrap();
            let view = view_of([("a", &a, &ta), ("b", &b, &tb)], &salts);
            let (pa, pb) = (
                permitted(&a, &sa, &ta, &salts).await,
                permitted(&b, &sb, &tb, &salts).await,
            );
            // The same gate and engine, so that only the data differs.
            let open = |batch: &RecordBatch| {
                let all = terms_of(Predicate::All(BTreeSet::new()), BTreeMap::new());
                (batch.clone(), all)
            };
            let ((pa, all), (pb, _)) = (open(&pa), open(&pb));
            let there = view_of([("a", &pa, &all), ("b", &pb, &all)], &salts);
            let here = ask(&engine, &view, sql).await;
            let expected = ask(&engine, &there, sql).await;
            let told = |answer: &Result<Vec<RecordBatch>, QueryError>| match answer {
                Ok(batches) => Ok(sorted(batches)),
                Err(error) => Err((error.code(), error.to_string())),
            };
            assert_eq!(told(&here), told(&expected), "{sql}\n{ta:?}\n{tb:?}");
        },
    );
}
