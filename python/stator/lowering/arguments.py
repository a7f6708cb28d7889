# SPDX-License-Identifier: Apache-2.0
"""Arguments that a model changes by more than writing into their tensors.

A cache that gets another tensor, a list that grows: torch.export forgets such changes, because it
calls the model with copies of the nests. Here the model gives what became of its arguments beside
its result, and a call of the compiled model writes that into the caller's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from stator.lowering.results import objects_in

__all__ = ["Changed", "changes_returned", "in_pytorch"]


class Changed:
    """A model's result, and its arguments as it left them."""

    def __init__(self, result: Any, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        self.result = result
        self.arguments = arguments

    def written_into(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result, after the caller's arguments were changed as the model's were."""
        _write(list(args), list(self.arguments[0]))
        _write(dict(kwargs), dict(self.arguments[1]))
        return self.result


pytree.register_pytree_node(
    Changed,
    lambda c: ([c.result, c.arguments], None),
    lambda parts, _: Changed(*parts),
    serialized_type_name="stator.Changed",
    flatten_with_keys_fn=lambda c: (
        [(pytree.GetAttrKey(name), getattr(c, name)) for name in ("result", "arguments")],
        None,
    ),
)


def _write(old: Any, new: Any) -> Any:
    """`old` made equal to `new`, or `new` where `old` cannot change."""
    if type(old) is not type(new) or isinstance(old, torch.Tensor) or old is new:
        return new
    if isinstance(old, dict):
        for key in [k for k in old if k not in new]:
            del old[key]
        for key, value in new.items():
            old[key] = _write(old.get(key), value)
    elif isinstance(old, list):
        old[:] = [_write(old[i], v) if i < len(old) else v for i, v in enumerate(new)]
    elif isinstance(old, tuple):
        parts = [_write(a, b) for a, b in zip(old, new, strict=False)]
        same = len(old) == len(new) and all(a is b for a, b in zip(old, parts, strict=True))
        return old if same else new
    elif hasattr(old, "__dict__") and pytree.SUPPORTED_NODES.get(type(old)) is not None:
        vars(old).update(vars(new))
    else:
        return new
    return old


@contextlib.contextmanager
def changes_returned(module: nn.Module, wanted: bool = True) -> Iterator[None]:
    """While it is traced the model gives a Changed where it changes its arguments' nests."""
    if not wanted:
        yield
        return
    given: list[Any] = []

    def before(_module: nn.Module, args: Any, kwargs: Any) -> None:
        given[:] = [(args, kwargs), *pytree.tree_flatten((args, kwargs))]

    def after(_module: nn.Module, _args: Any, _kwargs: Any, result: Any) -> Any:
        arguments, leaves, spec = given
        now, spec_now = pytree.tree_flatten(arguments)
        if spec == spec_now and all(a is b for a, b in zip(leaves, now, strict=True)):
            return None
        return Changed(result, arguments)

    handles = [
        module.register_forward_pre_hook(before, prepend=True, with_kwargs=True),
        module.register_forward_hook(after, with_kwargs=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def in_pytorch(program: ExportedProgram) -> nn.Module:
    """The program as a module that runs in PyTorch and is called as the model is."""
    module = program.module()

    def write(_module: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        if isinstance(result, Changed):
            result = result.written_into(args, kwargs)
        return objects_in(result)

    module.register_forward_hook(write, with_kwargs=True)
    return module
