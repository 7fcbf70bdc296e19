"""`comity demo` as a newcomer runs it: text, no options, nothing left behind."""

import os
import pathlib
import re
import subprocess
import tempfile

import pytest

from conftest import COMITY, START_SECONDS

TIME = r"\d+ ms|\d+\.\d s"
STEP = re.compile(rf"^ *(\d+)\. (.+)  \[({TIME})\]$", re.MULTILINE)
END = re.compile(rf"^Done in ({TIME})\.$", re.MULTILINE)


@pytest.fixture
def folder():
    """A place for temporary folders. Not pytest's own: its path is too long for a Unix socket below it."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield pathlib.Path(folder)


def processes_of(folder):
    """The command lines of every process that was told of `folder`."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue  # It ended, or is another user's.
        if str(folder).encode() in command:
            found.append(command[:200])
    return found


def test_the_plain_demo_tells_every_step_with_its_time_and_leaves_nothing(exchange, folder, capsys):
    demo = subprocess.run(
        [COMITY, "demo"], env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True, text=True, timeout=START_SECONDS,
    )
    assert demo.returncode == 0, demo.stderr
    steps = STEP.findall(demo.stdout)
    assert [title for _, title, _ in steps] == [step["title"] for step in exchange.steps]
    assert [int(number) for number, _, _ in steps] == list(range(1, len(steps) + 1))
    [total] = END.findall(demo.stdout)
    assert list(folder.iterdir()) == []
    assert processes_of(folder) == []
    # The log of every run has the times; no machine is slow enough to fail for them.
    with capsys.disabled():
        print(f"\ncomity demo: {total}")
        for number, title, time in steps:
            print(f"{number:>4}. {title}: {time}")
