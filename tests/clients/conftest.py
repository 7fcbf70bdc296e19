"""Three organizations from `comity demo --keep`, and what an ordinary client needs to reach them."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DATA = REPOSITORY / "examples" / "data"
COMITY = os.environ.get("COMITY_BIN", "comity")

# The demo takes seconds; a cold machine that also builds needs more.
START_SECONDS = 180

# How long something that takes milliseconds may take on a busy machine.
WAIT_SECONDS = 30


class Node:
    """One organization's running node."""

    def __init__(self, info):
        self.alias = info["alias"]
        self.home = info["home"]
        self.uri = info["uri"]
        self.token = info["token"]
        self.ca = pathlib.Path(info["ca"]).read_text()

    def comity(self, *arguments, check=True):
        """Runs the command line against this node and gives its JSON answer."""
        done = subprocess.run(
            [COMITY, "--home", self.home, "--json", *arguments],
            capture_output=True, text=True, timeout=60,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"comity {arguments}: {done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else json.loads(done.stderr)

    def count(self, metric):
        """The present value of a metric, written with its labels; 0 before it is first counted."""
        token = (pathlib.Path(self.home) / "admin.token").read_text().strip()
        url = self.comity("status")["listening"]["admin"] + "/metrics"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        values = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return next((int(value) for name, value in values if name == metric), 0)

    def wait_for(self, metric, above):
        """Waits until a metric is above a value."""
        for _ in range(WAIT_SECONDS * 10):
            if self.count(metric) > above:
                return
            time.sleep(0.1)
        raise AssertionError(f"{metric} stays at {self.count(metric)}")


class Exchange:
    """The demo's three nodes and the steps it told."""

    def __init__(self, told):
        self.steps = told["steps"]
        nodes = {info["alias"]: Node(info) for info in told["nodes"]}
        self.port = nodes["port-authority"]
        self.weather = nodes["weather-service"]
        self.registry = nodes["aircraft-registry"]


@pytest.fixture(scope="session")
def exchange(tmp_path_factory):
    directory = tmp_path_factory.mktemp("exchange") / "lab"
    demo = subprocess.Popen(
        [COMITY, "--json", "demo", "--keep", "--dir", str(directory)],
        stdout=subprocess.PIPE, stderr=sys.stderr, text=True,
    )
    watchdog = _after(START_SECONDS, demo.kill)
    try:
        told = _read_json(demo.stdout)
        watchdog.cancel()
        yield Exchange(told)
    finally:
        watchdog.cancel()
        demo.send_signal(signal.SIGINT)
        try:
            assert demo.wait(timeout=60) == 0
        finally:
            demo.kill()


def _after(seconds, action):
    import threading
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    return timer


def _read_json(stream):
    """Reads one JSON object from a stream that stays open."""
    decoder, text = json.JSONDecoder(), ""
    for line in stream:
        text += line
        try:
            return decoder.raw_decode(text)[0]
        except json.JSONDecodeError:
            continue
    raise AssertionError(f"the demo ended early: {text!r}")
