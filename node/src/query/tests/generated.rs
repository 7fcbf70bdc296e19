//! Statements made at random over the tables of the laws: joins, set operations,
//! common table expressions, subqueries, groups, windows, `CASE` and casts, in
//! each other. Each has one answer: no function in it can fail, nothing depends
//! on the order of rows, and no sum is of floats.

use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::*;

/// How deep relations lie in each other.
const DEPTH: usize = 3;
/// The most choices of a statement; after them every choice is the simplest one.
const CHOICES: usize = 160;

/// A statement over `tables`, each with the columns of the laws.
pub(super) fn statement(tables: &'static [&'static str]) -> impl Strategy<Value = String> {
    vec(any::<u8>(), 0..CHOICES).prop_map(move |choices| {
        let mut writer = Writer {
            choices: choices.into_iter(),
            names: 0,
            tables,
        };
        writer.whole()
    })
}

/// What can be done with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Up to the ends of 64 bits: compared, never added.
    Large,
    /// 32 bits: may be added, as 64.
    Small,
    /// 64 bits, far from their ends.
    Count,
    Float,
    Decimal,
    Text,
    Bool,
    Day,
    Moment,
}

const STORED: [(&str, Kind); 8] = [
    ("i", Kind::Large),
    ("j", Kind::Small),
    ("f", Kind::Float),
    ("d", Kind::Decimal),
    ("s", Kind::Text),
    ("b", Kind::Bool),
    ("day", Kind::Day),
    ("at", Kind::Moment),
];

/// A query with columns `c0`, `c1`, … of these kinds.
struct Relation {
    sql: String,
    kinds: Vec<Kind>,
}

/// The columns that an expression may name: those of one alias or more.
#[derive(Clone, Debug, Default)]
struct Columns(Vec<(String, Kind)>);

impl Columns {
    fn of(alias: &str, kinds: &[Kind]) -> Self {
        let named = kinds.iter().enumerate();
        Self(named.map(|(n, k)| (format!("{alias}.c{n}"), *k)).collect())
    }

    fn with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// The least or the greatest value, where there is one.
fn extreme(function: &str, column: &str, kind: Kind) -> (String, Kind) {
    match kind {
        Kind::Bool => (format!("bool_or({column})"), kind),
        // With one that is not a number it depends on the order of the rows.
        Kind::Float => (format!("count({column})"), Kind::Count),
        _ => (format!("{function}({column})"), kind),
    }
}

struct Writer {
    choices: std::vec::IntoIter<u8>,
    names: usize,
    tables: &'static [&'static str],
}

