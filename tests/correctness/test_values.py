# SPDX-License-Identifier: Apache-2.0
"""Values that were wrong once: bags, scalars beside halves, the order of equal elements."""

import pytest
import stator
import torch
import torch.nn.functional as F

from tests.ops.check import Call, check

HALVES = [torch.bfloat16, torch.float16]


def exactly(function, *args, device, dynamic=(), others=()):
    """As eager has it, to the last bit."""
    return check(function, *args, device=device, dynamic=dynamic, others=others, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("padding_idx", [None, 3])
def test_last_offset_ends_the_last_bag_where_it_does_in_eager(mode, dtype, padding_idx, device):
    """A constant table whose rows are strided is taken as one of dense rows, for which PyTorch
    does what it documents; its own kernel for strided rows runs the last bag to the end.
    """
    table = torch.arange(1.0, 13.0, dtype=dtype).view(12, 1).repeat(1, 2)
    places = torch.tensor([0, 1, 9, 10, 8, 11])
    offsets = torch.tensor([0, 2, 2, 4])

    def bags(i, o):
        return F.embedding_bag(
            i, table, o, mode=mode, include_last_offset=True, padding_idx=padding_idx
        )

    check(bags, places, offsets, device=device, others=[[places, torch.tensor([0, 0, 6, 6])]])


def test_last_offset_with_weights_and_padding(device):
    table, places = torch.randn(9, 3), torch.randint(0, 9, (7,))
    weights, offsets = torch.randn(7), torch.tensor([0, 3, 5])

    def bags(i, o, w):
        return F.embedding_bag(
            i, table, o, mode="sum", per_sample_weights=w, include_last_offset=True, padding_idx=2
        )

    check(bags, places, offsets, weights, device=device)


BESIDE_SCALARS = {
    "add": lambda x, c: x + c,
    "radd": lambda x, c: c + x,
    "sub": lambda x, c: x - c,
    "rsub": lambda x, c: c - x,
    "mul": lambda x, c: x * c,
    "div": lambda x, c: x / c,
    "floor_div": lambda x, c: torch.div(x, c, rounding_mode="floor"),
    "trunc_div": lambda x, c: torch.div(x, c, rounding_mode="trunc"),
    "fmod": torch.fmod,
    "remainder": torch.remainder,
    "pow": lambda x, c: torch.pow(x.abs(), c),
    "rpow": lambda x, c: torch.pow(c, x),
    "lt": lambda x, c: x < c,
    "eq": lambda x, c: x == c,
    "where": lambda x, c: torch.where(x > 0, x, c),
}
ONLY_TENSORS = {
    "maximum": torch.maximum,
    "fmax": torch.fmax,
    "atan2": torch.atan2,
    "hypot": torch.hypot,
    "logaddexp": torch.logaddexp,
    "reciprocal": lambda x, c: c / x,
    "lerp": lambda x, c: torch.lerp(x, x.flip(0), c),
}
ONLY_SCALARS = {
    "add_alpha": lambda x, c: torch.add(x, x, alpha=c),
    "add_scalar_alpha": lambda x, c: torch.add(x, 1.7, alpha=c),
    "sub_alpha": lambda x, c: torch.sub(x, x.flip(0), alpha=c),
    "addcmul": lambda x, c: torch.addcmul(x, x, x, value=c),
    "leaky_relu": F.leaky_relu,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "threshold": lambda x, c: F.threshold(x, c, c),
    "copysign": torch.copysign,
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", [*BESIDE_SCALARS, *ONLY_SCALARS])
def test_scalars_beside_halves(name, dtype, device):
    """Rounded where eager rounds them (sums, remainders, powers), kept where it keeps them."""
    function = {**BESIDE_SCALARS, **ONLY_SCALARS}[name]
    x = (torch.randn(1024, generator=torch.Generator().manual_seed(1)) * 3).to(dtype)
    # A GPU's kernels multiply by a divisor's reciprocal, which rounds once more.
    for edge in (0.0, -0.0) if device == "cuda" else (0.0, -0.0, 6e-8, 65504.0):
        if not (name == "pow" and edge > 1):  # PyTorch's own powers differ in the last bit
            check(lambda x, c=edge: function(x, c), x[:64], device=device, rtol=0.0, atol=0.0)
    # A GPU's kernel of addcmul fuses its sum and product, or does not, as its compiler likes.
    last_bit = torch.finfo(dtype).eps if device == "cuda" and name == "addcmul" else 0.0
    check(lambda x: function(x, 0.7), x, device=device, rtol=last_bit, atol=0.0)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", [*BESIDE_SCALARS, *ONLY_TENSORS])
def test_wider_numbers_without_axes_beside_halves(name, dtype, device):
    function = {**BESIDE_SCALARS, **ONLY_TENSORS}[name]
    x = (torch.randn(1024, generator=torch.Generator().manual_seed(1)) * 3).to(dtype)
    exactly(function, x, torch.tensor(0.7), device=device)


def test_whole_numbers_beside_halves(device):
    x = torch.arange(2040, 2060).half()
    exactly(lambda x: (x + 2049, x - 2049, x * 3, x % 7), x, device=device)


def rows(dtype, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 5, (3, size), generator=generator).to(dtype)
    if dtype.is_floating_point:
        x[torch.rand(3, size, generator=generator) < 0.1] = float("nan")
    return x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.uint8])
