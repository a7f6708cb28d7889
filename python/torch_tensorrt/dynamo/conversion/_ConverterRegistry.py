"""The converter registry under the path that Torch-TensorRT's documents import it from."""

from stator import DYNAMO_CONVERTERS
from stator.converters import ConverterRegistry

__all__ = ["DYNAMO_CONVERTERS", "ConverterRegistry"]
