# SPDX-License-Identifier: Apache-2.0
"""Arguments of a call: given as the model takes them, brought to the form that was compiled."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.utils import _pytree as pytree

__all__ = ["Arguments"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Arguments:
    """The arguments that a model was compiled for.

    A call may give them by position or by the names of the model's own parameters, in any order,
    and may leave out or repeat defaults: whatever Python allows for the model itself, as long as
    it comes to the same tensors and the same constants.
    """

    def __init__(
        self,
        in_spec: pytree.TreeSpec,
        names: list[str],
        parameters: list[inspect.Parameter],
        constants: list[bool],
    ) -> None:
        """Note a form.

        Args:
            in_spec: pytree of (args, kwargs) as compiled.
            names: of the model's positional parameters, where they are known.
            parameters: the model's, where there is a model; their defaults may be left out.
            constants: of each flat value whether it is a part of the compiled model.
        """
        self.in_spec = in_spec
        positional, by_name = in_spec.children()
        self.count = len(positional.children())
        self.keywords = list(by_name.context)
        self.names = names
        self.positional_only = {
            p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY
        }
        self.defaults = {
            p.name: p.default
            for p in parameters
            if p.default is not inspect.Parameter.empty
            and not (p.default is None and p.name in self._tensors(constants))
        }

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: a default that pickle does not take must then be given in each call."""
        kept = {name: value for name, value in self.defaults.items() if _is_picklable(value)}
        return {**self.__dict__, "defaults": kept}

    def __deepcopy__(self, memo: dict[int, Any]) -> Arguments:
        """Itself: it never changes."""
        return self

    def _tensors(self, constants: list[bool]) -> set[str]:
        """Arguments that were compiled with a value of every call's own: None is none for them."""
        positional, by_name = self.in_spec.children()
        specs = [*positional.children(), *by_name.children()]
        names = [*self._labels(), *self.keywords]
        tensors, begin = set(), 0
        for name, spec in zip(names, specs, strict=True):
            if not all(constants[begin : begin + spec.num_leaves]):
                tensors.add(name)
            begin += spec.num_leaves
        return tensors

    @classmethod
    def of(cls, program: ExportedProgram, module: nn.Module | None = None) -> Arguments:
        """Those of an exported program, and of the module that it was exported from."""
        in_spec = program.call_spec.in_spec
        specs = program.graph_signature.input_specs
        constants = [
            isinstance(s.arg, ConstantArgument) for s in specs if s.kind is InputKind.USER_INPUT
        ]
        if (parameters := _parameters_of(module)) is not None:
            names = [p.name for p in parameters if p.kind in _POSITIONAL]
            named = [p for p in parameters if p.kind in (*_POSITIONAL, *_BY_NAME)]
            return cls(in_spec, names, named, constants)
        signature = program.module_call_graph[0].signature if program.module_call_graph else None
        names = list(getattr(signature, "forward_arg_names", None) or [])
        return cls(in_spec, names[: len(in_spec.child(0).children())], [], constants)

    def flatten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The flat values of a call, in the order that was compiled.

        Raises:
            TypeError: a missing, unknown or repeated argument, or another nest of tensors.
        """
        flat, spec = pytree.tree_flatten((args, kwargs))
        if spec == self.in_spec:
            return flat
        args, kwargs = self.bind(args, kwargs)
        flat, spec = pytree.tree_flatten(_with_keys_in_order((args, kwargs), self.in_spec))
        if spec != self.in_spec:
            self._refuse_nest(args, kwargs)
        return flat

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same call with each argument by position or keyword, as it was compiled."""
        given = self._by_name(args, kwargs)
        positions: list[str | int] = [
            self.names[i] if i < len(self.names) else i for i in range(self.count)
        ]
        wanted = [*positions, *self.keywords]
        missing = [n for n in wanted if n not in given and n not in self.defaults]
        if missing:
            raise TypeError(
                f"missing argument{'s' if len(missing) > 1 else ''} "
                f"{', '.join(map(_shown, missing))}; {self._taken()}"
            )
        for name, value in given.items():
            if name not in wanted:
                self._refuse_extra(name, value)
        values = [given[n] if n in given else self.defaults[n] for n in wanted]
        return tuple(values[: self.count]), dict(
            zip(self.keywords, values[self.count :], strict=True)
        )

    def _by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str | int, Any]:
        given: dict[str | int, Any] = {
            self.names[i] if i < len(self.names) else i: value for i, value in enumerate(args)
        }
        for name, value in kwargs.items():
            if name in given:
                raise TypeError(
                    f"argument {name!r} is given twice, by position and by keyword; {self._taken()}"
                )
            if name in self.positional_only:
                raise TypeError(f"argument {name!r} is by position only; {self._taken()}")
            given[name] = value
        return given

    def _refuse_extra(self, name: str | int, value: Any) -> None:
        """What was compiled has no such argument; its default may be repeated."""
        if name in self.defaults:
            if same_constant(value, self.defaults[name]):
                return
            raise TypeError(
                f"argument {name!r} was left out when the model was compiled, so that its default "
                f"{self.defaults[name]!r} is part of the compiled model; compile again with it"
            )
        if isinstance(name, int):
            raise TypeError(f"there is no argument {name + 1}; {self._taken()}")
        raise TypeError(f"there is no argument {name!r}; {self._taken()}")

    def _refuse_nest(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        expected = self.in_spec.children()
        named = [*zip(self._labels(), args, expected[0].children(), strict=False)]
        named += zip(self.keywords, kwargs.values(), expected[1].children(), strict=False)
        for name, value, spec in named:
            if pytree.tree_structure(value) != spec:
                raise TypeError(
                    f"argument {name!r} is {_nest(pytree.tree_structure(value))} and was "
                    f"{_nest(spec)} when the model was compiled"
                )
        raise TypeError(f"arguments of another form were given; {self._taken()}")

    def _labels(self) -> list[str]:
        return [
            self.names[i] if i < len(self.names) else f"argument {i + 1}" for i in range(self.count)
        ]

    def signature(self) -> inspect.Signature:
        """Of a function that takes them as they were compiled."""
        names = [n if n.isidentifier() else f"args_{i}" for i, n in enumerate(self._labels())]
        kind = inspect.Parameter
        return inspect.Signature(
            [
                *[kind(name, kind.POSITIONAL_OR_KEYWORD) for name in names],
                *[kind(name, kind.KEYWORD_ONLY) for name in self.keywords],
            ]
        )

    def _taken(self) -> str:
        """The arguments that were compiled, as a sentence."""
        if not self.count and not self.keywords:
            return "the model was compiled without arguments"
        return f"the model was compiled for ({', '.join([*self._labels(), *self.keywords])})"

    def name_of_leaf(self, position: int) -> str:
        """The argument that a flat value belongs to: "scale", "batch[0]['ids']"."""
        try:
            tree = pytree.tree_unflatten(list(range(self.in_spec.num_leaves)), self.in_spec)
            paths = {leaf: path for path, leaf in pytree.tree_flatten_with_path(tree)[0]}
        except Exception:  # a class that numbers are no parts for
            return f"value {position} of the arguments"
        kind, argument, *rest = paths[position]
        name = self._labels()[argument.idx] if kind.idx == 0 else str(argument.key)
        return name + pytree.keystr(tuple(rest))


def _parameters_of(module: nn.Module | None) -> list[inspect.Parameter] | None:
    """Those of a module's forward; None where they are not known."""
    try:
        signature = None if module is None else inspect.signature(module.forward)
    except ValueError:  # TorchScript
        return None
    return None if signature is None else list(signature.parameters.values())


def _with_keys_in_order(value: Any, spec: pytree.TreeSpec) -> Any:
    """A nest whose dicts have their keys in the order of `spec`, as far as they are the same."""
    if type(value) is not spec.type or spec.type not in (dict, list, tuple):
        return value
    children = spec.children()
    if spec.type is dict:
        if set(value) != set(spec.context):
            return value
        pairs = zip(spec.context, children, strict=True)
        return {key: _with_keys_in_order(value[key], child) for key, child in pairs}
    if len(value) != len(children):
        return value
    return spec.type(map(_with_keys_in_order, value, children))


def _is_picklable(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # whatever a class of the user's raises
        return False
    return True


def same_constant(value: Any, expected: Any) -> bool:
    """Whether a call gives the number, text or None that is part of the compiled model."""
    if value is expected:
        return True
    if isinstance(value, torch.Tensor) or type(value) is not type(expected):
        return False
    return bool(value == expected) or (value != value and expected != expected)


def _shown(name: str | int) -> str:
    return repr(name) if isinstance(name, str) else f"number {name + 1}"


def _nest(spec: pytree.TreeSpec) -> str:
    """A nest of values in Python's notation, a star for each value: [*, {'ids': *}]."""

    class _Leaf:
        def __repr__(self) -> str:
            return "*"

    if spec.is_leaf():
        return "one value"
    return repr(pytree.tree_unflatten([_Leaf()] * spec.num_leaves, spec))
