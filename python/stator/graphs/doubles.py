# SPDX-License-Identifier: Apache-2.0
"""truncate_double: float64 computed as float32, with the model's own types at its surface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from stator._log import logger
from stator.graphs.fx_graphs import cast_value

__all__ = ["double_outputs", "has_doubles", "restore", "single", "truncate"]


def _is_double(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.float64


def _holds_double(value: Any) -> bool:
    return any(map(_is_double, pytree.tree_leaves(value)))


def has_doubles(gm: fx.GraphModule) -> bool:
    """Whether any value of the graph is float64."""
    return any(_holds_double(node.meta.get("val")) for node in gm.graph.nodes)


def double_outputs(values: Iterable[Any]) -> list[bool]:
    """Which of a graph's results are float64, before truncation."""
    return [isinstance(v, fx.Node) and _is_double(v.meta.get("val")) for v in values]


def single(values: Sequence[Any]) -> list[Any]:
    """The arguments of a truncated graph: float64 tensors as float32, all else as it is."""
    return [v.float() if _is_double(v) else v for v in values]


def restore(values: Sequence[Any], doubles: Sequence[bool]) -> list[Any]:
    """The results of a truncated graph in the model's types."""
    return [
        v.double() if double and isinstance(v, torch.Tensor) else v
        for v, double in zip(values, doubles, strict=True)
    ]


def truncate(gm: fx.GraphModule) -> bool:
    """Make a graph of ATen operators compute in float32, in place.

    Returns:
        False, with a warning and an unchanged graph, where an operator makes float64 though nothing
        it reads says so: it would go on doing it.
    """
    for node in gm.graph.nodes:
        if node.op != "call_function" or not _holds_double(node.meta.get("val")):
            continue
        reads = any(_holds_double(n.meta.get("val")) for n in node.all_input_nodes)
        named = torch.float64 in pytree.tree_leaves((node.args, node.kwargs))
        if not reads and not named:
            logger.warning("truncate_double has no effect: %s makes float64 by itself", node.target)
            return False

    def shorter(value: Any) -> Any:
        return torch.float32 if value is torch.float64 else value

    def single_value(value: Any) -> Any:
        return cast_value(value, torch.float32) if _is_double(value) else value

    for node in gm.graph.nodes:
        node.args = pytree.tree_map(shorter, node.args)
        node.kwargs = pytree.tree_map(shorter, node.kwargs)
        if "val" in node.meta:
            node.meta["val"] = pytree.tree_map(single_value, node.meta["val"])
    gm.recompile()
    return True
