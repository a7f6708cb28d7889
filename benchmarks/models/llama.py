# SPDX-License-Identifier: Apache-2.0
"""A Llama-style decoder: RMSNorm, rotary positions, grouped-query attention and SwiGLU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .zoo import ZooModel


class RMSNorm(nn.Module):
    """Scale each row to a root mean square of one, then by a learned weight."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        """Build the norm of a `width`-wide layer."""
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last dimension of `x`."""
        variance = x.pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(variance + self.eps))


def rotate_half(x: Tensor) -> Tensor:
    """Turn the pairs (first half, second half) of the last dimension by 90 degrees."""
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


class Attention(nn.Module):
    """Causal attention with `kv_heads` key and value heads, each shared by several queries."""

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        """Build the projections."""
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, width // heads
        self.q_proj = nn.Linear(width, heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(width, kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(width, kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(heads * self.head_dim, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Attend over `[batch, sequence, width]`; `cos` and `sin` are `[sequence, head_dim]`."""
        batch, sequence, _ = x.shape
        q = self.q_proj(x).view(batch, sequence, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, sequence, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, sequence, self.kv_heads, self.head_dim).transpose(1, 2)
        cos, sin = cos.to(q.dtype), sin.to(q.dtype)  # computed in float32, as in Hugging Face's
        q = q * cos + rotate_half(q) * sin
        k = k * cos + rotate_half(k) * sin
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(out.transpose(1, 2).reshape(batch, sequence, -1))


class DecoderLayer(nn.Module):
    """Attention and a SwiGLU perceptron, each after an RMSNorm and around a shortcut."""

    def __init__(self, width: int, heads: int, kv_heads: int, hidden: int) -> None:
        """Build the layer."""
        super().__init__()
        self.input_layernorm = RMSNorm(width)
        self.self_attn = Attention(width, heads, kv_heads)
        self.post_attention_layernorm = RMSNorm(width)
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Apply the layer to `[batch, sequence, width]`."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        y = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(y)) * self.up_proj(y))


class Llama(nn.Module):
    """The decoder with its head, which shares the weight of the token embedding."""

    inv_freq: Tensor

    def __init__(
        self,
        layers: int = 8,
        width: int = 1024,
        heads: int = 16,
        kv_heads: int = 4,
        hidden: int = 2816,
        vocabulary: int = 32000,
    ) -> None:
        """Build the decoder."""
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, kv_heads, hidden) for _ in range(layers)
        )
        self.norm = RMSNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        self.lm_head.weight = self.embed_tokens.weight
        head_dim = width // heads
        inv_freq = 10000.0 ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits `[batch, sequence, vocabulary]` of token ids `[batch, sequence]`."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        angles = positions.to(torch.float32)[:, None] * self.inv_freq[None, :]
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos(), angles.sin()
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.lm_head(self.norm(x))


def _inputs(small: bool, batch: int, sequence: int) -> tuple[Tensor, ...]:
    return (torch.randint(0, 199 if small else 32000, (batch, sequence)),)


MODELS = [
    ZooModel(
        name="llama",
        title="Llama-style prefill, 128 tokens",
        make=Llama,
        make_small=lambda: Llama(2, 64, 8, 2, 96, vocabulary=199),
        inputs=_inputs,
        axes=({0: "batch", 1: "sequence"},),
        sizes={"batch": 1, "sequence": 128},
        small_sizes={"sequence": 16},
    ),
    ZooModel(
        name="llama_2048",
        title="Llama-style prefill, 8 layers of 2048",
        make=lambda: Llama(8, 2048, 16, 4, 5632),
        make_small=lambda: Llama(2, 64, 4, 2, 96, vocabulary=199),
        inputs=_inputs,
        axes=({0: "batch", 1: "sequence"},),
        sizes={"batch": 1, "sequence": 128},
        small_sizes={"sequence": 16},
    ),
]
