"""The admin API over TCP: for this machine's operator, not for a web page (A35)."""

import pathlib
import stat
import urllib.error
import urllib.request

import pytest


def call(node, path, token=None, headers=None):
    url = node.comity("status")["listening"]["admin"] + path
    headers = dict(headers or {})
    if token:
        headers["Authorization"] = f"Bearer {token}"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return answer.status, answer.read().decode()


def refused(*arguments, **named):
    with pytest.raises(urllib.error.HTTPError) as error:
        call(*arguments, **named)
    return error.value.code


def test_health_needs_no_token_and_everything_else_does(exchange):
    token = (pathlib.Path(exchange.port.home) / "admin.token").read_text().strip()
    assert call(exchange.port, "/healthz") == (200, "ok\n")
    assert refused(exchange.port, "/v1/status") == 401
    assert refused(exchange.port, "/metrics", token="comity_wrong") == 401
    assert call(exchange.port, "/v1/status", token=token)[0] == 200
    assert "comity_partners 2" in call(exchange.port, "/metrics", token=token)[1]


def test_a_web_page_cannot_drive_the_node(exchange):
    token = (pathlib.Path(exchange.port.home) / "admin.token").read_text().strip()
    assert refused(exchange.port, "/v1/status", token=token, headers={"Origin": "http://evil.example"}) == 403
    assert refused(exchange.port, "/v1/status", token=token, headers={"Host": "evil.example"}) == 403
    assert refused(exchange.port, "/healthz", headers={"Host": "rebound.example:80"}) == 403


def test_secrets_in_the_home_are_their_owners(exchange):
    home = pathlib.Path(exchange.port.home)
    for path in ["admin.sock", "admin.token", "workbench.token", "comity.toml", *map(
            lambda p: p.relative_to(home), (home / "keys").iterdir())]:
        assert stat.S_IMODE((home / path).stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE((home / "keys").stat().st_mode) == 0o700
