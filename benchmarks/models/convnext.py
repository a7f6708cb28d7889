# SPDX-License-Identifier: Apache-2.0
"""ConvNeXt-base (Liu et al., 2022, https://arxiv.org/abs/2201.03545)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .zoo import ZooModel


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of `[batch, channels, height, width]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the channels at every pixel."""
        x = F.layer_norm(
            x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return x.permute(0, 3, 1, 2)


class Block(nn.Module):
    """A depthwise 7x7 convolution and a GELU perceptron over the channels, around a shortcut."""

    def __init__(self, channels: int) -> None:
        """Build the block."""
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )
        self.layer_scale = nn.Parameter(torch.full((channels,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `[batch, channels, height, width]`."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.layer_scale * self.mlp(y)
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Four stages of blocks, each at half the resolution of the one before."""

    def __init__(
        self,
        depths: tuple[int, ...] = (3, 3, 27, 3),
        widths: tuple[int, ...] = (128, 256, 512, 1024),
        classes: int = 1000,
    ) -> None:
        """Build the stem, the stages and the classifier."""
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0], eps=1e-6)]
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            if i > 0:
                layers += [
                    ChannelNorm(widths[i - 1], eps=1e-6),
                    nn.Conv2d(widths[i - 1], width, 2, 2),
                ]
            layers += [Block(width) for _ in range(depth)]
        self.features = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images `[batch, 3, height, width]`."""
        return self.head(self.norm(self.features(x).mean((-2, -1))))


def _inputs(small: bool, batch: int) -> tuple[Tensor, ...]:
    size = 32 if small else 224
    return (torch.randn(batch, 3, size, size),)


MODELS = [
    ZooModel(
        name="convnext_base",
        title="ConvNeXt-base",
        make=ConvNeXt,
        make_small=lambda: ConvNeXt((1, 1, 2, 1), (16, 24, 32, 40), 10),
        inputs=_inputs,
        axes=({0: "batch"},),
        sizes={"batch": 1},
    )
]
