# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.ops.check import check


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4, 5)),
        ((1, 70), (70, 33)),
        ((17, 129), (129, 65)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 6)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((0, 4), (4, 5)),
        ((3, 0), (0, 5)),
        ((2, 3, 4), (4, 5)),
    ],
)
def test_matmul(a, b, device):
    check(torch.matmul, torch.randn(a), torch.randn(b), device=device)


def test_matmul_of_transposed_views(device):
    check(lambda a, b: a.t() @ b.t(), torch.randn(7, 5), torch.randn(9, 7), device=device)
    check(lambda a: a @ a.transpose(-1, -2), torch.randn(2, 6, 8), device=device)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_matmul_of_other_dtypes(dtype, device):
    if device == "cuda" and dtype == torch.int64:
        pytest.skip("PyTorch has no integer products on the GPU to compare with")
    a, b = (torch.randn(5, 6) * 5).to(dtype), (torch.randn(6, 7) * 5).to(dtype)
    check(torch.matmul, a, b, device=device, rtol=1e-12, atol=1e-12)


def test_mm_bmm_addmm_baddbmm(device):
    a, b, c = torch.randn(3, 4), torch.randn(4, 5), torch.randn(5)
    check(lambda a, b, c: torch.addmm(c, a, b, beta=0.5, alpha=2), a, b, c, device=device)
    check(torch.bmm, torch.randn(2, 3, 4), torch.randn(2, 4, 5), device=device)
    check(
        torch.baddbmm,
        torch.randn(2, 3, 5),
        torch.randn(2, 3, 4),
        torch.randn(2, 4, 5),
        device=device,
    )
    check(torch.outer, torch.randn(3), torch.randn(5), device=device)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5, 48), (1, 48), (2, 3, 48), (0, 48), (48,)])
def test_linear(bias, shape, device):
    check(nn.Linear(48, 37, bias=bias), torch.randn(shape), device=device)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh", "sigmoid", "hardswish"])
def test_linear_with_epilogue(activation, device):
    linear, after = nn.Linear(40, 50), nn.LayerNorm(50)
    residual = torch.randn(6, 50)

    def function(x):
        return after(getattr(torch.nn.functional, activation)(linear(x)) + residual)

    check(function, torch.randn(6, 40), device=device)


def test_linear_with_dynamic_rows(device):
    others = [[torch.randn(n, m, 32)] for n, m in [(1, 1), (3, 9), (5, 13)]]
    check(nn.Linear(32, 20), torch.randn(2, 7, 32), device=device, dynamic=(0, 1), others=others)


def test_mlp(device):
    mlp = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 8)
    )
    check(mlp, torch.randn(1, 64), device=device)
    check(mlp, torch.randn(33, 64), device=device)


CONVOLUTIONS = [
    # in, out, kernel, stride, padding, dilation, groups, spatial
    (3, 16, 3, 1, 1, 1, 1, (9, 11)),
    (3, 32, 7, 2, 3, 1, 1, (23, 23)),
    (16, 24, 1, 1, 0, 1, 1, (6, 7)),
    (16, 24, 1, 2, 0, 1, 1, (7, 7)),
    (16, 33, 3, 2, 1, 1, 1, (9, 8)),
    (12, 12, 3, 1, 1, 1, 12, (8, 9)),
    (12, 12, 5, 2, 2, 1, 12, (11, 10)),
    (12, 24, 3, 1, 1, 1, 12, (8, 8)),
    (16, 32, 3, 1, 1, 1, 4, (8, 8)),
    (8, 8, 3, 1, 2, 2, 1, (10, 10)),
    (4, 6, (1, 5), (1, 2), (0, 2), 1, 1, (6, 12)),
    (70, 40, 3, 1, 1, 1, 1, (5, 5)),
    (3, 8, 16, 16, 0, 1, 1, (32, 48)),
]


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_conv2d(case, bias, device):
    inputs, outputs, kernel, stride, padding, dilation, groups, spatial = case
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=bias)
    check(conv, torch.randn(2, inputs, *spatial), device=device)


def test_conv1d_and_conv3d(device):
    check(nn.Conv1d(4, 6, 3, padding=1), torch.randn(2, 4, 11), device=device)
    check(nn.Conv3d(3, 5, 3, padding=1), torch.randn(1, 3, 5, 6, 7), device=device)


TRANSPOSED = [
    # in, out, kernel, stride, padding, output padding, dilation, groups
    (6, 4, 3, 1, 1, 0, 1, 1),
    (6, 4, 3, 2, 1, 1, 1, 1),
    (8, 8, 4, 2, 1, 0, 1, 2),
    (4, 4, 2, 2, 0, 0, 1, 4),
    (6, 9, (3, 2), (3, 1), (0, 1), (2, 0), (1, 2), 3),
    (5, 3, 1, 3, 0, 0, 1, 1),
    (3, 5, 3, 2, 3, 0, 1, 1),
]


