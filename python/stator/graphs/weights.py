"""Notices that weights which were compiled into engines have changed since.

A change is looked for in each call, so the look is cheap. PyTorch counts the changes that it makes
(`_version`), but neither those through ``.data`` nor those through NumPy:

- ``p.data = new``, ``vector_to_parameters``, ``module.to(…)`` give a parameter other memory. That
  is seen by the address, on GPUs (whose allocator gives the same addresses again) also by the
  storage.
- ``p.data += d``, ``p.numpy()[…] = v`` write to the same memory. Of weights in host memory the
  bytes are compared: all of a small one, a sample of a large one (src/runtime/memory_watch.h). To
  look into a GPU's memory would be to wait for it, so there this is not seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from stator import _native

__all__ = ["FreezeAgain", "WatchedWeights"]


def _has_memory(t: torch.Tensor) -> bool:
    """Whether a tensor is plain numbers in memory that can be looked at."""
    return (
        t.layout == torch.strided
        and t.device.type in ("cpu", "cuda")
        and not (t.is_nested or t.is_quantized or is_traceable_wrapper_subclass(t))
    )


def _extent(t: torch.Tensor) -> int:
    """Bytes from a tensor's first element to behind its last in memory."""
    if t.numel() == 0:
        return 0
    steps = zip(t.shape, t.stride(), strict=True)
    return (1 + sum((size - 1) * stride for size, stride in steps)) * t.element_size()


def _digest(t: torch.Tensor) -> Any:
    """Of all bytes: what a weight holds, wherever it lies on its device."""
    plain = t.detach().resolve_conj().resolve_neg().contiguous()
    if plain.is_cuda:
        return _sums_of_words(plain)
    return _native.digest_memory(plain.data_ptr(), plain.numel() * plain.element_size())


_WORDS = 1 << 20  # 8 MiB at a time


def _sums_of_words(t: torch.Tensor) -> tuple[int, ...]:
    """A digest that is computed where the tensor is: sums of its words, each times an odd number.

    An odd factor has an inverse modulo 2**64, so a change of one word changes the sum.
    """
    data = t.reshape(-1).view(torch.uint8)
    words = data[: data.numel() // 8 * 8].view(torch.int64)
    rest = data[words.numel() * 8 :].to(torch.int64)
    factors = torch.arange(min(max(words.numel(), rest.numel()), _WORDS), device=t.device)
    factors = (factors * 0x1E3779B97F4A7C15) | 1
    parts = [*words.split(_WORDS), rest]
    sums = [(part * factors[: part.numel()]).sum() for part in parts]
    return tuple(torch.stack(sums).tolist())


class _Weight:
    """One weight as it was compiled."""

    def __init__(self, position: int, tensor: torch.Tensor) -> None:
        self.position = position
        self.tensor = tensor
        self.has_memory = _has_memory(tensor)
        self.digest = _digest(tensor) if self.has_memory else 0

    def note_place(self) -> None:
        """Where it lies now. The reference keeps the storage's own address from coming again."""
        t = self.tensor
        self.version = t._version
        self.address = t.data_ptr() if self.has_memory else 0
        on_gpu = self.has_memory and t.is_cuda
        self.storage_reference = StorageWeakRef(t.untyped_storage()) if on_gpu else None
        self.storage = torch._C._storage_address(t) if on_gpu else 0

    def is_the_same(self) -> bool:
        """Whether it holds what was compiled."""
        if self.has_memory and _has_memory(self.tensor):
            return _digest(self.tensor) == self.digest
        return self.tensor._version == self.version


class FreezeAgain:
    """Decides whether weights that have changed are compiled in again.

    The first changes are: weights that are loaded after the first call, adapters that are merged.
    Later ones are where the compiled graph has served much longer than its compilation took. Who
    changes weights more often than that goes on: then they are inputs, and nothing is compiled
    again.
    """

    ALWAYS = 2  # changes
    TIMES = 20  # as long as the compilation took

    def __init__(self) -> None:
        self.changes = 0
        self.seconds = self.end = 0.0

    def note(self, begin: float) -> None:
        """A compilation that began at `begin` (time.monotonic()) has ended."""
        self.end = time.monotonic()
        self.seconds = self.end - begin

    def at_a_change(self) -> bool:
        """Whether they are compiled in once more."""
        self.changes += 1
        served = time.monotonic() - self.end
        return self.changes <= self.ALWAYS or served >= self.TIMES * self.seconds


class WatchedWeights:
    """The weights of one graph that its engines hold."""

    def __init__(self, weights: Iterable[tuple[int, torch.Tensor]] = ()) -> None:
        """Note what they are now.

        Args:
            weights: their positions among the graph's arguments, and themselves.
        """
        self.weights = [_Weight(position, tensor) for position, tensor in weights]
        self.note()

    def note(self) -> None:
        """Take what they hold now, and where, for what was compiled."""
        for weight in self.weights:
            weight.note_place()
        self.places = [
            (w.position, w.tensor, w.version, w.address, w.storage) for w in self.weights
        ]
        self.on_host = [w for w in self.weights if w.has_memory and not w.storage]
        self.memory = _native.MemoryWatch([(w.address, _extent(w.tensor)) for w in self.on_host])

    def are_noted(self, args: Sequence[Any]) -> bool:
        """Whether they look as they did: the look of each call."""
        for position, tensor, version, address, storage in self.places:
            if args[position] is not tensor or tensor._version != version:
                return False
            if address and tensor.data_ptr() != address:
                return False
            if storage and torch._C._storage_address(tensor) != storage:
                return False
        return not self.memory.any_changed()

    def have_changed(self, args: Sequence[Any]) -> bool:
        """Whether any is another one now, once they look different.

        A model that went to another device and came back holds the same in another place: then
        they are noted as they are now.
        """
        if any(args[w.position] is not w.tensor or not w.is_the_same() for w in self.weights):
            return True
        self.note()
        return False
