# SPDX-License-Identifier: Apache-2.0
"""Compares results with eager PyTorch's: values, element types and shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

__all__ = ["difference"]

# Relative and absolute tolerance. What exceeds it in floats is then held against a computation in
# float64, of which eager's own rounding may be as far away as ours.
_TOLERANCE = {
    torch.float64: (1e-7, 1e-8),
    torch.complex128: (1e-7, 1e-8),
    torch.float32: (1e-4, 1e-5),
    torch.complex64: (1e-4, 1e-5),
    torch.float16: (4e-3, 1e-3),
    torch.complex32: (4e-3, 1e-3),
    torch.bfloat16: (3.2e-2, 8e-3),
}


def _real(t: torch.Tensor) -> torch.Tensor:
    """A plain tensor in float64, complex numbers as pairs."""
    t = t.detach().cpu()
    if t.is_quantized:
        t = t.dequantize()
    if t.layout != torch.strided:
        t = t.to_dense()
    t = t.resolve_conj().resolve_neg()
    if t.is_complex():
        return torch.view_as_real(t.to(torch.complex128))
    return t.double()


def _wrong_elements(
    got: torch.Tensor, expected: torch.Tensor, exact: torch.Tensor | None, dtype: torch.dtype
) -> torch.Tensor:
    """Where `got` is wrong: NaN and infinity elsewhere, or too far from eager and the exact."""
    rtol, atol = _TOLERANCE[dtype]
    # A sum of large terms may be small: ten roundings of the largest result.
    numbers = expected[expected.isfinite()].abs()
    eps = min(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
    atol += 10 * eps * float(numbers.max()) if numbers.numel() else 0.0
    allowed = atol + rtol * expected.abs()
    special = ~(got.isfinite() & expected.isfinite())
    same = (got == expected) | (got.isnan() & expected.isnan())
    wrong = ~same & (special | ((got - expected).abs() > allowed))
    if exact is not None and exact.shape == got.shape:
        ours = (got - exact).abs()
        eagers = (expected - exact).abs().nan_to_num(0.0, 0.0)  # its own type may have overflown
        # Both are numbers, or we are where eager's own type has overflown: compare to the truth.
        good = got.isfinite() & exact.isfinite() & (ours <= 2 * eagers + atol + rtol * exact.abs())
        good |= got.isnan() & exact.isnan()
        good |= (got == exact) & exact.isinf()
        wrong &= ~good
    return wrong


def _tensor_difference(got: Any, expected: torch.Tensor, exact: Any, values: bool) -> str:
    if not isinstance(got, torch.Tensor):
        return f"{type(got).__name__} instead of a tensor"
    if got.dtype != expected.dtype:
        return f"{got.dtype} instead of {expected.dtype}"
    if got.shape != expected.shape:
        return f"shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
    if got.device != expected.device:
        return f"on {got.device} instead of {expected.device}"
    if not values or expected.is_nested:
        return ""
    if expected.dtype not in _TOLERANCE:
        a, b = got.detach().cpu(), expected.detach().cpu()
        if a.is_quantized:
            a, b = a.int_repr(), b.int_repr()
        if a.layout != torch.strided:
            a, b = a.to_dense(), b.to_dense()
        wrong = a != b
    else:
        a, b = _real(got), _real(expected)
        reference = _real(exact) if isinstance(exact, torch.Tensor) else None
        wrong = _wrong_elements(a, b, reference, expected.dtype)
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in wrong.nonzero()[0])
    return (
        f"{int(wrong.sum())} of {wrong.numel()} elements differ, "
        f"at {at} {a[at].item()} instead of {b[at].item()}"
    )


def difference(got: Any, expected: Any, values: bool, exact: Callable[[], Any]) -> str:
    """What differs between two results; "" where nothing does.

    Args:
        got, expected: nests of tensors and numbers.
        values: False: element types and shapes alone (random numbers, uninitialized memory).
        exact: gives eager's result in float64, or None where there is none; asked when needed.
    """
    leaves, spec = pytree.tree_flatten(got)
    wanted, wanted_spec = pytree.tree_flatten(expected)
    if len(leaves) != len(wanted) or spec.type is not wanted_spec.type:
        return f"{spec} instead of {wanted_spec}"
    for i, (a, b) in enumerate(zip(leaves, wanted, strict=True)):
        if isinstance(b, torch.Tensor):
            text = _tensor_difference(a, b, None, values)
            if text and b.dtype in _TOLERANCE and "elements" in text:
                text = _tensor_difference(a, b, _leaf(exact(), i, len(wanted)), values)
        elif type(a) is not type(b):
            text = f"{type(a).__name__} instead of {type(b).__name__}"
        else:
            same = a == b or (a != a and b != b) or not values
            text = "" if same else f"{a!r} instead of {b!r}"
        if text:
            return f"result {i}: {text}" if len(wanted) > 1 else text
    return ""


def _leaf(nest: Any, index: int, count: int) -> Any:
    leaves = pytree.tree_leaves(nest)
    return leaves[index] if len(leaves) == count else None
