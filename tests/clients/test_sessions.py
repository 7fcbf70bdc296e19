"""Signing in, and what clients do with sessions: this node keeps none, so nothing can be left over."""

import base64

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow.flight
import pytest
from adbc_driver_flightsql import DatabaseOptions

from flight_sql import FLIGHTS, Flight, adbc, any_message, fetch, field, statement

COUNT = f"SELECT count(*) AS n FROM {FLIGHTS}"
# arrow.flight.protocol.CloseSessionResult with `status` CLOSED.
CLOSED = b"\x08\x01"


def adbc_with_password(node, password):
    return flightsql.connect(node.uri, autocommit=True, db_kwargs={
        "username": "anyone", "password": password,
        DatabaseOptions.TLS_ROOT_CERTS.value: node.ca,
    })


def test_adbc_signs_in_with_a_user_and_the_token_as_password(exchange):
    with adbc_with_password(exchange.port, exchange.port.token) as connection:
        assert fetch(connection, COUNT).to_pylist() == [{"n": 336776}]


def test_adbc_with_a_wrong_password_is_refused(exchange):
    with pytest.raises(flightsql.Error, match="unauthenticated"):
        adbc_with_password(exchange.port, "comity_wrong")


def test_a_handshake_gives_the_bearer_token_that_later_calls_carry(exchange):
    client = pyarrow.flight.connect(exchange.port.uri, tls_root_certs=exchange.port.ca)
    header = client.authenticate_basic_token("anyone", exchange.port.token)
    assert header == (b"authorization", f"Bearer {exchange.port.token}".encode())
    options = pyarrow.flight.FlightCallOptions(headers=[header])
    descriptor = pyarrow.flight.FlightDescriptor.for_command(statement(COUNT))
    [endpoint] = client.get_flight_info(descriptor, options).endpoints
    assert client.do_get(endpoint.ticket, options).read_all().to_pylist() == [{"n": 336776}]


@pytest.mark.parametrize("user", ["a", "ab", "abc"], ids=["one", "two", "three"])
def test_every_call_may_carry_basic_padded_or_not(exchange, user):
    basic = base64.b64encode(f"{user}:{exchange.port.token}".encode()).decode()
    for value in [basic, basic.rstrip("=")]:
        flight = Flight(exchange.port, None)
        flight.options = pyarrow.flight.FlightCallOptions(
            headers=[(b"authorization", f"Basic {value}".encode())])
        assert len(flight.info(any_message("CommandGetCatalogs")).endpoints) == 1


def test_a_session_is_closed_and_the_next_call_is_judged_by_its_own_token(exchange):
    # Nothing is kept for a session, so closing one ends nothing: neither the
    # next call of this client nor what another client with the same token does.
    first, second = (Flight(exchange.port, exchange.port.token) for _ in range(2))
    ticket = first.info(statement(COUNT)).endpoints[0].ticket
    for _ in range(2):
        assert first.act("CloseSession") == CLOSED
    for flight in [first, second]:
        assert flight.rows(ticket).to_pylist() == [{"n": 336776}]


def test_closing_one_adbc_connection_leaves_another_open(exchange):
    # ADBC closes its session when it closes a connection.
    with adbc(exchange.port) as stays:
        adbc(exchange.port).close()
        assert fetch(stays, COUNT).to_pylist() == [{"n": 336776}]


def test_session_options_are_taken_without_error_and_kept_nowhere(exchange):
    # JDBC sends `catalog=` of its URL this way and gives up on any error.
    flight = Flight(exchange.port, exchange.port.token)
    catalog = field(1, b"catalog") + field(2, field(1, b"weather-service"))
    no_errors = no_options = b""
    assert flight.act("SetSessionOptions", field(1, catalog)) == no_errors
    assert flight.act("GetSessionOptions") == no_options


@pytest.mark.parametrize("action", ["CloseSession", "SetSessionOptions", "GetSessionOptions"])
@pytest.mark.parametrize("token", [None, "comity_wrong"], ids=["no-token", "wrong-token"])
def test_session_actions_need_a_token_too(exchange, action, token):
    with pytest.raises(pyarrow.flight.FlightUnauthenticatedError):
        Flight(exchange.port, token).act(action)
