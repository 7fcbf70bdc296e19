"""What the demo promises, through ADBC from Python, against DuckDB over the same files."""

import adbc_driver_flightsql.dbapi as flightsql
import duckdb
import pytest
from adbc_driver_flightsql import DatabaseOptions

from conftest import DATA

STATEMENT = """
SELECT p.manufacturer, count(*) AS flights,
       round(avg(f.dep_delay), 1) AS avg_delay, round(avg(w.wind_speed), 1) AS avg_wind
FROM {flights} f
JOIN {weather} w ON f.origin = w.origin AND f.time_hour = w.time_hour
JOIN {planes} p ON f.tailnum = p.tailnum
WHERE w.precip > 0.05
GROUP BY p.manufacturer
HAVING count(*) >= 100
ORDER BY flights DESC, p.manufacturer
"""
NODES = {
    "flights": '"port-authority"."flights"."flights"',
    "weather": '"weather-service"."weather"."weather"',
    "planes": '"aircraft-registry"."planes"."planes"',
}
WEATHER = 'SELECT count(*) FROM "weather-service"."weather"."weather"'


def connect(node):
    return flightsql.connect(node.uri, autocommit=True, db_kwargs={
        DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {node.token}",
        DatabaseOptions.TLS_ROOT_CERTS.value: node.ca,
    })


def rows(node, statement):
    with connect(node) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def truth(statement):
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    names = {name: f"'{DATA / name}.parquet'" for name in NODES}
    return database.execute(statement.format(**names)).fetchall()


@pytest.fixture
def weather_agreement(exchange):
    """A fresh agreement for the weather: the demo took the first one back."""
    asked = exchange.port.comity("request", "weather-service/weather", "--purpose", "delay-analysis")
    assert asked["state"] == "FINALIZED"
    return asked["agreement"]


def test_the_demo_tells_every_step(exchange):
    titles = " ".join(step["title"] for step in exchange.steps)
    for word in ["create", "invitations", "announce", "discover", "agreed at once", "countered",
                 "declined", "one SQL statement", "refused", "takes its agreement back"]:
        assert word in titles


def test_the_federated_result_equals_duckdb(exchange, weather_agreement):
    assert rows(exchange.port, STATEMENT.format(**NODES)) == truth(STATEMENT)


def test_a_column_outside_the_agreement_is_refused(exchange):
    with pytest.raises(Exception) as refused:
        rows(exchange.port, 'SELECT engine FROM "aircraft-registry"."planes"."planes"')
    assert "engine" in str(refused.value)


def test_a_product_without_agreement_is_refused(exchange):
    with pytest.raises(Exception) as refused:
        rows(exchange.port, 'SELECT * FROM "aircraft-registry"."airlines"."airlines"')
    assert "agreement" in str(refused.value)


def test_revocation_ends_access(exchange, weather_agreement):
    assert rows(exchange.port, WEATHER) == [(26115,)]
    for agreement in exchange.weather.comity("agreements"):
        if agreement["state"] == "in-force":
            exchange.weather.comity("revoke", agreement["id"])
    with pytest.raises(Exception) as refused:
        rows(exchange.port, WEATHER)
    assert "revoked" in str(refused.value)


def test_the_provider_of_nothing_sees_nothing(exchange):
    with pytest.raises(Exception):
        rows(exchange.weather, 'SELECT * FROM "port-authority"."flights"."flights"')
