# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own sample inputs, each as a module and its tensors."""

from __future__ import annotations

import copy
import random
import sys
import types
import unittest
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

__all__ = ["DTYPES", "Case", "cases", "fresh", "op_names", "seed"]

DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8",
    "bool", "complex64",
)  # fmt: skip


def _op_db() -> list[Any]:
    """PyTorch's list of operators.

    Its module also defines test classes and asks for a package that helps to write them; the list
    needs nothing of it, so where it is not installed an empty stand-in will do.
    """
    try:
        import expecttest  # noqa: F401
    except ImportError:
        stand_in = types.ModuleType("expecttest")
        stand_in.TestCase = unittest.TestCase
        sys.modules["expecttest"] = stand_in
    from torch.testing._internal.common_methods_invocations import op_db

    return op_db


def full_name(op: Any) -> str:
    """The name of an OpInfo with its variant, as PyTorch's tests write it."""
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


def op_names() -> list[str]:
    """Every OpInfo by name, in PyTorch's order."""
    return [full_name(op) for op in _op_db()]


def _op(name: str) -> Any:
    return next(op for op in _op_db() if full_name(op) == name)


class Call(nn.Module):
    """One operator with one sample's arguments; its tensors are the inputs."""

    def __init__(self, op: Any, leaves: list[Any], spec: pytree.TreeSpec) -> None:
        super().__init__()
        self.op = op
        self.constants = [None if isinstance(v, torch.Tensor) else v for v in leaves]
        self.places = [i for i, v in enumerate(leaves) if isinstance(v, torch.Tensor)]
        self.spec = spec

    def forward(self, *tensors: torch.Tensor) -> Any:
        """The operator's result, and no reference to its arguments."""
        leaves = list(self.constants)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        value, args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        return self.op(value, *args, **kwargs)


@dataclass
class Case:
    """One call to compare."""

    op: str
    name: str  # "3", "3 non-contiguous": among the samples of the operator and type
    module: Call
    tensors: list[torch.Tensor]


def fresh(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Copies with the same strides, so that a call that writes to its inputs changes nothing."""
    return [copy.deepcopy(t) for t in tensors]


def seed(text: str) -> None:
    """Make what follows depend on `text` alone."""
    value = zlib.crc32(text.encode())
    random.seed(value)
    torch.manual_seed(value)
    try:
        import numpy
    except ImportError:
        return
    numpy.random.seed(value)


def _spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` positions, the first and the last among them."""
    if wanted <= 0 or wanted >= count:
        return list(range(count))
    if wanted == 1:
        return [0]
    return sorted({round(k * (count - 1) / (wanted - 1)) for k in range(wanted)})


def _case(op: str, function: Any, name: str, sample: Any) -> Case:
    leaves, spec = pytree.tree_flatten((sample.input, tuple(sample.args), dict(sample.kwargs)))
    leaves = [v.detach() if isinstance(v, torch.Tensor) else v for v in leaves]
    module = Call(function, leaves, spec)
    return Case(op, name, module.eval(), [v for v in leaves if isinstance(v, torch.Tensor)])


def _differs(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    def layout(t: torch.Tensor) -> Any:
        return (t.shape, t.stride()) if t.layout == torch.strided else t.layout

    return [layout(t) for t in a] != [layout(t) for t in b]


def cases(
    name: str, dtype: str, device: str, wanted: int, reference: bool, inplace: bool = False
) -> Iterator[Case]:
    """The samples of an operator for an element type, always the same ones.

    Args:
        name: of the OpInfo.
        dtype: element type; an operator that does not support it gives nothing.
        device: "cpu" or "cuda".
        wanted: at most so many, spread over all of them, and the last of these once more with
            tensors that are not contiguous; 0: all, each in both forms.
        reference: take reference_inputs, which hold more broadcasting, strides and special values.
        inplace: the operator's variant that writes its result into its first argument.
    """
    op = _op(name)
    element = getattr(torch, dtype)
    function = op.inplace_variant if inplace else op.op
    if element not in op.supported_dtypes(device) or function is None:
        return
    seed(f"{name} {dtype}")
    give = op.reference_inputs if reference else op.sample_inputs
    with torch.no_grad():
        samples = list(give(device, element, requires_grad=False))
    if inplace:
        samples = [s for s in samples if not s.broadcasts_input]
    chosen = _spread(len(samples), wanted)
    for k in chosen:
        plain = _case(name, function, str(k), samples[k])
        yield plain
        if wanted <= 0 or k == chosen[-1]:
            strided = _case(name, function, f"{k} non-contiguous", samples[k].noncontiguous())
            if _differs(plain.tensors, strided.tensors):
                yield strided
