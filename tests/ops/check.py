# SPDX-License-Identifier: Apache-2.0
"""Compares an operator compiled by Stator with eager PyTorch: values, dtype and shape."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Sequence
from typing import Any

import stator
import torch
from torch import nn
from torch.utils import _pytree as pytree


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def assert_same(got: Any, expected: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """The same nest of tensors, element types and values."""
    got_leaves, got_spec = pytree.tree_flatten(got)
    leaves, spec = pytree.tree_flatten(expected)
    assert got_spec == spec
    for a, b in zip(got_leaves, leaves, strict=True):
        if isinstance(b, torch.Tensor):
            torch.testing.assert_close(
                a, b, rtol=rtol, atol=atol, equal_nan=True, check_stride=False
            )
        else:
            assert a == b


def lacks_kernel(fallback: dict[str, str]) -> bool:
    """Whether an operator runs in PyTorch because it is faster there: it could be compiled."""
    return "backend has no kernel for its" in fallback["reason"]


def input_of(tensor: Any, dynamic: Sequence[int]) -> Any:
    """An Input whose `dynamic` dimensions range from 0 to twice and one more."""
    if not isinstance(tensor, torch.Tensor) or not dynamic:
        return tensor
    sizes = list(tensor.shape)
    least = [0 if k in dynamic else s for k, s in enumerate(sizes)]
    most = [2 * s + 1 if k in dynamic else s for k, s in enumerate(sizes)]
    return stator.Input(min_shape=least, opt_shape=sizes, max_shape=most, dtype=tensor.dtype)


def on_gpu(value: Any) -> Any:
    """Tensors and modules on the GPU, anything else as it is."""
    if isinstance(value, Call):
        return Call(on_gpu(value.function))
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).cuda()
    if isinstance(value, types.FunctionType) and value.__closure__:
        cells = tuple(types.CellType(on_gpu(c.cell_contents)) for c in value.__closure__)
        return types.FunctionType(
            value.__code__, value.__globals__, value.__name__, value.__defaults__, cells
        )
    return value.cuda() if isinstance(value, torch.Tensor) else value


def check(
    function: Callable[..., Any],
    *args: Any,
    device: str = "cpu",
    dynamic: Sequence[int] = (),
    others: Sequence[Sequence[Any]] = (),
    rtol: float = 1e-4,
    atol: float = 1e-5,
    compiled_whole: bool = True,
) -> Any:
    """Compile `function` and compare it with eager on `args` and on `others`.

    Args:
        function: a module or a function of tensors.
        args: example arguments.
        device: backend.
        dynamic: dimensions of every tensor argument that vary.
        others: further argument lists (of other sizes when dynamic).
        rtol, atol: tolerances.
        compiled_whole: nothing may run in PyTorch but what a backend has no kernel for yet.
    """
    module = function if isinstance(function, nn.Module) else Call(function)
    if device == "cuda":
        torch._C._set_cudnn_allow_tf32(False)  # what float32 is compared with is float32 too
        module, args, others = pytree.tree_map(on_gpu, (module, args, list(others)))
    with torch.device("cuda" if device == "cuda" else "cpu"):  # of what the function creates
        return _check(module, args, device, dynamic, others, rtol, atol, compiled_whole)


def _check(
    module: nn.Module,
    args: Sequence[Any],
    device: str,
    dynamic: Sequence[int],
    others: Sequence[Sequence[Any]],
    rtol: float,
    atol: float,
    compiled_whole: bool,
) -> Any:
    inputs = [input_of(a, dynamic) for a in args]
    compiled = stator.compile(
        module.eval(),
        inputs=inputs,
        device=device,
        min_block_size=1,
        optimization_level=0,
        timing_cache_path="",
        pass_through_build_failures=True,
        disable_tf32=True,  # float32 is compared as float32
    )
    if compiled_whole:
        assert [f for f in compiled.stator_report.fallbacks if not lacks_kernel(f)] == []
    for given in [args, *others]:
        assert_same(compiled(*given), module(*given), rtol, atol)
    return compiled
