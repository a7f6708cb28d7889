# SPDX-License-Identifier: Apache-2.0
"""What Dynamo is at while a backend is called: the user's frame, its modules, the compile call."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from torch import nn

__all__ = ["CompileCall", "compile_call", "frame_place", "in_training_mode"]


def _translator() -> Any:
    from torch._dynamo.symbolic_convert import InstructionTranslator

    try:
        return InstructionTranslator.current_tx()
    except AttributeError:  # called without Dynamo
        return None


def _modules(tx: Any) -> list[nn.Module]:
    """The modules that Dynamo has seen in the frame."""
    values = list(tx.output.nn_modules.values()) if tx.output.nn_modules else []
    values += [
        v.value for v in tx.output.side_effects.id_to_variable.values() if hasattr(v, "value")
    ]
    return [v for v in values if isinstance(v, nn.Module)]


def in_training_mode() -> str:
    """The class of a module in training mode that the frame holds; "" where there is none."""
    tx = _translator()
    training = [] if tx is None else [m for m in _modules(tx) if m.training]
    return type(training[0]).__name__ if training else ""


def frame_place() -> str:
    """The frame as a message names it: "the graph of forward (model.py:12)"."""
    tx = _translator()
    if tx is None:
        return "the graph"
    code = tx.output.root_tx.f_code if tx.output.root_tx is not None else tx.f_code
    if code.co_filename.endswith("torch/_dynamo/external_utils.py"):  # around PyTorch's own modules
        modules = _modules(tx)
        return f"the graph of {type(modules[0]).__name__}" if modules else "the graph"
    return f"the graph of {code.co_name} ({code.co_filename}:{code.co_firstlineno})"


@dataclass
class CompileCall:
    """One call of torch.compile: its graphs share one warning that nothing was compiled."""

    compiled: bool = False  # any graph has an engine
    warned: bool = False


_calls: weakref.WeakKeyDictionary[Any, CompileCall] = weakref.WeakKeyDictionary()


def compile_call() -> CompileCall:
    """The call that the graph at hand belongs to."""
    tx = _translator()
    function = None if tx is None else tx.output.compiler_fn
    try:
        return _calls.setdefault(function, CompileCall())
    except TypeError:  # no Dynamo, or a function without weak references
        return CompileCall()
