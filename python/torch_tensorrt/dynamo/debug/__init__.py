"""The debugger under Torch-TensorRT's path."""

from stator import Debugger

__all__ = ["Debugger"]
