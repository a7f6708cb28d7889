#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small archives of src/pt2/test/data with torch.export.save."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

OUT = Path(__file__).resolve().parent.parent / "src" / "pt2" / "test" / "data"


class Mixed(nn.Module):
    """Tied weights, a buffer that is written, a transposed constant, several kinds of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.first.weight
        self.register_buffer("count", torch.zeros(1))
        self.turned = torch.arange(12.0).view(3, 4).t()

    def forward(self, x, *, k=2):
        """Several outputs, nested."""
        self.count.add_(1)
        y = torch.nn.functional.relu(self.tied(self.first(x)), inplace=True)
        a, b = y.split(2, 1)
        return {"a": a * k, "rest": [b, x]}, self.turned * 2, y.view(x.shape[0] * 2, -1), 5


class Open(nn.Module):
    """Numbers that come out of a tensor, a derived dimension, an infinity."""

    def forward(self, x, i):
        """`i` may be negative: nothing bounds what item() gives."""
        half = x[:, : x.shape[1] // 2]
        return half.masked_fill(half > 0, float("-inf")), torch.full((2,), i.item())


def save(program: torch.export.ExportedProgram, name: str) -> None:
    """Saves the program, its stack traces without the folders of this machine."""
    for node in program.graph.nodes:
        if trace := node.meta.get("stack_trace"):
            own = [part for part in trace.split("  File ") if Path(__file__).name in part]
            path = 'File "scripts/make_test_archives.py"'
            node.meta["stack_trace"] = "".join(
                f"  {path}{part.split(chr(34), 2)[2]}" for part in own
            )
    torch.export.save(program, OUT / name)


def main() -> None:
    torch.manual_seed(0)
    mixed = torch.export.export(
        Mixed(),
        (torch.randn(3, 4),),
        {"k": 3},
        dynamic_shapes={"x": {0: Dim("batch", min=1, max=16)}, "k": None},
    )
    save(mixed, "mixed.pt2")
    half = Dim("half", min=1, max=9)
    opened = torch.export.export(
        Open(), (torch.randn(2, 8), torch.tensor(-3)), dynamic_shapes=({1: 2 * half}, None)
    )
    save(opened, "open.pt2")


if __name__ == "__main__":
    main()
