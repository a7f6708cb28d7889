"""The names of torch_tensorrt.dynamo for Stator's objects."""

from stator import CompilationSettings, Debugger, trace

from torch_tensorrt._compile import compile
from torch_tensorrt.dynamo import conversion, lowering, partitioning, runtime

__all__ = [
    "CompilationSettings",
    "Debugger",
    "compile",
    "conversion",
    "lowering",
    "partitioning",
    "runtime",
    "trace",
]
