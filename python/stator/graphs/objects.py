# SPDX-License-Identifier: Apache-2.0
"""Arguments that the C++ graph cannot hold: they cross as an object with holes.

A hole is where the object refers to the graph: to a value, or to a size. C++ sees what the holes
refer to, so that it orders, cuts and rewrites the graph rightly; Python puts the object together
again from what came back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_aggregate

__all__ = ["SizeHole", "Template", "ValueHole", "fill", "is_constant_of_fx"]


@dataclass(frozen=True)
class ValueHole:
    """Where an object refers to a value, by its place in the list of those."""

    index: int


@dataclass(frozen=True)
class SizeHole:
    """Where an object holds a size, by its place in the list of those."""

    index: int


class Template:
    """An object with holes, and what they refer to."""

    def __init__(self, value: Any, refer: Callable[[fx.Node | torch.SymInt], Any]) -> None:
        """Take an object apart.

        Args:
            value: nests of lists, tuples, dictionaries and slices, with nodes and SymInts in them.
            refer: what a node or SymInt is: ("value", id), ("values", ids), ("expr", text), a
                constant, or ("opaque", object) for an object that stands for itself.
        """
        self.uses: list[int] = []
        self.sizes: list[int | str] = []
        self._refer = refer
        self.value = map_aggregate(value, self._hole)

    def _hole(self, leaf: Any) -> Any:
        if not isinstance(leaf, fx.Node | torch.SymInt):
            return leaf
        referred = self._refer(leaf)
        if not isinstance(referred, tuple):
            return referred
        tag, content = referred
        if tag == "value":
            return self._use(content)
        if tag == "values":
            return tuple(self._use(value_id) for value_id in content)
        if tag == "expr":
            self.sizes.append(content)
            return SizeHole(len(self.sizes) - 1)
        return content

    def _use(self, value_id: int) -> ValueHole:
        self.uses.append(value_id)
        return ValueHole(len(self.uses) - 1)


def fill(template: Any, values: Callable[[int], Any], sizes: Callable[[int], Any],
         constant: Callable[[Any], Any]) -> Any:  # fmt: skip
    """The object of a template, with nodes in its holes and `constant` of everything else."""

    def leaf(value: Any) -> Any:
        if isinstance(value, ValueHole):
            return values(value.index)
        if isinstance(value, SizeHole):
            return sizes(value.index)
        return constant(value)

    return map_aggregate(template, leaf)


_CONSTANTS = (
    bool, int, float, complex, str, torch.dtype, torch.device, torch.memory_format, torch.layout,
    torch._ops.OpOverload, torch._ops.HigherOrderOperator, range, type(None), type(Ellipsis),
)  # fmt: skip


def is_constant_of_fx(value: Any) -> bool:
    """Whether FX can write an argument into the code of a graph; else it is an attribute."""
    return isinstance(value, _CONSTANTS)
