# SPDX-License-Identifier: Apache-2.0
"""Strides that PyTorch notes wrongly while it traces: operators whose fake kernels differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch._prims_common import suggest_memory_format

__all__ = ["correct_noted_strides"]


def correct_noted_strides() -> None:
    """Let fake tensors have the strides that the real kernels give, from now on in this process.

    torch.roll of a channels_last tensor is noted as contiguous (as of PyTorch 2.13), which gives
    whoever computes with strides, Inductor too, wrong values.
    """
    roll = torch.ops.aten.roll.default
    if roll.py_kernels.get(torch._C.DispatchKey.Meta) is not _roll:
        roll.py_kernels[torch._C.DispatchKey.Meta] = _roll
        roll._dispatch_cache.clear()
        _keep.append(torch.library.Library("aten", "IMPL"))
        _keep[-1].impl("roll", _roll, "Meta", allow_override=True)


_keep: list[torch.library.Library] = []  # what they register holds as long as they live


def _roll(self: torch.Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> torch.Tensor:
    """Joined slices, as torch.cat gives them; without dims of the flattened tensor.

    The kernel of GPUs gives a dense row-major tensor always.
    """
    device = getattr(self, "fake_device", self.device)
    if len(dims) == 0 or device.type == "cuda":
        return self.new_empty(self.shape)
    return torch.empty_like(self, memory_format=suggest_memory_format(self))
