"""What ordinary Flight SQL clients expect of a workbench listener."""

import adbc_driver_flightsql.dbapi as flightsql
import duckdb
import pyarrow
import pyarrow.compute
import pyarrow.flight
import pytest

from conftest import DATA
from flight_sql import FLIGHTS, Flight, adbc, any_message, fetch, statement

PLANES = '"aircraft-registry"."planes"."planes"'


@pytest.fixture
def connection(exchange):
    with adbc(exchange.port) as connection:
        yield connection


@pytest.mark.parametrize("depth", ["catalogs", "db_schemas", "tables", "all"])
def test_objects_are_listed_at_every_depth(connection, depth):
    objects = connection.adbc_get_objects(depth=depth).read_all().to_pylist()
    catalogs = {entry["catalog_name"] for entry in objects}
    assert {"port-authority", "aircraft-registry", "weather-service"} <= catalogs
    if depth in ("tables", "all"):
        own = next(e for e in objects if e["catalog_name"] == "port-authority")
        schema = next(s for s in own["catalog_db_schemas"] if s["db_schema_name"] == "flights")
        table = next(t for t in schema["db_schema_tables"] if t["table_name"] == "flights")
        if depth == "all":
            names = [c["column_name"] for c in table["table_columns"]]
            assert "dep_delay" in names and "tailnum" in names


def test_a_tables_schema_is_what_its_rows_have(connection):
    schema = connection.adbc_get_table_schema(
        "flights", catalog_filter="port-authority", db_schema_filter="flights")
    assert schema == fetch(connection, f"SELECT * FROM {FLIGHTS} LIMIT 1").schema


def test_table_types_and_info_answer(connection):
    assert connection.adbc_get_table_types() == ["TABLE"]
    assert connection.adbc_get_info()["vendor_name"] == "Comity"


def test_only_agreed_columns_exist(connection):
    schema = connection.adbc_get_table_schema(
        "planes", catalog_filter="aircraft-registry", db_schema_filter="planes")
    assert set(schema.names) == {"tailnum", "year", "manufacturer", "model", "seats"}


def test_a_statement_can_be_prepared_and_run_twice(connection):
    with connection.cursor() as cursor:
        cursor.adbc_prepare(f"SELECT count(*) AS n FROM {FLIGHTS}")
        for _ in range(2):
            cursor.execute(f"SELECT count(*) AS n FROM {FLIGHTS}")
            assert cursor.fetchall() == [(336776,)]


def test_an_empty_result_keeps_its_schema(connection):
    table = fetch(connection, f"SELECT carrier, dep_delay FROM {FLIGHTS} WHERE month = 13")
    assert table.num_rows == 0
    assert table.schema.names == ["carrier", "dep_delay"]


def test_aggregates_keep_the_advertised_schema(connection):
    # ADBC refuses a stream whose schema differs from FlightInfo's in nullability.
    table = fetch(connection, f"SELECT max(month) AS m, count(*) AS n, min(origin) AS o FROM {FLIGHTS}")
    assert table.to_pylist() == [{"m": 12, "n": 336776, "o": "EWR"}]


def test_a_whole_table_arrives_whole(connection):
    table = fetch(connection, f"SELECT * FROM {FLIGHTS}")
    file = DATA / "flights.parquet"
    truth = duckdb.connect().execute(f"SELECT count(*), sum(distance) FROM '{file}'").fetchone()
    distance = table.column("distance")
    assert (table.num_rows, pyarrow.compute.sum(distance).as_py()) == truth


@pytest.mark.parametrize("sql", [
    "COPY (SELECT 1) TO '/tmp/x.csv'", "CREATE TABLE t AS SELECT 1", "DROP TABLE flights",
    f"INSERT INTO {FLIGHTS} VALUES (1)", f"DELETE FROM {FLIGHTS}", "SET a = 1", "SHOW TABLES",
    "SELECT * FROM generate_series(1, 3)", "SELECT * FROM '/etc/passwd'", f"EXPLAIN VERBOSE SELECT * FROM {FLIGHTS}",
    "SELECT * FROM information_schema.df_settings", "SELECT 1; SELECT 2", "nonsense",
])
def test_what_is_not_a_query_over_the_view_is_refused(connection, sql):
    with pytest.raises(Exception) as refused:
        fetch(connection, sql)
    said = str(refused.value)
    assert any(code in said for code in ["not-permitted", "bad-sql"]), said
    assert len(said) < 1500


def test_explain_says_what_crosses(connection):
    sql = f"SELECT count(*) FROM {FLIGHTS} f JOIN {PLANES} p ON f.tailnum = p.tailnum WHERE p.seats * 2 > 800"
    plan = fetch(connection, f"EXPLAIN {sql}").to_pylist()
    assert [(part["partner"], part["rows"]) for part in plan if part["partner"]] == [("aircraft-registry", None)]
    ran = fetch(connection, f"EXPLAIN ANALYZE {sql}").to_pylist()
    part = next(part for part in ran if part["partner"])
    assert 0 < part["rows"] < 100 and part["agreement"].startswith("sha256:"), part
    assert "800" in part["statement"] and "for delay-analysis" in part["terms"], part


