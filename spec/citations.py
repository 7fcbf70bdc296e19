#!/usr/bin/env python3
"""Checks that the rules of the specification and the code name each other.

    python3 spec/citations.py

Every rule that a chapter defines (`**C-5** …`) must be cited in a comment of
the code that keeps it (`spec/3-catalog.md#C-5`), and every cited rule must be
defined, in the chapter that the citation names. Exits with 1 otherwise.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEFINED = re.compile(r"^(?:- )?\*\*([A-Z]-\d+)\*\*", re.MULTILINE)
RULE = re.compile(r"\b([CDEINRV]-\d+)\b")
CITATION = re.compile(r"(spec/[\w.-]+\.md)#([A-Z]-\d+)")


def main():
    defined, wrong = {}, []
    for chapter in sorted((ROOT / "spec").glob("[0-9]*.md")):
        for rule in DEFINED.findall(chapter.read_text()):
            if rule in defined:
                wrong.append(f"{rule} is defined twice")
            defined[rule] = f"spec/{chapter.name}"

    cited = set()
    for room in ["identity", "protocol", "node"]:
        for file in sorted((ROOT / room / "src").rglob("*.rs")):
            path = file.relative_to(ROOT)
            for number, line in enumerate(file.read_text().splitlines(), 1):
                at = f"{path}:{number}"
                comment = line.partition("//")[2]
                rules = set(RULE.findall(comment))
                wrong += [f"{at}: {rule} is not defined" for rule in sorted(rules - set(defined))]
                wrong += [f"{at}: {rule} is not in {chapter}" for chapter, rule in CITATION.findall(comment)
                          if defined.get(rule, chapter) != chapter]
                # Tests name rules too, but what only a test knows is kept by nobody.
                if "tests" not in path.with_suffix("").parts:
                    cited |= rules
    wrong += [f"{chapter}: {rule} is cited nowhere" for rule, chapter in defined.items() if rule not in cited]
    if wrong or not defined:
        sys.exit("FAILED:\n" + "\n".join(wrong))
    print(f"the code cites each of the {len(defined)} rules of the specification")


if __name__ == "__main__":
    main()
