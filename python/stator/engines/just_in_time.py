# SPDX-License-Identifier: Apache-2.0
"""JustInTimeModule: a model that no single graph holds, compiled between its branches."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stator.engines.module import CompilationReport

__all__ = ["JustInTimeModule"]


class JustInTimeModule(nn.Module):
    """A model that torch.export cannot follow, because the values of tensors decide what it does.

    torch.compile breaks its graph at these places: what is between them is compiled when it is
    first called, the places themselves run in Python. `stator_report` says why.
    """

    def __init__(
        self, module: nn.Module, reason: str, settings: dict[str, Any], dynamic: bool
    ) -> None:
        """Nothing is compiled yet.

        Args:
            module: the model, which goes on to be the user's own.
            reason: why it was not compiled ahead of time.
            settings: for the backend, as ``options=``.
            dynamic: compile for sizes that vary from the first call on.
        """
        super().__init__()
        self.module = module
        text = f"The model is compiled when it is called, part by part: {reason}"
        fallback = {
            "node": "", "target": "the model", "kind": "failed", "reason": reason, "source": "",
        }  # fmt: skip
        self.stator_report = CompilationReport(0, 0, [], [fallback], text)
        self._settings = settings
        self._dynamic = dynamic or None
        self.__dict__["_compiled"] = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; arguments as its forward takes them."""
        if self._compiled is None:
            self.__dict__["_compiled"] = torch.compile(
                self.module, backend="stator", options=self._settings, dynamic=self._dynamic
            )
        with torch.no_grad():
            return self._compiled(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and deepcopy: it is compiled again when it is called."""
        return {**self.__dict__, "_compiled": None}
