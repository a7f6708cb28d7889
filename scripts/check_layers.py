#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the includes of src/ follow the arrows of src/layers.txt.

Every `#include "folder/file.h"` must go to the file's own folder or to one that the table names for
it; every `#include "stator/name.h"` counts as one of the folder that the map at the end gives. LLVM
headers may be included in backends/*/codegen alone, PyTorch's nowhere in src/.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src"
OPEN = ("base", "symbolic", "layer")
INCLUDE = re.compile(r'^\s*#include\s+([<"])([^>"]+)[>"]', re.MULTILINE)
PACKAGE = SRC.parent / "python" / "stator"
PYTHON_FOLDERS = ["settings", "graphs", "conversion", "lowering", "engines"]
PYTHON_IMPORT = re.compile(r"^\s*(?:from|import) stator\.(\w+)", re.M)


def read_table() -> tuple[dict[str, list[str]], dict[str, str]]:
    folders: dict[str, list[str]] = {}
    headers: dict[str, str] = {}
    for line in (SRC / "layers.txt").read_text().splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith("@"):
            headers[words[0][1:]] = words[1]
        else:
            folders[words[0]] = words[1:]
    return folders, headers


def folder_of(path: str, folders: dict[str, list[str]]) -> str | None:
    """The longest folder of the table that `path` lies in."""
    inside = [f for f in folders if path.startswith(f + "/")]
    return max(inside, key=len) if inside else None


def allowed(owner: str, path: str, target: str, folders: dict[str, list[str]]) -> bool:
    order = list(folders)
    if target == owner:
        return True
    if target in OPEN:
        return order.index(target) < order.index(owner) or target not in OPEN or owner not in OPEN
    return target in folders[owner] or path in folders[owner]


def check_file(file: Path, folders: dict[str, list[str]], headers: dict[str, str]) -> list[str]:
    relative = file.relative_to(SRC).as_posix()
    owner = folder_of(relative, folders)
    if owner is None or "/test/" in relative:  # tests may use whatever they compare with
        return []
    problems = []
    for kind, path in INCLUDE.findall(file.read_text()):
        if path.startswith(("llvm/", "llvm-c/")):
            if not owner.endswith("/codegen"):
                problems.append(f"src/{relative}: includes {path}; LLVM is for codegen folders")
        elif path.startswith(("torch/", "ATen/", "c10/")):
            problems.append(f"src/{relative}: includes {path}; the core knows no PyTorch")
        elif kind == '"' and path.startswith("stator/"):
            target = headers.get(path.removeprefix("stator/"))
            if target is None:
                problems.append(f"src/{relative}: {path} is not in the map of layers.txt")
            elif not allowed(owner, path, target, folders):
                problems.append(f"src/{relative}: {owner} may not include {path} ({target})")
        elif kind == '"':
            target = folder_of(path, folders)
            if target is not None and not allowed(owner, path, target, folders):
                problems.append(f"src/{relative}: {owner} may not include {path}")
    return problems


def check_python(file: Path) -> list[str]:
    """A folder of the Python package imports from itself and from those before it alone."""
    relative = file.relative_to(PACKAGE)
    if len(relative.parts) == 1:
        return []
    reach = PYTHON_FOLDERS[: PYTHON_FOLDERS.index(relative.parts[0]) + 1]
    return [
        f"python/stator/{relative.as_posix()}: {relative.parts[0]} may not import stator.{name}"
        for name in PYTHON_IMPORT.findall(file.read_text())
        if name not in (*reach, "_log")
    ]


def main() -> int:
    folders, headers = read_table()
    problems = [p for file in sorted(PACKAGE.rglob("*.py")) for p in check_python(file)]
    for file in sorted(SRC.rglob("*")):
        if file.suffix in (".h", ".cpp", ".inc"):
            problems += check_file(file, folders, headers)
    print("\n".join(problems) or "the arrows of src/layers.txt and of the Python package hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
