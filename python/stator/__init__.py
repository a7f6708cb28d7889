"""Stator: an open compiler for PyTorch inference.

``torch.compile(model, backend="stator")`` compiles just in time, :func:`compile` ahead of time.
"""

import torch as _torch

from stator import _native
from stator._log import install as _install_log
from stator._native import (
    IncompatibleError,
    InternalError,
    InvalidFileError,
    StatorError,
    UnsupportedError,
)

__version__ = _native.__version__
_native.set_tensor_type(_torch.Tensor)
_install_log()

from stator.backend import register_backends as _register_backends  # noqa: E402
from stator.compile import compile, trace  # noqa: E402
from stator.conversion.converters import DYNAMO_CONVERTERS  # noqa: E402
from stator.debugger import Debugger  # noqa: E402
from stator.engines.engine import Engine  # noqa: E402
from stator.engines.engine_cache import BaseEngineCache  # noqa: E402
from stator.engines.module import CompiledModule, UncompiledModule  # noqa: E402
from stator.engines.program import EngineModule  # noqa: E402
from stator.engines.serialization import load, save  # noqa: E402
from stator.lowering.export_errors import ExportError  # noqa: E402
from stator.partitioning import (  # noqa: E402
    fast_partition,
    get_graph_converter_support,
    global_partition,
)
from stator.settings.compilation_settings import CompilationSettings  # noqa: E402
from stator.settings.device import Device  # noqa: E402
from stator.settings.input import Input  # noqa: E402
from stator.settings.types import EngineCapability, dtype  # noqa: E402

_register_backends()

set_thread_count = _native.set_thread_count
thread_count = _native.thread_count

__all__ = [
    "DYNAMO_CONVERTERS",
    "BaseEngineCache",
    "CompilationSettings",
    "CompiledModule",
    "Debugger",
    "Device",
    "Engine",
    "EngineCapability",
    "EngineModule",
    "ExportError",
    "IncompatibleError",
    "Input",
    "InternalError",
    "InvalidFileError",
    "StatorError",
    "UncompiledModule",
    "UnsupportedError",
    "compile",
    "dtype",
    "fast_partition",
    "get_graph_converter_support",
    "global_partition",
    "load",
    "save",
    "set_thread_count",
    "thread_count",
    "trace",
]
