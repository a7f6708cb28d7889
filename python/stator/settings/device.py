# SPDX-License-Identifier: Apache-2.0
"""Device: what a compilation is for."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["Device"]


class Device:
    """A device to compile for: ``Device("cuda:0")``, ``Device(gpu_id=0)``, ``Device("cpu")``.

    Args:
        spec: a torch.device, or its name.
        gpu_id: the number of an NVIDIA GPU.
        dla_core, allow_gpu_fallback: of NVIDIA's DLA; kept, without effect.

    Raises:
        ValueError: both or neither of `spec` and `gpu_id`, or a device of another kind.
    """

    def __init__(
        self,
        spec: Any = None,
        *,
        gpu_id: int | None = None,
        dla_core: int | None = None,
        allow_gpu_fallback: bool = False,
    ) -> None:
        if (spec is None) == (gpu_id is None):
            raise ValueError('give a device by name ("cuda:0", "cpu") or by gpu_id=, and not both')
        if gpu_id is not None:
            if not isinstance(gpu_id, int) or isinstance(gpu_id, bool) or gpu_id < 0:
                raise ValueError(f"gpu_id={gpu_id!r} is not allowed; it is the number of a GPU")
            spec = f"cuda:{gpu_id}"
        text = str(spec).replace("gpu", "cuda").replace("GPU", "cuda")
        try:
            device = torch.device(text)
        except RuntimeError as error:
            raise ValueError(f"Device({spec!r}): {str(error).splitlines()[0]}") from None
        if device.type not in ("cuda", "cpu"):
            raise ValueError(f"Device({spec!r}): engines run on 'cuda' and 'cpu'")
        self.device_type = device.type
        self.gpu_id = (device.index or 0) if device.type == "cuda" else -1
        self.dla_core = -1 if dla_core is None else dla_core
        self.allow_gpu_fallback = allow_gpu_fallback

    def to(self, kind: type[torch.device] = torch.device) -> torch.device:
        """The torch.device."""
        return kind(str(self))

    @classmethod
    def _current_device(cls) -> Device:
        return cls(gpu_id=torch.cuda.current_device()) if torch.cuda.is_available() else cls("cpu")

    def __str__(self) -> str:
        return f"cuda:{self.gpu_id}" if self.device_type == "cuda" else "cpu"

    def __repr__(self) -> str:
        return f"Device({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))
