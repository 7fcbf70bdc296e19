#!/usr/bin/env python3
"""Checks spec/vectors/identity.json and protocol.json without any Comity code.

Needs Python 3.9 and the `openssl` command (3.0 or later), nothing else:

    python3 spec/vectors/verify.py

Of identity.json it recomputes the organization id, the key ids and the peer
ids, and verifies the positive vectors and the proof of possession. Of
protocol.json it verifies the envelope of every case, whether it must hold or
must not, by the keys of the organizations' documents, and recomputes the
digests and the chain of messages. What verifies must not do so any more with
one bit changed. Exits with 1 at the first difference.

It checks who signed which bytes; the rules about what a payload may say
(times, names, terms) are left to the reader of the specification.
"""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).parent
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


def identity():
    vectors = json.loads((FOLDER / "identity.json").read_text())
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


# For each kind of case: its `typ`, and the role of the keys that sign it.
KINDS = {
    "descriptor": ("comity-descriptor+jwt", "announce"),
    "head": ("comity-head+jwt", "announce"),
    "results": ("comity-results+jwt", "announce"),
    "invitation": ("comity-invitation+jwt", "agree"),
    "message": ("comity-negotiation+jwt", "agree"),
    "agreement": ("comity-agreement+jwt", "agree"),
    "federation": ("comity-federation+jwt", "agree"),
    "revocation": ("comity-revocation+jwt", "agree"),
    "receipt": ("comity-receipt+jwt", "agree"),
    "dispute": ("comity-dispute+jwt", "agree"),
    "checkpoint": ("comity-checkpoint+jwt", "agree"),
}
BY_BOTH = {"agreement", "federation", "receipt"}  # the provider's signature, then the consumer's
# The rules that say who signs. A case that breaks another rule has a good envelope.
ABOUT_SIGNATURES = {"C-1", "C-10", "C-90", "N-1", "N-9", "N-21", "N-23", "N-26", "N-65", "V-5"}


def signatures_of(text):
    """The payload of an envelope, and the protected header and signature of each who signed."""
    if text.startswith("{"):
        envelope = json.loads(text)
        return envelope["payload"], [(s["protected"], s["signature"]) for s in envelope["signatures"]]
    protected, payload, signature = text.removeprefix("comity1:").split(".")
    return payload, [(protected, signature)]


def payload_of(text):
    return json.loads(decode(signatures_of(text)[0]))


def holds(text, typ, signers):
    """Whether exactly one key of each of `signers`, in this order, signed `text` as a `typ`."""
    payload, signatures = signatures_of(text)
    if len(signatures) != len(signers):
        return False
    for (protected, signature), keys in zip(signatures, signers):
        header = json.loads(decode(protected))
        if set(header) != {"alg", "kid", "typ"} or (header["alg"], header["typ"]) != ("Ed25519", typ):
            return False
        by_id = {encode(hashlib.sha256(key).digest()): key for key in keys}
        if header["kid"] not in by_id:
            return False
        if not signed_by(by_id[header["kid"]], f"{protected}.{payload}".encode(), decode(signature)):
            return False
    return True


def flipped(text):
    """`text` with one bit changed in its payload, and in each of its signatures."""
    payload, signatures = signatures_of(text)
    for part in [payload, *(signature for _, signature in signatures)]:
        changed = bytearray(decode(part))
        changed[len(changed) // 2] ^= 1
        yield text.replace(part, encode(bytes(changed)))


def verify_envelope(text, typ, signers, what):
    check(holds(text, typ, signers), f"{what}: the envelope does not verify")
    for changed in flipped(text):
        check(not holds(changed, typ, signers), f"{what}: it verifies with a changed bit")


def keys_of(name, organization):
    """The keys of an organization by role, from its history of one event and its document."""
    [event] = organization["history"]
    inception, document = payload_of(event), payload_of(organization["document"])
    bytes_of_inception = decode(signatures_of(event)[0])
    org = base64.b32encode(hashlib.sha256(bytes_of_inception).digest()).decode().rstrip("=").lower()
    check(org == organization["org"] == document["org"], f"id of {name}")
    check(document["kel_head"] == digest(bytes_of_inception), f"head of the history of {name}")
    verify_envelope(event, "comity-kel+jwt", [[decode(key) for key in inception["keys"]]], f"inception of {name}")
    doc_keys = [decode(key) for key in inception["doc"]]
    verify_envelope(organization["document"], "comity-orgdoc+jwt", [doc_keys], f"document of {name}")
    return {role: [decode(i["key"]) for i in document["issuers"] if role in i["roles"]]
            for role in ["agree", "announce"]}


def protocol():
    vectors = json.loads((FOLDER / "protocol.json").read_text())
    texts, organizations = vectors["texts"], vectors["organizations"]
    keys = {o["org"]: keys_of(name, o) for name, o in organizations.items()}
    both = [organizations["provider"]["org"], organizations["consumer"]["org"]]

    for case in vectors["cases"]:
        text, what = texts[case["text"]], f'{case["name"]} ({case["text"]})'
        if case["kind"] == "list":
            check((digest(text.encode()) == payload_of(texts["head"])["list"]) == case["accepted"], what)
            continue
        typ, role = KINDS[case["kind"]]
        # An invitation names who speaks; the document in it is that organization's.
        orgs = both if case["kind"] in BY_BOTH else [case.get("org") or payload_of(text)["org"]]
        signers = [keys[org][role] for org in orgs]
        if case["accepted"]:
            verify_envelope(text, typ, signers, what)
        else:
            expected = case["rule"] not in ABOUT_SIGNATURES
            check(holds(text, typ, signers) == expected, what)

    carried = payload_of(texts["invitation"])
    check((carried["document"], carried["history"]) ==
          (organizations["provider"]["document"], organizations["provider"]["history"]), "invitation")

    # The ids of statements: of the text, or of the payload when several sign.
    of_payload = digest(decode(signatures_of(texts["agreement"])[0]))
    check(of_payload == vectors["digests"]["agreement"], "digest of agreement")
    for name in ["descriptor", "head", "list"]:
        check(digest(texts[name].encode()) == vectors["digests"][name], f"digest of {name}")

    # Each message names the one before it, and the documents in them are those that both signed.
    chain = ["request", "offer", "counter", "offer-2", "accept", "agree", "verify", "finalize"]
    for seq, name in enumerate(chain):
        message = payload_of(texts[name])
        before = digest(texts[chain[seq - 1]].encode()) if seq else None
        check((message["seq"], message.get("prev")) == (seq, before), f"{name} in the chain")
        check(holds(texts[name], "comity-negotiation+jwt", [keys[message["from"]]["agree"]]), name)
    for name, document in [("agree", texts["agreement-half"]), ("verify", texts["agreement"]),
                           ("finalize", of_payload)]:
        check(payload_of(texts[name])["body"]["document"] == document, f"document in {name}")
    print(f'protocol.json: the envelopes of {len(vectors["cases"])} cases are as they must be')


if __name__ == "__main__":
    identity()
    protocol()
