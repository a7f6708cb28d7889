# SPDX-License-Identifier: Apache-2.0
"""Calls of a compiled module that are recorded: by torch.export, make_fx, torch.jit.trace, FX."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import is_fake
from torch.utils import _python_dispatch
from torch.utils import _pytree as pytree

__all__ = [
    "is_fake_call", "is_symbolic_call", "is_traced", "proxy_among", "recorded_call",
    "refuse_symbolic_trace",
]  # fmt: skip

_symbolic_trace = fx._symbolic_trace
_modes = torch._C._len_torch_dispatch_stack
_is_tracing = torch._C._is_tracing  # asked in each call: what costs least


def is_traced() -> bool:
    """Whether PyTorch records what is computed, or a dispatch mode sees it."""
    # The flag is what costs least; it stays where the modes are put aside for a while, as when a
    # backend of torch.compile computes.
    in_a_mode = _python_dispatch._is_in_torch_dispatch_mode and _modes() > 0
    return in_a_mode or _symbolic_trace._is_fx_tracing_flag or _is_tracing()


def is_fake_call(args: Any) -> bool:
    """Whether an argument is a tensor without data, of which only the results' sizes are asked."""
    return any(isinstance(value, torch.Tensor) and is_fake(value) for value in args)


def is_symbolic_call(args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a tensor without data, or what FX traces with, is among the arguments."""
    leaves = pytree.tree_leaves((args, kwargs))
    return is_fake_call(leaves) or any(isinstance(leaf, fx.Proxy) for leaf in leaves)


def proxy_among(args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Proxy | None:
    """What torch.fx.symbolic_trace of a model around this one calls it with."""
    if not _symbolic_trace._is_fx_tracing_flag:
        return None
    for leaf in pytree.tree_leaves((args, kwargs)):
        if isinstance(leaf, fx.Proxy):
            return leaf
    return None


def recorded_call(
    module: nn.Module, proxy: fx.Proxy, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A call of the module as one node of FX's graph: it has no operators that FX could see."""
    tracer = proxy.tracer
    if not isinstance(tracer, fx.Tracer):
        refuse_symbolic_trace()
    return tracer.create_proxy("call_module", tracer.path_of_module(module), args, kwargs)


def refuse_symbolic_trace() -> NoReturn:
    """Say what may be traced.

    Raises:
        TypeError: always.
    """
    raise TypeError(
        "torch.fx.symbolic_trace cannot look into a compiled model: trace the model that it was "
        "made of, or one that has it as a part (it becomes one node), or use torch.export.export"
    )
