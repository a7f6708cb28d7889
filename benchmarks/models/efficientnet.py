# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-B0 (Tan and Le, 2019, https://arxiv.org/abs/1905.11946)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .batch_norms import settle_batch_norms
from .mobilenet import conv_norm
from .zoo import ZooModel


class SqueezeExcitation(nn.Module):
    """Scale each channel by a sigmoid of what two 1x1 convolutions make of the means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        """Build the two convolutions."""
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `x`."""
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(nn.functional.silu(self.reduce(mean))))


class MBConv(nn.Module):
    """Widen, filter depthwise, squeeze and excite, narrow; a shortcut where the shapes agree."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, expand: int
    ) -> None:
        """Build the block; `expand` 1 leaves the widening convolution out."""
        super().__init__()
        self.shortcut = stride == 1 and channels_in == channels_out
        hidden = channels_in * expand
        layers: list[nn.Module] = []
        if expand != 1:
            layers.append(conv_norm(channels_in, hidden, 1, activation=nn.SiLU, eps=1e-3))
        layers += [
            conv_norm(hidden, hidden, kernel, stride, hidden, nn.SiLU, eps=1e-3),
            SqueezeExcitation(hidden, max(1, channels_in // 4)),
            conv_norm(hidden, channels_out, 1, activation=None, eps=1e-3),
        ]
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return x + self.block(x) if self.shortcut else self.block(x)


# (expand, kernel, stride, channels, repeats)
B0_SETTINGS = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class EfficientNet(nn.Module):
    """EfficientNet with the given block table."""

    def __init__(
        self,
        settings: tuple[tuple[int, int, int, int, int], ...] = B0_SETTINGS,
        stem: int = 32,
        last: int = 1280,
        classes: int = 1000,
    ) -> None:
        """Build the stem, the blocks and the classifier."""
        super().__init__()
        channels = stem
        features: list[nn.Module] = [conv_norm(3, stem, 3, 2, activation=nn.SiLU, eps=1e-3)]
        for expand, kernel, first_stride, channels_out, repeats in settings:
            for i in range(repeats):
                stride = first_stride if i == 0 else 1
                features.append(MBConv(channels, channels_out, kernel, stride, expand))
                channels = channels_out
        features.append(conv_norm(channels, last, 1, activation=nn.SiLU, eps=1e-3))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(last, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Classify images `[batch, 3, height, width]`."""
        x = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


def _inputs(small: bool, batch: int) -> tuple[Tensor, ...]:
    size = 32 if small else 224
    return (torch.randn(batch, 3, size, size),)


SMALL_SETTINGS = ((1, 3, 1, 8, 1), (4, 3, 2, 12, 2), (4, 5, 2, 16, 2))

MODELS = [
    ZooModel(
        name="efficientnet_b0",
        title="EfficientNet-B0",
        make=lambda: settle_batch_norms(EfficientNet(), 224),
        make_small=lambda: settle_batch_norms(EfficientNet(SMALL_SETTINGS, 8, 32, 10), 32),
        inputs=_inputs,
        axes=({0: "batch"},),
        sizes={"batch": 1},
    )
]
