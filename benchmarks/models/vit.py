# SPDX-License-Identifier: Apache-2.0
"""ViT-B/16 (Dosovitskiy et al., 2020, https://arxiv.org/abs/2010.11929)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .zoo import ZooModel


class SelfAttention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        """Build the projections of a `width`-wide layer."""
        super().__init__()
        self.heads = heads
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over `x` of shape `[batch, tokens, width]`."""
        batch, tokens, width = x.shape
        qkv = self.in_proj(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).reshape(batch, tokens, width))


class EncoderBlock(nn.Module):
    """Attention and a GELU perceptron, each after a layer norm and around a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        """Build the block."""
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=1e-6)
        self.self_attention = SelfAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `[batch, tokens, width]`."""
        x = x + self.self_attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class VisionTransformer(nn.Module):
    """Patches of an image and a class token through transformer blocks."""

    def __init__(
        self,
        image_size: int = 224,
        patch: int = 16,
        layers: int = 12,
        width: int = 768,
        heads: int = 12,
        hidden: int = 3072,
        classes: int = 1000,
    ) -> None:
        """Build the patch projection, the blocks and the head."""
        super().__init__()
        tokens = (image_size // patch) ** 2 + 1
        self.conv_proj = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embedding = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        self.layers = nn.Sequential(*(EncoderBlock(width, heads, hidden) for _ in range(layers)))
        self.ln = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images `[batch, 3, image_size, image_size]`."""
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.ln(self.layers(x + self.pos_embedding))
        return self.head(x[:, 0])


def _inputs(small: bool, batch: int) -> tuple[Tensor, ...]:
    size = 32 if small else 224
    return (torch.randn(batch, 3, size, size),)


MODELS = [
    ZooModel(
        name="vit_b16",
        title="ViT-B/16",
        make=VisionTransformer,
        make_small=lambda: VisionTransformer(32, 8, 2, 64, 4, 128, 10),
        inputs=_inputs,
        axes=({0: "batch"},),
        sizes={"batch": 1},
    )
]
