# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 (He et al., 2015, https://arxiv.org/abs/1512.03385), with torchvision's names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .batch_norms import settle_batch_norms
from .zoo import ZooModel


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut; the stride sits in the 3x3 (ResNet v1.5)."""

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        """Build a block of `width` inner channels and `4 * width` output channels."""
        super().__init__()
        channels_out = width * self.expansion
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        # One a place: quantizers tell the activations apart by their modules.
        self.relu1, self.relu2, self.relu3 = (nn.ReLU(inplace=True) for _ in range(3))
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu3(out)


class ResNet(nn.Module):
    """A ResNet of bottleneck blocks: `blocks` a stage, the first stage `width` wide."""

    def __init__(self, blocks: tuple[int, ...], width: int = 64, classes: int = 1000) -> None:
        """Build the stem, the stages and the classifier."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = width
        for stage, count in enumerate(blocks):
            stage_width = width << stage
            layers = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Bottleneck(channels, stage_width, stride))
                channels = stage_width * Bottleneck.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.stages = len(blocks)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Classify images `[batch, 3, height, width]`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _inputs(small: bool, batch: int) -> tuple[Tensor, ...]:
    size = 64 if small else 224
    return (torch.randn(batch, 3, size, size),)


MODELS = [
    ZooModel(
        name="resnet50",
        title="ResNet-50",
        make=lambda: settle_batch_norms(ResNet((3, 4, 6, 3)), 128),
        make_small=lambda: settle_batch_norms(ResNet((1, 2, 1), width=16, classes=10), 64),
        inputs=_inputs,
        axes=({0: "batch"},),
        sizes={"batch": 1},
    )
]
