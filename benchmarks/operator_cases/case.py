# SPDX-License-Identifier: Apache-2.0
"""One operator at one everyday size, and the tensors that it is called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["Case", "Of", "aten", "booleans", "floats", "images", "integers", "places"]

aten = torch.ops.aten


@dataclass(frozen=True)
class Of:
    """A tensor argument.

    `kind`: "float" is of the type that is timed, "int64" and "bool" are what they say, between
    `low` and `high`. `is_image`: NCHW, timed in channels_last as well. `varies`: its first size is
    the one that varies where dynamic sizes are timed.
    """

    shape: tuple[int, ...]
    kind: str = "float"
    low: float = -2.0
    high: float = 2.0
    is_image: bool = False
    varies: bool = True

    def make(self, dtype: torch.dtype, channels_last: bool, device: str) -> torch.Tensor:
        """The tensor, with the same values whenever it is made."""
        generator = torch.Generator().manual_seed(sum(self.shape))
        if self.kind == "float":
            width = self.high - self.low
            made = torch.rand(self.shape, generator=generator) * width + self.low
            made = made.to(dtype)
        else:
            high = 2 if self.kind == "bool" else int(self.high)
            low = 0 if self.kind == "bool" else int(self.low)
            made = torch.randint(low, high, self.shape, generator=generator)
            made = made.bool() if self.kind == "bool" else made
        if channels_last and self.is_image:
            layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
            made = made.contiguous(memory_format=layouts[len(self.shape)])
        return made.to(device)


@dataclass(frozen=True)
class Case:
    """`call(*args)`, where each `Of` among the arguments is a tensor of it."""

    operator: str
    label: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    only_float32: bool = False
    weights: tuple[Of, ...] = field(default=())  # constants of the model, given behind the args

    @property
    def has_image(self) -> bool:
        """Whether it is timed in channels_last too."""
        return any(isinstance(a, Of) and a.is_image for a in self.args)


def floats(*shape: int, low: float = -2.0, high: float = 2.0, varies: bool = True) -> Of:
    """Numbers of the type that is timed."""
    return Of(shape, low=low, high=high, varies=varies)


def images(*shape: int, low: float = -2.0, high: float = 2.0) -> Of:
    """The same as NCHW or NCDHW."""
    return Of(shape, low=low, high=high, is_image=True)


def integers(*shape: int, low: int = -100, high: int = 100) -> Of:
    """int64 numbers."""
    return Of(shape, "int64", low, high)


def places(*shape: int, below: int, varies: bool = True) -> Of:
    """int64 indices."""
    return Of(shape, "int64", 0, below, varies=varies)


def booleans(*shape: int) -> Of:
    """True and False."""
    return Of(shape, "bool")
