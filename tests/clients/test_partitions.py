"""One answer in partitions: an endpoint of each, and the same rows each time that one is read."""

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow
import pyarrow.flight
import pytest
from adbc_driver_flightsql import DatabaseOptions

from flight_sql import FLIGHTS, Flight, adbc, fetch, statement

ALL = f"SELECT * FROM {FLIGHTS}"
ROWS = 336776


def asking(exchange, **headers):
    """A client with headers of its own."""
    flight = Flight(exchange.port, None)
    headers = {"authorization": f"Bearer {exchange.port.token}", **headers}
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    flight.options = pyarrow.flight.FlightCallOptions(headers=headers)
    return flight


def test_an_answer_has_an_endpoint_for_each_partition_that_is_asked_for(exchange):
    assert len(asking(exchange).info(statement(ALL)).endpoints) == 1
    info = asking(exchange, comity_partitions="4").info(statement(ALL))
    assert len({endpoint.ticket.ticket for endpoint in info.endpoints}) == 4
    reader = asking(exchange)
    parts = [reader.rows(endpoint.ticket) for endpoint in info.endpoints]
    whole = reader.rows(pyarrow.flight.Ticket(statement(ALL)))
    assert whole.num_rows == ROWS
    order = [(name, "ascending") for name in whole.column_names]
    assert pyarrow.concat_tables(parts).sort_by(order).equals(whole.sort_by(order))
    for part, endpoint in reversed(list(zip(parts, info.endpoints))):
        assert reader.rows(endpoint.ticket).equals(part)


def test_a_partition_needs_no_ticket(exchange):
    ticket = pyarrow.flight.Ticket(statement(ALL))
    counts = [asking(exchange, comity_partition=f"{n}/3").rows(ticket).num_rows for n in range(3)]
    assert sum(counts) == ROWS


def test_adbc_reads_every_partition(exchange):
    settings = {DatabaseOptions.RPC_CALL_HEADER_PREFIX.value + "comity-partitions": "5",
                DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {exchange.port.token}",
                DatabaseOptions.TLS_ROOT_CERTS.value: exchange.port.ca}
    with flightsql.connect(exchange.port.uri, autocommit=True, db_kwargs=settings) as connection:
        assert fetch(connection, ALL).num_rows == ROWS
        grouped = f"SELECT origin, count(*) AS n FROM {FLIGHTS} GROUP BY origin"
        assert sum(row["n"] for row in fetch(connection, grouped).to_pylist()) == ROWS


@pytest.mark.parametrize("headers", [
    {"comity_partitions": "0"}, {"comity_partitions": "129"}, {"comity_partitions": "some"},
])
def test_no_number_of_partitions_is_refused(exchange, headers):
    with pytest.raises(pyarrow.ArrowInvalid, match="comity-partitions is a number from 1 to 128"):
        asking(exchange, **headers).info(statement(ALL))


@pytest.mark.parametrize("partition", ["3/3", "0", "a/b", "0/129"])
def test_no_partition_is_refused(exchange, partition):
    ticket = pyarrow.flight.Ticket(statement(ALL))
    with pytest.raises(pyarrow.ArrowInvalid, match="INDEX/COUNT"):
        asking(exchange, comity_partition=partition).rows(ticket)


def test_a_statement_that_is_its_own_ticket_is_judged_like_any_other(exchange):
    ticket = pyarrow.flight.Ticket(statement("SELECT nothing FROM nowhere"))
    with pytest.raises(pyarrow.ArrowInvalid, match="bad-sql"):
        asking(exchange).rows(ticket)
    nobody = Flight(exchange.port, None)
    with pytest.raises(pyarrow.flight.FlightUnauthenticatedError):
        nobody.rows(pyarrow.flight.Ticket(statement(ALL)))
    with adbc(exchange.port) as connection:
        assert fetch(connection, f"SELECT count(*) AS n FROM {FLIGHTS}").to_pylist() == [{"n": ROWS}]
