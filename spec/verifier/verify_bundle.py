#!/usr/bin/env python3
"""Verifies a bundle of `comity audit export` without any Comity code.

    python3 spec/verifier/verify_bundle.py BUNDLE

Needs Python 3.9 and the `openssl` command (3.0 or later), nothing else. Prints
what it proved; exits with 1 at the first thing that does not hold. The rules
are those of 1-envelope.md (E), 2-identity.md (I), 4-negotiation.md (N) and
6-evidence.md (V).
"""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

LEEWAY = 60  # seconds, I-25


def check(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sha(data):
    return hashlib.sha256(data).digest()


def digest(data):
    return "sha256:" + sha(data).hex()


def key_id(key):
    return base64.urlsafe_b64encode(sha(key)).decode().rstrip("=")


def signed_by(key, message, signature):
    """RFC 8032, by openssl."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + key)
        (path / "message").write_bytes(message)
        (path / "signature").write_bytes(signature)
        return subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey",
                               path / "key", "-in", path / "message", "-sigfile", path / "signature"],
                              capture_output=True).returncode == 0


def open_envelope(text, typ, find_key, what):
    """The payload, its digest (E-17), and who signed it, in order: every signature must verify (E-10)."""
    if text.startswith("{"):
        envelope = json.loads(text)
        payload, signatures = envelope["payload"], [(s["protected"], s["signature"]) for s in envelope["signatures"]]
    else:
        protected, payload, signature = text.split(".")
        signatures = [(protected, signature)]
    data, signers = json.loads(decode(payload)), []
    for protected, signature in signatures:
        header = json.loads(decode(protected))
        check(set(header) == {"alg", "kid", "typ"} and (header["alg"], header["typ"]) == ("Ed25519", typ), f"{what}: header")
        signer, key = find_key(header["kid"], data)
        check(key is not None and key_id(key) == header["kid"], f"{what}: signed by an unknown key")
        check(signed_by(key, f"{protected}.{payload}".encode(), decode(signature)), f"{what}: the signature does not verify")
        signers.append(signer)
    check(len(set(map(str, signers))) == len(signers) > 0, f"{what}: signed twice by one side, or by none")
    return data, digest(decode(payload)), signers


class Organizations:
    """The key histories and documents of a bundle, verified from the ids on."""

    def __init__(self):
        self.heads, self.documents = {}, {}

    def take(self, events, document, what):
        before, roots = None, []
        for number, text in enumerate(events):
            keys = [decode(k) for k in json.loads(decode(json.loads(text)["payload"]))["keys"]]
            known = {key_id(key): key for key in keys + roots}  # I-10: nobody else signs an event
            event, head, signers = open_envelope(text, "comity-kel+jwt", lambda kid, _: (kid, known.get(kid)), f"{what}: event {number}")
            check(sum(key_id(k) in signers for k in keys) >= event["threshold"] > 0, f"{what}: threshold (I-3, I-6)")
            if before is None:
                org = base64.b32encode(bytes.fromhex(head[7:])).decode().rstrip("=").lower()  # I-1
                check(event["kind"] == "inception" and "prev" not in event, f"{what}: inception")
            else:
                check((event["seq"], event["prev"], event["org"]) == (number, previous, org), f"{what}: chain (I-4)")
                check(sorted(map(digest, keys)) == sorted(before["next"]) and event["threshold"] == before["next_threshold"], f"{what}: pre-rotation (I-5)")
                old = sum(key_id(k) in signers for k in roots)
                check(event["kind"] == "recovery" or (event["kind"] == "rotation" and old >= before["threshold"]), f"{what}: consent (I-6)")
            known_head = self.heads.setdefault((org, number), head)
            check(known_head == head, f"{what}: two histories of {org} (I-11)")
            before, previous, roots = event, head, keys
        doc_keys = {key_id(decode(k)): decode(k) for k in before["doc"]}  # I-14
        content, _, _ = open_envelope(document, "comity-orgdoc+jwt", lambda kid, _: (org, doc_keys.get(kid)), f"{what}: document")
        check((content["org"], content["kel_seq"], content["kel_head"]) == (org, len(events) - 1, previous), f"{what}: document (I-15)")
        self.documents.setdefault(org, []).append(content)
        return org

    def agreeing(self, orgs, time):
        """Finds keys that one of `orgs` lists with the role `agree` at the time that the payload states (I-25)."""
        def find(kid, payload):
            for org in orgs:
                for document in reversed(self.documents.get(org, [])):
                    at = time(payload)
                    gone = any(r["what"] == "key" and r["id"] == kid and r["since"] <= at for r in document["revoked"])
                    for issuer in document["issuers"]:
                        live = issuer["since"] <= at + LEEWAY and at < issuer["until"]
                        if key_id(decode(issuer["key"])) == kid and "agree" in issuer["roles"] and live and not gone:
                            return org, decode(issuer["key"])
            return None, None
        return find


def root_of(leaf, index, size, path):
    """RFC 9162, section 2.1.3.2: the root to which an audit path leads."""
    last, value = size - 1, leaf
    for sibling in map(bytes.fromhex, path):
        check(last > 0, "a proof is too long")
        if index % 2 or index == last:
            value = sha(b"\1" + sibling + value)
            while index % 2 == 0 and index:
                index, last = index >> 1, last >> 1
        else:
            value = sha(b"\1" + value + sibling)
        index, last = index >> 1, last >> 1
    check(last == 0, "a proof is too short")
    return value


def main(file):
    bundle = json.loads(pathlib.Path(file).read_text())
    check(bundle["v"] == 1, "version of the bundle")
    records = [(r["position"], json.loads(r["record"])) for r in bundle["records"]]
    check([p for p, _ in records] == sorted({p for p, _ in records}), "records are out of order")

    organizations, at = Organizations(), lambda payload: payload["at"]
    for position, record in records:
        if record["record"] in ("own", "known"):
            evidence = record if record["record"] == "own" else record["evidence"]
            org = organizations.take(evidence["history"], evidence["document"], f"record {position}")
            check(org == (record["org"] if record["record"] == "own" else record["mark"]["org"]), f"record {position}: id")
    print(f"organizations: {len(organizations.documents)}, histories and documents verify from their ids on")

    claimed = json.loads(decode(bundle["checkpoint"].split(".")[1]))
    exporter = organizations.agreeing([claimed["org"]], at)
    checkpoint, _, _ = open_envelope(bundle["checkpoint"], "comity-checkpoint+jwt", exporter, "checkpoint")
    for proven in bundle["records"]:  # V-1
        check(0 <= proven["position"] < checkpoint["size"], "a record behind the checkpoint")
        leaf = sha(b"\0" + sha(bytes.fromhex(proven["salt"]) + proven["record"].encode()))
        root = root_of(leaf, proven["position"], checkpoint["size"], proven["path"])
        check("sha256:" + root.hex() == checkpoint["root"], f"record {proven['position']} is not in the journal of the checkpoint")
    print(f"checkpoint: {len(records)} records are among the {checkpoint['size']} of {checkpoint['org']}")

    [signed] = [r for _, r in records if r["record"] == "signed"]
    both = [(d := json.loads(decode(json.loads(signed["text"])["payload"])))["provider"]["org"], d["consumer"]["org"]]
    agreement, of_payload, signers = open_envelope(signed["text"], "comity-agreement+jwt", organizations.agreeing(both, at), "agreement")
    check(signers == both and checkpoint["org"] in both, "agreement: signed by other parties (N-17)")
    check(bundle["agreement"] == signed["id"] == of_payload, "agreement: id")
    print(f"agreement {of_payload}: signed by both, about {agreement['proposal'].get('product')}")

    before, messages = None, [r for _, r in records if r["record"] == "message"]
    for seq, message in enumerate(messages):
        content, _, signers = open_envelope(message["text"], "comity-negotiation+jwt",
                                            organizations.agreeing(both, lambda _, m=message: m["at"]), f"message {seq}")
        check(signers == [content["from"]] and content["negotiation"] == agreement["negotiation"], f"message {seq}: sender (N-9)")
        check((content["seq"], content.get("prev")) == (seq, before), f"message {seq}: chain (N-13)")
        body = content["body"]
        if body["type"] == "agree":
            check(agreement["last"] == before, "agreement: follows another message (N-18)")
        before = digest(message["text"].encode())
    check(messages and (body["type"], body["document"]) == ("finalize", of_payload), "negotiation: not finished")
    print(f"negotiation: {len(messages)} messages in one chain, finished")

    rows, ended, begun, receipts, revoked = 0, set(), set(), {}, 0
    for position, record in records:
        if record["record"] == "delivery":
            check(record["agreement"] == of_payload, f"record {position}: agreement")
            (begun if record.get("rows") is None else ended).add(record["trace"])
            rows += record.get("rows") or 0
        elif record["record"] == "revoked":
            notice, _, signers = open_envelope(record["text"], "comity-revocation+jwt", organizations.agreeing(both, at), f"record {position}")
            check(signers == [notice["org"]] and notice["agreement"] == of_payload, f"record {position}: revocation (N-23)")
            revoked += 1
        for text in record.values():  # receipts, whatever carries them
            if isinstance(text, str) and text.startswith("{") and '"signatures"' in text and record["record"] != "signed":
                receipt, of_receipt, signers = open_envelope(text, "comity-receipt+jwt", organizations.agreeing(both, at), f"record {position}")
                check(signers in (both, both[:1]) and receipt["agreement"] == of_payload, f"record {position}: receipt (N-26)")
                receipts[of_receipt] = max(len(signers), receipts.get(of_receipt, 0))
    print(f"deliveries: {len(ended)} ended with {rows} rows, {len(begun - ended)} broken off")
    print(f"receipts: {len(receipts)}, of which both signed {sum(n == 2 for n in receipts.values())}; revocations: {revoked}")


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)
