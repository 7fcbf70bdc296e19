"""Writes one small table with each of the writers that people use, into the folder of the argument.

The types are those that the writers choose themselves: nanoseconds, large and view texts, categories, unsigned
integers, times of day in nanoseconds, decimals in 64 bits, lists whose items are called `element`.
"""

import datetime as dt
import decimal
import pathlib
import sys

import duckdb
import pandas as pd
import polars as pl

folder = pathlib.Path(sys.argv[1])
noon = dt.datetime(2013, 6, 1, 12, 0, 0, 123456)

pd.DataFrame({
    "id": [1, 2, 3],
    "name": ["Äpfel", None, "c"],
    "kind": pd.Categorical(["x", "y", "x"]),
    "at": pd.Series([noon, None, noon]).astype("datetime64[ns]"),
    "seen": pd.Series([noon, None, noon]).astype("datetime64[ns]").dt.tz_localize("Europe/Berlin"),
    "small": pd.Series([1, None, 3], dtype="UInt8"),
}).to_parquet(folder / "pandas.parquet", index=False)

pl.DataFrame({
    "id": pl.Series([1, 2, 3], dtype=pl.UInt32),
    "name": ["Äpfel", None, "c"],
    "kind": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
    "at": pl.Series([noon, None, noon], dtype=pl.Datetime("ns")),
    "seen": pl.Series([noon, None, noon], dtype=pl.Datetime("ms", "UTC")),
    "clock": pl.Series([dt.time(12, 30, 1, 5), None, dt.time(0)], dtype=pl.Time),
    "price": pl.Series([decimal.Decimal("1.25"), None, decimal.Decimal("-3.50")], dtype=pl.Decimal(10, 2)),
    "words": [["a", "b"], None, []],
}).write_parquet(folder / "polars.parquet")

duckdb.sql(f"""COPY (SELECT * FROM (VALUES
    (1::UTINYINT, 'Äpfel', 'x'::ENUM('x', 'y'), TIMESTAMP_NS '2013-06-01 12:00:00.123456000',
     TIMESTAMPTZ '2013-06-01 12:00:00.123456+00', TIME '12:30:01.000005', 1.25::DECIMAL(10, 2), ['a', 'b']),
    (2, NULL, 'y', NULL, NULL, NULL, NULL, NULL),
    (3, 'c', 'x', TIMESTAMP_NS '2013-06-01 12:00:00.123456000', TIMESTAMPTZ '2013-06-01 12:00:00.123456+00',
     TIME '00:00:00', -3.50, [])
) AS t(id, name, kind, "at", seen, clock, price, words)) TO '{folder}/duckdb.parquet' (FORMAT parquet)""")

# Half a microsecond: a value that has no place.
lost = pd.Timestamp("2013-06-01 12:00:00.1234565")
pd.DataFrame({"id": [1, 2], "at": [pd.Timestamp(noon).as_unit("ns"), lost]}).to_parquet(folder / "lost.parquet", index=False)
