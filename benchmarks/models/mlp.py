# SPDX-License-Identifier: Apache-2.0
"""A three-layer perceptron, 64-256-256-8: so small that the overhead of a call is all there is."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from .zoo import ZooModel


class MLP(nn.Sequential):
    """Linear layers of the given widths with ReLU between them."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        """Build one linear layer for each pair of neighbouring `widths`."""
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            layers += [nn.ReLU()] * (i > 0) + [nn.Linear(fan_in, fan_out)]
        super().__init__(*layers)


def _inputs(small: bool, batch: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, 16 if small else 64),)


MODELS = [
    ZooModel(
        name="mlp",
        title="MLP 64-256-256-8",
        make=lambda: MLP((64, 256, 256, 8)),
        make_small=lambda: MLP((16, 32, 32, 8)),
        inputs=_inputs,
        axes=({0: "batch"},),
        sizes={"batch": 1},
    )
]
