"""Registering lowering passes under Torch-TensorRT's path."""

from torch_tensorrt.dynamo.lowering.passes import _aten_lowering_pass

__all__ = ["_aten_lowering_pass"]
