# SPDX-License-Identifier: Apache-2.0
"""The model zoo: the networks that benchmarks and tests run, by name.

Architectures follow the published ones (and torchvision's or Transformers' form of them); weights
are random and seeded, so nothing has to be downloaded.
"""

from __future__ import annotations

from . import (
    bert,
    convnext,
    efficientnet,
    gpt2,
    llama,
    mlp,
    mobilenet,
    resnet,
    vit,
    whisper,
)
from .zoo import ZooModel

_FAMILIES = (
    mlp, mobilenet, efficientnet, resnet, convnext, vit, whisper, bert, gpt2, llama,
)  # fmt: skip

ZOO: dict[str, ZooModel] = {model.name: model for family in _FAMILIES for model in family.MODELS}

__all__ = ["ZOO", "ZooModel"]
