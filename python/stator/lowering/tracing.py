# SPDX-License-Identifier: Apache-2.0
"""torch.export by the first of its ways that can follow a model."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.export._trace import _export

from stator._log import logger
from stator.lowering.arguments import changes_returned
from stator.lowering.export_errors import depends_on_data
from stator.lowering.results import results_held
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
            with (
                scripts_opened(module) as opened,
                _changed_numbers_told(opened),
                results_held(opened) if way is not _bytecode else contextlib.nullcontext(),
                changes_returned(opened, wanted),
            ):
                program = way(opened, args, kwargs, shapes)
            _refuse_leftovers(program)
        except Exception as error:
            of_data = first is not None and depends_on_data(first)
            if (
                shapes is not None
                and isinstance(error, torch._dynamo.exc.UserError)
                and not of_data
            ):
                raise  # an Input's range, which the user hears about
            first = first or error
            continue
        if first is not None:
            logger.info("torch.export followed the model another way: %s", first)
        return program
    assert first is not None
    raise first


@contextlib.contextmanager
def _changed_numbers_told(module: nn.Module) -> Iterator[None]:
    """Warn of numbers and texts that the model changes of its own: a graph holds them as they were.

    torch.export gives them back their values when the model has been traced.
    """
    before = _numbers(module)

    def compare(_module: nn.Module, _args: Any, _result: Any) -> None:
        now = _numbers(module)
        changed = [place for place, value in before.items() if now.get(place, value) != value]
        if changed and module not in _told:
            _told.add(module)
            owner, name = changed[0]
            logger.warning(
                "%s changes its attribute %r, which is no tensor, in each call; the compiled model "
                "changes it no more, and computes as in its first call. Make it a buffer, or use "
                "torch.compile(model, backend='stator')",
                type(owner).__name__, name,
            )  # fmt: skip

    handle = module.register_forward_hook(compare)
    try:
        yield
    finally:
        handle.remove()


_told: weakref.WeakSet[nn.Module] = weakref.WeakSet()


def _numbers(module: nn.Module) -> dict[tuple[nn.Module, str], Any]:
    return {
        (owner, name): value
        for owner in module.modules()
        for name, value in vars(owner).items()
        if type(value) in (int, float, bool, str)
    }


def _refuse_leftovers(program: ExportedProgram) -> None:
    """Some operators that trace by themselves leave tensors without data among the constants."""
    for name, value in program.constants.items():
        if not isinstance(value, torch.Tensor):
            continue
        if isinstance(value, FakeTensor) or is_functorch_wrapped_tensor(value):
            raise RuntimeError(f"torch.export left {name} without data")
