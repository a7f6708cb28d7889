# SPDX-License-Identifier: Apache-2.0
"""What a zoo entry is: a network, its example inputs, and which of their dimensions may vary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

# The largest value a dynamic axis takes in tests and exports; the smallest is 1.
AXIS_LIMITS = {"batch": 64, "sequence": 512}


@dataclass(frozen=True)
class ZooModel:
    """One network of the zoo.

    `make()` builds the full network, `make_small()` one of the same structure with few and narrow
    layers, for tests; both in eval mode, with random weights that depend on nothing but the seed.
    `inputs(small, **sizes)` makes example inputs for given sizes of the named axes, and `axes`
    names, for each input, the dimensions that may vary: `({0: "batch", 1: "sequence"},)`.
    """

    name: str
    title: str
    make: Callable[[], nn.Module]
    make_small: Callable[[], nn.Module]
    inputs: Callable[..., tuple[Tensor, ...]]
    axes: tuple[dict[int, str], ...]
    sizes: dict[str, int]
    small_sizes: dict[str, int] = field(default_factory=dict)

    @property
    def axis_names(self) -> list[str]:
        """The names of the dynamic axes, "batch" first."""
        return list(dict.fromkeys(name for dims in self.axes for name in dims.values()))

    def network(self, small: bool = False) -> nn.Module:
        """Build the network: the full one, or the small one of the same structure."""
        torch.manual_seed(0)
        return (self.make_small if small else self.make)().eval()

    def example_inputs(self, small: bool = False, **sizes: int) -> tuple[Tensor, ...]:
        """Make seeded example inputs; `sizes` overrides the default size of a named axis."""
        chosen = {**self.sizes, **(self.small_sizes if small else {}), **sizes}
        torch.manual_seed(1)
        return self.inputs(small, **chosen)

    def dynamic_shapes(self, small: bool = False) -> tuple[dict[int, torch.export.Dim], ...]:
        """The `dynamic_shapes` argument of `torch.export.export`: every named axis varies."""
        dims = {
            name: torch.export.Dim(name, min=1, max=self.axis_limit(name, small))
            for name in self.axis_names
        }
        return tuple({dim: dims[name] for dim, name in axes.items()} for axes in self.axes)

    def axis_limit(self, name: str, small: bool = False) -> int:
        """The largest size of a named axis (small networks hold fewer positions)."""
        return min(AXIS_LIMITS[name], 64) if small else AXIS_LIMITS[name]

    def export(self, small: bool = False, dynamic: bool = False) -> torch.export.ExportedProgram:
        """Export the network with `torch.export`, with static shapes or with every axis dynamic."""
        network = self.network(small)
        if not dynamic:
            return torch.export.export(network, self.example_inputs(small))
        # torch.export specializes on sizes 0 and 1, so that a dynamic axis is traced with more.
        inputs = self.example_inputs(small, **{"batch": 2})
        return torch.export.export(
            network, inputs, dynamic_shapes=self.dynamic_shapes(small), strict=False
        )
