# SPDX-License-Identifier: Apache-2.0
"""What the tracing of a graph switches on and off in the process, put back after an error.

torch.func's transforms, dual numbers, gradient modes and autocast are pairs of calls in the graphs
that Dynamo captures, not blocks of `with`: an error between two of a pair would leave every later
call of the process inside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch._C import _functorch
from torch._C._functorch import TransformType
from torch.autograd import forward_ad

__all__ = ["restored_state"]

_AUTOCAST_DEVICES = ("cpu", "cuda")
_END = {
    TransformType.Grad: _functorch._grad_decrement_nesting,
    TransformType.Jvp: _functorch._jvp_decrement_nesting,
    TransformType.Vmap: _functorch._vmap_decrement_nesting,
    TransformType.Functionalize: _functorch._func_decrement_nesting,
}


@contextlib.contextmanager
def restored_state() -> Iterator[None]:
    """Around the tracing of a graph."""
    with (
        torch.set_grad_enabled(torch.is_grad_enabled()),
        _restored_autocast(),
        _restored_transforms(),
    ):
        yield


@contextlib.contextmanager
def _restored_transforms() -> Iterator[None]:
    depth = len(_functorch.get_interpreter_stack() or [])
    forward = torch._C._is_fwd_grad_enabled()
    in_place = _functorch.get_inplace_requires_grad_allowed()
    without_hooks = torch._C._autograd._saved_tensors_hooks_get_disabled_error_message()
    try:
        yield
    except BaseException:
        _end_transforms(depth)
        torch._C._set_fwd_grad_enabled(forward)
        _functorch.set_inplace_requires_grad_allowed(in_place)
        if without_hooks is None:
            torch._C._autograd._saved_tensors_hooks_enable()
        raise


def _end_transforms(depth: int) -> None:
    """End the transforms beyond the `depth` outer ones, the innermost first."""
    kinds = [i.key() for i in (_functorch.get_interpreter_stack() or [])[depth:]]
    for kind in reversed(kinds):
        _END[kind]()
    if TransformType.Jvp in kinds and forward_ad._current_level < 0:
        # There is one level of dual numbers at most, and PyTorch tells only by this error of none.
        with contextlib.suppress(RuntimeError):
            torch._C._exit_dual_level(level=0)


@contextlib.contextmanager
def _restored_autocast() -> Iterator[None]:
    devices = [
        (d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in _AUTOCAST_DEVICES
    ]
    cached = torch.is_autocast_cache_enabled()
    nesting = _autocast_nesting()
    try:
        yield
    except BaseException:
        for device, enabled, dtype in devices:
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        torch.set_autocast_cache_enabled(cached)
        while _autocast_nesting() > nesting:
            torch.autocast_decrement_nesting()
        raise


def _autocast_nesting() -> int:
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()
