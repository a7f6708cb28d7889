"""Engines in Python: load an engine file and call it with tensors."""

from __future__ import annotations

import threading
from os import PathLike, fspath
from typing import Any

import torch

from stator import _native

__all__ = ["Engine"]


class _Callers(threading.local):
    """One EngineCall a thread: an execution context serves one caller at a time."""

    def __init__(self, engine: _native.Engine) -> None:
        self.call = _native.EngineCall(engine)


def _index_of(device: Any) -> int:
    """The number of a GPU; -1, the current one, where `device` names none."""
    named = None if device is None else torch.device(str(device))
    return -1 if named is None or named.type != "cuda" or named.index is None else named.index


class Engine:
    """A compiled model: immutable, shared by threads.

    Calling it takes the input tensors in order (then any integer sizes) and gives a list
    of tensors.
    """

    def __init__(self, native: _native.Engine) -> None:
        self.native = native
        self._callers = _Callers(native)

    @classmethod
    def load(
        cls, path: str | PathLike[str], device: Any = None, verify_digests: bool = True
    ) -> Engine:
        """Map an engine file.

        Args:
            path: of the file.
            device: the GPU that it runs on ("cuda:1", a torch.device); None: PyTorch's current one.
            verify_digests: compare the weights with their digests, which reads the whole file once.
                The header and the machine code are always compared.

        Raises:
            OSError: the file cannot be read.
            InvalidFileError: it is damaged or no engine file.
            IncompatibleError: made by another version, or for instructions that this CPU lacks.
        """
        return cls(_native.Engine.load(fspath(path), _index_of(device), verify_digests))

    @classmethod
    def from_bytes(
        cls, data: bytes, name: str = "engine", device: Any = None, verify_digests: bool = True
    ) -> Engine:
        """The engine whose file has these bytes; `device` and `verify_digests` as in load()."""
        return cls(_native.Engine.from_bytes(data, name, _index_of(device), verify_digests))

    def __reduce__(self) -> Any:
        """For pickle: the bytes of the engine's file, and the device that it is for."""
        device = self.device if self.native.device == "cuda" else None
        return Engine.from_bytes, (self.bytes(), "engine", device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Engine:
        """Itself: an engine never changes."""
        return self

    def save(self, path: str | PathLike[str], key: str = "") -> None:
        """Write the engine file (to a temporary name, then renamed).

        An engine cache gives the `key` that it keeps it under, to know it again.
        """
        self.native.save(fspath(path), key)

    def bytes(self, key: str = "") -> bytes:
        """The bytes that save() writes."""
        return self.native.bytes(key)

    @property
    def device(self) -> str:
        """Where its tensors are: "cpu", or the GPU with its number."""
        native = self.native
        return f"cuda:{native.device_index}" if native.device == "cuda" else "cpu"

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Name, dtype, shape (-1: dynamic), symbolic shape and range of every input."""
        return self.native.inputs

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The same of every output."""
        return self.native.outputs

    def __call__(self, *args: torch.Tensor | int) -> list[torch.Tensor]:
        """Run the engine."""
        return self._callers.call(*args)

    def release_memory(self) -> None:
        """Give back this thread's memory of intermediates; the next call allocates it again."""
        self._callers.call.release_memory()

    def profile(self, *args: torch.Tensor | int) -> list[tuple[str, str, int]]:
        """One call with the nanoseconds of each step: (step, kernel, ns)."""
        return self._callers.call.profile(*args)
