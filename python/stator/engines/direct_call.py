# SPDX-License-Identifier: Apache-2.0
"""The shortest way from a call's arguments to its result."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from torch import fx
from torch.utils import _pytree as pytree

from stator.engines.arguments import Arguments
from stator.engines.engine import Engine
from stator.engines.program import EngineModule

__all__ = ["DirectCall", "outputs_of", "whole_engine"]


class DirectCall:
    """Calls a function of flat values with a model's arguments, and gives the model's result.

    Nests that are no more than a few values side by side are taken apart and put together without
    PyTorch's pytree, which takes longer than a small engine.
    """

    def __init__(
        self,
        outputs: Callable[..., list[Any]],
        arguments: Arguments,
        out_spec: pytree.TreeSpec,
    ) -> None:
        """Prepare a model's calls.

        Args:
            outputs: takes the flat arguments and gives the flat results.
            arguments, out_spec: the model's.
        """
        self._outputs = outputs
        self._arguments = arguments
        children = [c for group in arguments.in_spec.children() for c in group.children()]
        # By name only where no argument is a nest.
        named = len(arguments.names) >= arguments.count and all(c.is_leaf() for c in children)
        self._names = [*arguments.names[: arguments.count], *arguments.keywords] if named else None
        plain = (tuple(range(arguments.in_spec.num_leaves)), {})
        by_position = arguments.in_spec == pytree.tree_structure(plain)
        self._positions = arguments.count if by_position else -1
        self._out_spec = out_spec
        self._gives_one = out_spec.is_leaf()
        flat = all(child.is_leaf() for child in out_spec.children())
        self._makes = out_spec.type if flat and out_spec.type in (tuple, list) else None

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of one call."""
        try:
            results = self._outputs(*self._flat(args, kwargs))
        except (AttributeError, TypeError, ValueError):
            self._arguments.flatten(args, kwargs)  # names what is missing as the model does
            raise
        if self._gives_one:
            return results[0]
        if self._makes is not None:
            return self._makes(results)
        return pytree.tree_unflatten(results, self._out_spec)

    def _flat(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not kwargs and len(args) == self._positions:
            return args
        if self._names is not None and len(args) + len(kwargs) == len(self._names):
            try:
                return [*args, *[kwargs[name] for name in self._names[len(args) :]]]
            except KeyError:  # the words for it are the arguments' own
                pass
        return self._arguments.flatten(args, kwargs)


def outputs_of(engine: Engine, order: list[int], picks: list[int]) -> Callable[..., list[Any]]:
    """The engine as a function of flat values.

    Args:
        engine: what is called.
        order: which of the values its inputs are.
        picks: which of its outputs are given.
    """
    callers, count = engine._callers, len(order)
    if order == list(range(count)):
        if picks == list(range(len(engine.outputs))):
            return lambda *args: callers.call(*args)
        return lambda *args: list(map(callers.call(*args).__getitem__, picks))

    def reordered(*args: Any) -> list[Any]:
        if len(args) != count:
            raise TypeError(f"{count} values are taken, {len(args)} were given")
        results = callers.call(*[args[k] for k in order])
        return [results[k] for k in picks]

    return reordered


def whole_engine(program: fx.GraphModule) -> tuple[Engine, list[int], list[int]] | None:
    """The engine that is all of a program and takes each of its inputs once.

    Returns:
        The engine, and as in outputs_of() the order of its inputs and which outputs are given.
    """
    nodes = list(program.graph.nodes)
    inputs = [n for n in nodes if n.op == "placeholder"]
    calls = [n for n in nodes if n.op == "call_module"]
    if len(calls) != 1 or set(calls[0].args) != set(inputs) or len(calls[0].args) != len(inputs):
        return None
    module = program.get_submodule(calls[0].target)
    outputs = nodes[-1].args[0]
    of_call = all(
        isinstance(o, fx.Node) and o.target is operator.getitem and o.args[0] is calls[0]
        for o in outputs
    )
    if not of_call or not isinstance(module, EngineModule) or not module.is_plain:
        return None
    order = [inputs.index(a) for a in calls[0].args]
    return module.engine, order, [o.args[1] for o in outputs]
