# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 (https://arxiv.org/abs/1801.04381) and MobileNetV3-large (arxiv.org/abs/1905.02244).

Both are stacks of inverted residuals: a 1x1 convolution widens, a depthwise one filters, a second
1x1 narrows. V3 adds squeeze-and-excitation and hard-swish. Names follow torchvision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .batch_norms import settle_batch_norms
from .zoo import ZooModel


def round_channels(channels: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of `divisor`, never below 90 % of what was asked."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def conv_norm(
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU6,
    eps: float = 1e-5,
) -> nn.Sequential:
    """A convolution that keeps the size, a batch norm, and an activation unless it is None."""
    padding = (kernel - 1) // 2
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out, eps=eps),
    ]
    if activation is not None:
        layers.append(activation(inplace=True))
    return nn.Sequential(*layers)


class InvertedResidualV2(nn.Module):
    """Widen by `expand`, filter depthwise, narrow; a shortcut where the shapes agree."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expand: int) -> None:
        """Build the block; `expand` 1 leaves the widening convolution out."""
        super().__init__()
        self.shortcut = stride == 1 and channels_in == channels_out
        hidden = channels_in * expand
        layers: list[nn.Module] = []
        if expand != 1:
            layers.append(conv_norm(channels_in, hidden, 1))
        layers += [
            conv_norm(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return x + self.conv(x) if self.shortcut else self.conv(x)


# (expand, channels, repeats, stride of the first)
V2_SETTINGS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """MobileNetV2 with the given block table and width multiplier."""

    def __init__(
        self,
        settings: tuple[tuple[int, int, int, int], ...] = V2_SETTINGS,
        width: float = 1.0,
        last: int = 1280,
        classes: int = 1000,
    ) -> None:
        """Build the stem, the blocks, the last convolution and the classifier."""
        super().__init__()
        channels = round_channels(32 * width)
        features: list[nn.Module] = [conv_norm(3, channels, 3, stride=2)]
        for expand, block_channels, repeats, first_stride in settings:
            channels_out = round_channels(block_channels * width)
            for i in range(repeats):
                stride = first_stride if i == 0 else 1
                features.append(InvertedResidualV2(channels, channels_out, stride, expand))
                channels = channels_out
        features.append(conv_norm(channels, last, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images `[batch, 3, height, width]`."""
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


class SqueezeExcitation(nn.Module):
    """Scale each channel by a factor in [0, 1] computed from the means of all channels."""

    def __init__(self, channels: int, squeezed: int) -> None:
        """Build the two 1x1 convolutions that compute the factors."""
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = nn.ReLU()
        self.scale_activation = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `x`."""
        scale = self.activation(self.fc1(self.avgpool(x)))
        return self.scale_activation(self.fc2(scale)) * x


class InvertedResidualV3(nn.Module):
    """The block of V3: as in V2, with a choice of kernel, activation and squeeze-excitation."""

    def __init__(
        self,
        channels_in: int,
        kernel: int,
        hidden: int,
        channels_out: int,
        squeeze: bool,
        hard_swish: bool,
        stride: int,
    ) -> None:
        """Build the block; `hidden` equal to `channels_in` leaves the widening out."""
        super().__init__()
        self.shortcut = stride == 1 and channels_in == channels_out
        activation = nn.Hardswish if hard_swish else nn.ReLU
        layers: list[nn.Module] = []
        if hidden != channels_in:
            layers.append(conv_norm(channels_in, hidden, 1, activation=activation, eps=1e-3))
        layers.append(conv_norm(hidden, hidden, kernel, stride, hidden, activation, eps=1e-3))
        if squeeze:
            layers.append(SqueezeExcitation(hidden, round_channels(hidden // 4)))
        layers.append(conv_norm(hidden, channels_out, 1, activation=None, eps=1e-3))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return x + self.block(x) if self.shortcut else self.block(x)


# (kernel, hidden, channels out, squeeze-excitation, hard-swish, stride)
V3_LARGE_SETTINGS = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)


class MobileNetV3(nn.Module):
    """MobileNetV3 with the given block table."""

    def __init__(
        self,
        settings: tuple[tuple[int, int, int, bool, bool, int], ...] = V3_LARGE_SETTINGS,
        last: int = 1280,
        classes: int = 1000,
    ) -> None:
        """Build the stem, the blocks, the last convolution and the classifier."""
        super().__init__()
        channels = 16
        features: list[nn.Module] = [
            conv_norm(3, channels, 3, stride=2, activation=nn.Hardswish, eps=1e-3)
        ]
        for kernel, hidden, channels_out, squeeze, hard_swish, stride in settings:
            features.append(
                InvertedResidualV3(
                    channels, kernel, hidden, channels_out, squeeze, hard_swish, stride
                )
            )
            channels = channels_out
        wide = 6 * channels
        features.append(conv_norm(channels, wide, 1, activation=nn.Hardswish, eps=1e-3))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(wide, last),
            nn.Hardswish(inplace=True),
            nn.Dropout(0.2),
            nn.Linear(last, classes),
        )
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images `[batch, 3, height, width]`."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def _initialize(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _inputs(small: bool, batch: int) -> tuple[Tensor, ...]:
    size = 64 if small else 224
    return (torch.randn(batch, 3, size, size),)


def _small_v2() -> nn.Module:
    settings = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 1, 2))
    return settle_batch_norms(MobileNetV2(settings, width=0.5, last=64, classes=10), 64)


def _small_v3() -> nn.Module:
    settings = V3_LARGE_SETTINGS[:2] + V3_LARGE_SETTINGS[3:5] + V3_LARGE_SETTINGS[6:8]
    return settle_batch_norms(MobileNetV3(settings, last=64, classes=10), 64)


MODELS = [
    ZooModel(
        name="mobilenet_v2",
        title="MobileNetV2",
        make=lambda: settle_batch_norms(MobileNetV2(), 128),
        make_small=_small_v2,
        inputs=_inputs,
        axes=({0: "batch"},),
        sizes={"batch": 1},
    ),
    ZooModel(
        name="mobilenet_v3",
        title="MobileNetV3-large",
        make=lambda: settle_batch_norms(MobileNetV3(), 128),
        make_small=_small_v3,
        inputs=_inputs,
        axes=({0: "batch"},),
        sizes={"batch": 1},
    ),
]
