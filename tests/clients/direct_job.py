"""A job that goes to a provider by itself, as `comity grant client` shows it.

    direct_job.py FOLDER URI SQL

Prints the number of rows, or the message of the refusal after "refused: ".
"""

import json
import pathlib
import sys

import adbc_driver_flightsql.dbapi as flight_sql

folder, uri, sql = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
option = "adbc.flight.sql."
headers = json.loads((folder / "headers.json").read_text())
settings = {option + "rpc.call_header." + name: value for name, value in headers.items()}
for name, file in [
    ("tls_root_certs", "ca.pem"),
    ("mtls_cert_chain", "client.pem"),
    ("mtls_private_key", "client.key"),
]:
    settings[option + "client_option." + name] = (folder / file).read_text()
try:
    with flight_sql.connect(uri, db_kwargs=settings) as connection:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            print(cursor.fetch_arrow_table().num_rows)
except flight_sql.Error as error:
    print("refused:", error)
