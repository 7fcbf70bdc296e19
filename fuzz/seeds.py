#!/usr/bin/env python3
"""Writes the first seeds and the dictionaries, for run.sh:

    python3 fuzz/seeds.py FOLDER

They come from the published vectors, the corpus of SQL statements and the
example, so that they follow when a payload changes its form. What a campaign
finds beyond them is merged into fuzz/seeds. Standard library only.
"""

import base64
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parent / "spec" / "vectors"


def payload(text):
    """The payload of a compact or general envelope, or of an invitation."""
    text = text.removeprefix("comity1:")
    encoded = json.loads(text)["payload"] if text.startswith("{") else text.split(".")[1]
    encoded = encoded.rstrip("=").replace("\n", "")
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


def identity(add):
    file = json.loads((VECTORS / "identity.json").read_text())
    texts = file["texts"]
    for name, text in texts.items():
        slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
        general = text.startswith("{")
        add("envelope", slug, ("g" if general else "c") + text)
        if name in ("document", "grant"):
            add("envelope", slug + "-payload", "s" + payload(text))
        if name in ("rotation", "inception-weak-key"):
            add("envelope", slug + "-payload", "m" + payload(text))
        if name.startswith("document"):
            add("organization", slug, "r" + text)
            try:
                add("organization", slug + "-payload", "s" + payload(text))
            except ValueError:
                pass  # not base64, and that is its point
    add("envelope", "numbers", 's{"a":[1e21,1E-7,-0,0.1,9007199254740993,18446744073709551615],"é":"\\u2028"}')
    add("envelope", "member-twice", 'm{"a":1,"a":2}')
    add("envelope", "no-json", "s\x00\x01")
    for case in file["cases"]:
        slug = re.sub("[^a-z0-9]+", "-", case["name"].lower()).strip("-")
        history = [texts[name] for name in case["history"]]
        add("history", slug, "r" + "\n".join(history))
        if case.get("grant"):
            links = [texts[name] for name in case["grant"]]
            add("grant", slug, "r" + "\n".join(links))
            add("grant", slug + "-payload", "s" + "\n".join(map(payload, links)))
    inception, rotation, recovery = (payload(texts[n]) for n in ("inception", "rotation", "recovery"))
    add("history", "signed-rotation", f"s1{inception}\n3{rotation}")
    add("history", "signed-recovery", f"s1{inception}\n2{recovery}")
    add("history", "signed-by-a-thief", f"s1{inception}\nb{rotation}")
    third = json.loads(rotation)
    key = lambda name: file["keys"][name]
    third.update(seq=2, keys=[key("later")["public"]], next=[key("thief")["commitment"]])
    add("history", "signed-twice", f"s1{inception}\n3{rotation}\n6{json.dumps(third)}")
    board = json.loads(inception)
    board["keys"].append(key("later")["public"])
    board.update(threshold=2, next=[key("next")["commitment"], key("thief")["commitment"]], next_threshold=1)
    after = json.loads(rotation)
    after.update(keys=[key("next")["public"], key("thief")["public"]], threshold=1)
    add("history", "signed-board", f"s5{json.dumps(board)}\n7{json.dumps(after)}")
    grant, child = payload(texts["grant"]), json.loads(payload(texts["child"]))
    child.pop("prt")
    child.update(cols={"weather": ["temp"]}, act=["job"], filter=[], max_rows=3)
    add("grant", "signed-narrower", f"s{grant}\n{json.dumps(child)}")
    all_of_it = {k: v for k, v in json.loads(grant).items() if k not in ("tables", "cols", "max_rows")}
    add("grant", "signed-all", f"s{json.dumps(all_of_it)}\n{grant}\n{json.dumps(child)}")


