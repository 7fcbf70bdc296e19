"""Two ordinary clients, ADBC and plain pyarrow, and the few messages that the second needs."""

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow.flight
from adbc_driver_flightsql import DatabaseOptions

FLIGHTS = '"port-authority"."flights"."flights"'


def adbc(node, token=None):
    return flightsql.connect(node.uri, autocommit=True, db_kwargs={
        DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token or node.token}",
        DatabaseOptions.TLS_ROOT_CERTS.value: node.ca,
    })


def fetch(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetch_arrow_table()


class Flight:
    """A plain Flight client with a token per call, as pyarrow users write it."""

    def __init__(self, node, token):
        self.client = pyarrow.flight.connect(node.uri, tls_root_certs=node.ca)
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        self.options = pyarrow.flight.FlightCallOptions(headers=headers)

    def info(self, command):
        descriptor = pyarrow.flight.FlightDescriptor.for_command(command)
        return self.client.get_flight_info(descriptor, self.options)

    def act(self, action, body=b""):
        """The one answer of an action."""
        [answer] = self.client.do_action(pyarrow.flight.Action(action, body), self.options)
        return answer.body.to_pybytes()

    def rows(self, ticket):
        return self.client.do_get(ticket, self.options).read_all()


def any_message(name, body=b""):
    """google.protobuf.Any around a Flight SQL command, written by hand."""
    url = f"type.googleapis.com/arrow.flight.protocol.sql.{name}".encode()
    return field(1, url) + (field(2, body) if body else b"")


def field(number, value):
    """A length-delimited field of a Protocol Buffers message."""
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def statement(sql):
    return any_message("CommandStatementQuery", field(1, sql.encode()))
