# SPDX-License-Identifier: Apache-2.0
"""The enumerations of TensorRT's layer API, each member with the function that it stands for."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import torch

__all__ = [
    "ActivationType",
    "CumulativeOperation",
    "DataType",
    "ElementWiseOperation",
    "GatherMode",
    "MatrixOperation",
    "PaddingMode",
    "PoolingType",
    "ReduceOperation",
    "SampleMode",
    "ScaleMode",
    "ScatterMode",
    "TopKOperation",
    "UnaryOperation",
    "axes_of",
]


def axes_of(mask: int) -> list[int]:
    """The axes whose bits are set."""
    return [axis for axis in range(mask.bit_length()) if mask >> axis & 1]


class DataType(enum.Enum):
    """Element types; `torch` is PyTorch's."""

    FLOAT = torch.float32
    HALF = torch.float16
    BF16 = torch.bfloat16
    INT8 = torch.int8
    INT32 = torch.int32
    INT64 = torch.int64
    BOOL = torch.bool
    UINT8 = torch.uint8
    FP8 = torch.float8_e4m3fn

    @property
    def torch(self) -> torch.dtype:
        """PyTorch's type."""
        return self.value

    @classmethod
    def of(cls, dtype: torch.dtype) -> DataType:
        """The type of PyTorch's; float64 has none and counts as FLOAT."""
        return cls.FLOAT if dtype is torch.float64 else cls(dtype)


class _Function(enum.Enum):
    """Members that are functions of tensors."""

    def __init__(self, *values: Any) -> None:
        self.parameters = values

    @property
    def function(self) -> Callable[..., Any]:
        """What it computes."""
        return self.parameters[0]


_functional = torch.nn.functional


class ActivationType(_Function):
    """Functions of an element, alpha and beta (with TensorRT's defaults for these)."""

    RELU = (lambda x, a, b: torch.relu(x), 0.0, 0.0)
    SIGMOID = (lambda x, a, b: torch.sigmoid(x), 0.0, 0.0)
    TANH = (lambda x, a, b: torch.tanh(x), 0.0, 0.0)
    LEAKY_RELU = (lambda x, a, b: _functional.leaky_relu(x, a), 0.01, 0.0)
    ELU = (lambda x, a, b: _functional.elu(x, a), 1.0, 0.0)
    SELU = (lambda x, a, b: b * torch.where(x > 0, x, a * torch.expm1(x)), 1.67326324, 1.05070098)
    SOFTSIGN = (lambda x, a, b: x / (1 + torch.abs(x)), 0.0, 0.0)
    SOFTPLUS = (lambda x, a, b: a * torch.log1p(torch.exp(b * x)), 1.0, 1.0)
    CLIP = (lambda x, a, b: torch.clamp(x, a, b), 0.0, 1.0)
    HARD_SIGMOID = (lambda x, a, b: torch.clamp(a * x + b, 0, 1), 0.2, 0.5)
    SCALED_TANH = (lambda x, a, b: a * torch.tanh(b * x), 1.0, 1.0)
    THRESHOLDED_RELU = (lambda x, a, b: torch.where(x > a, x, torch.zeros_like(x)), 1.0, 0.0)
    GELU_ERF = (lambda x, a, b: _functional.gelu(x), 0.0, 0.0, "erf")
    GELU_TANH = (lambda x, a, b: _functional.gelu(x, approximate="tanh"), 0.0, 0.0, "tanh")

    @property
    def alpha(self) -> float:
        """The default of alpha."""
        return self.parameters[1]

    @property
    def beta(self) -> float:
        """The default of beta."""
        return self.parameters[2]


class UnaryOperation(_Function):
    """Functions of an element."""

    EXP = (torch.exp,)
    LOG = (torch.log,)
    SQRT = (torch.sqrt,)
    RECIP = (torch.reciprocal,)
    ABS = (torch.abs,)
    NEG = (torch.neg,)
    SIN = (torch.sin,)
    COS = (torch.cos,)
    TAN = (torch.tan,)
    SINH = (torch.sinh,)
    COSH = (torch.cosh,)
    ASIN = (torch.asin,)
    ACOS = (torch.acos,)
    ATAN = (torch.atan,)
    ASINH = (torch.asinh,)
    ACOSH = (torch.acosh,)
    ATANH = (torch.atanh,)
    CEIL = (torch.ceil,)
    FLOOR = (torch.floor,)
    ERF = (torch.erf,)
    NOT = (torch.logical_not,)
    SIGN = (torch.sign,)
    ROUND = (torch.round,)
    ISINF = (torch.isinf,)
    ISNAN = (torch.isnan,)
    SIGNBIT = (torch.signbit,)


def _divide(a: Any, b: Any) -> Any:
    """Real division of floats, division towards zero of integers."""
    return torch.div(a, b, rounding_mode=None if a.dtype.is_floating_point else "trunc")


class ElementWiseOperation(_Function):
    """Functions of two elements."""

    SUM = (torch.add,)
    PROD = (torch.mul,)
    MAX = (torch.maximum,)
    MIN = (torch.minimum,)
    SUB = (torch.sub,)
    DIV = (_divide,)
    POW = (torch.pow,)
    FLOOR_DIV = (torch.floor_divide,)
    AND = (torch.logical_and,)
    OR = (torch.logical_or,)
    XOR = (torch.logical_xor,)
    EQUAL = (torch.eq,)
    GREATER = (torch.gt,)
    LESS = (torch.lt,)


class ReduceOperation(_Function):
    """Reductions; PROD goes axis by axis."""

    SUM = (torch.sum,)
    PROD = (torch.prod,)
    MAX = (torch.amax,)
    MIN = (torch.amin,)
    AVG = (torch.mean,)


class MatrixOperation(enum.Enum):
    """What becomes of an operand of a product."""

    NONE = 0
    TRANSPOSE = 1
    VECTOR = 2


class PoolingType(enum.Enum):
    """Kinds of pooling."""

    MAX = 0
    AVERAGE = 1
    MAX_AVERAGE_BLEND = 2


class TopKOperation(enum.Enum):
    """The greatest or the least."""

    MAX = 0
    MIN = 1


class ScaleMode(enum.Enum):
    """Whether a scale layer's weights are one, one for each channel, or one for each element."""

    UNIFORM = 0
    CHANNEL = 1
    ELEMENTWISE = 2


class GatherMode(enum.Enum):
    """What an index of a gather layer names."""

    DEFAULT = 0
    ELEMENT = 1
    ND = 2


class ScatterMode(enum.Enum):
    """What an index of a scatter layer names."""

    ELEMENT = 0
    ND = 1


class SampleMode(enum.Enum):
    """What a slice layer reads beyond the edges."""

    STRICT_BOUNDS = 0
    WRAP = 1
    CLAMP = 2
    FILL = 3
    REFLECT = 4


class PaddingMode(enum.Enum):
    """How a convolution's or pooling's padding is found."""

    EXPLICIT_ROUND_DOWN = 0
    EXPLICIT_ROUND_UP = 1
    SAME_UPPER = 2
    SAME_LOWER = 3


class CumulativeOperation(enum.Enum):
    """Running operations."""

    SUM = 0
