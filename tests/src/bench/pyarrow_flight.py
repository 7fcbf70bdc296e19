"""pyarrow's Flight, for comparison: a server of batches, and a client.

serve TRANSPORT TIMES       serves the batches of an Arrow stream on standard input, so many times
read TRANSPORT PORT [SQL]   reads all rows for each line of standard input, and prints how many

TRANSPORT is tls or plain.
"""

import subprocess
import sys
import tempfile

import pyarrow as pa
import pyarrow.flight as flight

TLS = sys.argv[2] == "tls"


class Server(flight.FlightServerBase):
    def __init__(self, table):
        if TLS:
            super().__init__("grpc+tls://127.0.0.1:0", tls_certificates=[certificate()])
        else:
            super().__init__("grpc://127.0.0.1:0")
        self.table = table

    def do_get(self, context, ticket):
        return flight.RecordBatchStream(self.table)


def certificate():
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{name}.pem" for name in ("certificate", "key")]
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
        subprocess.run([*command.split(), "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
        return tuple(open(file).read() for file in files)


def serve():
    batches = list(pa.ipc.open_stream(sys.stdin.buffer))
    table = pa.Table.from_batches(batches * int(sys.argv[3]))
    server = Server(table)
    print(server.port, flush=True)
    server.serve()


def field(number, value):
    """A protobuf field with a length, short enough for one byte of it."""
    return bytes([number << 3 | 2, len(value)]) + value


def statement(sql):
    url = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    return field(1, url) + field(2, field(1, sql.encode()))


def read():
    scheme, options = ("grpc+tls", {"disable_server_verification": True}) if TLS else ("grpc", {})
    client = flight.connect(f"{scheme}://127.0.0.1:{sys.argv[3]}", **options)
    for _ in sys.stdin:
        if len(sys.argv) > 4:
            info = client.get_flight_info(flight.FlightDescriptor.for_command(statement(sys.argv[4])))
            ticket = info.endpoints[0].ticket
        else:
            ticket = flight.Ticket(b"t")
        print(sum(chunk.data.num_rows for chunk in client.do_get(ticket)), flush=True)


{"serve": serve, "read": read}[sys.argv[1]]()
