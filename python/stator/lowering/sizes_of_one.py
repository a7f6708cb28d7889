# SPDX-License-Identifier: Apache-2.0
"""Sizes of 1 in a range: whether the program traced at larger sizes is the right one for them too.

PyTorch's own code asks of many sizes whether they are 1 (how does this tensor lie in memory?
is that a broadcast?), and each answer is a condition that would refuse a batch of one. A model that
asks it itself looks the same. So the model is exported once more with that size fixed at 1: where
the same program comes out, the condition says nothing about the results.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sympy
import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_flatten

from stator._log import logger
from stator.graphs.fx_graphs import user_values
from stator.graphs.sizes import conditions_of, holds_within

__all__ = ["SizesOfOne", "exported_from"]

#: A dimension of a flat user input.
Place = tuple[int, int]
Export = Callable[[frozenset[Place]], ExportedProgram]
_MOST_AT_ONCE = 3  # sizes that are tried together: seven exports

_exports: weakref.WeakKeyDictionary[ExportedProgram, Export] = weakref.WeakKeyDictionary()


def exported_from(program: ExportedProgram, again: Export) -> None:
    """Note how to export a program's model again with some of its inputs' sizes fixed at 1."""
    _exports[program] = again


class SizesOfOne:
    """Decides on the conditions of a program that fail where sizes are 1."""

    def __init__(
        self,
        exported: ExportedProgram,
        lowered: Callable[[ExportedProgram], ExportedProgram],
        ranges: Mapping[str, tuple[int | None, int | None]],
    ) -> None:
        """Nothing is exported yet.

        Args:
            exported: a program of export_module's; of others nothing is known, all their
                conditions stay.
            lowered: what was done with it before its conditions were collected.
            ranges: what is admitted of each symbol.
        """
        self._exported = exported
        self._lowered = lowered
        self._ranges = ranges
        self._again = _exports.get(exported)
        self._places = _places(exported)
        self._same: dict[frozenset[sympy.Symbol], bool] = {}

    def without_effect(self, conditions: Sequence[Any]) -> set[int]:
        """Which of these conditions (sympy) fail only at sizes of 1 that need no other program."""
        if self._again is None:
            return set()
        failing = {k: found for k, c in enumerate(conditions) if (found := self._fails_at(c))}
        others = [c for k, c in enumerate(conditions) if k not in failing]
        sets = {at for found in failing.values() for at in found}
        if not sets or len(frozenset().union(*sets)) > _MOST_AT_ONCE:
            return set()
        self._same.clear()
        good = {at for at in sets if self._is_same(at, others)}
        for count in range(2, len(good) + 1):
            for some in itertools.combinations(sorted(good, key=str), count):
                together = frozenset().union(*some)
                if together not in good and not self._is_same(together, others):
                    good -= set(some)
        return {k for k, found in failing.items() if found <= good}

    def _fails_at(self, condition: Any) -> set[frozenset[sympy.Symbol]]:
        """The least sets of sizes at whose ones it fails; empty where it fails elsewhere too."""
        small = [s for s in sorted(condition.free_symbols, key=str) if self._may_be_one(s)]
        found: set[frozenset[sympy.Symbol]] = set()
        for count in range(1, min(len(small), _MOST_AT_ONCE) + 1):
            for some in itertools.combinations(small, count):
                if any(at <= set(some) for at in found):
                    continue
                if condition.subs(dict.fromkeys(some, sympy.Integer(1))) == sympy.false:
                    found.add(frozenset(some))
        # Elsewhere one symbol of each set is at least 2.
        for larger in itertools.product(*found):
            if not self._holds(condition, at_least_two=set(larger)):
                return set()
        return found

    def _may_be_one(self, symbol: sympy.Symbol) -> bool:
        least, most = self._ranges.get(str(symbol), (2, None))
        admits_one = (least is None or least <= 1) and (most is None or most >= 1)
        return symbol in self._places and admits_one

    def _holds(self, condition: Any, at_least_two: Iterable[sympy.Symbol] = ()) -> bool:
        """Whether it does for all sizes that are admitted."""
        ranges: dict[sympy.Symbol, tuple[int | None, int | None]] = {}
        for symbol in condition.free_symbols:
            least, most = self._ranges.get(str(symbol), (0, None))
            least = max(least or 0, 2) if symbol in at_least_two else least
            ranges[symbol] = (least, most if most is None or least is None else max(most, least))
        return holds_within(condition, ranges)

    def _is_same(self, ones: frozenset[sympy.Symbol], conditions: Sequence[Any]) -> bool:
        """Whether the model's export at these ones is the program, under no other conditions."""
        if ones not in self._same:
            found = self._conditions_at(ones)
            known = {c.subs(dict.fromkeys(ones, sympy.Integer(1))) for c in conditions}
            self._same[ones] = found is not None and all(
                c in known or self._holds(c) or self._is_same_beyond(ones, c, conditions)
                for c in found
            )
        return self._same[ones]

    def _is_same_beyond(
        self, ones: frozenset[sympy.Symbol], condition: Any, conditions: Sequence[Any]
    ) -> bool:
        """Whether it is where further sizes are 1, at which alone this condition fails."""
        beyond = {ones | at for at in self._fails_at(condition)}
        return bool(beyond) and all(self._is_same(at, conditions) for at in beyond)

    def _conditions_at(self, ones: frozenset[sympy.Symbol]) -> list[Any] | None:
        """The conditions of the export at these ones; None where it is another program."""
        assert self._again is not None
        places = frozenset(place for s in ones for place in self._places[s])
        try:
            exported = self._again(places)
            lowered = self._lowered(exported)
        except Exception as error:
            names = ", ".join(sorted(map(str, ones)))
            logger.debug("the model cannot be exported with %s = 1: %s", names, error)
            return None
        sizes = dict.fromkeys(ones, sympy.Integer(1)) | {
            symbol: size
            for symbol, (place, *_) in self._places.items()
            if symbol not in ones and (size := _size(exported, place)) is not None
        }
        if not _Comparison(sizes).programs(self._lowered(self._exported), lowered):
            return None
        back = {v: k for k, v in sizes.items() if isinstance(v, sympy.Symbol)}
        return [c.xreplace(back) for c in conditions_of(exported, lowered)]


