# SPDX-License-Identifier: Apache-2.0
"""GPT-2 small (124M): the prefill of a prompt, with logits for every position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .zoo import ZooModel


class Conv1D(nn.Module):
    """GPT-2's linear layer, whose weight is stored as `[in, out]`."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        """Build the layer with GPT-2's initialization."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_in, fan_out) * 0.02)
        self.bias = nn.Parameter(torch.randn(fan_out) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last dimension of `x`."""
        shape = (*x.shape[:-1], self.weight.shape[1])
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(shape)


class Block(nn.Module):
    """Causal attention and a tanh-GELU perceptron, each after a layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        """Build the block."""
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(width)
        self.c_attn = Conv1D(width, 3 * width)
        self.attn_proj = Conv1D(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = Conv1D(width, 4 * width)
        self.mlp_proj = Conv1D(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `[batch, sequence, width]`."""
        batch, sequence, width = x.shape
        q, k, v = (
            part.view(batch, sequence, self.heads, width // self.heads).transpose(1, 2)
            for part in self.c_attn(self.ln_1(x)).split(width, dim=2)
        )
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_proj(out.transpose(1, 2).reshape(batch, sequence, width))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    """GPT-2 with its language-model head, which shares the weight of the token embedding."""

    def __init__(
        self,
        layers: int = 12,
        width: int = 768,
        heads: int = 12,
        vocabulary: int = 50257,
        positions: int = 1024,
    ) -> None:
        """Build the decoder."""
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(positions, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.wte.weight, std=0.02)
        nn.init.normal_(self.wpe.weight, std=0.01)
        self.lm_head.weight = self.wte.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits `[batch, sequence, vocabulary]` of token ids `[batch, sequence]`."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device).unsqueeze(0)
        x = self.wte(input_ids) + self.wpe(positions)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


def _inputs(small: bool, batch: int, sequence: int) -> tuple[Tensor, ...]:
    return (torch.randint(0, 211 if small else 50257, (batch, sequence)),)


MODELS = [
    ZooModel(
        name="gpt2",
        title="GPT-2 prefill, 128 tokens",
        make=GPT2,
        make_small=lambda: GPT2(2, 64, 4, vocabulary=211, positions=64),
        inputs=_inputs,
        axes=({0: "batch", 1: "sequence"},),
        sizes={"batch": 1, "sequence": 128},
        small_sizes={"sequence": 16},
    )
]
