# SPDX-License-Identifier: Apache-2.0
"""Compares a compiled model with eager PyTorch in all that a user sees: values and memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import stator
import torch
from torch import nn
from torch.utils import _pytree as pytree

from tests.ops.check import Call, on_gpu

DOORS = ("compile", "torch_compile")


def fresh(tensor: torch.Tensor) -> torch.Tensor:
    """The same values in other memory, with the same strides."""
    return torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    ).copy_(tensor)


def strides(tensor: torch.Tensor) -> tuple[int | None, ...]:
    """None for axes of one element, whose strides differ between PyTorch's own kernels."""
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return tuple(None if size == 1 else stride for size, stride in pairs)


def memory(results: Any, owners: Sequence[torch.Tensor]) -> list[tuple[Any, ...]]:
    """Of each result: shape, dtype, strides, offset; which others and which owners it lies in."""

    def place(tensor: torch.Tensor) -> int:
        return tensor.untyped_storage().data_ptr()

    tensors = [t for t in pytree.tree_leaves(results) if isinstance(t, torch.Tensor)]
    return [
        (
            tuple(t.shape),
            t.dtype,
            strides(t),
            t.storage_offset(),
            [i for i, other in enumerate(tensors) if place(other) == place(t)],
            [i for i, other in enumerate(owners) if place(other) == place(t)],
            [i for i, other in enumerate(tensors) if other is t],
        )
        for t in tensors
    ]


def compile_by(
    door: str, module: nn.Module, inputs: Sequence[Any], device: str, **settings: Any
) -> Callable[..., Any]:
    """The module compiled ahead of time or just in time; what cannot be compiled is raised."""
    settings = {
        "device": device,
        "min_block_size": 1,
        "optimization_level": 0,
        "timing_cache_path": "",
        "pass_through_build_failures": True,
        "disable_tf32": True,
        **settings,
    }
    if door == "compile":
        return stator.compile(module, inputs=list(inputs), **settings)
    return torch.compile(module, backend="stator", options=settings)


def check_memory(
    function: Callable[..., Any],
    *inputs: torch.Tensor,
    device: str,
    door: str,
    calls: int = 2,
    **settings: Any,
) -> Any:
    """Compare results, and inputs and buffers after the calls, with those of eager PyTorch.

    Returns:
        the compiled module.
    """
    module = function if isinstance(function, nn.Module) else Call(function)
    if device == "cuda":
        torch._C._set_cudnn_allow_tf32(False)  # what float32 is compared with is float32 too
        module = on_gpu(module)
        inputs = tuple(t.cuda() for t in inputs)
    where = "cuda" if device == "cuda" else "cpu"
    with torch.device(where):  # of what the function creates
        return _check_memory(module, inputs, device, door, calls, settings)


def _check_memory(
    function: nn.Module,
    inputs: Sequence[torch.Tensor],
    device: str,
    door: str,
    calls: int,
    settings: dict[str, Any],
) -> Any:
    has_state = not isinstance(function, Call)
    module = copy.deepcopy(function).eval() if has_state else function.eval()
    own = copy.deepcopy(module) if has_state else module
    compiled = compile_by(door, own, [fresh(t) for t in inputs], device, **settings)
    for _ in range(calls):
        theirs, ours = [fresh(t) for t in inputs], [fresh(t) for t in inputs]
        with torch.no_grad():
            expected, got = module(*theirs), compiled(*ours)
        owners = [[*list_, *m.state_dict(keep_vars=True).values()]
                  for list_, m in ((theirs, module), (ours, own))]  # fmt: skip
        assert memory(got, owners[1]) == memory(expected, owners[0])
        leaves = [pytree.tree_leaves(r) for r in (got, expected)]
        for a, b in zip(leaves[0] + owners[1], leaves[1] + owners[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
    return compiled
