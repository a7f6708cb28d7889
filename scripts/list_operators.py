#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/operators.md: every ATen operator that has a converter.

.venv/bin/python scripts/list_operators.py

What scripts/sweep_operators.py --write-docs wrote there is kept.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "docs" / "operators.md"
HEAD = """# Operators

ATen operators with a converter, by their overloads. A converter may still refuse a node (an element
type, a data-dependent size); the dry run says so, with the reason and your source line, and the
node runs in PyTorch. Operators that are rewritten before conversion (in-place forms, dropout
outside training) do not stand here.

"""

TITLE = "\n## How much is compiled\n"
SHARES = f"""{TITLE}
PyTorch's own sample inputs, each operator by itself: exported, compiled and compared with eager by
`scripts/sweep_operators.py`. Shares are of the cases that `torch.export` takes. *Whole*: one engine
and nothing in PyTorch; *partly*: engines and PyTorch; the rest runs in PyTorch, with a reason. The
columns after these count defects: wrong results, errors where eager has none, compilations that
fail, crashes and hangs.

"""
SECTION = re.compile(r"<!-- sweep (\w+) -->\n(.*?)\n<!-- end -->\n", re.DOTALL)


def sections() -> dict[str, str]:
    """The sweep's tables in the page, by device."""
    return dict(SECTION.findall(OUT.read_text())) if OUT.exists() else {}


def write_section(device: str, text: str) -> None:
    """Put the sweep's table for a device into the page; the rest stays."""
    listing = OUT.read_text().split(TITLE)[0]
    write(listing, {**sections(), device: text})


def write(listing: str, shares: dict[str, str]) -> None:
    parts = [f"<!-- sweep {name} -->\n{shares[name]}\n<!-- end -->\n" for name in sorted(shares)]
    OUT.write_text(listing + (SHARES + "\n".join(parts) if parts else ""))


def main() -> None:
    from stator import _native

    packets: dict[str, list[str]] = defaultdict(list)
    for target in _native.converter_targets():
        packet, _, overload = target.rpartition(".")
        packets[packet].append(overload)
    lines = [
        f"- `{packet}`: {', '.join(overloads)}" for packet, overloads in sorted(packets.items())
    ]
    write(HEAD + "\n".join(lines) + "\n", sections())
    print(f"{sum(map(len, packets.values()))} overloads of {len(packets)} operators in {OUT.name}")


if __name__ == "__main__":
    main()
