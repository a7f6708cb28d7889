# SPDX-License-Identifier: Apache-2.0
"""Products of quantized operands: on integers where they can be, PyTorch's values everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import stator
import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import nn

from tests.ops.check import check

qd = torch.ops.quantized_decomposed
INT8, UINT8 = (-128, 127, torch.int8), (0, 255, torch.uint8)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def has_byte_products(device):
    """Whether this machine sums products of bytes in one instruction."""
    if device == "cuda":
        return torch.cuda.get_device_capability() == (9, 0)
    if device != "cpu":
        return False
    flags = Path("/proc/cpuinfo").read_text().split()
    return "avx512_vnni" in flags or "avx_vnni" in flags


def kernels(compiled, *args):
    """The kernels of the engine that `compiled` is, in the order of their steps."""
    (engine,) = (m.engine for m in compiled.modules() if hasattr(m, "engine"))
    return [kernel for _, kernel, _ in engine.profile(*args)]


def byte_products(compiled, *args):
    return sum(k.endswith((" u8", " i8")) for k in kernels(compiled, *args))


class Quantized(nn.Module):
    """A layer between a quantized input and quantized weights."""

    def __init__(self, shape, *, zero=0, scale=0.03, bounds=INT8, by_channel=True, bias=True):
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("weight", torch.randint(-128, 128, shape, dtype=torch.int8))
        scales = torch.rand(shape[0]) * 1e-3 + 1e-3
        self.register_buffer("scales", scales if by_channel else scales[:1])
        self.register_buffer("zeros", torch.zeros(shape[0], dtype=torch.int64))
        self.bias = nn.Parameter(torch.randn(shape[0])) if bias else None
        self.zero, self.scale, self.bounds, self.by_channel = zero, scale, bounds, by_channel

    def quantized(self, x):
        q = qd.quantize_per_tensor.default(x, self.scale, self.zero, *self.bounds)
        return qd.dequantize_per_tensor.default(q, self.scale, self.zero, *self.bounds)

    def weights(self):
        if self.by_channel:
            return qd.dequantize_per_channel.default(
                self.weight, self.scales, self.zeros, 0, -128, 127, torch.int8
            )
        return qd.dequantize_per_tensor.default(self.weight, 2e-3, 0, -128, 127, torch.int8)

    def forward(self, x):
        return nn.functional.linear(self.quantized(x), self.weights(), self.bias)


class QuantizedConv(Quantized):
    """The same for convolutions."""

    def __init__(self, shape, stride=1, padding=0, groups=1, dilation=1, **kwargs):
        super().__init__(shape, **kwargs)
        self.arguments = (stride, padding, dilation, groups)

    def forward(self, x):
        functional = getattr(nn.functional, f"conv{self.weight.dim() - 2}d")
        return functional(self.quantized(x), self.weights(), self.bias, *self.arguments)


def close_and_on_bytes(module, *args, device, others=(), dynamic=(), count=1):
    compiled = check(module, *args, device=device, others=others, dynamic=dynamic, **CLOSE)
    if has_byte_products(device) and not dynamic:
        given = [a.cuda() for a in args] if device == "cuda" else args
        assert byte_products(compiled, *given) == count
    return compiled


@pytest.mark.parametrize("bounds", [INT8, UINT8, (-127, 127, torch.int8)])
@pytest.mark.parametrize("zero", [0, 5, 100])
@pytest.mark.parametrize("by_channel", [True, False])
def test_linear(device, bounds, zero, by_channel):
    module = Quantized((48, 64), zero=zero, bounds=bounds, by_channel=by_channel)
    close_and_on_bytes(module, 3 * torch.randn(7, 64), device=device)


@pytest.mark.parametrize("shape", [(64,), (1, 64), (0, 64), (2, 3, 64), (129, 64)])
@pytest.mark.parametrize("bias", [True, False])
def test_rows(device, shape, bias):
    on_bytes = 0 if 0 in shape or len(shape) == 1 else 1
    module = Quantized((40, 64), zero=-128, bias=bias)
    if on_bytes:
        close_and_on_bytes(module, torch.randn(shape), device=device)
    else:
        check(module, torch.randn(shape), device=device, **CLOSE)


@pytest.mark.parametrize("k", [3, 6, 20, 129])
@pytest.mark.parametrize("n", [1, 16, 33])
def test_sums_of_any_length(device, k, n):
    check(Quantized((n, k), zero=9), torch.randn(5, k), device=device, **CLOSE)


def test_dynamic_rows(device):
    others = [[torch.randn(n, 64)] for n in (1, 2, 15)]
    close_and_on_bytes(
        Quantized((40, 64), zero=3), torch.randn(8, 64), device=device, dynamic=[0], others=others
    )


def test_input_that_is_not_contiguous(device):
    class Turned(Quantized):
        def forward(self, x):
            return super().forward(x.transpose(0, 1))

    close_and_on_bytes(Turned((40, 64), zero=3), torch.randn(64, 6), device=device)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_around_it(device, dtype):
    class Half(Quantized):
        def forward(self, x):
            return super().forward(x.float()).to(dtype).relu()

    compiled = check(Half((48, 64), zero=3), torch.randn(6, 64, dtype=dtype), device=device,
                     rtol=1e-2, atol=1e-2)  # fmt: skip
    if has_byte_products(device):
        given = torch.randn(6, 64, dtype=dtype, device="cuda" if device == "cuda" else "cpu")
        assert byte_products(compiled, given) == 1


def test_weights_as_columns(device):
    class Columns(Quantized):
        def forward(self, x):
            return self.quantized(x) @ self.weights().t()

    close_and_on_bytes(Columns((48, 64), zero=3), torch.randn(6, 64), device=device)


def test_scale_of_each_row_at_run_time(device):
    """What dynamic quantization of activations is made of."""

    class Dynamic(Quantized):
        def forward(self, x):
            scale = x.abs().amax(-1, keepdim=True) / 127
            q = (x / scale).round().clamp(-128, 127).to(torch.int8)
            return nn.functional.linear(q.float() * scale, self.weights(), self.bias)

    compiled = close_and_on_bytes(Dynamic((48, 64)), torch.randn(6, 64), device=device)
    assert compiled.stator_report.fallbacks == []


def test_dynamic_quantization_by_tensor(device):
    class Dynamic(Quantized):
        def quantized(self, x):
            scale, zero = qd.choose_qparams.tensor(x, -128, 127, 1e-5, torch.int8)
            q = qd.quantize_per_tensor.tensor(x, scale, zero, -128, 127, torch.int8)
            return qd.dequantize_per_tensor.tensor(q, scale, zero, -128, 127, torch.int8)

    close_and_on_bytes(
        Dynamic((48, 64)), torch.randn(6, 64) + 1, device=device, others=[[torch.randn(6, 64)]]
    )


def test_faked_quantization(device):
    class Faked(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.linear = nn.Linear(64, 48)
            self.register_buffer("scales", self.linear.weight.detach().abs().amax(1) / 127)
            self.register_buffer("zeros", torch.zeros(48, dtype=torch.int32))

        def forward(self, x):
            x = torch.fake_quantize_per_tensor_affine(x, 0.04, 3, -128, 127)
            w = torch.fake_quantize_per_channel_affine(
                self.linear.weight, self.scales, self.zeros, 0, -127, 127
            )
            return nn.functional.linear(x, w, self.linear.bias)

    close_and_on_bytes(Faked(), torch.randn(6, 64), device=device)


def test_numbers_that_others_read_too(device):
    """The quantized input is an output and a residual as well."""

    class Shared(Quantized):
        def forward(self, x):
            q = qd.quantize_per_tensor.default(x, self.scale, self.zero, *self.bounds)
            a = qd.dequantize_per_tensor.default(q, self.scale, self.zero, *self.bounds)
            return q, a + nn.functional.linear(a, self.weights(), self.bias)

    close_and_on_bytes(Shared((64, 64), zero=-7), torch.randn(6, 64), device=device)


def test_integers_as_inputs(device):
    class Given(Quantized):
        def forward(self, q):
            x = qd.dequantize_per_tensor.default(q, self.scale, self.zero, *self.bounds)
            return nn.functional.linear(x, self.weights(), self.bias)

    q = torch.randint(-128, 128, (6, 64), dtype=torch.int8)
    close_and_on_bytes(Given((48, 64), zero=4), q, device=device)


def test_weights_that_are_not_constant_stay_in_float(device):
    class Computed(Quantized):
        def forward(self, x):
            return nn.functional.linear(self.quantized(x), self.quantized(2 * x))

    close_and_on_bytes(Computed((48, 64)), torch.randn(6, 64), device=device, count=0)


CONVOLUTIONS = {
    "3x3": ((16, 8, 3, 3), {"padding": 1}, (2, 8, 9, 7)),
    "1x1": ((16, 8, 1, 1), {}, (2, 8, 9, 7)),
    "stride": ((16, 8, 3, 3), {"stride": 2, "padding": 1}, (1, 8, 12, 12)),
    "first": ((16, 3, 7, 7), {"stride": 2, "padding": 3}, (1, 3, 20, 20)),
    "groups": ((16, 4, 3, 3), {"padding": 1, "groups": 4}, (2, 16, 9, 7)),
    "dilation": ((16, 8, 3, 3), {"padding": 2, "dilation": 2}, (1, 8, 9, 9)),
    "wide": ((130, 64, 3, 3), {"padding": 1}, (1, 64, 7, 7)),
    "patches": ((32, 4, 4, 4), {"stride": 4}, (2, 4, 16, 16)),
    "1d": ((16, 8, 3), {"padding": 1}, (2, 8, 11)),
    "3d": ((8, 4, 3, 3, 3), {"padding": 1}, (1, 4, 5, 6, 7)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize(("zero", "bounds"), [(0, UINT8), (-128, INT8), (5, INT8)])
def test_convolution(device, name, zero, bounds):
    shape, arguments, image = CONVOLUTIONS[name]
    module = QuantizedConv(shape, zero=zero, bounds=bounds, **arguments)
    compiled = check(module, torch.randn(image), device=device, **CLOSE)
    if device == "cpu" and has_byte_products(device):
        assert byte_products(compiled, torch.randn(image)) == 1


def test_depthwise_stays_in_float(device):
    module = QuantizedConv((16, 1, 3, 3), padding=1, groups=16, zero=4)
    compiled = check(module, torch.randn(1, 16, 9, 9), device=device, **CLOSE)
    given = torch.randn(1, 16, 9, 9, device="cuda" if device == "cuda" else "cpu")
    assert byte_products(compiled, given) == 0


def test_dynamic_batch_of_images(device):
    module = nn.Sequential(QuantizedConv((16, 8, 3, 3), padding=1, zero=-128), nn.ReLU())
    others = [[torch.randn(n, 8, 9, 9)] for n in (1, 5)]
    check(module, torch.randn(2, 8, 9, 9), device=device, dynamic=[0], others=others, **CLOSE)


def test_two_layers_share_their_numbers(device):
    """The first layer's end is the second one's quantization: two kernels and the input's."""
    module = nn.Sequential(Quantized((96, 64), zero=3), nn.ReLU(), Quantized((32, 96), zero=-128))
    x = torch.randn(6, 64)
    # A sum near a tie may round to the next step of the second layer's input.
    compiled = check(module, x, device=device, rtol=1e-3, atol=1e-2)
    if device == "cpu" and has_byte_products(device):
        assert byte_products(compiled, x) == 2
        assert len(kernels(compiled, x)) == 3