@pytest.mark.parametrize("command", [
    statement(f"SELECT count(*) FROM {FLIGHTS}"), any_message("CommandGetCatalogs"),
    any_message("CommandGetTables"), any_message("CommandGetSqlInfo"),
    any_message("CommandGetTableTypes"),
], ids=["statement", "catalogs", "tables", "sql-info", "table-types"])
@pytest.mark.parametrize("token", [None, "comity_wrong"], ids=["no-token", "wrong-token"])
def test_metadata_needs_the_same_token_as_data(exchange, command, token):
    flight = Flight(exchange.port, token)
    with pytest.raises(pyarrow.flight.FlightUnauthenticatedError):
        flight.info(command)
    with pytest.raises(pyarrow.flight.FlightUnauthenticatedError):
        flight.rows(pyarrow.flight.Ticket(command))
    with pytest.raises(pyarrow.flight.FlightUnauthenticatedError):
        list(flight.client.list_actions(flight.options))


def test_a_ticket_is_its_holders_and_can_be_used_again(exchange):
    owner = Flight(exchange.port, exchange.port.token)
    ticket = owner.info(statement(f"SELECT count(*) AS n FROM {FLIGHTS}")).endpoints[0].ticket
    assert owner.rows(ticket) == owner.rows(ticket)
    other = exchange.port.comity("member", "add", "other")["token"]
    with pytest.raises(pyarrow.ArrowException, match="expired-ticket"):
        Flight(exchange.port, other).rows(ticket)
    forged = bytearray(ticket.ticket)
    forged[-1] ^= 1
    with pytest.raises(pyarrow.ArrowException, match="expired-ticket"):
        owner.rows(pyarrow.flight.Ticket(bytes(forged)))


def test_a_removed_member_is_out_at_once(exchange):
    token = exchange.port.comity("member", "add", "leaver")["token"]
    flight = Flight(exchange.port, token)
    assert flight.info(any_message("CommandGetCatalogs")).total_records == -1
    exchange.port.comity("member", "remove", "leaver")
    with pytest.raises(pyarrow.flight.FlightUnauthenticatedError):
        flight.info(any_message("CommandGetCatalogs"))


def test_counts_of_hidden_rows_are_not_told(exchange):
    info = Flight(exchange.port, exchange.port.token).info(statement(f"SELECT * FROM {PLANES}"))
    assert (info.total_records, info.total_bytes) == (-1, -1)


def test_the_peer_listener_wants_a_nodes_certificate(exchange):
    peers = exchange.port.comity("status")["listening"]["peers"]
    client = pyarrow.flight.connect(f"grpc+tls://{peers}", tls_root_certs=exchange.port.ca)
    options = pyarrow.flight.FlightCallOptions(
        headers=[(b"authorization", f"Bearer {exchange.port.token}".encode())], timeout=20)
    with pytest.raises(pyarrow.ArrowException):
        list(client.list_actions(options))


@pytest.mark.parametrize("place", ["?", "$1"])
def test_values_are_bound_to_a_statements_places(connection, place):
    statement = f"SELECT origin, count(*) AS n FROM {FLIGHTS} WHERE origin = {place} GROUP BY origin"
    with connection.cursor() as cursor:
        for origin in ["JFK", "LGA", "it's; DROP TABLE flights--"]:
            cursor.execute(statement, (origin,))
            bound = cursor.fetchall()
            quoted = origin.replace("'", "''")
            cursor.execute(statement.replace(place, f"'{quoted}'"))
            assert bound == cursor.fetchall()


def test_values_of_several_types_are_cast_to_what_their_places_take(connection):
    statement = f"SELECT count(*) FROM {FLIGHTS} WHERE month = ? AND dep_delay > ? AND carrier IN (?, ?)"
    with connection.cursor() as cursor:
        cursor.execute(statement, (1, 30.0, "UA", "AA"))
        bound = cursor.fetchone()
        cursor.execute(
            f"SELECT count(*) FROM {FLIGHTS} WHERE month = 1 AND dep_delay > 30 AND carrier IN ('UA', 'AA')"
        )
        assert bound == cursor.fetchone()
        assert bound[0] > 0


@pytest.mark.parametrize("values", [(), ("JFK", "LGA")])
def test_a_wrong_number_of_values_is_refused(connection, values):
    statement = f"SELECT count(*) FROM {FLIGHTS} WHERE origin = ?"
    with connection.cursor() as cursor, pytest.raises(flightsql.Error) as refused:
        cursor.execute(statement, values)
        cursor.fetchall()
    assert "value" in str(refused.value)
