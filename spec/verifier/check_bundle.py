#!/usr/bin/env python3
"""Checks that verify_bundle.py accepts spec/vectors/bundle.json and refuses
every copy of it with one thing changed.

    python3 spec/verifier/check_bundle.py [BUNDLE]
"""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).parent


def verifies(file):
    command = [sys.executable, FOLDER / "verify_bundle.py", file]
    return subprocess.run(command, capture_output=True, text=True)


def other(digit):
    return "1" if digit == "0" else "0"


def flip(text, at):
    return text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1:]


def changes(bundle):
    """Copies of the bundle with one thing changed each."""
    def changed(what, change):
        one = copy.deepcopy(bundle)
        change(one)
        return what, one

    payload = bundle["checkpoint"].index(".") + 20
    yield changed("the checkpoint's payload", lambda b: b.update(checkpoint=flip(b["checkpoint"], payload)))
    yield changed("the checkpoint's signature", lambda b: b.update(checkpoint=flip(b["checkpoint"], len(b["checkpoint"]) - 40)))
    yield changed("the agreement's id", lambda b: b.update(agreement="sha256:" + "0" * 64))
    for i, record in enumerate(bundle["records"]):
        kind = json.loads(record["record"])["record"]
        at = f"record {record['position']} ({kind})"
        yield changed(f"{at}: a salt", lambda b: b["records"][i].update(salt=other(record["salt"][0]) + record["salt"][1:]))
        yield changed(f"{at}: its position", lambda b: b["records"][i].update(position=record["position"] + 1))
        text = record["record"]
        yield changed(f"{at}: a byte", lambda b: b["records"][i].update(record=text[:-2] + " " + text[-2:]))
        if record["path"]:
            path = [other(record["path"][0][0]) + record["path"][0][1:]] + record["path"][1:]
            yield changed(f"{at}: its proof", lambda b: b["records"][i].update(path=path))
        if kind in ("signed", "message"):
            yield changed(f"{at}: left out", lambda b: b["records"].pop(i))
    for kind in ("own", "known"):
        keep = [r for r in bundle["records"] if json.loads(r["record"])["record"] != kind]
        yield changed(f"every {kind} record left out", lambda b: b.update(records=keep))


def main(file):
    whole = verifies(file)
    if whole.returncode:
        sys.exit(f"{file} does not verify:\n{whole.stdout}{whole.stderr}")
    print(whole.stdout, end="")
    bundle, count = json.loads(pathlib.Path(file).read_text()), 0
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "bundle.json"
        for what, one in changes(bundle):
            path.write_text(json.dumps(one))
            if verifies(path).returncode == 0:
                sys.exit(f"FAILED: verify_bundle.py accepts the bundle with a change of {what}")
            count += 1
    print(f"{pathlib.Path(file).name}: verifies, and none of {count} changed copies does")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else FOLDER.parent / "vectors" / "bundle.json")
