"""The converter registry under Torch-TensorRT's path."""

from stator import DYNAMO_CONVERTERS

__all__ = ["DYNAMO_CONVERTERS"]
