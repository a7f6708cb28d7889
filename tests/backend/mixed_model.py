# SPDX-License-Identifier: Apache-2.0
"""A model that engines can hold in parts: matrix decompositions and a custom operator between."""

import torch
from torch import nn


@torch.library.custom_op("mylib::wobble", mutates_args=())
def wobble(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + x


@wobble.register_fake
def _(x):
    return torch.empty_like(x)


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(
            nn.Linear(32, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 32), nn.ReLU()
        )
        self.second = nn.Sequential(
            nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 32), nn.LayerNorm(32), nn.Tanh()
        )
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        y = self.first(x)
        q = torch.linalg.qr(y).Q
        z = self.second(torch.ops.mylib.wobble(q + x))
        values, _ = torch.linalg.eigh(z.transpose(-1, -2) @ z)
        return self.head(z) * values[:4].sum(), torch.softmax(y - z, -1)


def mixed():
    torch.manual_seed(0)
    return Mixed().eval(), torch.randn(48, 32)
