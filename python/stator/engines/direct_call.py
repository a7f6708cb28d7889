# SPDX-License-Identifier: Apache-2.0
"""The shortest way to a model that is one engine and nothing else."""

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
    """Calls the engine with the arguments as they come, and gives the model's result."""

    def __init__(
        self, engine: Engine, picks: list[int], arguments: Arguments, out_spec: pytree.TreeSpec
    ) -> None:
        """Prepare a model's calls.

        Args:
            engine: takes the flat arguments.
            picks: which of its outputs the flat results are.
            arguments, out_spec: the model's.
        """
        self._outputs = outputs_of(engine, picks)
        self._arguments = arguments
        children = [c for group in arguments.in_spec.children() for c in group.children()]
        # By name only where no argument is a nest.
        named = len(arguments.names) >= arguments.count and all(c.is_leaf() for c in children)
        self._names = [*arguments.names[: arguments.count], *arguments.keywords] if named else None
        plain = (tuple(range(arguments.in_spec.num_leaves)), {})
        self._takes_positions = arguments.in_spec == pytree.tree_structure(plain)
        self._out_spec = out_spec
        self._gives_one = out_spec.is_leaf()
        flat = all(child.is_leaf() for child in out_spec.children())
        self._makes = out_spec.type if flat and out_spec.type in (tuple, list) else None

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of one call."""
        try:
            results = self._outputs(*self._flat(args, kwargs))
        except TypeError:
            self._arguments.flatten(args, kwargs)  # names what is missing as the model does
            raise
        if self._gives_one:
            return results[0]
        if self._makes is not None:
            return self._makes(results)
        return pytree.tree_unflatten(results, self._out_spec)

    def _flat(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not kwargs and self._takes_positions:
            return args
        if self._names is not None and len(args) + len(kwargs) == len(self._names):
            try:
                return [*args, *[kwargs[name] for name in self._names[len(args) :]]]
            except KeyError:  # the words for it are the arguments' own
                pass
        return self._arguments.flatten(args, kwargs)


def outputs_of(engine: Engine, picks: list[int]) -> Callable[..., list[Any]]:
    """The engine as a function of its inputs that gives these of its outputs."""
    callers = engine._callers
    if picks == list(range(len(engine.outputs))):
        return lambda *args: callers.call(*args)

    def picked(*args: Any) -> list[Any]:
        results = callers.call(*args)
        return [results[k] for k in picks]

    return picked


def whole_engine(program: fx.GraphModule) -> tuple[Engine, list[int]] | None:
    """The engine that is all of a program and takes its inputs in order; its outputs there."""
    nodes = list(program.graph.nodes)
    inputs = [n for n in nodes if n.op == "placeholder"]
    calls = [n for n in nodes if n.op == "call_module"]
    if len(calls) != 1 or list(calls[0].args) != inputs:
        return None
    module = program.get_submodule(calls[0].target)
    outputs = nodes[-1].args[0]
    of_call = all(
        isinstance(o, fx.Node) and o.target is operator.getitem and o.args[0] is calls[0]
        for o in outputs
    )
    if not of_call or not isinstance(module, EngineModule) or not module.is_plain:
        return None
    return module.engine, [o.args[1] for o in outputs]
