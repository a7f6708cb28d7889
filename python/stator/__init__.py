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

_native.set_tensor_type(_torch.Tensor)
_install_log()

from stator.backend import register_backends as _register_backends  # noqa: E402
from stator.compile import compile  # noqa: E402
from stator.engine import Engine  # noqa: E402
from stator.input import Input  # noqa: E402
from stator.module import CompiledModule  # noqa: E402
from stator.settings import CompilationSettings  # noqa: E402
from stator.types import EngineCapability, dtype  # noqa: E402

_register_backends()

set_thread_count = _native.set_thread_count
thread_count = _native.thread_count

__all__ = [
    "CompilationSettings",
    "CompiledModule",
    "Engine",
    "EngineCapability",
    "IncompatibleError",
    "Input",
    "InternalError",
    "InvalidFileError",
    "StatorError",
    "UnsupportedError",
    "compile",
    "dtype",
    "set_thread_count",
    "thread_count",
]
