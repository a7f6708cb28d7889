# SPDX-License-Identifier: Apache-2.0
"""Special functions against float64, at the edges too.

Beyond 5, PyTorch's own Bessel functions are off by 4e-7, in float64 too.
"""

import math

import pytest
import torch

from tests.ops.check import check, on_gpu

INF, NAN = math.inf, math.nan
EDGES = [0.0, -0.0, INF, -INF, NAN, 1.0, -1.0, 0.5, -0.5, 2.0, 1e-45, 1e-38, -1e-30, 3e38]
S = torch.special


def points(low, high, count=2001):
    return torch.linspace(low, high, count)


#: name → function, where it is compared, largest relative and absolute error
FUNCTIONS = {
    "lgamma": (torch.lgamma, points(-20.3, 40.0), 1e-6, 1e-6),
    "lgamma_large": (torch.lgamma, points(1.0, 1e6), 1e-6, 0),
    "digamma": (torch.digamma, points(-20.3, 40.0), 1e-6, 1e-6),
    "trigamma": (lambda x: torch.polygamma(1, x), points(0.01, 40.0), 1e-6, 0),
    "polygamma_2": (lambda x: torch.polygamma(2, x), points(0.01, 40.0), 2e-6, 0),
    "polygamma_3_left": (lambda x: torch.polygamma(3, x), points(-7.9, -0.1), 2e-6, 0),
    "polygamma_4": (lambda x: torch.polygamma(4, x), points(0.3, 40.0), 2e-6, 0),
    "mvlgamma": (lambda x: torch.mvlgamma(x, 3), points(1.1, 40.0), 1e-6, 1e-6),
    "erfc": (torch.erfc, points(-6.0, 9.0), 1e-6, 0),
    "erfcx": (S.erfcx, points(-5.0, 300.0), 1e-6, 0),
    "log_ndtr": (S.log_ndtr, points(-40.0, 5.0), 1e-6, 0),
    "erfinv": (torch.erfinv, points(-0.9999, 0.9999), 1e-6, 0),
    "ndtri": (S.ndtri, points(1e-6, 0.999), 2e-6, 1e-7),
    "i0": (torch.i0, points(-30.0, 30.0), 1e-6, 0),
    "i0e": (S.i0e, points(-100.0, 100.0), 1e-6, 0),
    "i1": (S.i1, points(-30.0, 30.0), 1e-6, 0),
    "i1e": (S.i1e, points(-100.0, 100.0), 1e-6, 0),
    "j0": (S.bessel_j0, points(-60.0, 60.0), 5e-6, 1e-6),
    "j1": (S.bessel_j1, points(-60.0, 60.0), 5e-6, 1e-6),
    "y0": (S.bessel_y0, points(0.01, 60.0), 5e-6, 1e-6),
    "y1": (S.bessel_y1, points(0.01, 60.0), 5e-6, 1e-6),
    "k0": (S.modified_bessel_k0, points(0.01, 60.0), 1e-6, 0),
    "k1": (S.modified_bessel_k1, points(0.01, 60.0), 1e-6, 0),
    "k0e": (S.scaled_modified_bessel_k0, points(0.01, 200.0), 1e-6, 0),
    "k1e": (S.scaled_modified_bessel_k1, points(0.01, 200.0), 1e-6, 0),
    "spherical_j0": (S.spherical_bessel_j0, points(-60.0, 60.0), 1e-6, 1e-7),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_functions(name, device):
    function, x, rtol, atol = FUNCTIONS[name]

    def exact(x):
        return function(x.double()).float()

    x = on_gpu(x) if device == "cuda" else x
    got = check(function, x, device=device, rtol=2e-3, atol=1e-3)(x)
    torch.testing.assert_close(got, exact(x), rtol=rtol, atol=atol, equal_nan=True)


@pytest.mark.parametrize(
    "function",
    [
        torch.lgamma, torch.digamma, torch.erfc, S.erfcx, torch.erfinv, torch.i0, S.i0e, S.i1,
        S.i1e, S.modified_bessel_i0, S.modified_bessel_k0, S.spherical_bessel_j0,
    ],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_edges(function, device):
    check(function, torch.tensor(EDGES), device=device, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("function", [torch.lgamma, torch.erfc, torch.i0, torch.digamma])
def test_element_types(function, device):
    x = torch.tensor([[1, 2, 3], [4, 5, 6]])
    check(function, x, device=device, dynamic=(0,), others=[[torch.arange(1, 13).view(4, 3)]])
    check(function, torch.tensor([True]), device=device)
    check(function, torch.tensor(1.5), device=device)
    check(function, torch.rand(3, 4).half() + 1, device=device, rtol=2e-3, atol=1e-3)
    check(function, torch.rand(4, 3).t() + 1, device=device)
    check(function, torch.empty(0, 3), device=device)


KINDS = ["t", "u", "v", "w"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shifted", ["", "shifted_"])
def test_chebyshev(kind, shifted, device):
    function = getattr(S, f"{shifted}chebyshev_polynomial_{kind}")
    x = points(-1.5, 1.5, 301)[:, None]
    n = torch.tensor([-1.0, 0.0, 1.0, 2.0, 5.0, 6.0])
    check(function, x, n, device=device, rtol=1e-4, atol=1e-4)
    check(lambda x: function(x, 3), x, device=device)


def test_signs(device):
    x = torch.tensor([0.0, -0.0, 1.5, -2.0, INF, -INF, NAN, -NAN])
    check(lambda x: (torch.signbit(x), torch.angle(x)), x, device=device)
    check(lambda a, b: torch.copysign(a, b), x[:, None], x, device=device)
    check(lambda a: torch.copysign(a, -0.0), x, device=device)
    x = on_gpu(x) if device == "cuda" else x
    ones = torch.ones_like(x)
    signs = check(lambda a, b: torch.copysign(a, b), ones, x, device=device)
    assert torch.equal(signs(ones, x), torch.copysign(ones, x))
    whole = torch.arange(3), torch.tensor([-1, 0, 1])
    check(lambda a, b: torch.copysign(a, b), *whole, device=device)
    check(torch.signbit, torch.tensor([-3, 0, 5]), device=device)


NUMBERS = [1.0, 0.75, -3.0, 1e-45, -1e-40, 1.1754944e-38, 3.4028235e38, 0.1, 2.0**100, 1 - 2**-24]


def test_mantissa_and_exponent(device):
    x = torch.tensor([*NUMBERS, 0.0, INF, -INF, NAN])
    check(torch.frexp, x, device=device, rtol=0, atol=0)
    check(torch.ldexp, torch.randn(5), torch.tensor([-3, 0, 4, 120, -126]), device=device)


def test_next_number(device):
    x = torch.tensor([*NUMBERS, 0.0, -0.0, INF, -INF, NAN])
    check(torch.nextafter, x[:, None], x, device=device, rtol=0, atol=0)
