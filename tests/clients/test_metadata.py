"""Metadata and endpoints, byte for byte, as clients that compare them need."""

import pyarrow
import pytest

from flight_sql import FLIGHTS, Flight, adbc, any_message, fetch, field, statement

TABLES = pyarrow.schema([
    pyarrow.field("catalog_name", pyarrow.utf8()),
    pyarrow.field("db_schema_name", pyarrow.utf8()),
    pyarrow.field("table_name", pyarrow.utf8(), nullable=False),
    pyarrow.field("table_type", pyarrow.utf8(), nullable=False),
])
TABLE_SCHEMA = pyarrow.field("table_schema", pyarrow.binary(), nullable=False)
# CommandGetTables: `catalog` is field 1, `include_schema` field 5.
OWN = field(1, b"port-authority")
INCLUDE = {True: b"\x28\x01", False: b"\x28\x00", None: b""}


@pytest.mark.parametrize("include", [True, False, None], ids=["with-schema", "without", "not-said"])
def test_tables_have_the_columns_that_were_asked_for(exchange, include):
    flight = Flight(exchange.port, exchange.port.token)
    info = flight.info(any_message("CommandGetTables", OWN + INCLUDE[include]))
    rows = flight.rows(info.endpoints[0].ticket)
    expected = TABLES.append(TABLE_SCHEMA) if include else TABLES
    # Both must follow the flag: ADBC compares them with the specification and with each other.
    assert info.schema.equals(expected) and rows.schema.equals(expected)
    [row] = rows.to_pylist()
    assert list(row.values())[:4] == ["port-authority", "flights", "flights", "TABLE"]


def test_a_tables_schema_is_one_ipc_message_of_what_its_rows_have(exchange):
    flight = Flight(exchange.port, exchange.port.token)
    command = any_message("CommandGetTables", OWN + INCLUDE[True])
    [row] = flight.rows(flight.info(command).endpoints[0].ticket).to_pylist()
    message = row["table_schema"]
    # Continuation marker, length, flatbuffer; no end of stream after it, which has broken clients.
    assert message[:4] == b"\xff\xff\xff\xff"
    assert len(message) == 8 + int.from_bytes(message[4:8], "little")
    schema = pyarrow.ipc.read_schema(pyarrow.py_buffer(message))
    ticket = flight.info(statement(f"SELECT * FROM {FLIGHTS} LIMIT 1")).endpoints[0].ticket
    assert schema.equals(flight.rows(ticket).schema, check_metadata=True)


def test_an_endpoint_sends_nobody_and_no_token_elsewhere(exchange):
    flight = Flight(exchange.port, exchange.port.token)
    for command in [statement(f"SELECT count(*) FROM {FLIGHTS}"), any_message("CommandGetTables")]:
        [endpoint] = flight.info(command).endpoints
        assert [location.uri for location in endpoint.locations] == [b"arrow-flight-reuse-connection://?"]


def test_adbc_follows_the_endpoints_location(exchange):
    with adbc(exchange.port) as connection, connection.cursor() as cursor:
        partitions, schema = cursor.adbc_execute_partitions(f"SELECT count(*) AS n FROM {FLIGHTS}")
        [partition] = partitions
        assert b"arrow-flight-reuse-connection://?" in partition
        # As another worker would: the partition alone says where to read.
        with adbc(exchange.port) as elsewhere, elsewhere.cursor() as reader:
            reader.adbc_read_partition(partition)
            table = reader.fetch_arrow_table()
        assert table.schema == schema and table.to_pylist() == [{"n": 336776}]


def test_adbc_reads_the_same_objects_with_and_without_columns(exchange):
    with adbc(exchange.port) as connection:
        found = connection.adbc_get_objects(
            depth="all", catalog_filter="port-authority").read_all().to_pylist()
        [schema] = found[0]["catalog_db_schemas"]
        [table] = schema["db_schema_tables"]
        columns = [column["column_name"] for column in table["table_columns"]]
        assert columns == fetch(connection, f"SELECT * FROM {FLIGHTS} LIMIT 0").column_names
