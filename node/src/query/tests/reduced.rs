//! Joins with a partner's rows, which is told keys: the answer is that of one
//! database, and nothing is told that may not be.

use proptest::prelude::*;
use proptest::sample::select;

use super::federated::{asked, explained, hundred, named, open, organization, remote};
use super::laws::{law_of, plain, plainly, rows_of, sorted, table};
use super::*;

/// How many statements are made.
const STATEMENTS: u32 = 200;

/// One rule for every column.
#[derive(Debug)]
pub(super) struct Always(pub(super) KeyForm);

impl Egress for Always {
    fn form(&self, _: &TableName, _: &str, _: &str) -> KeyForm {
        self.0
    }
}

/// Every column plainly, but for these: `table.column`.
#[derive(Debug)]
struct But(&'static [(&'static str, KeyForm)]);

impl Egress for But {
    fn form(&self, table: &TableName, column: &str, _: &str) -> KeyForm {
        let name = format!("{}.{column}", table.table);
        let form = self.0.iter().find(|(of, _)| *of == name);
        form.map_or(KeyForm::Plain, |(_, form)| *form)
    }
}

/// A relation with the columns of the laws.
fn relation() -> impl Strategy<Value = String> {
    let shapes = [
        "p.T",
        "p.T",
        "(SELECT * FROM p.T WHERE j > 0)",
        "(SELECT i, j, d, s, day, at FROM p.T WHERE s <> '' OR i = 7)",
        "(SELECT DISTINCT i, j, d, s, day, at FROM p.T)",
        "(SELECT i, j, d, s, day, at FROM p.T GROUP BY i, j, d, s, day, at HAVING count(*) < 3)",
        "(SELECT q.i, w.j, q.d, w.s, q.day, q.at FROM p.T AS q JOIN p.b AS w ON q.j = w.j)",
        "(SELECT q.i, w.j, q.d, w.s, q.day, q.at FROM p.T AS q LEFT JOIN p.d AS w ON q.i = w.i)",
        "(SELECT * FROM p.T WHERE NOT EXISTS (SELECT 1 FROM p.c AS w WHERE w.i = T.i))",
    ];
    let table = select(vec!["a", "b", "c", "d"]);
    (select(shapes.to_vec()), table).prop_map(|(shape, table)| {
        let inside = shape.replace(" WHERE w.i = T.i", " WHERE w.i = q.i");
        let inside = match shape.contains("NOT EXISTS") {
            true => inside.replace("FROM p.T WHERE", "FROM p.T AS q WHERE"),
            false => inside,
        };
        inside.replace("p.T", &format!("p.{table}"))
    })
}

/// Two or three relations, by every join, over keys of every type.
pub(super) fn joins() -> impl Strategy<Value = String> {
    let key = || select(vec!["i", "j", "d", "s", "day", "at"]);
    let word = || select(vec!["INNER", "INNER", "LEFT", "RIGHT", "FULL"]);
    let pair = (relation(), word(), relation(), key()).prop_map(|(x, word, y, k)| {
        format!(
            "SELECT x.{k} AS k, y.{k} AS l, x.s AS m, y.i AS n FROM {x} AS x {word} JOIN {y} AS y ON x.{k} = y.{k}"
        )
    });
    let both = (relation(), relation(), key(), key()).prop_map(|(x, y, k, l)| {
        format!("SELECT x.{k} AS k, y.i AS n FROM {x} AS x JOIN {y} AS y ON x.{k} = y.{k} AND x.{l} = y.{l} AND x.j <= y.j")
    });
    let three = ((relation(), word(), relation(), key()), (word(), relation(), key())).prop_map(
        |((x, first, y, k), (second, z, l))| {
            format!(
                "SELECT x.{k} AS k, y.{l} AS l, z.s AS m FROM {x} AS x {first} JOIN {y} AS y ON x.{k} = y.{k} {second} JOIN {z} AS z ON y.{l} = z.{l}"
            )
        },
    );
    let within = select(vec!["IN", "NOT IN"]);
    let within = (relation(), within, relation(), key()).prop_map(|(x, not, y, k)| {
        format!("SELECT x.i, x.s FROM {x} AS x WHERE x.{k} {not} (SELECT {k} FROM {y} AS y)")
    });
    let exists = select(vec!["EXISTS", "NOT EXISTS"]);
    let exists = (relation(), exists, relation(), key()).prop_map(|(x, not, y, k)| {
        format!("SELECT x.i, x.s FROM {x} AS x WHERE {not} (SELECT 1 FROM {y} AS y WHERE y.{k} = x.{k} AND y.j > -1)")
    });
    prop_oneof![2 => pair, 1 => both, 2 => three, 1 => within, 1 => exists]
}

