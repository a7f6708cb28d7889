# SPDX-License-Identifier: Apache-2.0
"""What values of settings stand for: operators by name, memory that is free, data by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import torch
from torch.utils import _pytree as pytree

__all__ = ["available_memory", "digest_of_batches", "names_operator", "operator_names"]


def available_memory() -> int:
    """Bytes of memory that are free, as psutil says; without it, as Linux says."""
    try:
        import psutil
    except ImportError:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    return psutil.virtual_memory().available


def digest_of_batches(loader: Any) -> str:
    """A digest of what a dataloader yields: the same data gives the same text in every process."""
    digest = hashlib.sha256()
    for batch in loader:
        for leaf in pytree.tree_leaves(batch):
            if isinstance(leaf, torch.Tensor):
                digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
                digest.update(leaf.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
            else:
                digest.update(repr(leaf).encode())
    return digest.hexdigest()


def operator_names(ops: Collection[Any]) -> set[str]:
    """Name OpOverloads "aten.add.Tensor", packets "aten.add"; names lose "torch.ops."."""
    return {str(op).removeprefix("torch.ops.").replace("::", ".") for op in ops}


def names_operator(names: set[str], op: torch._ops.OpOverload) -> bool:
    """Whether names, as operator_names gives them, have an operator or all of its overloads."""
    return not names.isdisjoint(operator_names([op, op.overloadpacket]))
