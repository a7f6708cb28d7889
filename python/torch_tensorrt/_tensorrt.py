"""``import tensorrt`` where no TensorRT is installed: the names of its layer API.

They are Stator's, for converters; building and running engines goes through torch_tensorrt.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import math
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from stator.conversion import layer_enums
from stator.conversion.layer_enums import *  # noqa: F403
from stator.conversion.layer_enums import DataType
from stator.conversion.layers import ILayer, INetworkDefinition, ITensor

__version__ = "stator"

float32, float16, bfloat16 = DataType.FLOAT, DataType.HALF, DataType.BF16
int8, int32, int64, uint8 = DataType.INT8, DataType.INT32, DataType.INT64, DataType.UINT8
bool, fp8 = DataType.BOOL, DataType.FP8


class Dims(tuple[int, ...]):
    """Sizes."""

    def __new__(cls, sizes: Sequence[int] = ()) -> Dims:
        """From any sequence."""
        return super().__new__(cls, sizes)


class Permutation(Dims):
    """An order of axes."""


def Weights(values: Any = None) -> Any:
    """Weights are arrays or tensors as they are; none at all is None."""
    return values


def volume(sizes: Sequence[int]) -> int:
    """The number of elements."""
    return math.prod(sizes)


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"no TensorRT is installed, and Stator has no tensorrt.{name}; it has: {', '.join(__all__)}"
    )


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: an installed TensorRT is found by those before."""

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec("tensorrt", self) if fullname == "tensorrt" else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return sys.modules[__name__]

    def exec_module(self, module: ModuleType) -> None:
        """It has run already."""


def install() -> None:
    """Make ``import tensorrt`` give this module where nothing else does."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


__all__ = [
    *(name for name in layer_enums.__all__ if name != "axes_of"),
    "Dims",
    "ILayer",
    "INetworkDefinition",
    "ITensor",
    "Permutation",
    "Weights",
    "bfloat16",
    "bool",
    "float16",
    "float32",
    "fp8",
    "int8",
    "int32",
    "int64",
    "uint8",
    "volume",
]