@pytest.mark.parametrize("case", TRANSPOSED)
@pytest.mark.parametrize("bias", [False, True])
def test_conv_transpose2d(case, bias, device):
    inputs, outputs, kernel, stride, padding, output_padding, dilation, groups = case
    conv = nn.ConvTranspose2d(
        inputs, outputs, kernel, stride, padding, output_padding, groups, bias, dilation
    )
    check(conv, torch.randn(2, inputs, 6, 7), device=device)


def test_conv_transpose_in_one_and_three_dims(device):
    check(nn.ConvTranspose1d(4, 6, 5, 3, 2, 1), torch.randn(2, 4, 9), device=device)
    check(nn.ConvTranspose3d(3, 2, 3, 2, 1, 1), torch.randn(1, 3, 3, 4, 5), device=device)


def test_conv_with_dynamic_batch_and_size(device):
    others = [[torch.randn(n, 3, h, h + 1)] for n, h in [(1, 5), (3, 12)]]
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=8))
    check(net, torch.randn(2, 3, 10, 11), device=device, dynamic=(0, 2, 3), others=others)


def test_residual_block(device):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (
                nn.Conv2d(16, 16, 3, 1, 1, bias=False),
                nn.Conv2d(16, 16, 1, bias=False),
            )
            self.na, self.nb = nn.BatchNorm2d(16), nn.BatchNorm2d(16)

        def forward(self, x):
            y = F.relu(self.na(self.a(x)), inplace=True)
            return F.relu(self.nb(self.b(y)) + x)

    block = Block()
    for norm in (block.na, block.nb):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    check(block, torch.randn(2, 16, 9, 10), device=device)


POOLS = [
    nn.MaxPool2d(3, 2, 1),
    nn.MaxPool2d(2, ceil_mode=True),
    nn.MaxPool2d(3, 1, dilation=2),
    nn.AvgPool2d(3, 2, 1),
    nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AvgPool2d(2, ceil_mode=True),
    nn.AvgPool2d(2, divisor_override=3),
    nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveAvgPool2d((3, 5)),
    nn.AdaptiveMaxPool2d((3, 5)),
]


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_pooling(pool, device):
    whole = not isinstance(pool, nn.AdaptiveMaxPool2d)
    check(pool, torch.randn(2, 6, 9, 11), device=device, compiled_whole=whole)


ATTENTION = [
    # batch, heads, kv heads, queries, keys, width
    (2, 4, 4, 7, 7, 16),
    (1, 2, 2, 1, 19, 32),
    (2, 4, 2, 33, 33, 64),
    (1, 1, 1, 130, 130, 64),
    (1, 3, 3, 5, 70, 24),
]


@pytest.mark.parametrize("case", ATTENTION)
@pytest.mark.parametrize("mask", ["none", "causal", "bool", "float"])
def test_attention(case, mask, device):
    b, h, g, s, t, d = case
    q, k, v = torch.randn(b, h, s, d), torch.randn(b, g, t, d), torch.randn(b, g, t, d)
    bias = None
    if mask == "bool":
        bias = torch.rand(b, 1, s, t) > 0.3
        bias[..., 0] = True
    elif mask == "float":
        bias = torch.randn(s, t)

    def function(q, k, v):
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, is_causal=mask == "causal", enable_gqa=h != g
        )

    check(function, q, k, v, device=device)


def test_attention_written_out(device):
    def function(q, k, v):
        scores = q @ k.transpose(-2, -1) / 4.0
        return F.softmax(scores, -1) @ v

    check(function, *(torch.randn(2, 3, 9, 16) for _ in range(3)), device=device)


def test_attention_with_dynamic_sizes(device):
    attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def function(x):
        return attention(x, x, x, need_weights=False)[0]

    others = [[torch.randn(n, m, 32)] for n, m in [(1, 1), (3, 17), (4, 2)]]
    check(function, torch.randn(2, 9, 32), device=device, dynamic=(0, 1), others=others)


def test_attention_with_grouped_heads_under_torch_compile(device):
    def function(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    args = [torch.randn(2, heads, 17, 16) for heads in (8, 2, 2)]
    options = {"device": device, "min_block_size": 1, "pass_through_build_failures": True}
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(function, backend="stator", options=options)
        torch.testing.assert_close(compiled(*args), function(*args), rtol=1e-4, atol=1e-5)
