# SPDX-License-Identifier: Apache-2.0
"""Where torch.export cannot follow a model: which argument or line, and what to do."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stator import _native

__all__ = ["ExportError", "check_arguments", "depends_on_data", "export_error"]

_FOLDERS = (Path(torch.__path__[0]), Path(__file__).parents[1])
_PACKAGES = tuple(f"{p}/" for folder in _FOLDERS for p in {folder, folder.resolve()})


class ExportError(_native.StatorError):
    """torch.export cannot follow a model; PyTorch's own error is the cause."""

    #: Whether torch.compile can, by breaking the graph there.
    breaks_graph = False


def check_arguments(module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Refuse example inputs that are not the arguments of the model's forward.

    Raises:
        TypeError: names the argument that is missing, or that there is not.
    """
    try:
        signature = inspect.signature(module.forward)
    except ValueError:  # a forward without one, as TorchScript's
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(
            f"the inputs do not fit {type(module).__name__}.forward{signature}: {error}"
        ) from None


def _line_of(error: BaseException) -> str:
    """The user's line that the error came from: in the innermost forward, or what that called."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [not frame.filename.startswith((*_PACKAGES, "<")) for frame in frames]
    forwards = [i for i, frame in enumerate(frames) if own[i] and frame.name == "forward"]
    if not forwards:
        return ""  # only the lines of whoever called compile
    at = forwards[-1]
    while at + 1 < len(frames) and own[at + 1]:
        at += 1
    frame = frames[at]
    return f"{frame.filename}:{frame.lineno} in {frame.name}, `{frame.line}`"


def export_error(error: Exception, module: nn.Module) -> ExportError:
    """What to raise, with PyTorch's error as the cause.

    Args:
        error: that torch.export raised.
        module: that was exported.
    """
    line = _line_of(error)
    text = str(error).strip().splitlines()
    told = ExportError(
        f"torch.export (with strict=False) cannot follow {type(module).__name__}"
        f"{f', at {line}' if line else ''}: {type(error).__name__}: "
        f"{text[0] if text else 'no message'}\n{_advice(error)}\n"
        "PyTorch's whole message is that of the exception's cause"
    )
    told.breaks_graph = (
        _in_autograd_function(error) or depends_on_data(error) or _gives_unknown_object(error)
    )
    return told


def depends_on_data(error: BaseException) -> bool:
    """Whether a size or a branch depends on the values of a tensor."""
    text = f"{type(error).__name__} {error}"
    return "GuardOnDataDependent" in text or "data-dependent" in text.lower()


def _gives_unknown_object(error: BaseException) -> bool:
    """Whether the model gives something that PyTorch does not know to hold tensors."""
    text = str(error)
    return "not a known type" in text or "pytree-flattenable" in text


def _in_autograd_function(error: BaseException) -> bool:
    """Whether the error was raised inside of an autograd function of the user's."""
    return any(
        frame.name == "apply" and frame.filename.endswith("torch/autograd/function.py")
        for frame in traceback.extract_tb(error.__traceback__)
    )


def _advice(error: Exception) -> str:
    text = f"{type(error).__name__} {error}"
    jit = 'torch.compile(model, backend="stator") breaks the graph there instead'
    if _in_autograd_function(error) or "flash" in text.lower():
        return (
            f"remedy: {jit}; for attention kernels with autograd functions of their own, use "
            "torch.nn.functional.scaled_dot_product_attention"
        )
    if depends_on_data(error):
        return (
            "remedy: a size or a branch depends on the values of a tensor, which no graph holds. "
            f"{jit}; or state what is known of it with torch._check(...), or use torch.where or "
            "torch.cond"
        )
    if _gives_unknown_object(error):
        return (
            "remedy: the model gives an object that PyTorch does not know to be made of tensors: "
            "give tensors in tuples, lists, dicts or dataclasses, or call "
            f"torch.utils._pytree.register_pytree_node for its class. {jit}"
        )
    if isinstance(error, torch._dynamo.exc.UserError | torch._dynamo.exc.Unsupported):
        return f"remedy: {jit}"
    return (
        "remedy: if the model takes these inputs in PyTorch (call it with them), torch.export "
        f"cannot trace it: {jit}. If it does not, the message above is the model's own"
    )
