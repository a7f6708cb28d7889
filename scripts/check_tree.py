#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks habits of the tree: licence lines, size of files, leftovers of machines, links of docs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = {".h", ".cpp", ".py", ".sh", ".cmake"}
MOST_LINES = 620
MACHINE = re.compile(r"(?<![\w.])/(?:work|home|root|opt)/\w")
LEFTOVER = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / line for line in listing.stdout.splitlines()]


def check_code(file: Path, name: str, text: str) -> list[str]:
    problems = []
    if file.name != "__init__.py" and "python/" not in name and "SPDX-License" not in text[:200]:
        problems.append(f"{name}: no SPDX-License-Identifier at its head")
    lines = text.count("\n")
    if lines > MOST_LINES:
        problems.append(f"{name}: {lines} lines; split it (most: {MOST_LINES})")
    if LEFTOVER.search(text) and file.name != "check_tree.py":
        problems.append(f"{name}: holds {LEFTOVER.search(text)[0]}; say it in an issue instead")
    return problems


def check_docs(file: Path, name: str, text: str) -> list[str]:
    return [
        f"{name}: link to {target}, which is not there"
        for target in LINK.findall(text)
        if "://" not in target and not (file.parent / target).exists()
    ]


def main() -> int:
    problems = []
    for file in tracked():
        name = file.relative_to(ROOT).as_posix()
        if not file.is_file() or file.stat().st_size > 1 << 20:
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if file.suffix in CODE:
            problems += check_code(file, name, text)
        if file.suffix == ".md":
            problems += check_docs(file, name, text)
        if file.name != "check_tree.py" and (found := MACHINE.search(text)):
            problems.append(f"{name}: holds the path {found[0]}… of some machine")
    print("\n".join(problems) if problems else "the tree is in order")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
