#!/usr/bin/env python3
"""keep.py MERGED SEEDS: makes the folder SEEDS the best of MERGED.

MERGED is what libFuzzer's -set_cover_merge wrote, which is first the file that
reaches most, then the one that adds most to it, and so on. The first of them
are kept, under the names that they had, and so is every `finding-*` for ever, and every
`first-*`, which nothing here makes again.
"""

import hashlib
import pathlib
import sys

MAX_FILES = 16
MAX_BYTES = 24 * 1024

merged, seeds = map(pathlib.Path, sys.argv[1:])
before = {file.name: file.read_bytes() for file in seeds.iterdir()}
named = {content: name for name, content in before.items()}
kept = {name: content for name, content in before.items() if name.startswith(("finding-", "first-"))}
size = sum(map(len, kept.values()))
for file in sorted(merged.iterdir(), key=lambda file: file.stat().st_mtime_ns):
    content = file.read_bytes()
    if len(kept) >= MAX_FILES or size + len(content) > MAX_BYTES:
        continue
    name = named.get(content, hashlib.sha256(content).hexdigest()[:16])
    if name not in kept:
        kept[name] = content
        size += len(content)
for file in seeds.iterdir():
    file.unlink()
for name, content in kept.items():
    (seeds / name).write_bytes(content)
print(f"{seeds.name}: {len(kept)} seeds of {len(list(merged.iterdir()))}, {size} bytes")
