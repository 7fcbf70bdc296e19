"""A query that its asker no longer wants ends at the node, and is counted as cancelled."""

import threading

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow
import pytest

from flight_sql import FLIGHTS, Flight, adbc, fetch, field, statement

# Nine billion pairs of flights. Counted, they give no row before the deadline; as rows, they
# stream at once and for hours.
PAIRS = f"FROM {FLIGHTS} a JOIN {FLIGHTS} b ON a.month = b.month"
ENDLESS = f"SELECT count(*), sum(a.distance + b.distance) {PAIRS}"
STREAM = f"SELECT a.* {PAIRS}"
CANCELLED = 'comity_queries_total{listener="workbench",outcome="cancelled"}'
# arrow.flight.protocol.CancelFlightInfoResult: CANCEL_STATUS_CANCELLED and CANCEL_STATUS_NOT_CANCELLABLE.
DONE, NOT_POSSIBLE = b"\x08\x01", b"\x08\x03"


def test_adbc_cancels_a_running_query(exchange):
    cancelled, records = exchange.port.count(CANCELLED), exchange.port.count("comity_journal_records")
    outcome = []

    def run(cursor):
        try:
            cursor.execute(ENDLESS)
            outcome.append(cursor.fetchall())
        except flightsql.Error as error:
            outcome.append(error)

    with adbc(exchange.port) as connection, connection.cursor() as cursor:
        thread = threading.Thread(target=run, args=[cursor], daemon=True)
        thread.start()
        # The node writes a delivery down before it runs the query.
        exchange.port.wait_for("comity_journal_records", above=records)
        assert outcome == []
        cursor.adbc_cancel()
        thread.join(timeout=30)
        assert len(outcome) == 1 and "cancel" in str(outcome[0]).lower(), outcome
        exchange.port.wait_for(CANCELLED, above=cancelled)
        assert fetch(connection, f"SELECT count(*) AS n FROM {FLIGHTS}").to_pylist() == [{"n": 336776}]


def test_a_client_that_drops_its_stream_is_counted_as_cancelled(exchange):
    cancelled = exchange.port.count(CANCELLED)
    flight = Flight(exchange.port, exchange.port.token)
    ticket = flight.info(statement(STREAM)).endpoints[0].ticket
    reader = flight.client.do_get(ticket, flight.options)
    assert reader.read_chunk().data.num_rows > 0
    assert exchange.port.count(CANCELLED) == cancelled
    del reader
    flight.client.close()
    exchange.port.wait_for(CANCELLED, above=cancelled)


def test_cancelling_a_flight_info_ends_its_stream_and_its_ticket(exchange):
    flight = Flight(exchange.port, exchange.port.token)
    info = flight.info(statement(STREAM))
    ticket = info.endpoints[0].ticket
    reader = flight.client.do_get(ticket, flight.options)
    assert reader.read_chunk().data.num_rows > 0
    request = field(1, info.serialize())
    other = exchange.port.comity("member", "add", "canceller")["token"]
    assert Flight(exchange.port, other).act("CancelFlightInfo", request) == NOT_POSSIBLE
    assert flight.act("CancelFlightInfo", request) == DONE
    with pytest.raises(pyarrow.ArrowException, match="cancelled"):
        while True:
            reader.read_chunk()
    with pytest.raises(pyarrow.ArrowException, match="expired-ticket"):
        flight.rows(ticket)
    assert flight.act("CancelFlightInfo", request) == NOT_POSSIBLE
