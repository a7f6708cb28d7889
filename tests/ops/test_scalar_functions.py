# SPDX-License-Identifier: Apache-2.0
"""Every function of numbers in every type that loops hold, compiled whole on the CPU."""

import math

import pytest
import torch
import torch.nn.functional as F

from tests.ops.check import check
from tests.ops.test_elementwise import UNARY

EXACT = {torch.float32: 1e-6, torch.float64: 4e-15}
# Of which eager's own formula loses digits.
LOOSE = {"gelu", "gelu_tanh", "mish", "logsigmoid", "softplus", "elu", "selu", "celu", "tan"}
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 0.3, 2.0, -3.0, 1e-30, -1e-30, 1e-5, 20.0, -20.0]
SPECIAL = [*NUMBERS, math.inf, -math.inf, math.nan, 89.0, -105.0, 1e5, -3e7, 1e20, 3e38, 1e-42]


def on_device(x, device):
    return x.cuda() if device == "cuda" else x


def check_whole(function, *args, device, **kwargs):
    compiled = check(function, *args, device=device, **kwargs)
    if device == "cpu":
        assert list(compiled.stator_report.fallbacks) == []


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unary(name, dtype, device):
    x = (torch.randn(5, 203, dtype=torch.float64) * 2).to(dtype)
    tolerance = EXACT[dtype] * (50 if name in LOOSE else 1)
    if device == "cuda" and name.startswith("hard"):
        tolerance = 1e-6  # a GPU's eager has 1/6 in float32
    check_whole(UNARY[name], x, device=device, rtol=tolerance, atol=tolerance)


