# SPDX-License-Identifier: Apache-2.0
"""What is not compared to the letter, and why."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree

from .samples import Case

__all__ = ["eager_is_odd", "places_as_values", "sizes_may_vary"]

# Their integer tensors are rows of the matrix beside them: those of a larger one are out of range
# in a smaller one, where the libraries behind eager read what lies there.
_ROWS_OF_A_MATRIX = ("lu_solve", "linalg.lu_solve", "linalg.ldl_solve", "lu_unpack")

# (operator, a part of what is said): where eager contradicts PyTorch's own rules.
_ODD = (
    # An empty matrix times a vector is added to one number: the result is (0,) by the rules of
    # broadcasting and by the exported program's own noted shape; eager gives the number itself.
    ("addmv", "shape (0,) instead of"),
    # One of eager's kernels takes a gradient and a result of different types, the other does not.
    ("_softmax_backward_data", "expected scalar type"),
    ("_log_softmax_backward_data", "expected scalar type"),
    # At the poles, eager's sine of a whole number of pi is not quite 0.
    ("polygamma.", " inf instead of "),
    ("special.polygamma.", " inf instead of "),
    # A result whose rank depends on a size; the export notes the rank of its example.
    ("squeeze", "which is squeezed, is not 1"),
    ("squeeze_copy", "which is squeezed, is not 1"),
    # Composite operators that take another way where there is no element, or nothing to sum; a
    # program that was exported for two elements and more has the usual way alone.
    ("trap", "torch.float32 instead of torch."),
    ("trap", "select(): index -1 out of range"),
    ("trap", "a negative size"),
    ("sum_to_size", "torch.int64 instead of torch."),
    ("nn.functional.linear_cross_entropy.chunked", "-0.0 instead of nan"),
)

# Operators that tell places, with the position of `dim` among the arguments behind the first.
_PLACES = {
    "topk": 1,
    "kthvalue": 1,
    "sort": 0,
    "argsort": 0,
    "median": 0,
    "nanmedian": 0,
    "mode": 0,
}


def _kernel_is_odd(case: Case, x: torch.Tensor) -> bool:
    """Whether eager's kernel is known to read what it should not."""
    _, _, kwargs = pytree.tree_unflatten(case.module.constants, case.module.spec)
    if case.op.startswith("nn.functional.embedding") and kwargs.get("max_norm") is not None:
        # On GPUs a table's stride is taken for the length of its rows.
        return x.device.type == "cuda" and "non-contiguous" in case.name
    # The CPU's kernel for halves reads beside the image, other numbers in each run.
    halves = (torch.float16, torch.bfloat16)
    return case.op == "nn.functional.grid_sample" and x.device.type == "cpu" and x.dtype in halves


def eager_is_odd(case: Case, tensors: list[torch.Tensor], detail: str) -> bool:
    """Whether a difference from eager is a fault of eager's."""
    if tensors and _kernel_is_odd(case, tensors[0]):
        return True
    detail = f"of {[tuple(t.shape) for t in tensors]}: {detail}"
    return any(case.op.startswith(op) and text in detail for op, text in _ODD)


def sizes_may_vary(case: Case) -> bool:
    """Whether a case's tensors still belong together with other sizes."""
    return case.op not in _ROWS_OF_A_MATRIX


def places_as_values(case: Case, device: str, tensors: list[torch.Tensor], result: Any) -> Any:
    """A result with the values at the places that it tells.

    A GPU's kernels take any of several equal elements, each time others perhaps.
    """
    position = _PLACES.get(case.op)
    if device != "cuda" or position is None:
        return result
    x, args, kwargs = pytree.tree_unflatten(case.module.constants, case.module.spec)
    if kwargs.get("stable"):
        return result
    x = tensors[0]
    dim = args[position] if len(args) > position else kwargs.get("dim", -1)

    def value_at(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.dtype != torch.int64 or not x.dim():
            return leaf
        if leaf.dim() == x.dim():
            return x.gather(dim, leaf)
        return (
            x.gather(dim, leaf.unsqueeze(dim)).squeeze(dim) if leaf.dim() + 1 == x.dim() else leaf
        )

    leaves, spec = pytree.tree_flatten(result)
    places = leaves[-1:] if x.dtype == torch.int64 else leaves
    kept = leaves[: len(leaves) - len(places)]
    return pytree.tree_unflatten([*kept, *map(value_at, places)], spec)