def protocol(add):
    texts = json.loads((VECTORS / "protocol.json").read_text())["texts"]
    kinds = {
        "request": "n", "counter": "n", "accept": "n", "verify": "n", "offer": "N", "offer-2": "N",
        "agree": "N", "finalize": "N", "terminate": "N", "agreement": "a", "agreement-other-terms": "a",
        "federation": "f", "receipt": "c", "dispute": "x", "checkpoint": "k", "revocation": "v",
        "invitation": "i", "invitation-other-node": "i",
    }
    for name, kind in kinds.items():
        add("statements", name, kind + payload(texts[name]))
    add("statements", "invitation-text", "I" + texts["invitation"])
    nothing = json.loads(payload(texts["receipt"]))
    for delivered in nothing["deliveries"]:
        delivered.update(rows=0, bytes=0, ended="cancelled")
    add("statements", "receipt-of-nothing", "c" + json.dumps(nothing))
    kinds = {
        "descriptor": "d", "descriptor-other-contract": "d", "head": "h", "head-31-days": "h",
        "results": "r", "results-second": "r", "results-two-versions": "r", "results-no-prev": "r",
    }
    for name, kind in kinds.items():
        add("descriptor", name, kind + payload(texts[name]))
    add("descriptor", "list", "l" + texts["list"])
    add("descriptor", "list-spaced", "l" + texts["list-spaced"])
    digest = json.loads(texts["list"])[0]
    add("descriptor", "results-list", "l" + json.dumps({"weather": digest}, separators=(",", ":")))
    old = json.loads(payload(texts["descriptor"]))
    new = json.loads(json.dumps(old))
    new["version"] = "2.0.0"
    new["contract"].update(version="2.0.0", schema=[{"name": "weather", "properties": [{"name": "a", "required": True}]}])
    new["tables"][0]["columns"].append({"name": "a", "type": {"decimal128": {"precision": 9, "scale": 2}}})
    new["tables"][0]["columns"].append({"name": "b", "type": {"list": {"item": "utf8"}}})
    new["deprecation"] = {"since": new["issued_at"], "sunset": new["expires_at"], "replacement": "weather/2"}
    add("descriptor", "editions", "e" + "\n".join(json.dumps(d, ensure_ascii=False) for d in (old, new)))
    terms = old["offer"]
    narrow = json.loads(json.dumps(terms))
    table = narrow["tables"]["weather"]
    table["columns"] = ["temp"]
    table["masks"] = {"temp": "replace-with-null"}
    narrow["limits"] = {"max_rows_per_query": 5, "per": {"day": {"queries": 3, "rows": 9}}, "hours": [8, 9], "weekdays": ["monday"]}
    add("terms", "offer", json.dumps(terms))
    add("terms", "two", json.dumps(terms) + "\n" + json.dumps(narrow))
    longer = dict(terms, expires=terms["expires"] + 1)
    add("terms", "longer", json.dumps(longer) + "\n" + json.dumps(terms))
    claims = json.loads(json.dumps(terms))
    table = claims["tables"]["weather"]
    table["filter"] = [
        {"compare": {"column": "origin", "op": "eq", "value": {"claim": "peer.org"}}},
        {"all": [{"compare": {"column": "temp", "op": "lt", "value": v}} for v in (
            {"bool": True}, {"int": -1}, {"text": "' OR 1=1 --"}, {"date": "2026-11-22"},
            {"timestamp": "2026-11-22T00:00:00Z"}, {"decimal": "1.50"})]},
        {"not": {"any": [{"in": {"column": "temp", "values": [{"int": 1}, {"int": 2}]}}, {"is-null": {"column": "temp"}}]}},
    ]
    table["masks"] = {}
    table["protection"] = {"unit": "origin", "min_units": 5, "group_by": ["temp"], "aggregates": ["count"]}
    add("terms", "claims-and-protection", json.dumps(claims) + "\n" + json.dumps(terms))


def cbor(value):
    """CBOR (RFC 8949) of texts, numbers, lists and maps, as the messages between nodes are."""

    def head(major, n):
        for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
            if n < 24:
                return bytes([major << 5 | n])
            if n < 1 << 8 * size:
                return bytes([major << 5 | extra]) + n.to_bytes(size, "big")

    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())


def wire(add):
    file = json.loads((VECTORS / "protocol.json").read_text())
    texts, provider = file["texts"], file["organizations"]["provider"]
    digest = json.loads(texts["list"])[0]
    hello = {
        "version": 1, "org": provider["org"], "alias": "weather-service", "history": provider["history"],
        "document": provider["document"], "head": texts["head"],
        "invitation": {"invitation": digest, "secret": "AAAAAAAAAAAAAAAAAAAAAA"},
    }
    receipted = {"text": texts["receipt-half"], "held": 12, "proof": [digest], "witness": 0}
    answer = {"text": texts["receipt"], "checkpoint": texts["checkpoint"], "proof": [digest, digest]}
    requests = {"a": {"hello": hello}, "b": {"fetch": [digest]}, "c": {"negotiate": texts["request"]},
                "d": {"revoke": texts["revocation"]}, "e": {"receipt": receipted}}
    answers = {"A": {"hello": hello}, "B": {"fetch": [texts["head"], texts["list"]]}, "C": {"negotiate": [texts["offer"]]},
               "D": "revoked", "E": {"receipt": answer}}
    small = dict(hello, history=["h"], document="d", head=None, invitation=None)
    requests_more = {"a-small": {"hello": small}, "b-none": {"fetch": []}, "c-small": {"negotiate": "n"}}
    answers_more = {"E-prove": {"prove-from": 12}, "A-refused": {"refused": {"code": "busy", "trace": "0123456789abcdef"}}}
    for messages, form in ((requests, "j"), (requests_more, "j"), (answers, "J"), (answers_more, "J")):
        for name, message in messages.items():
            slug = ("answer-" if form == "J" else "request-") + name.lower()
            add("wire", slug, name[0].encode() + cbor(message))
            add("wire", slug + "-json", form + json.dumps(message))
    add("wire", "a-list-that-claims-much", b"b\xa1\x65fetch\x9b\x00\x00\x00\xff\xff\xff\xff\xff")
    add("wire", "a-text-that-claims-much", b"c\xa1\x69negotiate\x7b\x7f\xff\xff\xff\xff\xff\xff\xff")
    add("wire", "nested", b"b\xa1\x65fetch" + b"\x81" * 600)


