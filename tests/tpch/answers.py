"""The answers of DuckDB to the queries of this folder, over the Parquet files of a folder, as JSON."""

import datetime
import decimal
import json
import pathlib
import sys

import duckdb


def plain(value):
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return value


connection = duckdb.connect()
for file in pathlib.Path(sys.argv[1]).glob("*.parquet"):
    connection.execute(f"CREATE VIEW {file.stem} AS SELECT * FROM read_parquet('{file}')")
answers = {}
for query in sorted(pathlib.Path(__file__).parent.glob("q*.sql")):
    cursor = connection.execute(query.read_text())
    names = [column[0] for column in cursor.description]
    answers[query.stem] = [dict(zip(names, map(plain, row))) for row in cursor.fetchall()]
json.dump(answers, sys.stdout)
