# SPDX-License-Identifier: Apache-2.0
"""Example arguments in the form that torch.export takes for what they are.

torch.export takes two tensors of one memory for one input, and classes that it does not know for
errors. A compiled model is called with other arguments than its examples, so tensors are made
distinct, and classes whose parts are plain to see are made known.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils import _pytree as pytree

__all__ = ["apart", "make_classes_known", "memory"]

_LEAVES = (torch.Tensor, bool, int, float, complex, str, bytes, type(None), torch.dtype,
           torch.device, torch.ScriptObject, torch.memory_format, torch.layout)  # fmt: skip


def make_classes_known(nest: Any, leaves: tuple[type, ...] = ()) -> None:
    """Make the classes in a nest of arguments known to PyTorch's pytrees.

    Args:
        nest: of arguments.
        leaves: classes that are arguments themselves.

    Raises:
        TypeError: an argument has a class that is neither a dataclass nor a cache of transformers,
            and that nobody registered.
    """
    known = (*_LEAVES, *leaves)
    while unknown := {
        type(leaf) for leaf in pytree.tree_leaves(nest) if not isinstance(leaf, known)
    }:
        for kind in unknown:
            _register(kind)


def _register(kind: type) -> None:
    if dataclasses.is_dataclass(kind):
        torch.export.register_dataclass(kind)
        return
    caches = sys.modules.get("transformers.cache_utils")
    if caches is not None and kind is caches.DynamicCache:
        from transformers.integrations import executorch

        executorch.register_dynamic_cache_export_support()
        return
    name = f"{kind.__module__}.{kind.__qualname__}"
    raise TypeError(
        f"an argument is a {name}, and PyTorch does not know what it is made of: call "
        "torch.utils._pytree.register_pytree_node for the class (torch.export.register_dataclass "
        "for a dataclass), give its tensors instead, or compile with "
        "torch.compile(model, backend='stator')"
    )


def memory(tensor: Any) -> tuple[str, int, int] | None:
    """Where the elements of a tensor lie: device, first byte, end; None where that is not plain."""
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        return None
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.is_nested:
        return None
    if tensor.numel() == 0 or tensor.device.type == "meta":
        return None
    begin = tensor.data_ptr()
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return str(tensor.device), begin, begin + (last + 1) * tensor.element_size()


def apart(leaves: Iterable[Any], taken: Iterable[torch.Tensor] = ()) -> list[Any]:
    """Flat example arguments of which no two share memory, nor one of them with `taken`."""
    storages = {_storage(t) for t in taken}
    seen: set[int] = set()  # tensors without a memory of their own: by what they are
    result = []
    for leaf in leaves:
        storage = _storage(leaf)
        shared = storage in storages if storage is not None else id(leaf) in seen
        if isinstance(leaf, torch.Tensor) and shared and not leaf.is_nested:
            leaf = leaf.detach().clone().requires_grad_(leaf.requires_grad)
        if storage is not None:
            storages.add(storage)
        seen.add(id(leaf))
        result.append(leaf)
    return result


def _storage(tensor: Any) -> int | None:
    return None if memory(tensor) is None else tensor.untyped_storage().data_ptr()