impl Writer {
    /// One of `n` choices; the first when there are none left.
    fn pick(&mut self, n: usize) -> usize {
        usize::from(self.choices.next().unwrap_or_default()) % n
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.pick(all.len())]
    }

    fn name(&mut self, start: &str) -> String {
        self.names += 1;
        format!("{start}{}", self.names)
    }

    fn whole(&mut self) -> String {
        let relation = self.relation(DEPTH);
        if self.pick(4) > 0 {
            return relation.sql;
        }
        // Over all columns: rows that tie are the same row.
        let order: Vec<_> = (1..=relation.kinds.len()).map(|n| n.to_string()).collect();
        let (order, limit) = (order.join(", "), self.pick(30));
        let sql = relation.sql;
        format!("SELECT * FROM ({sql}) AS o ORDER BY {order} LIMIT {limit}")
    }

    fn relation(&mut self, depth: usize) -> Relation {
        if depth == 0 {
            return self.stored();
        }
        match self.pick(12) {
            0 => self.stored(),
            1 | 2 => self.selected(depth),
            3 | 4 => self.joined(depth),
            5 | 6 => self.grouped(depth),
            7 => self.combined(depth),
            8 => self.windowed(depth),
            9 | 10 => self.with_subquery(depth),
            _ => self.twice(depth),
        }
    }

    fn stored(&mut self) -> Relation {
        let table = self.of(self.tables);
        let all: Vec<_> = STORED.iter().enumerate().collect();
        let columns: Vec<_> = all
            .iter()
            .map(|(n, (c, _))| format!("{c} AS c{n}"))
            .collect();
        Relation {
            sql: format!("SELECT {} FROM p.{table}", columns.join(", ")),
            kinds: STORED.iter().map(|(_, kind)| *kind).collect(),
        }
    }

    /// `FROM` item over a relation, and what it gives.
    fn from(&mut self, depth: usize) -> (String, Columns) {
        let (relation, alias) = (self.relation(depth), self.name("t"));
        let columns = Columns::of(&alias, &relation.kinds);
        (format!("({}) AS {alias}", relation.sql), columns)
    }

    /// `SELECT` of some expressions over `columns`.
    fn list(&mut self, columns: &Columns) -> (String, Vec<Kind>) {
        let (mut list, mut kinds) = (String::new(), Vec::new());
        for n in 0..1 + self.pick(5) {
            let (sql, kind) = self.expression(columns, 2);
            let _ = write!(list, "{}{sql} AS c{n}", if n > 0 { ", " } else { "" });
            kinds.push(kind);
        }
        (list, kinds)
    }

    fn selected(&mut self, depth: usize) -> Relation {
        let (from, columns) = self.from(depth - 1);
        let (list, kinds) = self.list(&columns);
        let distinct = self.of(&["", "", "DISTINCT "]);
        let condition = self.condition(&columns, 2);
        Relation {
            sql: format!("SELECT {distinct}{list} FROM {from} WHERE {condition}"),
            kinds,
        }
    }

    fn joined(&mut self, depth: usize) -> Relation {
        let ((left, l), (right, r)) = (self.from(depth - 1), self.from(depth - 1));
        let pairs: Vec<_> =
            l.0.iter()
                .flat_map(|x| r.0.iter().map(move |y| (x, y)))
                .filter(|(x, y)| x.1 == y.1)
                .map(|(x, y)| format!("{} = {}", x.0, y.0))
                .collect();
        let both = l.with(r);
        let kind = self.of(&["", "LEFT ", "RIGHT ", "FULL "]);
        let on = match pairs.is_empty() {
            true => self.comparison(&both),
            false => {
                let pair = pairs[self.pick(pairs.len())].clone();
                match (kind, self.pick(2)) {
                    ("", 1) => format!("{pair} AND {}", self.comparison(&both)),
                    _ => pair,
                }
            }
        };
        let (list, kinds) = self.list(&both);
        // An outer join without an equality is not for every engine.
        let kind = if pairs.is_empty() { "" } else { kind };
        Relation {
            sql: format!("SELECT {list} FROM {left} {kind}JOIN {right} ON {on}"),
            kinds,
        }
    }

    fn grouped(&mut self, depth: usize) -> Relation {
        let (from, columns) = self.from(depth - 1);
        let (mut list, mut kinds, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.pick(3) {
            let (key, kind) = self.column(&columns);
            list.push(format!("{key} AS c{}", kinds.len()));
            kinds.push(kind);
            keys.push(key);
        }
        for _ in 0..1 + self.pick(3) {
            let (sql, kind) = self.aggregate(&columns);
            list.push(format!("{sql} AS c{}", kinds.len()));
            kinds.push(kind);
        }
        let mut sql = format!("SELECT {} FROM {from}", list.join(", "));
        if self.pick(2) == 1 {
            let _ = write!(sql, " WHERE {}", self.condition(&columns, 1));
        }
        if !keys.is_empty() {
            let _ = write!(sql, " GROUP BY {}", keys.join(", "));
        }
        if self.pick(3) == 1 {
            sql.push_str(" HAVING count(*) > 1");
        }
        Relation { sql, kinds }
    }

    fn aggregate(&mut self, columns: &Columns) -> (String, Kind) {
        let (column, kind) = self.column(columns);
        let small = columns.0.iter().find(|(_, kind)| *kind == Kind::Small);
        match (self.pick(6), small) {
            (0, _) => ("count(*)".into(), Kind::Count),
            (1, _) => (format!("count({column})"), Kind::Count),
            (2, _) => (format!("count(DISTINCT {column})"), Kind::Count),
            (3, Some((small, _))) => {
                let when = self.comparison(columns);
                let sum = format!("sum(CAST({small} AS BIGINT)) FILTER (WHERE {when})");
                (sum, Kind::Count)
            }
            (4, _) => extreme("min", &column, kind),
            _ => extreme("max", &column, kind),
        }
    }

    fn combined(&mut self, depth: usize) -> Relation {
        let ((left, l), (right, r)) = (self.from(depth - 1), self.from(depth - 1));
        let (mut lists, mut kinds) = ((Vec::new(), Vec::new()), Vec::new());
        for (column, kind) in &l.0 {
            let same: Vec<_> = r.0.iter().filter(|(_, other)| other == kind).collect();
            if same.is_empty() || kinds.len() > 3 {
                continue;
            }
            let n = kinds.len();
            lists.0.push(format!("{column} AS c{n}"));
            let other = &same[self.pick(same.len())].0;
            lists.1.push(format!("{other} AS c{n}"));
            kinds.push(*kind);
        }
        if kinds.is_empty() {
            // Not constants: the engine believes that a union of two is sorted by them.
            return self.stored();
        }
        let both = self.of(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
        let (first, second) = (lists.0.join(", "), lists.1.join(", "));
        Relation {
            sql: format!("SELECT {first} FROM {left} {both} SELECT {second} FROM {right}"),
            kinds,
        }
    }

    fn windowed(&mut self, depth: usize) -> Relation {
        let (from, columns) = self.from(depth - 1);
        let (kept, kind) = self.column(&columns);
        let (by, _) = self.column(&columns);
        let all: Vec<_> = columns.0.iter().map(|(name, _)| name.clone()).collect();
        let total = format!("PARTITION BY {by} ORDER BY {}", all.join(", "));
        let (order, _) = self.column(&columns);
        let (window, out) = match self.pick(6) {
            0 => {
                let (sql, out) = self.aggregate(&columns);
                let sql = sql.replace("(DISTINCT ", "(");
                (format!("{sql} OVER (PARTITION BY {by})"), out)
            }
            1 => (
                format!("rank() OVER (PARTITION BY {by} ORDER BY {order})"),
                Kind::Count,
            ),
            2 => (
                format!("count({kept}) OVER (PARTITION BY {by} ORDER BY {order} DESC)"),
                Kind::Count,
            ),
            3 => (format!("row_number() OVER ({total})"), Kind::Count),
            4 => (format!("lag({kept}) OVER ({total})"), kind),
            _ => (
                format!(
                    "first_value({kept}) OVER ({total} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)"
                ),
                kind,
            ),
        };
        Relation {
            sql: format!("SELECT {kept} AS c0, {window} AS c1 FROM {from}"),
            kinds: vec![kind, out],
        }
    }

    fn with_subquery(&mut self, depth: usize) -> Relation {
        let (from, columns) = self.from(depth - 1);
        let (inner, i) = self.from(depth - 1);
        let pairs: Vec<_> = columns
            .0
            .iter()
            .flat_map(|x| i.0.iter().map(move |y| (x, y)))
            .filter(|(x, y)| x.1 == y.1)
            .collect();
        let (list, mut kinds) = self.list(&columns);
        let (condition, also) = (self.condition(&i, 1), self.of(&["", "NOT "]));
        let sql = match (self.pick(3), pairs.is_empty()) {
            (0, _) | (_, true) => {
                let (value, kind) = self.column(&i);
                let (value, kind) = extreme("max", &value, kind);
                let n = kinds.len();
                kinds.push(kind);
                format!(
                    "SELECT {list}, (SELECT {value} FROM {inner} WHERE {condition}) AS c{n} FROM {from}"
                )
            }
            (1, _) => {
                let (x, y) = pairs[self.pick(pairs.len())];
                format!(
                    "SELECT {list} FROM {from} WHERE {} {also}IN (SELECT {} FROM {inner} WHERE {condition})",
                    x.0, y.0
                )
            }
            _ => {
                let (x, y) = pairs[self.pick(pairs.len())];
                format!(
                    "SELECT {list} FROM {from} WHERE {also}EXISTS (SELECT 1 FROM {inner} WHERE {} = {} AND ({condition}))",
                    y.0, x.0
                )
            }
        };
        Relation { sql, kinds }
    }

    /// A common table expression that is read twice.
    fn twice(&mut self, depth: usize) -> Relation {
        let (relation, v) = (self.relation(depth - 1), self.name("v"));
        let (x, y) = (self.name("t"), self.name("t"));
        let l = Columns::of(&x, &relation.kinds);
        let r = Columns::of(&y, &relation.kinds);
        let n = self.pick(relation.kinds.len());
        let (a, b) = (l.0[n].0.clone(), r.0[n].0.clone());
        let (list, kinds) = self.list(&l.with(r));
        Relation {
            sql: format!(
                "WITH {v} AS ({}) SELECT {list} FROM {v} AS {x} JOIN {v} AS {y} ON {a} = {b}",
                relation.sql
            ),
            kinds,
        }
    }

    fn column(&mut self, columns: &Columns) -> (String, Kind) {
        columns.0[self.pick(columns.0.len())].clone()
    }

    fn literal(&mut self, kind: Kind) -> String {
        let all: &[&str] = match kind {
            Kind::Large => &["7", "0", "-5", "9223372036854775807"],
            Kind::Small | Kind::Count => &["1", "0", "3", "-3"],
            Kind::Float => &["1.5", "CAST('NaN' AS DOUBLE)", "-0.25"],
            Kind::Decimal => &["12.34", "0"],
            Kind::Text => &["'it''s'", "''", "'5_'", "'a\\b'", "'nnnn'"],
            Kind::Bool => &["true", "false"],
            Kind::Day => &["DATE '1970-01-01'", "DATE '2013-02-28'"],
            // In the stored type: the engine fails where two kinds of moments meet in a list.
            Kind::Moment => {
                &["arrow_cast('1970-01-01T00:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"]
            }
        };
        self.of(all).to_owned()
    }

    fn expression(&mut self, columns: &Columns, depth: usize) -> (String, Kind) {
        let (column, kind) = self.column(columns);
        if depth == 0 {
            return (column, kind);
        }
        let small = matches!(kind, Kind::Small | Kind::Count);
        match self.pick(8) {
            1 => {
                let (when, other) = (self.condition(columns, depth - 1), self.literal(kind));
                (
                    format!("CASE WHEN {when} THEN {column} ELSE {other} END"),
                    kind,
                )
            }
            2 if kind == Kind::Text => {
                let form = self.of(&[
                    "upper({})",
                    "substr({}, 1, 2)",
                    "concat({}, '-')",
                    "left({}, 3)",
                ]);
                (form.replace("{}", &column), kind)
            }
            2 if kind == Kind::Small => (format!("CAST({column} AS BIGINT) + 1"), Kind::Count),
            2 if kind == Kind::Moment => (format!("date_trunc('year', {column})"), kind),
            3 if kind == Kind::Text => (format!("character_length({column})"), Kind::Small),
            3 if small || kind == Kind::Day => (format!("CAST({column} AS VARCHAR)"), Kind::Text),
            4 if kind == Kind::Small => (format!("CAST({column} AS DOUBLE) / 2"), Kind::Float),
            5 => (
                format!("({})", self.condition(columns, depth - 1)),
                Kind::Bool,
            ),
            6 => {
                let other = self.literal(kind);
                (format!("coalesce({column}, {other})"), kind)
            }
            _ => (column, kind),
        }
    }

    fn condition(&mut self, columns: &Columns, depth: usize) -> String {
        match (self.pick(6), depth) {
            (0, _) => "true".into(),
            (1, 1..) => {
                let (a, b) = (
                    self.condition(columns, depth - 1),
                    self.condition(columns, depth - 1),
                );
                format!("({a} {} {b})", self.of(&["AND", "OR"]))
            }
            (2, 1..) => format!("NOT ({})", self.condition(columns, depth - 1)),
            _ => self.comparison(columns),
        }
    }

    fn comparison(&mut self, columns: &Columns) -> String {
        let (column, kind) = self.column(columns);
        let same: Vec<_> = columns
            .0
            .iter()
            .filter(|(_, other)| *other == kind)
            .collect();
        let other = same[self.pick(same.len())].0.clone();
        let (value, next) = (self.literal(kind), self.literal(kind));
        let sign = self.of(&["=", "<>", "<", "<=", ">", ">="]);
        let sql = match self.pick(7) {
            0 => format!("{column} {sign} {value}"),
            1 => format!("{column} IS {}NULL", self.of(&["", "NOT "])),
            2 => format!("{column} {}IN ({value}, {next})", self.of(&["", "NOT "])),
            3 => format!("{column} BETWEEN {value} AND {next}"),
            4 if kind == Kind::Text => format!("{column} LIKE '5%'"),
            5 => format!("{column} IS NOT DISTINCT FROM {other}"),
            _ => format!("{column} {sign} {other}"),
        };
        // `IS DISTINCT FROM` takes all that follows, with `AND`, in this parser.
        format!("({sql})")
    }
}
