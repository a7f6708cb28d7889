# SPDX-License-Identifier: Apache-2.0
"""Quantize and dequantize operators, as torch.export, training and ModelOpt write them."""

import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import nn

from tests.ops.check import check

qd = torch.ops.quantized_decomposed
EXACT = {"rtol": 0, "atol": 0}


def values(*shape, dtype=torch.float32):
    """Random numbers, ties, and numbers beyond every bound."""
    torch.manual_seed(0)
    x = 3 * torch.randn(shape)
    if x.numel() > 4:
        x.view(-1)[:5] = torch.tensor([0.05, -0.05, 0.15, 1e4, -1e4])
    return x.to(dtype)


@pytest.mark.parametrize("shape", [(4, 6), (0, 3), ()])
@pytest.mark.parametrize(
    ("dtype", "low", "high", "zero"),
    [(torch.int8, -128, 127, 3), (torch.uint8, 0, 255, 128), (torch.int8, -127, 127, 0),
     (torch.int32, -1000, 1000, 5)],
)  # fmt: skip
def test_per_tensor(device, shape, dtype, low, high, zero):
    def function(x):
        q = qd.quantize_per_tensor.default(x, 0.1, zero, low, high, dtype)
        return q, qd.dequantize_per_tensor.default(q, 0.1, zero, low, high, dtype)

    check(function, values(*shape), device=device, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves(device, dtype):
    def function(x):
        q = qd.quantize_per_tensor.default(x, 0.1, 2, -128, 127, torch.int8)
        args = (q, 0.1, 2, -128, 127, torch.int8)
        return q, qd.dequantize_per_tensor.default(*args, out_dtype=dtype)

    check(function, values(4, 6, dtype=dtype), device=device, **EXACT)


def test_dynamic_and_not_contiguous(device):
    def function(x):
        q = qd.quantize_per_tensor.default(x.transpose(0, 1), 0.07, -4, -128, 127, torch.int8)
        return qd.dequantize_per_tensor.default(q, 0.07, -4, -128, 127, torch.int8)

    others = [[values(1, 6)], [values(9, 6)]]
    check(function, values(4, 6), device=device, dynamic=[0], others=others, **EXACT)


@pytest.mark.parametrize("scale_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_scale_as_a_tensor(device, scale_dtype, shape):
    def function(x, scale, zero):
        q = qd.quantize_per_tensor.tensor(x, scale, zero, -128, 127, torch.int8)
        return q, qd.dequantize_per_tensor.tensor(q, scale, zero, -128, 127, torch.int8)

    scale = torch.full(shape, 0.1, dtype=scale_dtype)
    check(function, values(4, 6), scale, torch.full(shape, 3), device=device, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(-128, 127, torch.int8), (-127, 127, torch.int8), (0, 255, torch.uint8)],
)
@pytest.mark.parametrize("shift", [0.0, 5.0, -5.0])
def test_parameters_of_what_there_is(device, symmetric, low, high, dtype, shift):
    choose = qd.choose_qparams_symmetric if symmetric else qd.choose_qparams

    def function(x):
        scale, zero = choose.tensor(x, low, high, 1e-5, dtype)
        q = qd.quantize_per_tensor.tensor(x, scale, zero, low, high, dtype)
        return scale, zero, qd.dequantize_per_tensor.tensor(q, scale, zero, low, high, dtype)

    torch.manual_seed(0)
    x = torch.randn(4, 6) + shift
    check(function, x, device=device, others=[[torch.zeros(4, 6)]], rtol=1e-6, atol=1e-6)
    check(function, x, device=device, dynamic=[1], others=[[torch.randn(4, 3)]], rtol=1e-6,
          atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("zero_dtype", [torch.int64, torch.int32, torch.int8])
def test_per_channel(device, axis, zero_dtype):
    shape = (3, 4, 5)
    scales = torch.linspace(0.05, 0.3, shape[axis])
    zeros = torch.arange(shape[axis]).to(zero_dtype) - 1

    def function(x, scales, zeros):
        args = (scales, zeros, axis, -128, 127, torch.int8)
        q = qd.quantize_per_channel.default(x, *args)
        return q, qd.dequantize_per_channel.default(q, *args)

    check(function, values(*shape), scales, zeros, device=device, **EXACT)


def test_per_channel_without_zero_points(device):
    def function(x, scales):
        return qd.dequantize_per_channel.default(x, scales, None, 0, -128, 127, torch.int8)

    x = torch.arange(-6, 6, dtype=torch.int8).view(3, 4)
    check(function, x, torch.tensor([0.5, 0.25, 0.1]), device=device, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_faked_in_training(device, dtype):
    zeros = torch.tensor([0, 3, -2, 1], dtype=torch.int32)

    def function(x, scales):
        a = torch.fake_quantize_per_tensor_affine(x, 0.1, 3, -128, 127)
        b = torch.fake_quantize_per_channel_affine(x, scales, zeros.to(x.device), 0, -128, 127)
        c = torch.fake_quantize_per_tensor_affine(x, scales[:1], zeros[1:2].to(x.device), -128, 127)
        return a, b, c

    scales = torch.tensor([0.1, 0.2, 0.05, 1.0])
    tolerance = 1e-6 if dtype == torch.float32 else 2e-2
    check(
        function, values(4, 6, dtype=dtype), scales, device=device, rtol=tolerance, atol=tolerance
    )


def test_a_quantized_network(device):
    """Weights by channel, activations by tensor: the whole network is one engine."""

    class Quantized(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.register_buffer("conv", torch.randint(-127, 128, (8, 3, 3, 3), dtype=torch.int8))
            self.register_buffer("fc", torch.randint(-127, 128, (5, 8), dtype=torch.int8))
            self.register_buffer("conv_scale", torch.rand(8) * 0.01 + 1e-3)
            self.register_buffer("fc_scale", torch.rand(5) * 0.01 + 1e-3)
            self.bias = nn.Parameter(torch.randn(8))

        def activation(self, x, scale, zero):
            q = qd.quantize_per_tensor.default(x, scale, zero, -128, 127, torch.int8)
            return qd.dequantize_per_tensor.default(q, scale, zero, -128, 127, torch.int8)

        def weight(self, q, scale):
            zeros = torch.zeros_like(scale, dtype=torch.int64)
            return qd.dequantize_per_channel.default(q, scale, zeros, 0, -127, 127, torch.int8)

        def forward(self, x):
            w = self.weight(self.conv, self.conv_scale)
            y = nn.functional.conv2d(self.activation(x, 0.02, 1), w, self.bias, padding=1).relu()
            y = self.activation(y.mean((2, 3)), 0.01, -128)
            return nn.functional.linear(y, self.weight(self.fc, self.fc_scale))

    # A sum near a tie may round to the next step: one step of the last activation.
    check(Quantized(), torch.rand(2, 3, 8, 8), device=device, rtol=1e-3, atol=2e-2)


@pytest.fixture(scope="module")
def modelopt():
    """ModelOpt's operator, as that library registers it."""
    library = torch.library.Library("tensorrt", "FRAGMENT")
    library.define(
        "quantize_op(Tensor input, Tensor amax, int num_bits, int exponent_bits, bool unsigned, "
        "bool narrow_range) -> Tensor"
    )

    def fake(x, amax, num_bits, exponent_bits, unsigned, narrow_range):
        bound = 2 ** (num_bits - 1 + int(unsigned)) - 1
        least = 0 if unsigned else -bound if narrow_range else -bound - 1
        scale = bound / amax
        return torch.clamp(torch.round(x * scale), least, bound) / scale

    for key in ("CPU", "CUDA", "Meta"):
        library.impl("quantize_op", fake, key)
    yield torch.ops.tensorrt.quantize_op.default
    library._destroy()


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_modelopt(device, modelopt, unsigned, narrow):
    def function(x, amax, amax_by_row):
        args = (8, 0, unsigned, narrow)
        return modelopt(x, amax, *args), modelopt(x, amax_by_row, *args)

    amax = torch.tensor([[1.0], [2.0], [0.5], [4.0]])
    check(function, values(4, 6), torch.tensor(3.0), amax, device=device, rtol=1e-6, atol=1e-6)


def test_float_formats_of_modelopt_stay_in_pytorch(device, modelopt):
    def function(x, amax):
        return modelopt(x, amax, 8, 4, False, False) * 2

    compiled = check(function, values(4, 6), torch.tensor(3.0), device=device, compiled_whole=False)
    (fallback,) = compiled.stator_report.fallbacks
    assert "float format" in str(fallback)
