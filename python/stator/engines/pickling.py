# SPDX-License-Identifier: Apache-2.0
"""Programs that can be pickled and copied: FX graphs by their nodes, not by their code.

FX itself pickles a graph as Python text that is traced again, which operators without Python
syntax, constants and higher-order operators do not survive. Here the nodes go as they are, with the
module's weights, buffers and parts.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_aggregate

__all__ = ["ProgramModule"]


@dataclass(frozen=True)
class _Node:
    """An argument that is the node of this number."""

    index: int


@dataclass(frozen=True)
class _Operator:
    """An operator by its path in torch.ops: "aten.add.Tensor", "higher_order.cond"."""

    path: str

    def find(self) -> Any:
        """The operator; the library that registers it must have been imported."""
        value: Any = torch.ops
        try:
            for part in self.path.split("."):
                value = getattr(value, part)
        except AttributeError as error:
            raise pickle.UnpicklingError(
                f"the pickled program calls the operator {self.path}, which is not registered "
                "here; import what registers it first"
            ) from error
        return value


_PLAIN = (
    int, float, complex, str, bool, type(None), torch.dtype, torch.device, torch.layout,
    torch.memory_format,
)  # fmt: skip


def _portable(node: fx.Node, value: Any) -> Any:
    """One value of a node (its target, or within its arguments) in a form that pickle takes."""
    if isinstance(value, torch._ops.OpOverload):
        return _Operator(str(value))
    if isinstance(value, torch._ops.HigherOrderOperator):
        return _Operator(f"higher_order.{value.name()}")
    if not isinstance(value, _PLAIN):
        try:
            pickle.dumps(value)
        except Exception as error:
            lines = (node.meta.get("stack_trace") or "").strip().splitlines()
            raise pickle.PicklingError(
                f"the compiled model cannot be pickled: its node {node.name} ({node.target}"
                f"{', ' + lines[-2].strip() if len(lines) > 1 else ''}), which runs in PyTorch, "
                f"holds {type(value).__name__} {value!r}: {error}. Compile the model again where "
                "it is needed, or keep this operator out of it"
            ) from error
    return value


def _restored(value: Any, nodes: list[fx.Node]) -> Any:
    if isinstance(value, _Node):
        return nodes[value.index]
    return value.find() if isinstance(value, _Operator) else value


class ProgramModule(fx.GraphModule):
    """A GraphModule that pickle, torch.save and copy.deepcopy take."""

    def __reduce__(self) -> Any:
        """The nodes and what they refer to."""
        return _rebuild, (self._rows(_portable), self._held())

    def __deepcopy__(self, memo: dict[int, Any]) -> ProgramModule:
        rows = self._rows(lambda _node, value: value)
        copied = _rebuild(rows, copy.deepcopy(self._held(), memo))
        memo[id(self)] = copied
        return copied

    def _rows(self, portable: Callable[[fx.Node, Any], Any]) -> list[tuple[Any, ...]]:
        index = {node: i for i, node in enumerate(self.graph.nodes)}

        def row(node: fx.Node) -> tuple[Any, ...]:
            def argument(value: Any) -> Any:
                return _Node(index[value]) if isinstance(value, fx.Node) else portable(node, value)

            args, kwargs = map_aggregate((node.args, dict(node.kwargs)), argument)
            return node.op, node.name, portable(node, node.target), tuple(args), dict(kwargs)

        return [row(node) for node in self.graph.nodes]

    def _held(self) -> dict[str, Any]:
        """Weights, buffers, parts and other attributes, by kind."""
        parts = {
            name: child if isinstance(child, ProgramModule) or not _is_graph(child)
            else ProgramModule(child, child.graph)
            for name, child in self._modules.items()
        }  # fmt: skip
        names = {n.target for n in self.graph.nodes if n.op == "get_attr" and "." not in n.target}
        stored = {*self._parameters, *self._buffers, *parts}
        return {
            "parameters": dict(self._parameters),
            "buffers": dict(self._buffers),
            "parts": parts,
            "others": {name: getattr(self, name) for name in sorted(names - stored)},
        }


def _is_graph(module: nn.Module | None) -> bool:
    return isinstance(module, fx.GraphModule)


def _rebuild(rows: list[tuple[Any, ...]], held: dict[str, Any]) -> ProgramModule:
    root = nn.Module()
    for name, parameter in held["parameters"].items():
        root.register_parameter(name, parameter)
    for name, buffer in held["buffers"].items():
        root.register_buffer(name, buffer, persistent=False)
    for name, part in held["parts"].items():
        root.add_module(name, part)
    for name, value in held["others"].items():
        setattr(root, name, value)
    graph = fx.Graph()
    nodes: list[fx.Node] = []
    for op, name, target, args, kwargs in rows:
        args, kwargs = map_aggregate((args, kwargs), lambda value: _restored(value, nodes))
        nodes.append(
            graph.create_node(op, _restored(target, nodes), tuple(args), dict(kwargs), name=name)
        )
    return ProgramModule(root, graph)
