"""Writes Delta tables with the `deltalake` package into the folder given.

`plain`: versions 0 to 12, one row each (id = version), a checkpoint at version 10,
then version 13 deletes id 3 and version 14 id 11.
`parted`: partitioned by year (integer), day (date) and city (text; one null, one with odd characters).
`evolved`: version 1 adds the column `note`.
`deleted`, `mapped`, `future`: features that a reader has to know, as the protocol writes them.
"""

import datetime
import json
import pathlib
import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

root = pathlib.Path(sys.argv[1])


def ids(*values):
    return pa.table({"id": pa.array(values, pa.int64())})


def commit(table, version, *actions):
    path = root / table / "_delta_log" / f"{version:020}.json"
    path.write_text("\n".join(json.dumps(action) for action in actions))


for version in range(13):
    write_deltalake(root / "plain", ids(version), mode="append")
    if version == 10:
        DeltaTable(root / "plain").create_checkpoint()
DeltaTable(root / "plain").delete("id = 3")
DeltaTable(root / "plain").delete("id = 11")

day = datetime.date
write_deltalake(
    root / "parted",
    pa.table(
        {
            "id": pa.array([1, 2, 3, 4], pa.int64()),
            "year": pa.array([2012, 2013, 2013, 2013], pa.int32()),
            "day": pa.array([day(2012, 1, 1), day(2013, 6, 1), day(2013, 6, 2), day(2013, 6, 2)]),
            "city": pa.array(["Lyon", "a/b %:=é", None, "Lyon"]),
            "at": pa.array([datetime.datetime(2013, 6, 1, 12, 30, tzinfo=datetime.timezone.utc)] * 4, pa.timestamp("us", "UTC")),
            "tags": pa.array([["x"], [], None, ["y"]], pa.list_(pa.string())),
        }
    ),
    partition_by=["year", "day", "city"],
)

write_deltalake(root / "evolved", ids(1))
more = ids(2).append_column("note", pa.array(["new"]))
write_deltalake(root / "evolved", more, mode="append", schema_mode="merge")

for table, feature in [("deleted", "deletionVectors"), ("mapped", "columnMapping"), ("future", "timeCrystals")]:
    write_deltalake(root / table, ids(1, 2))
    features = {"readerFeatures": [feature], "writerFeatures": [feature]}
    upgrade = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}}
    log = (root / table / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    actions = [json.loads(line) for line in log]
    if table == "deleted":
        # Both features that are known may be on, as long as nothing uses them.
        commit(table, 1, upgrade)
        add = next(a["add"] for a in actions if "add" in a)
        vector = {"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4, "sizeInBytes": 40, "cardinality": 1}
        remove = {"path": add["path"], "deletionTimestamp": 1, "dataChange": True}
        commit(table, 2, {"remove": remove}, {"add": {**add, "deletionVector": vector}})
    elif table == "mapped":
        meta = next(a["metaData"] for a in actions if "metaData" in a)
        mode = {**meta["configuration"], "delta.columnMapping.mode": "name"}
        commit(table, 1, upgrade, {"metaData": {**meta, "configuration": mode}})
    else:
        commit(table, 1, upgrade)
