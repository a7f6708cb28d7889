# SPDX-License-Identifier: Apache-2.0
"""The converter registry, as Python sees it: which operators engines can hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from stator import _native

__all__ = ["DYNAMO_CONVERTERS", "ConverterRegistry"]


def _name(target: Any) -> str | None:
    """The registry's name of an operator: "aten.add.Tensor", or "aten.add" for a packet."""
    if isinstance(target, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        return str(target).removeprefix("torch.ops.")
    if isinstance(target, str):
        return target.removeprefix("torch.ops.").replace("::", ".")
    return None


class ConverterRegistry:
    """The operators that have a converter; ``torch.ops.aten.gelu.default in DYNAMO_CONVERTERS``."""

    def __contains__(self, target: Any) -> bool:
        """Whether an operator has a converter; False for anything that is no operator."""
        name = _name(target)
        if not name:
            return False
        return _native.has_converter(name) or any(t.startswith(name + ".") for t in self._names())

    def _names(self) -> list[str]:
        return list(_native.converter_targets())

    def __iter__(self) -> Iterator[str]:
        """The operators' names, "torch.ops.aten.add.Tensor"."""
        return iter(sorted("torch.ops." + name for name in self._names()))

    def __len__(self) -> int:
        """How many overloads have a converter."""
        return len(self._names())

    def keys(self) -> list[str]:
        """The operators' names."""
        return list(self)

    def unique_targets(self) -> set[str]:
        """The operators' names, each once."""
        return set(self)


#: The one registry.
DYNAMO_CONVERTERS = ConverterRegistry()
