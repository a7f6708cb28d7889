# SPDX-License-Identifier: Apache-2.0
"""float16 and bfloat16: results within the rounding of the type, whatever is fused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.ops.check import check

HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])


def tolerance(dtype):
    """Some units in the last place: sums are rounded in another order."""
    return {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 4e-3, "atol": 4e-3}


def run(module, *args, dtype, device, **options):
    args = [a.to(dtype) if a.is_floating_point() else a for a in args]
    if isinstance(module, nn.Module):
        module = module.to(dtype)
    return check(module, *args, device=device, **tolerance(dtype), **options)


@HALVES
@pytest.mark.parametrize("width", [8, 50, 257, 1001])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(width, bias, dtype, device):
    run(nn.Linear(64, width, bias=bias), torch.randn(3, 20, 64), dtype=dtype, device=device)


@HALVES
@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "silu", "tanh"])
def test_linear_with_activation_and_residual(activation, dtype, device):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down, self.norm = nn.Linear(64, 256), nn.Linear(256, 64), nn.LayerNorm(64)

        def forward(self, x):
            y = self.up(self.norm(x))
            if activation == "gelu_tanh":
                y = F.gelu(y, approximate="tanh")
            else:
                y = getattr(torch if activation == "tanh" else F, activation)(y)
            return x + self.down(y)

    run(Block(), torch.randn(2, 17, 64), dtype=dtype, device=device)


# batch, heads, key heads, queries, keys, width
ATTENTION = [
    (2, 4, 4, 64, 64, 64),
    (1, 8, 2, 100, 37, 32),
    (2, 3, 3, 1, 130, 128),
    (1, 2, 1, 70, 70, 40),
    (2, 4, 2, 200, 333, 64),  # several tiles of keys, the last not full
    (1, 2, 2, 130, 520, 128),
]


@HALVES
@pytest.mark.parametrize("mask", ["none", "causal", "bool", "float", "rows"])
@pytest.mark.parametrize("case", ATTENTION)
def test_attention(case, mask, dtype, device):
    b, h, g, s, t, d = case
    q, k, v = torch.randn(b, h, s, d), torch.randn(b, g, t, d), torch.randn(b, g, t, d)
    bias = None
    if mask == "bool":
        bias = torch.rand(b, 1, s, t) > 0.3
    elif mask == "float":
        bias = torch.randn(s, t).to(dtype)
    elif mask == "rows":
        bias = torch.rand(b, 1, 1, t) > 0.3
    if mask in ("bool", "rows"):
        bias[..., 0] = True

    def function(q, k, v):
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, is_causal=mask == "causal", enable_gqa=h != g
        )

    run(function, q, k, v, dtype=dtype, device=device)


@HALVES
@pytest.mark.parametrize("channels", [3, 8, 20])
@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_convolution_with_batch_norm(channels, kernel, dtype, device):
    net = nn.Sequential(
        nn.Conv2d(channels, 24, kernel, stride=2, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.Hardswish(),
    )  # fmt: skip
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2)
    run(net, torch.randn(2, channels, 19, 16), dtype=dtype, device=device)


@HALVES
@pytest.mark.parametrize(
    "case",
    # channels, kernel, stride, padding, dilation, height, width
    [
        (8, 3, 1, 1, 1, 9, 14),
        (24, 5, 2, 2, 1, 17, 23),
        (12, 7, 1, 3, 1, 7, 7),
        (6, 3, 1, 2, 2, 10, 8),
        (16, (3, 5), (1, 2), (0, 2), 1, 8, 11),
        (5, 3, 1, 1, 1, 6, 5),
    ],
)
def test_depthwise_convolution(case, dtype, device):
    channels, kernel, stride, padding, dilation, height, width = case
    net = nn.Sequential(
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels),
        nn.SiLU(),
    )
    run(net, torch.randn(2, channels, height, width), dtype=dtype, device=device)


@HALVES
@pytest.mark.parametrize("shape", [(2, 48, 40, 40), (1, 5, 33, 70), (3, 64, 7, 7)])
def test_means_over_images(shape, dtype, device):
    """Few channels, each of many pixels that lie apart: several threads share a column."""

    class Excited(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(shape[1], 24, 3, padding=1)

        def forward(self, x):
            x = self.conv(x)
            return x * torch.sigmoid(x.mean((2, 3), keepdim=True)), x.amax((2, 3))

    run(Excited(), torch.randn(shape), dtype=dtype, device=device)


@HALVES
def test_products_of_one_operand(dtype, device):
    """Queries and keys turned by their positions, gate and up: slices of one wider product."""

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = nn.Linear(32, 32, bias=False), nn.Linear(32, 16, bias=False)
            self.gate, self.up = nn.Linear(32, 48, bias=False), nn.Linear(32, 48, bias=False)

        def forward(self, x, cos, sin):
            def turn(t):
                low, high = t.chunk(2, -1)
                return t * cos + torch.cat((-high, low), -1) * sin

            q = turn(self.q(x).view(2, 10, 4, 8).transpose(1, 2))
            k = turn(self.k(x).view(2, 10, 2, 8).transpose(1, 2))
            out = F.scaled_dot_product_attention(q, k, k, enable_gqa=True)
            return out, F.silu(self.gate(x)) * self.up(x)

    x = torch.randn(2, 10, 32)
    run(Layer(), x, torch.randn(10, 8), torch.randn(10, 8), dtype=dtype, device=device)


@HALVES
def test_patches(dtype, device):
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 32, 4, stride=4)

        def forward(self, x):
            return self.conv(x).flatten(2).transpose(1, 2)

    run(Patches(), torch.randn(2, 3, 16, 24), dtype=dtype, device=device)


@HALVES
@pytest.mark.parametrize("width", [5, 64, 768, 1000, 5000])
def test_normalizations(width, dtype, device):
    class Norms(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.rms = nn.LayerNorm(width), nn.RMSNorm(width)

        def forward(self, x):
            return self.layer(x) + self.rms(x), F.softmax(x, -1)

    run(Norms(), torch.randn(9, width), dtype=dtype, device=device)


@HALVES
def test_dynamic_sizes(dtype, device):
    net = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
    others = [[torch.randn(n, m, 32).to(dtype)] for n, m in [(1, 1), (3, 17), (4, 2)]]
    run(net, torch.randn(2, 9, 32), dtype=dtype, device=device, dynamic=(0, 1), others=others)
