"""The same job with nothing but pyarrow.flight.

    direct_pyarrow.py FOLDER URI SQL
"""

import json
import pathlib
import sys

import pyarrow
import pyarrow.flight as flight

folder, uri, sql = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]


def field(number, value):
    """One length-delimited field of a protobuf message."""
    size, length = len(value), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


# A CommandStatementQuery in an Any, as Flight SQL wants it.
kind = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
command = field(1, kind) + field(2, field(1, sql.encode()))
headers = json.loads((folder / "headers.json").read_text())
options = flight.FlightCallOptions(
    headers=[(name.encode(), value.encode()) for name, value in headers.items()]
)
client = flight.connect(
    uri,
    tls_root_certs=(folder / "ca.pem").read_text(),
    cert_chain=(folder / "client.pem").read_text(),
    private_key=(folder / "client.key").read_text(),
)
try:
    info = client.get_flight_info(flight.FlightDescriptor.for_command(command), options)
    print(client.do_get(info.endpoints[0].ticket, options).read_all().num_rows)
except pyarrow.ArrowException as error:
    print("refused:", error)
