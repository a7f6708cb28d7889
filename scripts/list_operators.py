#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/operators.md: every ATen operator that has a converter.

.venv/bin/python scripts/list_operators.py
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from stator import _native

OUT = Path(__file__).resolve().parent.parent / "docs" / "operators.md"
HEAD = """# Operators

ATen operators with a converter, by their overloads. A converter may still refuse a node (an element
type, a data-dependent size); the dry run says so, with the reason and your source line, and the
node runs in PyTorch. Operators that are rewritten before conversion (in-place forms, dropout
outside training) do not stand here.

"""


def main() -> None:
    packets: dict[str, list[str]] = defaultdict(list)
    for target in _native.converter_targets():
        packet, _, overload = target.rpartition(".")
        packets[packet].append(overload)
    lines = [
        f"- `{packet}`: {', '.join(overloads)}" for packet, overloads in sorted(packets.items())
    ]
    OUT.write_text(HEAD + "\n".join(lines) + "\n")
    print(f"{sum(map(len, packets.values()))} overloads of {len(packets)} operators in {OUT.name}")


if __name__ == "__main__":
    main()
