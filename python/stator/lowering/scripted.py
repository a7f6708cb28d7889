# SPDX-License-Identifier: Apache-2.0
"""TorchScript inside of a model: torch.export traces what its interpreter runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

__all__ = ["scripts_opened"]


class _Opened(nn.Module):
    """A scripted module as a plain one: its operators are seen, its weights become constants."""

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.__dict__["script"] = script._c  # no child, which torch.export would call by its class

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.script.forward(*args, **kwargs)


@contextlib.contextmanager
def scripts_opened(module: nn.Module) -> Iterator[nn.Module]:
    """The module with its scripted parts as plain ones, for as long as it is traced."""
    if isinstance(module, torch.jit.ScriptModule):
        yield _Opened(module)
        return
    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        _open(module, replaced)
        yield module
    finally:
        for parent, name, child in replaced:
            parent._modules[name] = child


def _open(module: nn.Module, replaced: list[tuple[nn.Module, str, nn.Module]]) -> None:
    for name, child in list(module._modules.items()):
        if isinstance(child, torch.jit.ScriptModule):
            replaced.append((module, name, child))
            module._modules[name] = _Opened(child)
        elif child is not None:
            _open(child, replaced)
