# SPDX-License-Identifier: Apache-2.0
"""What several parts ask of an FX graph and of the values that torch.export notes in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

__all__ = ["cast_value", "returned"]


def returned(gm: fx.GraphModule) -> list[Any]:
    """What a graph returns: nodes and constants."""
    values = next(n for n in gm.graph.nodes if n.op == "output").args[0]
    return list(values) if isinstance(values, tuple | list) else [values]


def cast_value(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The noted value of a node in another type; it is a fake tensor, or a weight."""
    mode = getattr(value, "fake_mode", None)
    if mode is None:
        return value.to(dtype)
    with mode:
        return value.to(dtype)