#[test]
fn what_partners_are_told_changes_no_answer() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let told = Mutex::new([0; 2]);
    law_of(
        STATEMENTS,
        (
            (rows_of(), rows_of(), rows_of()),
            joins(),
            any::<bool>(),
            select(vec![KeyForm::Hashed, KeyForm::Plain]),
        ),
        async |((a, b, c), sql, refuses, form)| {
            let (a, b, c) = (table(&a), table(&b), table(&c));
            let mut first = organization(&[("a", &a), ("b", &b)]);
            // A partner that plans nothing of the kind is asked without keys.
            Arc::get_mut(&mut first).unwrap().refuses = refuses;
            let second = organization(&[("c", &c)]);
            let view = View::builder("own")
                .partner(named("a"), remote(&first, "a", &a))
                .partner(named("b"), remote(&first, "b", &b))
                .partner(named("c"), remote(&second, "c", &c))
                .governed(named("d"), open(&b))
                .telling(Arc::new(Always(form)))
                .build();
            let there = plain(&[("a", &a), ("b", &b), ("c", &c), ("d", &b)]);
            let here = ask(&engine, &view, &sql).await.expect(&sql);
            let all = [asked(&first), asked(&second)].concat();
            let expected = plainly(&there, &sql).await;
            let text = all.join("\n");
            assert_eq!(sorted(&here), sorted(&expected), "{sql}\nasked:\n{text}");
            let mut sum = told.lock().unwrap();
            for (n, sign) in ["key_filter(", " IN ("].into_iter().enumerate() {
                sum[n] += all.iter().filter(|sql| sql.contains(sign)).count();
            }
        },
    );
    let told = *told.lock().unwrap();
    assert!(told.iter().all(|n| *n > 20), "only {told:?} told keys");
}

/// An own table of these keys, in parts.
fn keys(of: impl Iterator<Item = i64>) -> RecordBatch {
    let keys: Vec<_> = of.collect();
    let kinds = keys.iter().map(|k| (k % 2).to_string());
    RecordBatch::try_from_iter([
        (
            "kind",
            Arc::new(StringArray::from_iter_values(kinds)) as ArrayRef,
        ),
        ("k", Arc::new(Int64Array::from(keys))),
    ])
    .unwrap()
}

