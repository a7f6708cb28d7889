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

Values are eager PyTorch's on the same device, also where two answers would do:

- Scalars, and 0-d tensors of a wider type, beside halves: the CPU rounds them to the half type in
  sums, remainders, powers and comparisons, and keeps them in float32 as factors and divisors; a GPU
  keeps scalars in sums too.
- Equal elements: `sort` and `argsort` with `stable=True` keep their order; without it, and in
  `topk`, PyTorch's CPU kernels leave them as the C++ library's `sort`, `partial_sort` and
  `nth_element` do, and so does an engine. On a GPU the order is the stable one. `median` and
  `nanmedian` along a dimension give the place that a stable order has in the middle. `kthvalue`
  with its place and, on a GPU, medians with theirs and `mode` run in PyTorch. Extremes with a place
  give the first of equals. NaN is the greatest.
- On a GPU sorting along more than 4096 elements, `masked_scatter` of more than 16384, and scans of
  few and long rows run in PyTorch, which shares a row among blocks.
- Updates of one place (`scatter_reduce`, `index_add` and their relatives): halves are rounded once
  at the end in scatters, and after each update in `index_add` along inner dims, `index_reduce` and
  `index_put`, as PyTorch's CPU kernels do; on a GPU sums are kept in float32, in any order.
  NaN wins among extremes; of truth values a sum is whether any is set, a product whether all are.
- Special functions (`lgamma`, `polygamma`, `erfc`, Bessel's, Chebyshev's …) are formulas in
  float64, rounded once to float32: within a unit in the last place of the true value, away from
  zeros of the function, where it is 1e-7 of its size nearby. Of float64 itself they run in PyTorch.

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
