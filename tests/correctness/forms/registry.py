# SPDX-License-Identifier: Apache-2.0
"""The list of forms: what a model may look like, each with example arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

FORMS: list[Form] = []


@dataclass
class Form:
    """One model with example arguments."""

    name: str
    make: Callable[[], tuple[Any, ...]]  # (model, args) or (model, args, kwargs)
    others: Callable[[], list[Any]] | None = None  # other arguments to call it with
    exported: bool = True  # torch.export follows it
    just_in_time: bool = True  # torch.compile takes it
    saved: bool = True  # the compiled module can be written to a file
    engines: bool = True  # some of it runs in an engine
    left: str = ""  # the report names this among what runs in PyTorch
    training: bool = False

    def example(self) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
        """A new model and new arguments."""
        model, args, *rest = self.make()
        if not isinstance(model, nn.Module):
            model = Function(model)
        return model.train(self.training), tuple(args), dict(rest[0]) if rest else {}


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def form(**traits: Any) -> Callable[[Callable[[], tuple[Any, ...]]], Callable[..., Any]]:
    """Register a function that gives (model, args) or (model, args, kwargs)."""

    def register(make: Callable[[], tuple[Any, ...]]) -> Callable[..., Any]:
        FORMS.append(Form(make.__name__, make, **traits))
        return make

    return register