PLAIN = ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin"]
PLAIN += ["acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "sigmoid"]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_values(name, dtype, device):
    function = getattr(torch, name)
    x = torch.tensor(SPECIAL, dtype=torch.float64).to(dtype)
    if name == "tan" and dtype == torch.float32:
        x = x[x.abs() != 1e20]  # eager's own reduction has no digits left there
    check(function, x, device=device, rtol=1e-6, atol=0 if name != "cos" else 1e-7)

    def signs(x):
        y = function(x)
        return torch.signbit(torch.where(y.isnan(), 0.0, y))

    check(signs, x, device=device)


BINARY = {
    "fmod": torch.fmod,
    "remainder": torch.remainder,
    "floor_divide": torch.floor_divide,
    "trunc_divide": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "atan2": torch.atan2,
    "pow": torch.pow,
}


def all_pairs(values, dtype):
    x = torch.tensor(values, dtype=torch.float64).to(dtype)
    return x.repeat_interleave(len(x)), x.repeat(len(x))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_pairs(name, dtype, device):
    a, b = all_pairs(SPECIAL, dtype)
    if name in ("fmod", "remainder", "floor_divide"):
        # Eager's vectors lose quotients of many digits; C's fmod, which its scalars take, does not.
        near = (a / b).abs() < 1e6
        near |= ~(a / b).isfinite() & ~((a / b).isinf() & (b != 0))
        a, b = a[near], b[near]
    check_whole(BINARY[name], a, b, device=device, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pairs(name, dtype, device):
    a = torch.randn(37, 19, dtype=dtype) * 10
    b = torch.randn(19, dtype=dtype)
    exact = name not in ("atan2", "pow")
    tolerance = 0 if exact else EXACT[dtype]
    check_whole(BINARY[name], a, b, device=device, rtol=tolerance, atol=tolerance)
    if name != "atan2":  # which takes no number
        by_number = [lambda a: BINARY[name](a, 0.75), lambda a: BINARY[name](a, -2)]
        for function in by_number:
            check_whole(function, a, device=device, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_remainders_are_exact(dtype, device):
    """Of quotients of any length: x - n y is computed with integers."""
    a = torch.tensor([1e30, 3e38, -1e25, 1e15, 7.0, 1e-20], dtype=dtype)
    b = torch.tensor([3.0, 1e-40, 0.7, 1e-3, 7.0, 1e-38], dtype=dtype)
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    expected = torch.tensor([math.fmod(x, y) for x, y in pairs], dtype=torch.float64)
    got = check(torch.fmod, torch.ones_like(a), torch.ones_like(b), device=device)(
        *(on_device(t, device) for t in (a, b))
    )
    torch.testing.assert_close(got.cpu(), expected.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_angles(dtype, device):
    x = torch.logspace(3, 37, 999, dtype=torch.float64).to(dtype)
    exact = [[f(v) for v in x.tolist()] for f in (math.sin, math.cos, math.tan)]
    whole = check(
        lambda x: (torch.sin(x), torch.cos(x), torch.tan(x)), torch.ones_like(x), device=device
    )
    for got, values in zip(whole(on_device(x, device)), exact, strict=True):
        expected = torch.tensor(values, dtype=torch.float64).to(dtype)
        torch.testing.assert_close(got.cpu(), expected, rtol=EXACT[dtype] / 2, atol=0)


INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_division(dtype, device):
    limits = torch.iinfo(dtype)
    edges = [limits.min, limits.min + 1, limits.max, limits.max - 1, 1, 2, 3, 7, 100, 101]
    a = torch.cat([torch.tensor(edges).to(dtype), torch.randint(0, 100, (29,)).to(dtype)])
    a, b = a.repeat_interleave(len(a)), a.repeat(len(a))
    a, b = a[b != 0], b[b != 0]

    def divide(a, b):
        return (
            torch.floor_divide(a, b),
            torch.div(a, b, rounding_mode="trunc"),
            torch.remainder(a, b),
            torch.fmod(a, b),
        )

    overflows = (a == limits.min) & (b == -1)
    check_whole(divide, a[~overflows], b[~overflows], device=device, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_powers(dtype, device):
    a = torch.arange(-7, 8).to(dtype)
    a, b = a.repeat_interleave(15), a.repeat(15)
    check_whole(torch.pow, a, b, device=device, rtol=0, atol=0)
    check_whole(lambda a: a**5, a, device=device, rtol=0, atol=0)
    check_whole(lambda a: (torch.sign(a), torch.signbit(a)), a, device=device)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts_and_bits(dtype, device):
    a = torch.randint(0, 120, (77,)).to(dtype)
    b = torch.randint(0, 7, (77,)).to(dtype)
    check_whole(
        lambda a, b: (a << b, a >> b, a & b, a | b, a ^ b, ~a), a, b, device=device, rtol=0, atol=0
    )


WIDE = {
    "softmax": lambda x: F.softmax(x, 1),
    "softmax0": lambda x: F.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "group_norm": lambda x: F.group_norm(x[..., None], 3),
    "mean": lambda x: x.mean(1),
    "var": lambda x: x.var(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "norm": lambda x: x.norm(dim=1),
    "prod": lambda x: x.prod(1),
    "amax": lambda x: x.amax(0),
}


@pytest.mark.parametrize("name", WIDE)
def test_float64_rows(name, device):
    x = torch.randn(7, 33, dtype=torch.float64) * 3
    compare = check if name.startswith("softmax") else check_whole  # which PyTorch is faster at
    compare(WIDE[name], x, device=device, rtol=1e-13, atol=1e-14)


def test_float64_dynamic_rows(device):
    others = [[torch.randn(n, m, dtype=torch.float64)] for n, m in [(1, 1), (5, 3), (2, 16)]]
    x = torch.randn(4, 9, dtype=torch.float64)
    check_whole(
        lambda x: F.log_softmax(torch.tanh(x), -1) + torch.fmod(x, 0.3),
        x,
        device=device,
        dynamic=(0, 1),
        others=others,
        rtol=1e-13,
        atol=1e-15,
    )


@pytest.mark.parametrize("shape", [(0,), (3, 0), ()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_empty_and_zero_dim(shape, dtype, device):
    x = torch.randn(shape, dtype=dtype)
    check(
        lambda x: (torch.tan(x), torch.fmod(x, 0.3), torch.atan2(x, x + 1), torch.asinh(x)),
        x,
        device=device,
        rtol=1e-6,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_rounded_once(dtype, device):
    x = (torch.randn(301) * 2).to(dtype)
    y = torch.randn(301).to(dtype)
    check(
        lambda x, y: (
            torch.tan(x),
            torch.atan(x),
            torch.sinh(x),
            torch.asinh(x),
            torch.atan2(x, y),
        ),
        x,
        y,
        device=device,
        rtol=1e-2 if dtype == torch.bfloat16 else 2e-3,
        atol=1e-6,
    )
