//! Statements that run, and their answers.

/// What runs over the visible rows `x` in 1000, 1002, … 2998 with `s` = `x - 1000`.
pub(super) const ACCEPTED: &[(&str, &str)] = &[
    ("SELECT 1", "1"),
    ("SELECT 1;", "1"),
    ("select count(*) from t", "1000"),
    ("SELECT count(*) FROM \"t\"", "1000"),
    ("SELECT count(*) FROM T", "1000"),
    ("SELECT count(*) FROM p.t", "1000"),
    ("SELECT count(*) FROM \"own\".\"p\".\"t\"", "1000"),
    ("(SELECT count(*) FROM t)", "1000"),
    ("((SELECT count(*) FROM t))", "1000"),
    ("SELECT count(*) FROM (t)", "1000"),
    (
        "SELECT /* ; DROP TABLE t */ count(*) -- ; x\nFROM t",
        "1000",
    ),
    ("SELECT '; DROP TABLE t; --'", "; DROP TABLE t; --"),
    ("SELECT 'it''s'", "it's"),
    ("SELECT '\\'", "\\"),
    ("SELECT 'Zürich 東京 🦀'", "Zürich 東京 🦀"),
    ("SELECT 1 AS \"a\"\"b\"", "1"),
    ("SELECT 1 AS größe", "1"),
    ("SELECT \"größe\" FROM (SELECT 1 AS \"größe\")", "1"),
    ("SELECT t.* FROM t ORDER BY x LIMIT 2", "1000,0;1002,2"),
    ("SELECT * EXCLUDE (s) FROM t ORDER BY x LIMIT 1", "1000"),
    ("SELECT x FROM t ORDER BY x DESC LIMIT 2", "2998;2996"),
    ("SELECT x FROM t ORDER BY x LIMIT 2 OFFSET 3", "1006;1008"),
    ("SELECT DISTINCT x % 4 FROM t ORDER BY 1", "0;2"),
    (
        "SELECT DISTINCT ON (x % 4) x FROM t ORDER BY x % 4, x",
        "1000;1002",
    ),
    ("SELECT min(x), max(x), sum(x) FROM t", "1000,2998,1999000"),
    ("SELECT avg(x) FROM t WHERE x < 1004", "1001.0"),
    ("SELECT count(DISTINCT x % 6) FROM t", "3"),
    ("SELECT count(*) FILTER (WHERE x > 2000) FROM t", "499"),
    (
        "SELECT x % 4, count(*) FROM t GROUP BY 1 HAVING count(*) > 1 ORDER BY 1",
        "0,500;2,500",
    ),
    (
        "SELECT x % 4 AS k, count(*) FROM t GROUP BY ROLLUP (k) ORDER BY 2, 1",
        "0,500;2,500;,1000",
    ),
    ("SELECT sum(x) FROM t WHERE x BETWEEN 1000 AND 1004", "3006"),
    ("SELECT count(*) FROM t WHERE x IN (1000, 1001, 1002)", "2"),
    ("SELECT count(*) FROM t WHERE x NOT IN (1000)", "999"),
    ("SELECT count(*) FROM t WHERE s LIKE '1_'", "5"),
    ("SELECT count(*) FROM t WHERE s ILIKE '1_'", "5"),
    ("SELECT count(*) FROM t WHERE s LIKE '1\\_'", "0"),
    (
        "SELECT count(*) FROM t WHERE s LIKE '1\\_' ESCAPE '\\'",
        "0",
    ),
    (
        "SELECT '50%' LIKE '50\\%', '501' LIKE '50\\%'",
        "true,false",
    ),
    ("SELECT count(*) FROM t WHERE s ~ '^1.$'", "5"),
    (
        "SELECT count(*) FROM t WHERE s IS NULL OR NOT s IS NOT NULL",
        "0",
    ),
    ("SELECT count(*) FROM t WHERE (x > 2990) IS TRUE", "4"),
    ("SELECT count(*) FROM t WHERE x = -1 OR x <> -1", "1000"),
    (
        "SELECT count(*) FROM t WHERE x IS DISTINCT FROM 1000",
        "999",
    ),
    (
        "SELECT CASE WHEN x < 1002 THEN 'a' ELSE 'b' END FROM t ORDER BY x LIMIT 2",
        "a;b",
    ),
    (
        "SELECT CASE x WHEN 1000 THEN 1 END FROM t ORDER BY x LIMIT 2",
        "1;",
    ),
    ("SELECT CAST(s AS int) + 1 FROM t ORDER BY x LIMIT 1", "1"),
    ("SELECT s::int FROM t ORDER BY x LIMIT 1", "0"),
    ("SELECT TRY_CAST('a' AS int)", ""),
    ("SELECT DATE '2013-02-28' + INTERVAL '1 day'", "2013-03-01"),
    ("SELECT EXTRACT(year FROM DATE '2013-02-28')", "2013"),
    (
        "SELECT date_trunc('month', DATE '2013-02-28')",
        "2013-02-01T00:00:00",
    ),
    ("SELECT substr('abc', 2), upper('ä'), 'a' || 'b'", "bc,Ä,ab"),
    (
        "SELECT substring('abc' FROM 2 FOR 1), position('b' IN 'abc')",
        "b,2",
    ),
    ("SELECT trim('  a '), length('äb')", "a,2"),
    (
        "SELECT concat_ws('-', 'a', 'b'), coalesce(NULL, 3), nullif(1, 1)",
        "a-b,3,",
    ),
    ("SELECT arrow_cast('7', 'UInt8')", "7"),
    (
        "SELECT TIMESTAMP '2013-01-01 00:00:00'",
        "2013-01-01T00:00:00",
    ),
    ("SELECT round(1.25, 1), abs(-3), 7 / 2, 7 % 2", "1.3,3,3,1"),
    ("VALUES (1, 'a'), (2, 'b')", "1,a;2,b"),
    ("SELECT * FROM (VALUES (1), (2)) AS v(n) ORDER BY n", "1;2"),
    ("WITH c AS (SELECT x FROM t) SELECT count(*) FROM c", "1000"),
    (
        "WITH a AS (SELECT x FROM t), b AS (SELECT x FROM a WHERE x < 1010) SELECT count(*) FROM b",
        "5",
    ),
    ("WITH t AS (SELECT 5 AS x) SELECT x FROM t", "5"),
    ("SELECT 1 UNION SELECT 1", "1"),
    (
        "SELECT count(*) FROM (SELECT x FROM t UNION ALL SELECT x FROM t)",
        "2000",
    ),
    ("SELECT x FROM t INTERSECT SELECT 1000", "1000"),
    (
        "SELECT count(*) FROM (SELECT x FROM t EXCEPT SELECT 1000)",
        "999",
    ),
    (
        "SELECT count(*) FROM t AS a JOIN t AS b ON a.x = b.x",
        "1000",
    ),
    ("SELECT count(*) FROM t AS a JOIN t AS b USING (x)", "1000"),
    ("SELECT count(*) FROM t AS a NATURAL JOIN t AS b", "1000"),
    (
        "SELECT count(*) FROM t AS a LEFT JOIN t AS b ON a.x = b.x + 2",
        "1000",
    ),
    (
        "SELECT count(*) FROM t AS a FULL JOIN t AS b ON a.x = b.x + 2",
        "1001",
    ),
    (
        "SELECT count(*) FROM t AS a LEFT SEMI JOIN t AS b ON a.x = b.x + 2",
        "999",
    ),
    (
        "SELECT count(*) FROM t AS a LEFT ANTI JOIN t AS b ON a.x = b.x + 2",
        "1",
    ),
    (
        "SELECT count(*) FROM t AS a, t AS b WHERE a.x = b.x",
        "1000",
    ),
    (
        "SELECT count(*) FROM t AS a CROSS JOIN (VALUES (1), (2)) AS b",
        "2000",
    ),
    (
        "SELECT count(*) FROM t AS a WHERE EXISTS (SELECT 1 FROM t AS b WHERE b.x = a.x + 2)",
        "999",
    ),
    (
        "SELECT count(*) FROM t WHERE x IN (SELECT x FROM t WHERE x < 1010)",
        "5",
    ),
    (
        "SELECT count(*) FROM t WHERE x NOT IN (SELECT x FROM t WHERE x < 1010)",
        "995",
    ),
    ("SELECT x FROM t WHERE x = (SELECT max(x) FROM t)", "2998"),
    (
        "SELECT (SELECT max(x) FROM t) - (SELECT min(x) FROM t)",
        "1998",
    ),
    (
        "SELECT row_number() OVER (ORDER BY x) FROM t ORDER BY x LIMIT 3",
        "1;2;3",
    ),
    (
        "SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t ORDER BY x LIMIT 2",
        "1000;2002",
    ),
    (
        "SELECT lag(x) OVER w FROM t WINDOW w AS (ORDER BY x) ORDER BY x LIMIT 2",
        ";1000",
    ),
    (
        "SELECT x FROM t QUALIFY row_number() OVER (ORDER BY x DESC) = 1",
        "2998",
    ),
    (
        "SELECT median(x) OVER (PARTITION BY x % 2) FROM t ORDER BY x LIMIT 1",
        "1999.0",
    ),
    (
        "SELECT count(DISTINCT x) OVER (ORDER BY x) FROM t ORDER BY x LIMIT 2",
        "1;2",
    ),
    (
        "SELECT lag(x, 2) IGNORE NULLS OVER (ORDER BY x) FROM t ORDER BY x LIMIT 3",
        ";;1000",
    ),
];
