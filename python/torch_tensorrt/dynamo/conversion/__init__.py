"""Converters under the path that Torch-TensorRT's documents import them from."""

from stator.conversion.layers import ConversionContext
from stator.interpreter import TRTInterpreter, TRTInterpreterResult

from torch_tensorrt.dynamo.conversion import _ConverterRegistry, converter_utils
from torch_tensorrt.dynamo.conversion._ConverterRegistry import *  # noqa: F403

__all__ = [
    *_ConverterRegistry.__all__,
    "ConversionContext",
    "TRTInterpreter",
    "TRTInterpreterResult",
    "converter_utils",
]
