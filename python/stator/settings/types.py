"""Names that settings are written in: dtype, EngineCapability."""

from __future__ import annotations

import enum
from typing import Any

import torch

__all__ = ["EngineCapability", "dtype"]


class dtype(enum.Enum):
    """Element types, by the names that TensorRT users know."""

    f32 = "float32"
    f16 = "float16"
    bf16 = "bfloat16"
    f64 = "float64"
    f8 = "float8_e4m3fn"
    i8 = "int8"
    u8 = "uint8"
    i32 = "int32"
    i64 = "int64"
    b = "bool"

    float = f32
    float32 = f32
    half = f16
    float16 = f16
    bfloat16 = bf16
    double = f64
    float64 = f64
    float8_e4m3fn = f8
    int8 = i8
    uint8 = u8
    int32 = i32
    int64 = i64
    bool = b

    def __repr__(self) -> str:
        return f"dtype.{self.name}"

    __str__ = __repr__

    @classmethod
    def of(cls, value: Any) -> dtype:
        """The member for a torch.dtype or a member.

        Raises:
            TypeError: `value` is neither, or a dtype that engines do not know.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, torch.dtype):
            name = str(value).removeprefix("torch.")
            for member in cls:
                if member.value == name:
                    return member
        raise TypeError(f"{value!r} is no dtype of engines; there are: {', '.join(map(str, cls))}")

    def to_torch(self) -> torch.dtype:
        """The torch.dtype of this member."""
        return getattr(torch, self.value)


class EngineCapability(enum.Enum):
    """What an engine is restricted to; anything but STANDARD is for NVIDIA's special targets."""

    STANDARD = "standard"
    SAFETY = "safety"
    DLA_STANDALONE = "dla_standalone"

    def __repr__(self) -> str:
        return f"EngineCapability.{self.name}"
