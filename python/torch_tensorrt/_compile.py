# SPDX-License-Identifier: Apache-2.0
"""compile() with the defaults that Torch-TensorRT's documents state."""

from __future__ import annotations

import inspect
from typing import Any

import stator
from torch import nn

__all__ = ["compile"]


def compile(*args: Any, **settings: Any) -> nn.Module:
    """Compile as stator.compile does, with min_block_size=5 where none is given."""
    if settings.get("settings") is None:
        settings.setdefault("min_block_size", stator.CompilationSettings().min_block_size)
    return stator.compile(*args, **settings)


compile.__signature__ = inspect.signature(stator.compile)  # type: ignore[attr-defined]
