# SPDX-License-Identifier: Apache-2.0
"""Dataclasses among a model's results that PyTorch does not know.

torch.export takes an object of a class that its pytrees do not know for an error. To register the
class would change it for the whole process, so the model gives a Held in its place while it is
exported, and a call of the compiled model makes the object again.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

__all__ = ["give_objects", "held", "objects_in", "results_held", "spec_of_objects", "with_held"]

# What is a result of an exported program; anything else in a field is as it was when traced.
_VALUES = (
    torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool, int, float, bool, type(None),
)  # fmt: skip


class Held:
    """The fields of a dataclass's object."""

    def __init__(self, kind: type, names: tuple[str, ...], values: list[Any], fixed: Any) -> None:
        """Hold the fields `names`; `fixed` are others, (name, value), that are no results."""
        self.kind, self.names, self.values, self.fixed = kind, names, values, fixed

    @classmethod
    def of(cls, value: Any) -> Held:
        """All that the object holds, be it a field or set otherwise."""
        fields = [f.name for f in dataclasses.fields(value) if hasattr(value, f.name)]
        names = dict.fromkeys([*fields, *getattr(value, "__dict__", {})])
        parts = {name: held(getattr(value, name)) for name in names}
        fixed = {
            name: part
            for name, part in parts.items()
            if not all(isinstance(leaf, _VALUES) for leaf in pytree.tree_leaves(part))
        }
        for name, part in fixed.items():
            if any(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(part)):
                raise TypeError(
                    f"the field {name!r} of a {_name(type(value))} among the model's results holds "
                    "tensors beside what PyTorch does not know"
                )
        values = {name: part for name, part in parts.items() if name not in fixed}
        return cls(type(value), tuple(values), list(values.values()), tuple(fixed.items()))

    def object(self) -> Any:
        """The object, as it was when the model gave it: nothing of its class's is run."""
        made = self.kind.__new__(self.kind)
        for name, value in (*zip(self.names, self.values, strict=True), *self.fixed):
            object.__setattr__(made, name, value)
        return made


class _Object(Held):
    """The same in the form of a compiled model's results: PyTorch's pytrees make the object."""


def _flatten(value: Held) -> tuple[list[Any], Any]:
    return value.values, (value.kind, value.names, value.fixed)


def _flatten_with_keys(value: Held) -> tuple[list[Any], Any]:
    keys = map(pytree.GetAttrKey, value.names)
    return list(zip(keys, value.values, strict=True)), (value.kind, value.names, value.fixed)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _to_file(context: Any) -> Any:
    kind, names, fixed = context
    for name, value in fixed:
        if not isinstance(value, str):
            raise ValueError(
                f"the field {name!r} of a {_name(kind)} among the results is a "
                f"{type(value).__name__}, which no file holds"
            )
    return [kind.__module__, kind.__qualname__, list(names), [list(pair) for pair in fixed]]


def _from_file(context: Any) -> Any:
    """The class by its name, where it has been imported: a file has nothing imported."""
    module, name, names, fixed = context
    kind: Any = sys.modules.get(module)
    for part in name.split("."):
        kind = getattr(kind, part, None)
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        raise ValueError(
            f"the program's results are of the class {module}.{name}, which is not known here: "
            "import its module before the program is loaded"
        )
    return kind, tuple(names), tuple((name, text) for name, text in fixed)


for _kind, _unflatten in (
    (Held, lambda parts, context: Held(*context[:2], list(parts), context[2])),
    (_Object, lambda parts, context: Held(*context[:2], list(parts), context[2]).object()),
):
    pytree.register_pytree_node(
        _kind,
        _flatten,
        _unflatten,
        serialized_type_name=f"stator.{_kind.__name__}",
        to_dumpable_context=_to_file,
        from_dumpable_context=_from_file,
        flatten_with_keys_fn=_flatten_with_keys,
    )


def _is_unknown(leaf: Any) -> bool:
    return dataclasses.is_dataclass(leaf) and not isinstance(leaf, type)


def held(nest: Any) -> Any:
    """A nest with a Held for each dataclass's object that PyTorch does not know."""
    if not any(map(_is_unknown, pytree.tree_leaves(nest))):
        return nest
    return pytree.tree_map(lambda leaf: Held.of(leaf) if _is_unknown(leaf) else leaf, nest)


def _is_held(value: Any) -> bool:
    return isinstance(value, Held)


def objects_in(nest: Any) -> Any:
    """The inverse of held()."""
    if not any(map(_is_held, pytree.tree_leaves(nest, is_leaf=_is_held))):
        return nest
    leaves, spec = pytree.tree_flatten(nest)
    return pytree.tree_unflatten(leaves, spec_of_objects(spec))


def spec_of_objects(spec: pytree.TreeSpec) -> pytree.TreeSpec:
    """The form of results with objects where `spec` has a Held."""
    return _converted(spec, Held, _Object)


def _converted(spec: pytree.TreeSpec, old: type, new: type) -> pytree.TreeSpec:
    if spec.is_leaf():
        return spec
    children = [_converted(child, old, new) for child in spec.children()]
    if spec.type is not old and all(a is b for a, b in zip(children, spec.children(), strict=True)):
        return spec
    return pytree.TreeSpec(new if spec.type is old else spec.type, spec.context, children)


def give_objects(program: ExportedProgram) -> None:
    """Have an exported program give objects itself; see with_held()."""
    signature = program.module_call_graph[0].signature
    if signature is not None:
        signature.out_spec = spec_of_objects(signature.out_spec)


def with_held(program: ExportedProgram) -> ExportedProgram:
    """A program that gives objects in the form that PyTorch can trace again."""
    signature = program.module_call_graph[0].signature if program.module_call_graph else None
    spec = signature.out_spec if signature is not None else None
    if spec is None or (held_spec := _converted(spec, _Object, Held)) is spec:
        return program
    changed = copy.copy(program)
    first = dataclasses.replace(
        program.module_call_graph[0],
        signature=dataclasses.replace(signature, out_spec=held_spec),
    )
    changed._module_call_graph = [first, *program.module_call_graph[1:]]
    return changed


@contextlib.contextmanager
def results_held(module: nn.Module) -> Iterator[None]:
    """While it is traced the model gives a Held for an object that PyTorch does not know."""
    handle = module.register_forward_hook(lambda _module, _args, result: held(result))
    try:
        yield
    finally:
        handle.remove()