def flight(add):
    def field(number, value):
        """A protobuf field: a number, a text, bytes or a message."""
        if isinstance(value, int):
            return bytes([number << 3, value])
        value = value.encode() if isinstance(value, str) else value
        length, rest = b"", len(value)
        while rest > 127:
            length, rest = length + bytes([rest & 127 | 128]), rest >> 7
        return bytes([number << 3 | 2]) + length + bytes([rest]) + value

    def any_of(kind, *fields):
        url = "type.googleapis.com/arrow.flight.protocol.sql." + kind
        return field(1, url) + field(2, b"".join(field(n, v) for n, v in fields))

    commands = {
        "CommandStatementQuery": [(1, "SELECT x, s FROM t")],
        "CommandPreparedStatementQuery": [(1, b"0123456789abcdef")],
        "TicketStatementQuery": [(1, b"0123456789abcdef")],
        "CommandGetCatalogs": [],
        "CommandGetDbSchemas": [(1, "own"), (2, "p%")],
        "CommandGetTables": [(1, "own"), (2, "_"), (3, "%t%"), (4, "TABLE"), (5, 1)],
        "CommandGetTableTypes": [],
        "CommandGetSqlInfo": [(1, 0), (1, 1), (1, 8)],
        "CommandGetPrimaryKeys": [(1, "own"), (2, "p"), (3, "t")],
        "CommandGetExportedKeys": [(3, "t")],
        "CommandGetImportedKeys": [(3, "t")],
        "CommandGetCrossReference": [(3, "t"), (6, "t")],
        "CommandGetXdbcTypeInfo": [(1, 4)],
        "CommandStatementUpdate": [(1, "DELETE FROM t")],
        "CommandStatementSubstraitPlan": [(1, b"")],
        "NoSuchCommand": [(1, "x")],
    }
    for kind, fields in commands.items():
        add("flight", "info-" + kind.lower(), b"i" + any_of(kind, *fields))
        add("flight", "ticket-" + kind.lower(), b"g" + any_of(kind, *fields))
    statement = any_of("CommandStatementQuery", (1, "SELECT count(*) FROM own.p.t WHERE s LIKE 'a%'"))
    add("flight", "schema", b"s" + statement)
    add("flight", "descriptor", b"p" + field(1, 2) + field(2, statement))
    add("flight", "descriptor-path", b"p" + field(1, 1) + field(3, "own") + field(3, "t"))
    prepare = any_of("ActionCreatePreparedStatementRequest", (1, "SELECT x FROM t WHERE x = ? AND s = $2"))
    ticket = field(1, any_of("TicketStatementQuery", (1, b"0123456789abcdef")))
    info = field(2, field(1, 2) + field(2, b"c")) + field(3, field(1, ticket) + field(2, field(1, "grpc://x:1")))
    actions = {
        "CreatePreparedStatement": prepare,
        "ClosePreparedStatement": any_of("ActionClosePreparedStatementRequest", (1, b"0123456789abcdef")),
        "CancelQuery": any_of("ActionCancelQueryRequest", (1, info)),
        "CancelFlightInfo": field(1, info),
        "RenewFlightEndpoint": field(1, field(1, ticket)),
        "CloseSession": b"",
        "GetSessionOptions": b"",
        "SetSessionOptions": field(1, field(1, "catalog") + field(2, field(1, "own"))),
        "BeginTransaction": any_of("ActionBeginTransactionRequest"),
        "EndTransaction": any_of("ActionEndTransactionRequest", (1, b"t"), (2, 1)),
        "CreatePreparedSubstraitPlan": any_of("ActionCreatePreparedSubstraitPlanRequest"),
        "no-such-action": b"",
    }
    for kind, body in actions.items():
        add("flight", "action-" + kind.lower(), b"a" + kind.encode() + b"\n" + body)


