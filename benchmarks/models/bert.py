# SPDX-License-Identifier: Apache-2.0
"""BERT-base (https://arxiv.org/abs/1810.04805) and MiniLM-L6, its small sentence encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .zoo import ZooModel


class BertEmbeddings(nn.Module):
    """Sum of word, position and segment embeddings, normalized."""

    def __init__(self, vocabulary: int, width: int, positions: int) -> None:
        """Build the three tables."""
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """Embed token ids `[batch, sequence]`."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        embedded = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return self.norm(embedded + self.position_embeddings(positions))


class BertLayer(nn.Module):
    """One encoder layer of BERT: the layer norms come after the shortcuts."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        """Build the layer."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attention_output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.intermediate = nn.Linear(width, hidden)
        self.output = nn.Linear(hidden, width)
        self.output_norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Apply the layer to `[batch, sequence, width]`; `mask` is true where to attend."""
        batch, sequence, width = x.shape

        def split_heads(projected: Tensor) -> Tensor:
            return projected.view(batch, sequence, self.heads, width // self.heads).transpose(1, 2)

        out = F.scaled_dot_product_attention(
            split_heads(self.query(x)),
            split_heads(self.key(x)),
            split_heads(self.value(x)),
            attn_mask=mask,
        )
        out = out.transpose(1, 2).reshape(batch, sequence, width)
        x = self.attention_norm(x + self.attention_output(out))
        return self.output_norm(x + self.output(F.gelu(self.intermediate(x))))


class BertModel(nn.Module):
    """BERT's encoder with its pooler: the last hidden states and the pooled first token."""

    def __init__(
        self,
        layers: int = 12,
        width: int = 768,
        heads: int = 12,
        hidden: int = 3072,
        vocabulary: int = 30522,
        positions: int = 512,
    ) -> None:
        """Build the encoder."""
        super().__init__()
        self.embeddings = BertEmbeddings(vocabulary, width, positions)
        self.layers = nn.ModuleList(BertLayer(width, heads, hidden) for _ in range(layers))
        self.pooler = nn.Linear(width, width)
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def encode(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """The last hidden states `[batch, sequence, width]`."""
        mask = attention_mask[:, None, None, :].to(torch.bool)
        x = self.embeddings(input_ids, token_type_ids)
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The last hidden states and the pooled first token `[batch, width]`."""
        x = self.encode(input_ids, attention_mask, token_type_ids)
        return x, torch.tanh(self.pooler(x[:, 0]))


class SentenceEncoder(BertModel):
    """Sentence embeddings: the mean over the tokens that the mask keeps, of length one."""

    def forward(  # type: ignore[override]
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> Tensor:
        """Embed token ids `[batch, sequence]` into `[batch, width]`."""
        x = self.encode(input_ids, attention_mask, token_type_ids)
        weight = attention_mask.unsqueeze(-1).to(x.dtype)
        mean = (x * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return F.normalize(mean, p=2.0, dim=1)


def _inputs(small: bool, batch: int, sequence: int) -> tuple[Tensor, ...]:
    ids = torch.randint(0, 100 if small else 30522, (batch, sequence))
    mask = torch.ones(batch, sequence, dtype=torch.int64)
    for row in range(1, batch):  # rows after the first are padded, each a little more
        mask[row, max(1, sequence - 3 * row) :] = 0
    return ids, mask, torch.zeros_like(ids)


_AXES = tuple({0: "batch", 1: "sequence"} for _ in range(3))

MODELS = [
    ZooModel(
        name="bert_base",
        title="BERT-base, 128 tokens",
        make=BertModel,
        make_small=lambda: BertModel(2, 64, 4, 128, vocabulary=100, positions=64),
        inputs=_inputs,
        axes=_AXES,
        sizes={"batch": 1, "sequence": 128},
        small_sizes={"sequence": 16},
    ),
    ZooModel(
        name="minilm_l6",
        title="MiniLM-L6, 128 tokens",
        make=lambda: SentenceEncoder(6, 384, 12, 1536),
        make_small=lambda: SentenceEncoder(2, 48, 4, 96, vocabulary=100, positions=64),
        inputs=_inputs,
        axes=_AXES,
        sizes={"batch": 1, "sequence": 128},
        small_sizes={"sequence": 16},
    ),
]
