"""Runs a Flight SQL server that is none of ours (ROAPI, from PyPI) on loopback until standard input ends.

Arguments: a Parquet file, which is its table `weather`, a folder, a user and a password. Prints its port when it
answers; what it was asked is in the file `log` of the folder.
"""

import json
import pathlib
import socket
import subprocess
import sys
import time

import pyarrow.flight as flight

parquet, folder, user, password = sys.argv[1:]
folder = pathlib.Path(folder)


def free():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


port = free()
config = {
    "addr": {"http": f"127.0.0.1:{free()}", "postgres": f"127.0.0.1:{free()}", "flight_sql": f"127.0.0.1:{port}"},
    "tables": [{"name": "weather", "uri": parquet}],
    "flight_sql_config": {
        # Its encryption asks for a certificate of the client's, which a source of ours has not.
        "auth_basic": {"username": user, "password": password},
    },
}
# JSON is YAML.
(folder / "roapi.yml").write_text(json.dumps(config))
with (folder / "log").open("w") as log:
    roapi = pathlib.Path(sys.executable).with_name("roapi")
    server = subprocess.Popen([roapi, "-c", folder / "roapi.yml"], stdout=log, stderr=log)
try:
    for _ in range(120):
        try:
            client = flight.connect(f"grpc://127.0.0.1:{port}")
            client.authenticate_basic_token(user, password)
            break
        except flight.FlightError as error:
            last = error
            time.sleep(0.5)
    else:
        sys.exit(f"{last}\n{(folder / 'log').read_text()}")
    print(port, flush=True)
    sys.stdin.read()
finally:
    server.kill()
    server.wait()
