"""Converters under the path that Torch-TensorRT's documents import them from."""

from stator import DYNAMO_CONVERTERS
from stator.converters import (
    ConverterPriority,
    ConverterRegistry,
    ConverterSupport,
    dynamo_tensorrt_converter,
)
from stator.interpreter import TRTInterpreter, TRTInterpreterResult
from stator.layers import ConversionContext

from torch_tensorrt.dynamo.conversion import converter_utils

__all__ = [
    "DYNAMO_CONVERTERS",
    "ConversionContext",
    "ConverterPriority",
    "ConverterRegistry",
    "ConverterSupport",
    "TRTInterpreter",
    "TRTInterpreterResult",
    "converter_utils",
    "dynamo_tensorrt_converter",
]
