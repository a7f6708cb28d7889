# SPDX-License-Identifier: Apache-2.0
"""torch.export by the first of its ways that can follow a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.export._trace import _export

from stator._log import logger
from stator.lowering.arguments import changes_returned
from stator.lowering.scripted import scripts_opened

__all__ = ["export_by_any_way"]


def _operators_as_written(module: nn.Module, *args: Any) -> ExportedProgram:
    """Composite operators are kept, as the compiler wants them."""
    positional, keywords, shapes = args
    return torch.export.export(module, positional, keywords, dynamic_shapes=shapes, strict=False)


def _operators_as_dispatched(module: nn.Module, *args: Any) -> ExportedProgram:
    """Below torch.func's transforms (vmap, grad), which leave their own tensors above."""
    positional, keywords, shapes = args
    return _export(module, positional, keywords, shapes, strict=False, pre_dispatch=False)


def _bytecode(module: nn.Module, *args: Any) -> ExportedProgram:
    positional, keywords, shapes = args
    return torch.export.export(module, positional, keywords, dynamic_shapes=shapes, strict=True)


_WAYS: list[Callable[..., ExportedProgram]] = [
    _operators_as_written, _operators_as_dispatched, _bytecode,
]  # fmt: skip


def export_by_any_way(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shapes: Any,
    changes: bool = True,
) -> ExportedProgram:
    """Export a module.

    Args:
        module, args, kwargs, shapes: as torch.export takes them.
        changes: give a Changed where the model changes the nests of its arguments.

    Raises:
        whatever the first way raises, where none succeeds.
    """
    first: Exception | None = None
    for way in _WAYS:
        wanted = changes and way is not _bytecode
        try:
            with scripts_opened(module) as opened, changes_returned(opened, wanted):
                program = way(opened, args, kwargs, shapes)
            _refuse_leftovers(program)
        except Exception as error:
            if shapes is not None and isinstance(error, torch._dynamo.exc.UserError):
                raise  # an Input's range, which the user hears about
            first = first or error
            continue
        if first is not None:
            logger.info("torch.export followed the model another way: %s", first)
        return program
    assert first is not None
    raise first


def _refuse_leftovers(program: ExportedProgram) -> None:
    """Some operators that trace by themselves leave tensors without data among the constants."""
    for name, value in program.constants.items():
        if not isinstance(value, torch.Tensor):
            continue
        if isinstance(value, FakeTensor) or is_functorch_wrapped_tensor(value):
            raise RuntimeError(f"torch.export left {name} without data")
