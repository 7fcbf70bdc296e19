"""Every client with every feature, at the consumer's own node; `MATRIX.md` is the result.

With COMITY_WRITE_MATRIX=1 the matrix is written, otherwise the one of the repository must be true.
"""

import datetime
import decimal
import importlib.metadata
import os
import pathlib

import duckdb
import pandas
import polars
import pyarrow
import pytest

from conftest import DATA
from flight_sql import FLIGHTS, Flight, adbc, any_message, field, statement

MATRIX = pathlib.Path(__file__).with_name("MATRIX.md")
PLANES = '"aircraft-registry"."planes"."planes"'
LATER = datetime.datetime(2024, 2, 29, 23, 59, 59, 999999)

# A value of each type, as the client has to give it.
TYPES = [
    ("TRUE", True),
    ("arrow_cast(-128, 'Int8')", -128),
    ("arrow_cast(-32768, 'Int16')", -32768),
    ("arrow_cast(-2147483648, 'Int32')", -2147483648),
    ("arrow_cast('-9223372036854775808', 'Int64')", -9223372036854775808),
    ("arrow_cast(255, 'UInt8')", 255),
    ("arrow_cast(65535, 'UInt16')", 65535),
    ("arrow_cast(4294967295, 'UInt32')", 4294967295),
    ("arrow_cast('18446744073709551615', 'UInt64')", 18446744073709551615),
    ("arrow_cast(1.5, 'Float32')", 1.5),
    ("arrow_cast('-0.1', 'Float64')", -0.1),
    ("arrow_cast('-12345678901234567890.12', 'Decimal128(38, 2)')", decimal.Decimal("-12345678901234567890.12")),
    ("arrow_cast('1582-10-15', 'Date32')", datetime.date(1582, 10, 15)),
    ("arrow_cast('2024-02-29T23:59:59.999999', 'Timestamp(Microsecond, None)')", LATER),
    ("arrow_cast('2024-02-29T23:59:59.999999Z', 'Timestamp(Microsecond, Some(\"UTC\"))')",
     LATER.replace(tzinfo=datetime.timezone.utc)),
    ("''", ""),
    ("arrow_cast('large', 'LargeUtf8')", "large"),
    ("arrow_cast(NULL, 'Int64')", None),
    ("arrow_cast(NULL, 'Utf8')", None),
]


