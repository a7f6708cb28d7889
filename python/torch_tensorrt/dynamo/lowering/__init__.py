"""Lowering passes and decompositions under Torch-TensorRT's path."""

from stator.lowering.passes import TORCH_TRT_DECOMPOSITIONS

from torch_tensorrt.dynamo.lowering import passes

__all__ = ["TORCH_TRT_DECOMPOSITIONS", "passes"]
