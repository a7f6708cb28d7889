# SPDX-License-Identifier: Apache-2.0
"""Places in sequences and in bins: searchsorted, bucketize, histc."""

import pytest
import stator
import torch

from tests.ops.check import Call, assert_same, check, on_gpu

nan, inf = float("nan"), float("inf")
NUMBERS = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16,
    torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64,
]  # fmt: skip


def numbers(shape, dtype):
    return torch.randint(0, 40, shape).to(dtype)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 100])
def test_places_in_one_sequence(length, dtype, device):
    bounds, x = numbers((length,), dtype).sort()[0], numbers((5, 7), dtype)
    for right in (False, True):
        check(lambda b, x, r=right: torch.searchsorted(b, x, right=r), bounds, x, device=device)
        check(lambda b, x, r=right: torch.bucketize(x.t(), b, right=r, out_int32=True), bounds, x,
              device=device)  # fmt: skip
        check(lambda b, r=right: torch.bucketize(7, b, right=r), bounds, device=device)
        check(lambda b, r=right: torch.searchsorted(b, 7, right=r), bounds, device=device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64], ids=str)
def test_places_in_a_sequence_each(dtype, device):
    bounds, x = numbers((4, 3, 9), dtype), numbers((4, 3, 5), dtype)
    ordered, order = bounds.sort(-1)
    for side in ("left", "right"):
        check(lambda b, x, s=side: torch.searchsorted(b, x, side=s), ordered, x, device=device)
        check(lambda b, x, o, s=side: torch.searchsorted(b, x, side=s, sorter=o), bounds, x, order,
              device=device)  # fmt: skip
        check(lambda b, x, o, s=side: torch.searchsorted(b, x, side=s, sorter=o), bounds[0, 0],
              x, order[0, 0], device=device)  # fmt: skip


@pytest.mark.parametrize("right", [False, True])
def test_places_in_what_is_not_sorted(right, device):
    """The bisection is PyTorch's own, wherever it leads."""
    values = torch.tensor([-inf, -1.0, 0.0, 1.5, 2.0, 30.0, inf, nan])
    for row in ([1, 2, nan, nan], [nan, 1, 2], [-inf, 0, 0, 1.5, inf], [5, 4, 3, 2, 1, 0],
                torch.randn(37).tolist()):  # fmt: skip
        check(lambda b, x: torch.searchsorted(b, x, right=right), torch.tensor(row), values,
              device=device)  # fmt: skip
        check(lambda b, x: torch.bucketize(x, b, right=right), torch.tensor(row), values,
              device=device)  # fmt: skip


def test_places_in_sequences_that_vary(device):
    def function(b, x):
        return torch.searchsorted(b, x), torch.bucketize(x, b[0], right=True)

    inputs = [
        stator.Input(min_shape=[3, 0], opt_shape=[3, 9], max_shape=[3, 70]),
        stator.Input(min_shape=[3, 0], opt_shape=[3, 8], max_shape=[3, 80]),
    ]
    compiled = stator.compile(Call(function), inputs=inputs, device=device, min_block_size=1)
    assert compiled.stator_report.fallbacks == []
    for length, count in ((9, 8), (70, 80), (1, 1), (0, 4), (5, 0), (64, 3)):
        given = [torch.randn(3, length).sort(-1)[0], torch.randn(3, count)]
        given = [on_gpu(t) for t in given] if device == "cuda" else given
        assert_same(compiled(*given), function(*given))


def test_places_in_nothing(device):
    check(lambda b, x: torch.bucketize(x, b), torch.randn(0), torch.randn(3), device=device)
    check(lambda b, x: torch.searchsorted(b, x), torch.randn(2, 0), torch.randn(2, 3),
          device=device)  # fmt: skip
    check(lambda b, x: torch.searchsorted(b, x), torch.randn(4), torch.randn(0), device=device)


def test_sorters_of_varying_lengths(device):
    def search(b, x):
        return torch.searchsorted(b, x, sorter=torch.argsort(b))

    inputs = [
        stator.Input(min_shape=[0], opt_shape=[9], max_shape=[70]),
        stator.Input(min_shape=[0], opt_shape=[8], max_shape=[80]),
    ]
    compiled = stator.compile(Call(search), inputs=inputs, device=device, min_block_size=1)
    for length, count in ((9, 8), (70, 80), (1, 1), (0, 4), (5, 0), (0, 0)):
        given = [torch.randn(length), torch.randn(count)]
        given = [on_gpu(t) for t in given] if device == "cuda" else given
        assert_same(compiled(*given), search(*given))


def test_a_sorter_out_of_range_is_an_error():
    def search(b, x, o):
        return torch.searchsorted(b, x, sorter=o)

    bounds, x, order = torch.randn(8), torch.zeros(3), torch.arange(8)
    compiled = check(search, bounds, x, order)
    with pytest.raises(RuntimeError, match="out of"):
        compiled(bounds, x, order + 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("bins", "least", "most"), [(4, 0, 3), (100, -2, 2), (7, -0.3, 0.1)])
def test_histograms(bins, least, most, dtype, device):
    x = torch.cat([torch.randn(500), torch.linspace(least, most, bins + 1)]).to(dtype)
    edges = torch.tensor([nan, inf, -inf, least, most], dtype=dtype)
    for given in (x, torch.cat([x, edges]), x[:500].view(10, 50).t(), x[:0], x[0]):
        check(lambda x: torch.histc(x, bins, least, most), given, device=device)
    check(lambda x: torch.histc(x, bins, least, most) / x.numel(), x, device=device, dynamic=[0],
          others=[[x[:3]], [x[:900]]])  # fmt: skip