def gate(add):
    """The statements of the corpus in the node's tests, a few in each seed's neighbourhood."""
    corpus = HERE.parent / "node" / "src" / "query" / "tests" / "corpus"
    for name in ("accepted", "refused"):
        source = (corpus / f"{name}.rs").read_text()
        literal = r'"((?:[^"\\]|\\.)*)"'
        pattern = r"\(\s*" + literal + r"," if name == "accepted" else r"^    " + literal + ","
        for at, found in enumerate(re.findall(pattern, source, re.M)):
            found = found.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
            add("gate", f"{name}-{at}", "t" + found)
    chains = {
        "plus": "SELECT " + "x+" * 255 + "x FROM t",
        "not": "SELECT " + "NOT " * 200 + "TRUE",
        "brackets": "SELECT " + "(" * 39 + "x" + ")" * 39 + " FROM t",
        "union": " UNION ALL ".join(["SELECT x FROM t"] * 33),
        "list": "SELECT x FROM t WHERE x IN (" + ",".join(["1"] * 2000) + ")",
        "case": "SELECT " + "CASE WHEN TRUE THEN " * 20 + "1" + " END" * 20,
        "columns": "SELECT t." + "a." * 200 + "x FROM t",
        "array": "SELECT " + "[" * 60 + "1" + "]" * 60,
        "struct": "SELECT " + "{'a':" * 60 + "1" + "}" * 60,
        "casts": "SELECT x" + "::INT" * 120 + " FROM t",
        "joins": "SELECT 1 FROM t" + " JOIN t ON TRUE" * 31,
        "minus": "SELECT " + "- " * 250 + "x FROM t",
        "intervals": "SELECT " + "INTERVAL " * 100 + "'1' DAY",
        "types": "SELECT CAST(x AS " + "ARRAY<" * 100 + "INT" + ">" * 100 + ") FROM t",
        "quoted": 'SELECT "x" FROM "own"."p"."t" WHERE "s" = \'; DROP TABLE t; --\'',
    }
    for name, sql in chains.items():
        add("gate", "chain-" + name, "t" + sql)
    add("gate", "words", b"w" + bytes(range(120)))
    add("gate", "words-select", b"w" + bytes([0, 1, 2, 3, 4, 1, 15, 10, 5, 65, 18, 11, 17, 11]))


def contract(add):
    """The products of the example, and what a test of the reader refuses."""
    for file in sorted((HERE.parent / "examples").glob("*/*/*.odcs.yaml")):
        add("contract", file.name.split(".")[0], file.read_bytes())
    add("contract", "not-a-map", "- a\n- b\n")
    add("contract", "anchors", "a: &a [1, 2]\nb: *a\nc: !!binary AAAA\n<<: *a\n")
    add("contract", "nested", "a: " + "[" * 70 + "]" * 70)
    add("contract", "two-documents", "a: 1\n---\nb: 2\n")


def contract_words():
    """A dictionary of every key and every short value of the examples."""
    found = set()
    for file in (HERE.parent / "examples").glob("*/*/*.odcs.yaml"):
        text = file.read_text()
        found.update(re.findall(r"([A-Za-z]+:)(?:\s|$)", text))
        found.update(re.findall(r":\s+([A-Za-z0-9_-]{2,20})\s*$", text, re.M))
    return dictionary(found | {"&a ", "*a", "!!str ", "|\\x0a", "- ", "<<: ", "~", "0x1F", ".inf", "1e3"})


def dictionary(words):
    return "".join('"%s"\n' % word.replace('"', '\\"') for word in sorted(words))


def words():
    """A dictionary for libFuzzer: every member and every short text of the vectors."""
    found = set()

    def walk(value):
        if isinstance(value, dict):
            found.update(f'"{key}":' for key in value)
            list(map(walk, value.values()))
        elif isinstance(value, list):
            list(map(walk, value))
        elif isinstance(value, str) and len(value) <= 24:
            found.add(json.dumps(value))

    for file in ("identity.json", "protocol.json"):
        for text in json.loads((VECTORS / file).read_text())["texts"].values():
            try:
                walk(json.loads(payload(text)))
            except (ValueError, IndexError, KeyError):
                pass
    found.update(['"per":', '"hours":', '"protection":', '"claim":', "null", "true", "[]", "{}", "9007199254740992", "1e400"])
    return dictionary(word for word in found if word.isascii() and "\\" not in word)


def main():
    folder = pathlib.Path(sys.argv[1])

    def add(target, name, content):
        file = folder / target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    identity(add)
    protocol(add)
    wire(add)
    flight(add)
    gate(add)
    contract(add)
    (folder / "json.dict").write_text(words())
    (folder / "odcs.dict").write_text(contract_words())


main()
