"""Helpers of converters under Torch-TensorRT's path."""

from stator.conversion.converters import auto_generate_converter

__all__ = ["auto_generate_converter"]