@pytest.mark.parametrize("isa", ["avx2", "sse4.1"])
def test_other_instruction_sets(isa, tmp_path):
    """Without instructions for them, the same products are of float32."""
    script = (
        "import torch, sys\n"
        "from tests.ops.test_quantized_products import Quantized, QuantizedConv, check, CLOSE\n"
        "check(Quantized((48, 64), zero=5), torch.randn(7, 64), **CLOSE)\n"
        "check(QuantizedConv((16, 8, 3, 3), zero=5, padding=1), torch.randn(1, 8, 9, 9), **CLOSE)\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "STATOR_CPU_ISA": isa}
    environment["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, sys.path)])
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path)


def test_pt2e_of_torchao():
    """A network that torchao quantized after training."""
    torchao = pytest.importorskip("torchao.quantization.pt2e.quantize_pt2e")
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ).eval()  # fmt: skip
    x = torch.randn(4, 3, 16, 16)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = torchao.prepare_pt2e(torch.export.export(network, (x,)).module(), quantizer)
    prepared(x)
    quantized = torchao.convert_pt2e(prepared)
    compiled = stator.compile(quantized, arg_inputs=(x,), min_block_size=1)
    assert compiled.stator_report.fallbacks == []
    # One step of the activations' quantization.
    torch.testing.assert_close(compiled(x), quantized(x), rtol=1e-2, atol=2e-2)
    if has_byte_products("cpu"):
        assert byte_products(compiled, x) == 3