/// What is stated of tables.
#[derive(Debug)]
struct Stated(BTreeMap<&'static str, TableSize>);

impl Sizes for Stated {
    fn of(&self, table: &TableName) -> Option<TableSize> {
        self.0.get(table.table.as_str()).cloned()
    }
}

fn size(rows: u64, distinct: Option<u64>) -> TableSize {
    let distinct = distinct.map(|count| ("k".to_owned(), count));
    TableSize {
        rows,
        distinct: distinct.into_iter().collect(),
    }
}

/// How many rows of the partner's came, what was asked, and what was told.
async fn moved(own: &RecordBatch, rule: impl Egress + 'static, sql: &str) -> [String; 5] {
    moved_with(own, rule, Stated(BTreeMap::new()), sql).await
}

async fn moved_with(
    own: &RecordBatch,
    rule: impl Egress + 'static,
    sizes: Stated,
    sql: &str,
) -> [String; 5] {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let rows = hundred();
    let far = organization(&[("a", &rows)]);
    let view = View::builder("own")
        .partner(named("a"), remote(&far, "a", &rows))
        .governed(named("d"), open(own))
        .telling(Arc::new(rule))
        .sized(Arc::new(sizes))
        .explaining()
        .build();
    let ran = explained(&engine, &view, &format!("EXPLAIN ANALYZE {sql}")).await;
    let [ran] = <[_; 1]>::try_from(ran).unwrap();
    let plan = explained(&engine, &view, &format!("EXPLAIN {sql}")).await;
    assert_eq!(
        plan[0][3], ran[3],
        "before it runs it says what it would tell"
    );
    let mut asked = asked(&far);
    assert_eq!(asked.len(), 1);
    [
        asked.remove(0),
        ran[2].clone(),
        ran[3].clone(),
        ran[4].clone(),
        ran[1].clone(),
    ]
}

const JOIN: &str = "SELECT a.s FROM p.d AS d JOIN p.a AS a ON a.k = d.k";

#[tokio::test]
async fn only_matching_rows_are_asked_for_and_explain_says_by_which_keys() {
    let few = keys([3, 5, 5, 200].into_iter());
    let [asked, rows, note, told, plan] = moved(&few, Always(KeyForm::Plain), JOIN).await;
    assert!(
        asked.ends_with("WHERE \"t\".\"k\" IN (200, 3, 5)"),
        "{asked}"
    );
    assert_eq!((rows.as_str(), told.as_str()), ("2", "3"));
    assert_eq!(note, "tells keys of own.p.d.k, plain");
    assert!(!plan.contains(" IN "), "the values are in no plan: {plan}");

    let [asked, rows, note, told, _] = moved(&few, Always(KeyForm::Hashed), JOIN).await;
    assert!(asked.contains("key_filter(\"t\".\"k\", '") && !asked.contains("200"));
    // One stranger in a hundred passes, and there are 98.
    assert!(rows.parse::<u32>().unwrap() < 20, "{rows}");
    assert_eq!(
        (told.as_str(), note.as_str()),
        ("3", "tells keys of own.p.d.k, hashed")
    );

    let [asked, rows, note, told, _] = moved(&few, Always(KeyForm::Never), JOIN).await;
    assert!(!asked.contains("WHERE"), "{asked}");
    assert_eq!(
        [rows.as_str(), note.as_str(), told.as_str()],
        ["100", "", "0"]
    );
}

#[tokio::test]
async fn many_keys_are_told_as_a_filter_and_too_many_not_at_all() {
    let many = keys(50..5_000);
    let [asked, rows, _, told, _] = moved(&many, Always(KeyForm::Plain), JOIN).await;
    assert!(asked.contains("key_filter"), "{asked}");
    assert_eq!(told, "4950");
    assert!((50..60).contains(&rows.parse::<u32>().unwrap()), "{rows}");

    // Regression: the largest filters were refused, and the keys told for nothing.
    let [asked, rows, _, told, _] = moved(&keys(50..650_000), Always(KeyForm::Plain), JOIN).await;
    assert!(asked.contains("key_filter"), "{asked}");
    assert_eq!(told, "649950");
    assert!((50..85).contains(&rows.parse::<u32>().unwrap()), "{rows}");

    let [asked, rows, _, told, _] = moved(&keys(0..700_000), Always(KeyForm::Plain), JOIN).await;
    assert!(!asked.contains("WHERE"), "{asked}");
    assert_eq!([rows.as_str(), told.as_str()], ["100", "0"]);
}

#[tokio::test]
async fn a_column_that_decides_which_keys_there_are_decides_whether_they_are_told() {
    let few = keys([3, 4, 5].into_iter());
    let of = "SELECT a.s FROM (SELECT k FROM p.d WHERE kind = '1') AS d JOIN p.a AS a ON a.k = d.k";
    let [_, rows, ..] = moved(&few, But(&[]), of).await;
    assert_eq!(rows, "2");
    for (form, rows_then) in [(KeyForm::Never, "100"), (KeyForm::Hashed, "")] {
        let rule: &'static [_] = Vec::leak(vec![("d.kind", form)]);
        let [asked, rows, _, told, _] = moved(&few, But(rule), of).await;
        assert!(!asked.contains(" IN ("), "{asked}");
        match form {
            KeyForm::Never => assert_eq!([rows.as_str(), told.as_str()], [rows_then, "0"]),
            _ => assert_eq!(told, "2"),
        }
        // A column that plays no part does not matter.
        let [_, rows, ..] = moved(&few, But(rule), JOIN).await;
        assert_eq!(rows, "3");
    }
}

#[tokio::test]
async fn most_of_all_keys_are_not_told() {
    let own = keys(0..60);
    for (stated, told) in [(None, "60"), (Some(128), "60"), (Some(100), "0")] {
        let sizes = Stated([("a", size(100, stated))].into());
        let ran = moved_with(&own, Always(KeyForm::Plain), sizes, JOIN).await;
        assert_eq!(ran[3], told, "{stated:?} {ran:?}");
    }
}

/// Regression: groups decided which keys there were, and of several groupings the
/// columns were looked for at the wrong places.
#[tokio::test]
async fn what_groups_are_made_of_decides_which_keys_there_are() {
    let few = keys([3, 4, 5].into_iter());
    let rule: &'static [_] = &[("d.kind", KeyForm::Never)];
    for of in [
        "SELECT k FROM p.d GROUP BY k, kind HAVING count(*) > 0",
        "SELECT max(k) AS k FROM p.d GROUP BY kind",
        "SELECT k FROM (SELECT DISTINCT k, kind FROM p.d) AS e GROUP BY k HAVING count(*) > 0",
        "SELECT k FROM (SELECT kind, k, count(*) FROM p.d GROUP BY ROLLUP(kind, k)) AS e",
    ] {
        let sql = format!("SELECT a.s FROM ({of}) AS d JOIN p.a AS a ON a.k = d.k");
        let [asked, rows, _, told, _] = moved(&few, But(rule), &sql).await;
        assert_eq!(
            [rows.as_str(), told.as_str()],
            ["100", "0"],
            "{sql}: {asked}"
        );
    }
    let of = "SELECT x.s FROM (SELECT kind, k, count(*) AS n FROM p.d GROUP BY ROLLUP(k, kind)) AS e \
              JOIN p.a AS x ON x.s = e.kind";
    let rule: &'static [_] = &[("d.kind", KeyForm::Never)];
    assert_eq!(moved(&few, But(rule), of).await[3], "0");
}

/// Two partners: the one with fewer rows is asked first, by what is stated.
#[tokio::test]
async fn the_smaller_side_tells_the_larger_one() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let (few, many) = (keys(0..10), keys(0..1_000));
    for (stated, first) in [([10, 1_000], [10, 10]), ([1_000, 10], [10, 1_000])] {
        let near = organization(&[("a", &few)]);
        let far = organization(&[("c", &many)]);
        let sizes = ["a", "c"].into_iter().zip(stated.map(|n| size(n, None)));
        let view = View::builder("own")
            .partner(named("a"), remote(&near, "a", &few))
            .partner(named("c"), remote(&far, "c", &many))
            .telling(Arc::new(Always(KeyForm::Plain)))
            .sized(Arc::new(Stated(sizes.collect())))
            .build();
        let sql = "SELECT a.k FROM p.a AS a JOIN p.c AS c ON a.k = c.k";
        let answer = ask(&engine, &view, sql).await.unwrap();
        assert_eq!(answer.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
        let told = |asked: Vec<String>| asked.iter().any(|sql| sql.contains(" WHERE "));
        let told = [told(asked(&near)), told(asked(&far))];
        assert_eq!(told, [first[1] > 10, first[1] == 10], "{stated:?}");
    }
}

/// A partner under a name of its own.
#[derive(Debug)]
struct Called(&'static str, Arc<Loopback>);

#[async_trait::async_trait]
impl Partner for Called {
    fn name(&self) -> &str {
        self.0
    }

    async fn open(&self, question: Question) -> Result<Opened, QueryError> {
        self.1.open(question).await
    }
}

/// Keys of own columns may go to the near partner only, others to both.
#[derive(Debug)]
struct OwnToNear;

impl Egress for OwnToNear {
    fn form(&self, table: &TableName, _: &str, to: &str) -> KeyForm {
        match (table.catalog.as_str(), to) {
            ("own", "far") => KeyForm::Never,
            _ => KeyForm::Plain,
        }
    }
}

/// Regression: what the near partner's rows were narrowed by decided which of its
/// keys the far one was told, which nobody had permitted.
#[tokio::test]
async fn keys_are_not_handed_on_by_the_keys_of_others() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let own = keys([3, 5].into_iter());
    let (near_rows, far_rows) = (keys(0..40), hundred());
    let (near, far) = (
        organization(&[("a", &near_rows)]),
        organization(&[("c", &far_rows)]),
    );
    let remote = |name, partner: &Arc<Loopback>, table: &str, rows: &RecordBatch| {
        let remote = RemoteTable {
            product: "p".into(),
            table: table.into(),
        };
        PartnerTable::new(
            Arc::new(Called(name, Arc::clone(partner))),
            remote,
            rows.schema(),
        )
    };
    let sizes = [
        ("a", size(40, None)),
        ("c", size(100, None)),
        ("d", size(2, None)),
    ];
    let view = View::builder("own")
        .partner(named("a"), remote("near", &near, "a", &near_rows))
        .partner(named("c"), remote("far", &far, "c", &far_rows))
        .governed(named("d"), open(&own))
        .telling(Arc::new(OwnToNear))
        .sized(Arc::new(Stated(sizes.into())))
        .build();
    let sql = "SELECT c.s FROM (SELECT a.k AS k, c.s FROM p.a AS a JOIN p.c AS c ON a.k = c.k) AS c \
               JOIN p.d AS d ON d.k = c.k";
    let answer = ask(&engine, &view, sql).await.unwrap();
    assert_eq!(answer.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    let told = asked(&far).concat();
    let keys = told
        .split_once(" IN (")
        .map_or(0, |(_, list)| list.split(',').count());
    assert!([0, 40].contains(&keys), "{told}");
}
