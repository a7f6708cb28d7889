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

Values are eager PyTorch's on the same device, also where two answers would do:

- Scalars, and 0-d tensors of a wider type, beside halves: the CPU rounds them to the half type in
  sums, remainders, powers and comparisons, and keeps them in float32 as factors and divisors; a GPU
  keeps scalars in sums too.
- Equal elements: `sort` and `argsort` with `stable=True` keep their order; without it, and in
  `topk`, PyTorch's CPU kernels leave them as the C++ library's `sort`, `partial_sort` and `nth_element` do,
  and so does an engine. On a GPU the order is the stable one. `kthvalue` with its place, `mode` and
  `median` along a dimension run in PyTorch. Extremes with a place give the first of equals. NaN is
  the greatest.
- Special functions (`lgamma`, `polygamma`, `erfc`, Bessel's, Chebyshev's …) are formulas in
  float64, rounded once to float32: within a unit in the last place of the true value, away from zeros of the
  function, where it is 1e-7 of its size nearby. Of float64 itself they run in PyTorch.

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
