# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
import torch.nn.functional as F

from tests.ops.check import check

UNARY = {
    "neg": torch.neg,
    "abs": torch.abs,
    "sign": torch.sign,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": lambda x: torch.log(x.abs() + 0.1),
    "log2": lambda x: torch.log2(x.abs() + 0.1),
    "log10": lambda x: torch.log10(x.abs() + 0.1),
    "log1p": lambda x: torch.log1p(x.abs()),
    "sqrt": lambda x: torch.sqrt(x.abs()),
    "rsqrt": lambda x: torch.rsqrt(x.abs() + 0.1),
    "reciprocal": torch.reciprocal,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": lambda x: torch.tan(x * 0.4),
    "asin": lambda x: torch.asin(x.clamp(-1, 1)),
    "acos": lambda x: torch.acos(x.clamp(-1, 1)),
    "atan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "asinh": torch.asinh,
    "acosh": lambda x: torch.acosh(x.abs() + 1),
    "atanh": lambda x: torch.atanh(x.clamp(-0.9, 0.9)),
    "erf": torch.erf,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "trunc": torch.trunc,
    "isnan": torch.isnan,
    "isinf": torch.isinf,
    "logical_not": torch.logical_not,
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "logsigmoid": F.logsigmoid,
    "hardtanh": lambda x: F.hardtanh(x, -0.5, 0.25),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "square": torch.square,
    "clamp": lambda x: x.clamp(-0.5, 0.7),
    "clamp_min": lambda x: x.clamp(min=0.1),
    "clamp_max": lambda x: x.clamp(max=0.1),
    "pow2": lambda x: x**2,
    "pow3": lambda x: x**3,
    "pow_half": lambda x: x.abs() ** 0.5,
    "rpow": lambda x: 2.0**x,
}


@pytest.mark.parametrize("name", UNARY)
def test_unary(name, device):
    check(UNARY[name], torch.randn(3, 37) * 2, device=device)


@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "sigmoid", "gelu", "silu", "floor", "sin"])
def test_unary_on_special_values(name, device):
    values = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 1e-30, -1e-30, 88.0, -104.0]
    if name == "gelu":  # eager's vectors give NaN for infinity, its scalars infinity
        values = [v for v in values if not math.isinf(v)]
    check(UNARY[name], torch.tensor(values), device=device)


BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "eq": torch.eq,
    "ne": torch.ne,
    "lt": torch.lt,
    "le": torch.le,
    "gt": torch.gt,
    "ge": torch.ge,
    "floor_divide": torch.floor_divide,
    "trunc_divide": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "remainder": torch.remainder,
    "fmod": torch.fmod,
    "add_alpha": lambda a, b: torch.add(a, b, alpha=2),
    "sub_alpha": lambda a, b: torch.sub(a, b, alpha=3),
    "rsub": lambda a, b: torch.rsub(a, b),
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_binary(name, dtype, device):
    a = torch.randn(4, 9) * 5
    b = torch.randn(4, 9) * 5
    b = torch.where(b.abs() < 1, torch.ones(()), b)
    check(BINARY[name], a.to(dtype), b.to(dtype), device=device)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "lt", "eq", "maximum"])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 1, 5), (4, 1)),
        ((2, 3), (3,)),
        ((), (2, 3)),
        ((1,), (5, 7)),
        ((0, 3), (1, 3)),
        ((2, 1, 1, 4), (3, 1, 4)),
    ],
)
def test_broadcasting(name, a, b, device):
    check(BINARY[name], torch.randn(a), torch.randn(b) + 3, device=device)


@pytest.mark.parametrize("name", ["add", "mul", "div", "gt", "minimum"])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        (torch.float32, torch.int64),
        (torch.int32, torch.int64),
        (torch.bool, torch.float32),
        (torch.float64, torch.float32),
        (torch.uint8, torch.int8),
    ],
)
def test_type_promotion(name, left, right, device):
    a = torch.randint(0, 5, (3, 4)).to(left)
    b = torch.randint(1, 5, (3, 4)).to(right)
    check(BINARY[name], a, b, device=device)


@pytest.mark.parametrize("scalar", [2, 2.5, -1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.int32])
def test_python_scalars(scalar, dtype, device):
    x = torch.randint(-4, 5, (2, 5)).to(dtype)
    check(lambda x: (x + scalar, x * scalar, x - scalar, scalar - x, x > scalar), x, device=device)


def test_zero_dim_tensor_does_not_promote(device):
    check(
        lambda x, s: x * s, torch.randn(3, 3), torch.tensor(2.0, dtype=torch.float64), device=device
    )


@pytest.mark.parametrize("op", [torch.logical_and, torch.logical_or, torch.logical_xor])
def test_logical(op, device):
    check(op, torch.randn(6) > 0, torch.randn(6) > 0, device=device)


@pytest.mark.parametrize("op", [torch.bitwise_and, torch.bitwise_or, torch.bitwise_xor])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool])
def test_bitwise(op, dtype, device):
    a, b = torch.randint(0, 100, (8,)).to(dtype), torch.randint(0, 100, (8,)).to(dtype)
    check(op, a, b, device=device)


def test_where_and_masked_fill(device):
    x, mask = torch.randn(3, 5), torch.randn(3, 5) > 0
    check(lambda m, x: torch.where(m, x, x * 2), mask, x, device=device)
    check(lambda m, x: x.masked_fill(m, -math.inf), mask, x, device=device)
    check(lambda m, x: torch.where(m, 1.0, x), mask, x, device=device)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (torch.float32, torch.int64),
        (torch.int64, torch.float32),
        (torch.float32, torch.bool),
        (torch.bool, torch.float32),
        (torch.float32, torch.float64),
        (torch.int64, torch.int32),
        (torch.float32, torch.float16),
        (torch.float32, torch.bfloat16),
    ],
)
def test_casts(source, target, device):
    check(lambda x: x.to(target), (torch.randn(4, 6) * 4).to(source), device=device)


def test_non_contiguous_inputs(device):
    check(lambda a, b: a * b + 1, torch.randn(5, 4).t(), torch.randn(4, 10)[:, ::2], device=device)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0, 2), ()])
def test_empty_and_zero_dim(shape, device):
    check(lambda x: torch.relu(x) * 2 + 1, torch.randn(shape), device=device)


def test_dynamic_sizes(device):
    others = [[torch.randn(n, m), torch.randn(n, m)] for n, m in [(1, 1), (5, 3), (2, 16), (7, 1)]]
    a, b = torch.randn(4, 9), torch.randn(4, 9)
    check(lambda a, b: F.gelu(a + b) * 0.5, a, b, device=device, dynamic=(0, 1), others=others)


def test_float64_stays_float64(device):
    x = torch.randn(50, dtype=torch.float64)
    check(lambda x: torch.exp(x) / 3, x, device=device, rtol=1e-12, atol=1e-14)


def test_integers_are_exact(device):
    x = torch.tensor([2**53 + 1, -(2**60), 3])
    check(lambda x: x * 3 + 1, x, device=device, rtol=0, atol=0)
