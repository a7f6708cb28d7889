# SPDX-License-Identifier: Apache-2.0
"""The encoder of Whisper-small (Radford et al., 2022, https://arxiv.org/abs/2212.04356)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .zoo import ZooModel


class Attention(nn.Module):
    """Multi-head self-attention with three projections, that of the keys without a bias."""

    def __init__(self, width: int, heads: int) -> None:
        """Build the projections."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over `[batch, frames, width]`."""
        batch, frames, width = x.shape
        split = (batch, frames, self.heads, width // self.heads)
        q, k, v = (p(x).view(split).transpose(1, 2) for p in (self.query, self.key, self.value))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.out(out.transpose(1, 2).reshape(batch, frames, width))


class Block(nn.Module):
    """Attention and a GELU perceptron, each after a layer norm and around a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        """Build the block."""
        super().__init__()
        self.attn_ln = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.mlp_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `[batch, frames, width]`."""
        x = x + self.attn(self.attn_ln(x))
        return x + self.mlp(self.mlp_ln(x))


def _sinusoids(length: int, width: int) -> Tensor:
    steps = math.log(10000) / (width // 2 - 1)
    scaled = torch.arange(length)[:, None] * torch.exp(-steps * torch.arange(width // 2))[None, :]
    return torch.cat([scaled.sin(), scaled.cos()], dim=1)


class WhisperEncoder(nn.Module):
    """Two convolutions over mel frames, then transformer blocks."""

    positions: Tensor

    def __init__(
        self,
        mels: int = 80,
        frames: int = 1500,
        width: int = 768,
        heads: int = 12,
        layers: int = 12,
    ) -> None:
        """Build the encoder of `2 * frames` mel frames."""
        super().__init__()
        self.conv1 = nn.Conv1d(mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positions", _sinusoids(frames, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, mel: Tensor) -> Tensor:
        """Encode `[batch, mels, 2 * frames]`."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        return self.ln_post(self.blocks(x + self.positions))


def _inputs(small: bool, batch: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, 16 if small else 80, 40 if small else 3000),)


MODELS = [
    ZooModel(
        name="whisper_encoder",
        title="Whisper-small encoder",
        make=WhisperEncoder,
        make_small=lambda: WhisperEncoder(16, 20, 64, 4, 2),
        inputs=_inputs,
        axes=({0: "batch"},),
        sizes={"batch": 1},
    )
]