def _places(program: ExportedProgram) -> dict[sympy.Symbol, list[Place]]:
    """Where each symbol is a size of the inputs."""
    places: dict[sympy.Symbol, list[Place]] = {}
    for k, value in enumerate(user_values(program)):
        for dim, size in enumerate(value.shape if isinstance(value, torch.Tensor) else ()):
            if isinstance(size, torch.SymInt) and size.node.expr.is_symbol:
                places.setdefault(size.node.expr, []).append((k, dim))
    return places


def _size(program: ExportedProgram, place: Place) -> Any:
    value = user_values(program)[place[0]]
    return _expression(value.shape[place[1]]) if isinstance(value, torch.Tensor) else None


def _expression(value: Any) -> Any:
    """A number, symbolic or not, as sympy has it."""
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return value.node.expr
    return sympy.sympify(value)


_NUMBERS = (int, float, bool, torch.SymInt, torch.SymFloat, torch.SymBool)


def _is_about_sizes(node: fx.Node) -> bool:
    """A number, or a statement about one: those follow from the sizes."""
    if node.op != "call_function":
        return False
    if "_assert_scalar" in str(node.target) or "sym_constrain" in str(node.target):
        return True
    return isinstance(node.meta.get("val"), _NUMBERS)


# Where nothing is changed in place, memory of one's own is no difference; decompositions ask for it
# as sizes suggest.
_COPIES = (torch.ops.aten.clone.default, torch.ops.aten.alias.default)
_VIEWS = (
    torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default, torch.ops.aten.reshape.default
)  # fmt: skip
# Give their argument itself where they keep its shape.
_SHAPING = (*_VIEWS, torch.ops.aten.slice.Tensor, torch.ops.aten.expand.default)


