"""The names of Torch-TensorRT for Stator's objects: existing scripts keep working.

Importing it registers the backends "torch_tensorrt" and "tensorrt" of torch.compile.
"""

from stator import *  # noqa: F403
from stator import __all__ as _names
from stator import load, save  # noqa: F401

from torch_tensorrt import _tensorrt, dynamo, logging, runtime
from torch_tensorrt._compile import compile  # noqa: F401
from torch_tensorrt._features import ENABLED_FEATURES

_tensorrt.install()

__all__ = [*_names, "ENABLED_FEATURES", "dynamo", "logging", "runtime"]
