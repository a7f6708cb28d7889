"""The names of Torch-TensorRT for Stator's objects: existing scripts keep working."""

from stator import *  # noqa: F403
from stator import __all__ as _names
from stator import compile  # noqa: F401

from torch_tensorrt import dynamo

__all__ = [*_names, "dynamo"]