def _all_arguments(node: fx.Node) -> Any:
    """With those that stand for defaults: which of them are written may depend on sizes."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.args, node.kwargs
    schema = node.target._schema.arguments
    given = list(node.args)
    for argument in schema[len(given) :]:
        given.append(node.kwargs.get(argument.name, argument.default_value))
    return [
        list(value) if isinstance(value, list) else value  # without fx's own class of list
        for value in given
    ]


class _Comparison:
    """Whether two graphs are one, where sizes of the first have the values that they have below."""

    def __init__(self, sizes: Mapping[Any, Any]) -> None:
        self._sizes = sizes
        self._twin: dict[fx.Node, fx.Node] = {}

    def programs(self, first: ExportedProgram, second: ExportedProgram) -> bool:
        specs = first.graph_signature.input_specs, second.graph_signature.input_specs
        if len(specs[0]) != len(specs[1]):
            return False
        for a, b in zip(*specs, strict=True):
            if (a.kind, a.target) != (b.kind, b.target):
                return False
            if a.kind is InputKind.CONSTANT_TENSOR and not torch.equal(
                first.constants[a.target], second.constants[b.target]
            ):
                return False
        return self._modules(first.graph_module, second.graph_module)

    def _modules(self, first: fx.GraphModule, second: fx.GraphModule) -> bool:
        nodes = [n for n in first.graph.nodes if self._computes(n)]
        others = [n for n in second.graph.nodes if self._computes(n)]
        if len(nodes) != len(others):
            return False
        for a, b in zip(nodes, others, strict=True):
            self._twin[a] = b
            if not self._nodes(a, b):
                return False
            if a.op == "get_attr":
                modules = getattr(first, str(a.target)), getattr(second, str(b.target))
                if not all(isinstance(m, fx.GraphModule) for m in modules) or not self._modules(
                    *modules
                ):
                    return False
        return True

    def _nodes(self, a: fx.Node, b: fx.Node) -> bool:
        if a.op != b.op or not self._values(a.meta.get("val"), b.meta.get("val")):
            return False
        if a.target in _VIEWS and b.target in _VIEWS:
            return self._argument(a.args[0], b.args[0])
        if a.op == "call_function" and a.target != b.target:
            return False
        return self._arguments(_all_arguments(a), _all_arguments(b))

    def _computes(self, node: fx.Node) -> bool:
        return not _is_about_sizes(node) and self._origin(node) is node

    def _origin(self, node: fx.Node) -> fx.Node:
        """What a node's value is the same as."""
        while node.op == "call_function":
            argument = node.args[0] if node.args else None
            if not isinstance(argument, fx.Node):
                break
            if node.target not in _COPIES and not (
                node.target in _SHAPING
                and self._shape(node.meta["val"]) == self._shape(argument.meta["val"])
            ):
                break
            node = argument
        return node

    def _shape(self, value: torch.Tensor) -> list[Any]:
        return [_expression(size).xreplace(self._sizes) for size in value.shape]

    def _arguments(self, first: Any, second: Any) -> bool:
        (ours, shape), (theirs, other) = tree_flatten(first), tree_flatten(second)
        return shape == other and all(
            self._argument(a, b) for a, b in zip(ours, theirs, strict=True)
        )

    def _argument(self, a: Any, b: Any) -> bool:
        a, b = (self._origin(v) if isinstance(v, fx.Node) else v for v in (a, b))
        a, b = (
            v.meta["val"] if isinstance(v, fx.Node) and _is_about_sizes(v) else v for v in (a, b)
        )
        if isinstance(a, fx.Node) or isinstance(b, fx.Node):
            return isinstance(a, fx.Node) and self._twin.get(a) is b
        return self._values(a, b)

    def _values(self, a: Any, b: Any) -> bool:
        if isinstance(a, list | tuple) and isinstance(b, list | tuple):
            return len(a) == len(b) and all(map(self._values, a, b))
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
            return (a.dtype, a.device) == (b.dtype, b.device) and self._values(
                tuple(a.shape), tuple(b.shape)
            )
        if isinstance(a, _NUMBERS) and isinstance(b, _NUMBERS):
            ours, theirs = _expression(a).xreplace(self._sizes), _expression(b)
            if ours == theirs:
                return True
            return isinstance(ours, sympy.Expr) and sympy.expand(ours - theirs) == 0
        return type(a) is type(b) and (isinstance(a, torch.Tensor) or a is b or a == b)