@pytest.mark.parametrize("size", [5, 16, 40, 300])
@pytest.mark.parametrize("descending", [False, True])
def test_sort_orders_equals_as_eager(dtype, size, descending, device):
    def stable_sorts(x):
        return (
            torch.sort(x, stable=True, descending=descending),
            torch.argsort(x, stable=True, descending=descending),
        )

    def sorts(x):
        return (
            *stable_sorts(x),
            torch.sort(x, descending=descending),
            torch.argsort(x, descending=descending),
            torch.sort(x, dim=0, descending=descending),
        )

    # A GPU's own order is stable where that is asked for.
    exactly(stable_sorts if device == "cuda" else sorts, rows(dtype, size), device=device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int32])
@pytest.mark.parametrize(("size", "k"), [(5, 1), (16, 16), (40, 7), (300, 3), (300, 150)])
@pytest.mark.parametrize("largest", [False, True])
def test_topk_takes_the_equals_that_eager_takes(dtype, size, k, largest, device):
    def best(x):
        return (
            torch.topk(x, k, largest=largest),
            torch.topk(x, k, largest=largest, sorted=False),
        )

    def values_of_places(x):
        return [x.gather(1, places).sort(1).values for _, places in best(x)]

    # A GPU takes any of the equals, each time others perhaps.
    exactly(values_of_places if device == "cuda" else best, rows(dtype, size), device=device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_extremes_are_the_first_of_equals(dtype, device):
    def places(x):
        return x.argmax(1), x.argmin(1), x.argmax(), x.max(1), x.min(0), x.amax(1)

    exactly(places, rows(dtype, 33), device=device)


def test_place_of_the_kth_of_equals_runs_in_pytorch():
    x = rows(torch.int64, 40)
    compiled = stator.compile(
        Call(lambda x: torch.kthvalue(x, 7)), inputs=[x], min_block_size=1, timing_cache_path=""
    )
    expected = torch.kthvalue(x, 7)
    values, places = compiled(x)
    assert torch.equal(values, expected.values)
    assert torch.equal(places, expected.indices)


def test_kth_value_alone(device):
    exactly(lambda x: torch.kthvalue(x, 7).values, rows(torch.int64, 40), device=device)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_roots_of_edges(dtype, device):
    x = torch.tensor([-float("inf"), float("inf"), -0.0, 0.0, 4.0, -1.0, float("nan")] * 6).to(
        dtype
    )
    exactly(lambda x: (x**0.5, x**-0.5), x, device=device)


def test_powers_of_every_pair_of_edges(device):
    inf, nan = float("inf"), float("nan")
    edges = [0.0, -0.0, 1.0, -1.0, inf, -inf, nan, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 1e-45, -1e-45,
             3e38, -3e38, 1e-30, 2.5, -2.5, 16777217.0, 1e10, 0.99999994, 1.0000001]  # fmt: skip
    x, y = (t.flatten() for t in torch.meshgrid(*[torch.tensor(edges)] * 2, indexing="ij"))
    exact = torch.pow(x.double(), y.double()).float()
    compiled = check(torch.pow, x, y, device=device, rtol=3e-7, atol=1e-44)
    if device == "cpu":
        got = compiled(x, y)
        torch.testing.assert_close(got, exact, rtol=1.2e-7, atol=1e-45, equal_nan=True)
        numbers = ~exact.isnan()
        assert torch.equal(torch.signbit(got)[numbers], torch.signbit(exact)[numbers])
