"""The names of torch_tensorrt.dynamo for Stator's objects."""

from stator import CompilationSettings, compile

__all__ = ["CompilationSettings", "compile"]