class Adbc:
    name = "ADBC (Python)"
    package = "adbc-driver-flightsql"

    def __init__(self, node):
        self.connection = adbc(node)

    def table(self, sql, values=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetch_arrow_table()

    def names(self):
        objects = self.connection.adbc_get_objects(depth="tables").read_all().to_pylist()
        return {(o["catalog_name"], s["db_schema_name"], t["table_name"])
                for o in objects for s in o["catalog_db_schemas"] for t in s["db_schema_tables"]}

    def cancel(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            cursor.adbc_cancel()
            cursor.fetch_arrow_table()


class PyArrow:
    name = "pyarrow.flight"
    package = "pyarrow"

    def __init__(self, node):
        self.flight = Flight(node, node.token)

    def table(self, sql):
        info = self.flight.info(statement(sql))
        return self.flight.rows(info.endpoints[0].ticket)

    def names(self):
        info = self.flight.info(any_message("CommandGetTables"))
        rows = self.flight.rows(info.endpoints[0].ticket).to_pylist()
        return {(r["catalog_name"], r["db_schema_name"], r["table_name"]) for r in rows}

    def cancel(self, sql):
        info = self.flight.info(statement(sql))
        reader = self.flight.client.do_get(info.endpoints[0].ticket, self.flight.options)
        self.flight.act("CancelFlightInfo", field(1, info.serialize()))
        # Its read_all takes what is cancelled for a pressed Ctrl-C.
        while True:
            reader.read_chunk()


class Polars:
    name = "polars"
    package = "polars"

    def __init__(self, node):
        self.connection = adbc(node)

    def table(self, sql, values=None):
        options = {"parameters": values} if values else None
        return polars.read_database(sql, self.connection, execute_options=options).to_arrow()


class Pandas:
    name = "pandas"
    package = "pandas"

    def __init__(self, node):
        self.connection = adbc(node)

    def table(self, sql, values=None):
        frame = pandas.read_sql(sql, self.connection, params=values, dtype_backend="pyarrow")
        return pyarrow.Table.from_pandas(frame, preserve_index=False)


class DuckDb:
    """Its own extension for ADBC is fetched from elsewhere; what ADBC reads it takes as it comes."""

    name = "DuckDB, over ADBC's Arrow"
    package = "duckdb"

    def __init__(self, node):
        self.connection = adbc(node)
        self.duckdb = duckdb.connect()

    def table(self, sql, values=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            comes = cursor.fetch_record_batch()
            return self.duckdb.sql("SELECT * FROM comes").to_arrow_table()


CLIENTS = [Adbc, PyArrow, Polars, Pandas, DuckDb]


def values(table):
    return [list(row.values()) for row in table.to_pylist()]


def a_filter_and_groups(client):
    sql = f"SELECT origin, count(*) AS n FROM {FLIGHTS} WHERE dep_delay > 60 GROUP BY origin ORDER BY origin"
    flights = DATA / "flights.parquet"
    here = duckdb.sql(
        f"SELECT origin, count(*) FROM '{flights}' WHERE dep_delay > 60 GROUP BY origin ORDER BY origin")
    assert values(client.table(sql)) == [list(row) for row in here.fetchall()]


def a_join_across_organizations(client):
    sql = (f"SELECT p.manufacturer, count(*) AS n FROM {FLIGHTS} AS f JOIN {PLANES} AS p USING (tailnum) "
           "GROUP BY p.manufacturer ORDER BY n DESC, 1 LIMIT 3")
    rows = values(client.table(sql))
    assert len(rows) == 3 and rows[0][1] > rows[2][1] > 0


def every_type(client):
    for sql, value in TYPES:
        [[given]] = values(client.table(f"SELECT {sql} AS v"))
        assert given == value, sql


def no_rows(client):
    table = client.table(f"SELECT origin, dep_delay FROM {FLIGHTS} WHERE origin = 'nowhere'")
    assert (table.num_rows, table.column_names) == (0, ["origin", "dep_delay"])


def a_large_result(client):
    table = client.table(f"SELECT * FROM {FLIGHTS}")
    assert table.num_rows == 336_776


def unicode(client):
    text = "Zürich 東京 🦀 \\ ' \" \n"
    quoted = text.replace("'", "''")
    [[given]] = values(client.table(f"SELECT '{quoted}' AS \"naïve 名\""))
    assert given == text
    assert client.table("SELECT 1 AS \"naïve 名\"").column_names == ["naïve 名"]


def a_bad_statement(client):
    with pytest.raises(Exception) as refused:
        client.table("SELECT nothing FROM nowhere")
    assert "nowhere" in str(refused.value)


def no_writing(client):
    with pytest.raises(Exception) as refused:
        client.table(f"DELETE FROM {FLIGHTS}")
    assert "not-permitted" in str(refused.value) or "quer" in str(refused.value)


def values_for_places(client):
    sql = f"SELECT count(*) AS n FROM {FLIGHTS} WHERE origin = ? AND month = ?"
    bound = values(client.table(sql, ("JFK", 2)))
    assert bound == values(client.table(sql.replace("?", "'JFK'", 1).replace("?", "2")))


def the_list_of_tables(client):
    names = client.names()
    assert ("port-authority", "flights", "flights") in names
    assert ("aircraft-registry", "planes", "planes") in names


def information_schema(client):
    sql = ("SELECT column_name, data_type FROM information_schema.columns "
           "WHERE table_schema = 'planes' ORDER BY ordinal_position")
    columns = dict(values(client.table(sql)))
    assert columns["tailnum"] == "Utf8" and len(columns) == 5


def cancelling(client):
    pairs = f"SELECT a.* FROM {FLIGHTS} AS a JOIN {FLIGHTS} AS b ON a.month = b.month"
    with pytest.raises(Exception) as ended:
        client.cancel(pairs)
    assert "cancel" in str(ended.value).lower()


FEATURES = [
    ("filters and groups", a_filter_and_groups),
    ("joins across organizations", a_join_across_organizations),
    ("every type", every_type),
    ("no rows, with columns", no_rows),
    ("336,776 rows", a_large_result),
    ("text and names of any script", unicode),
    ("a bad statement is said", a_bad_statement),
    ("writing is refused", no_writing),
    ("values for `?`", values_for_places),
    ("the list of tables", the_list_of_tables),
    ("`information_schema`", information_schema),
    ("cancelling", cancelling),
]

# What a client has no way to ask for.
WITHOUT = {
    (PyArrow, values_for_places),
    (Polars, the_list_of_tables), (Polars, cancelling),
    # It hands none to ADBC.
    (Pandas, values_for_places),
    (Pandas, the_list_of_tables), (Pandas, cancelling),
    (DuckDb, the_list_of_tables), (DuckDb, cancelling),
}


@pytest.fixture(scope="module")
def matrix():
    cells = {}
    yield cells
    written = rendered(cells)
    if os.environ.get("COMITY_WRITE_MATRIX"):
        MATRIX.write_text(written)
    # Of a part of the run nothing is known of the rest.
    if len(cells) == len(CLIENTS) * len(FEATURES):
        assert MATRIX.read_text() == written, "COMITY_WRITE_MATRIX=1 writes what is true"


@pytest.fixture(scope="module", params=CLIENTS, ids=lambda client: client.package)
def client(exchange, request):
    return request.param(exchange.port)


@pytest.mark.parametrize("feature", [f for _, f in FEATURES], ids=lambda f: f.__name__)
def test_a_client_has_a_feature(client, feature, matrix):
    key = (type(client), feature)
    if key in WITHOUT:
        matrix[key] = "–"
        return
    matrix[key] = "no"
    feature(client)
    matrix[key] = "yes"


def rendered(cells):
    names = " | ".join(f"{c.name} {importlib.metadata.version(c.package)}" for c in CLIENTS)
    lines = [
        "# Clients", "",
        "Made by `make clients`; a run that differs from it fails. –: the client has no way to ask for it.", "",
        f"| | {names} |", "|---" * (len(CLIENTS) + 1) + "|",
    ]
    for title, feature in FEATURES:
        row = " | ".join(cells.get((c, feature), "?") for c in CLIENTS)
        lines.append(f"| {title} | {row} |")
    return "\n".join(lines) + "\n"
