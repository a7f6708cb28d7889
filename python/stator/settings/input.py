"""What a compiled model is called with: :class:`Input`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

__all__ = ["Input", "examples_of"]


def _shape(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, int) or not isinstance(value, Sequence):
        raise TypeError(f"Input: {name} must be a sequence of integers, got {value!r}")
    shape = tuple(int(v) for v in value)
    if any(v < 0 for v in shape):
        raise ValueError(f"Input: {name}={shape} has a negative size")
    return shape


class Input:
    """A tensor argument: one shape, or the least, typical and greatest shape of a dynamic one.

    Args:
        shape: sizes of a static tensor (also as the only positional argument).
        min_shape, opt_shape, max_shape: the range of a dynamic tensor, and the sizes
            that tactics are timed at.
        dtype: element type, ``torch.float32`` by default.
        name: for messages; the argument's name in ``forward`` by default.

    Raises:
        ValueError: shapes of differing rank, or min > opt > max in some dimension.
    """

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        min_shape: Sequence[int] | None = None,
        opt_shape: Sequence[int] | None = None,
        max_shape: Sequence[int] | None = None,
        dtype: torch.dtype = torch.float32,
        name: str = "",
    ) -> None:
        if shape is not None:
            if min_shape is not None or opt_shape is not None or max_shape is not None:
                raise ValueError("Input: give either shape, or min_shape, opt_shape and max_shape")
            min_shape = opt_shape = max_shape = shape
        if min_shape is None or opt_shape is None or max_shape is None:
            raise ValueError("Input: min_shape, opt_shape and max_shape must be given together")
        self.min_shape = _shape("min_shape", min_shape)
        self.opt_shape = _shape("opt_shape", opt_shape)
        self.max_shape = _shape("max_shape", max_shape)
        if not len(self.min_shape) == len(self.opt_shape) == len(self.max_shape):
            raise ValueError(
                f"Input: min_shape {self.min_shape}, opt_shape {self.opt_shape} and max_shape "
                f"{self.max_shape} differ in rank"
            )
        for k, (least, opt, most) in enumerate(
            zip(self.min_shape, self.opt_shape, self.max_shape, strict=True)
        ):
            if not least <= opt <= most:
                raise ValueError(
                    f"Input: dimension {k} needs min <= opt <= max, got {least}, {opt}, {most}"
                )
        self.dtype = dtype
        self.name = name

    @property
    def is_dynamic(self) -> bool:
        """Whether any dimension has a range."""
        return self.min_shape != self.max_shape

    @classmethod
    def from_tensor(cls, tensor: torch.Tensor, name: str = "") -> Input:
        """The static input that `tensor` is an example of."""
        return cls(tuple(tensor.shape), dtype=tensor.dtype, name=name)

    def example(self) -> torch.Tensor:
        """A tensor of the opt shape: random numbers, or zeros for integers and bool."""
        if self.dtype.is_floating_point or self.dtype.is_complex:
            return torch.randn(self.opt_shape, dtype=self.dtype)
        return torch.zeros(self.opt_shape, dtype=self.dtype)

    def __repr__(self) -> str:
        if not self.is_dynamic:
            return f"Input(shape={self.opt_shape}, dtype={self.dtype})"
        return (
            f"Input(min_shape={self.min_shape}, opt_shape={self.opt_shape}, "
            f"max_shape={self.max_shape}, dtype={self.dtype})"
        )


def examples_of(
    inputs: Any, kwarg_inputs: dict[str, Any] | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Example inputs as (args, kwargs); one tensor or Input is one argument."""
    if isinstance(inputs, torch.Tensor | Input):
        inputs = (inputs,)
    if isinstance(inputs, Mapping):
        raise TypeError(
            "inputs are positional arguments in order, and a dict was given: give "
            "kwarg_inputs={...} for arguments by name, inputs=[{...}] for one that is a dict"
        )
    if inputs is not None and not isinstance(inputs, list | tuple | Iterator):
        raise TypeError(
            f"inputs is a list of tensors and Inputs, or a single one, got {type(inputs).__name__}"
        )
    if kwarg_inputs is not None and not isinstance(kwarg_inputs, Mapping):
        raise TypeError(
            f"kwarg_inputs is a dict of arguments by name, got {type(kwarg_inputs).__name__}"
        )
    return tuple(inputs if inputs is not None else ()), dict(kwarg_inputs or {})
