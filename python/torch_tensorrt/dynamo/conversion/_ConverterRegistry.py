"""The converter registry under Torch-TensorRT's path."""

from stator import DYNAMO_CONVERTERS
from stator.conversion.converters import (
    ConverterPriority,
    ConverterRegistry,
    ConverterSupport,
    dynamo_tensorrt_converter,
)

__all__ = [
    "DYNAMO_CONVERTERS",
    "ConverterPriority",
    "ConverterRegistry",
    "ConverterSupport",
    "dynamo_tensorrt_converter",
]
