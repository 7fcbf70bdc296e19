#!/usr/bin/env python3
"""Checks spec/vectors/identity.json without any Comity code.

Needs Python 3.9 and the `openssl` command (3.0 or later), nothing else:

    python3 spec/vectors/verify.py

It recomputes the organization id, the key ids and the peer ids, verifies the
signatures of the positive vectors (and that one changed byte breaks each) and
the proof of possession. Exits with 1 at the first difference.
"""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: Ed25519
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def check(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def signed_by(public, message, signature):
    """OpenSSL does not refuse small-order keys (E-12); the keys of these vectors are ordinary."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "key").write_bytes(SPKI_PREFIX + public)
        (path / "message").write_bytes(message)
        (path / "signature").write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER",
                   "-inkey", path / "key", "-in", path / "message", "-sigfile", path / "signature"]
        return subprocess.run(command, capture_output=True).returncode == 0


def verify(public, message, signature, what):
    check(signed_by(public, message, signature), f"{what}: the signature does not verify")
    changed = bytes([message[0] ^ 1]) + message[1:]
    check(not signed_by(public, changed, signature), f"{what}: a changed byte still verifies")


def check_header(protected, typ, keys_by_id, what):
    header = json.loads(decode(protected))
    check(set(header) == {"alg", "kid", "typ"}, f"{what}: members of the header")
    check(header["alg"] == "Ed25519" and header["typ"] == typ, f"{what}: alg or typ")
    return keys_by_id[header["kid"]]


def base58(data):
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, place = divmod(number, 58)
        text = BASE58[place] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def main():
    vectors = json.loads((pathlib.Path(__file__).parent / "identity.json").read_text())
    texts, keys_by_id = vectors["texts"], {}

    for name, key in vectors["keys"].items():
        public = decode(key["public"])
        check(encode(hashlib.sha256(public).digest()) == key["kid"], f"key id of {name}")
        check(digest(public) == key["commitment"], f"commitment of {name}")
        peer_id = base58(bytes.fromhex("002408011220") + public)
        check(peer_id == key["peer_id"], f"peer id of {name}")
        keys_by_id[key["kid"]] = public

    # The organization id: base32 of the SHA-256 of the inception's payload bytes.
    inception = decode(json.loads(texts["inception"])["payload"])
    check(inception.decode() == vectors["inception_payload"], "payload of the inception")
    check(digest(inception) == vectors["inception_digest"], "digest of the inception")
    org = base64.b32encode(hashlib.sha256(inception).digest()).decode().rstrip("=").lower()
    check(org == vectors["org"], "organization id")

    # General envelopes: every signature covers its own header and the same payload.
    for name in ["inception", "rotation", "rotation-other-order", "recovery"]:
        envelope = json.loads(texts[name])
        for entry in envelope["signatures"]:
            public = check_header(entry["protected"], "comity-kel+jwt", keys_by_id, name)
            message = f'{entry["protected"]}.{envelope["payload"]}'.encode()
            verify(public, message, decode(entry["signature"]), name)

    # The rotation names the inception and reveals what it committed to.
    first, second = json.loads(inception), json.loads(decode(json.loads(texts["rotation"])["payload"]))
    check(second["prev"] == digest(inception) and second["org"] == org, "chain of events")
    check([digest(decode(k)) for k in second["keys"]] == first["next"], "pre-rotation")

    # Compact envelopes.
    for name, typ in [("document", "comity-orgdoc+jwt"), ("grant", "comity-grant+jwt"),
                      ("child", "comity-grant+jwt")]:
        protected, payload, signature = texts[name].split(".")
        public = check_header(protected, typ, keys_by_id, name)
        verify(public, f"{protected}.{payload}".encode(), decode(signature), name)
    check(json.loads(decode(texts["child"].split(".")[1]))["prt"] == digest(texts["grant"].encode()),
          "the child names its parent")

    # The proof of possession: length-prefixed parts.
    binding = vectors["binding"]
    parts = [b"comity-binding-v1", bytes.fromhex(binding["exporter"]), bytes.fromhex(binding["leaf"]),
             bytes.fromhex(binding["grant"].removeprefix("sha256:"))]
    message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    holder = decode(vectors["keys"][binding["holder"]]["public"])
    verify(holder, message, decode(binding["proof"]), "binding")
    print("identity.json: all positive vectors verify")


if __name__ == "__main__":
    main()
