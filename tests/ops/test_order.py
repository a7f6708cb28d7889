# SPDX-License-Identifier: Apache-2.0
"""Running sums and extremes, sorting and top-k: no loops, but kernels of their own."""

import pytest
import stator
import torch

from tests.ops.check import Call, assert_same, check

NUMBERS = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16,
    torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64,
]  # fmt: skip
nan, inf = float("nan"), float("inf")


def numbers(shape, dtype, most=50):
    """Of which some are equal, and some of the real ones fractions."""
    x = torch.randint(0 if dtype == torch.uint8 else -most, most, shape)
    return (x / 4).to(dtype) if dtype.is_floating_point else x.to(dtype)


def kernels_of(function, *args):
    """Where the steps of an engine on the CPU run."""
    compiled = stator.compile(
        Call(function), inputs=list(args), device="cpu", min_block_size=1, optimization_level=0,
        timing_cache_path="",
    )  # fmt: skip
    assert compiled.stator_report.fallbacks == []
    assert_same(compiled(*args), function(*args))
    return compiled


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_running_sums(dim, dtype, device):
    x = numbers((5, 3, 70), dtype)
    # Along the last dim PyTorch's GPU kernel adds halves as halves.
    rounded = device == "cuda" and dtype.is_floating_point and dtype.itemsize == 2
    check(lambda x: torch.cumsum(x, dim), x, device=device, rtol=2e-3, atol=2 if rounded else 1e-5)
    check(lambda x: torch.cumprod(x / 7, dim), x, device=device, rtol=2e-2)


@pytest.mark.parametrize("dtype", NUMBERS[:4], ids=str)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_running_logarithms_of_sums(dim, dtype, device):
    half = dtype.itemsize == 2
    options = {"rtol": 1e-2 if half else 1e-5, "atol": 2e-2 if half else 1e-5}
    x = (torch.randn(5, 3, 70) * 20).to(dtype)
    check(lambda x: torch.logcumsumexp(x, dim), x, device=device, **options)
    check(lambda x: torch.logcumsumexp(x * 2, dim) + 1, x.transpose(0, 2), device=device, **options)
    check(lambda x: torch.logcumsumexp(x, dim), x, device=device, dynamic=[dim], **options)


def test_running_logarithms_at_the_edges(device):
    for row in ([nan, 1, 2], [1, nan, inf], [-inf, -inf, 1, -inf], [inf, inf, 1], [1, -inf, inf],
                [1e38, 1e38], [-1e4, 1e4, -1e4], [0.0]):  # fmt: skip
        check(lambda x: torch.logcumsumexp(x, 0), torch.tensor(row), device=device)
    check(lambda x: torch.logcumsumexp(x, 0), torch.tensor(3.5), device=device)
    check(lambda x: torch.logcumsumexp(x, 1), torch.randn(3, 0), device=device)
    check(lambda x: torch.logcumsumexp(x, 0), torch.randn(0, 3), device=device)
    check(lambda x: torch.logcumsumexp(x, -1), torch.randn(2, 5000), device=device)


def test_running_sums_of_truth_values_and_numbers(device):
    x = torch.randint(0, 2, (4, 9)).bool()
    check(lambda x: torch.cumsum(x, 1), x, device=device)
    check(lambda x: torch.cumsum(x, 1, dtype=torch.float32), x, device=device)
    check(lambda x: torch.cumsum(x, 0, dtype=torch.int32), x, device=device)
    check(lambda x: torch.cumsum(x, 0), torch.tensor(3.5), device=device)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 3), (1, 1), (1, 5000)], ids=str)
def test_scans_of_few_and_of_many(shape, device):
    x = torch.randn(shape)
    for dim in range(len(shape)):
        check(lambda x, dim=dim: torch.cumsum(x, dim), x, device=device, atol=1e-3)
        check(lambda x, dim=dim: torch.cumprod(x, dim), x, device=device)
        check(lambda x, dim=dim: torch.cummax(x, dim), x, device=device)
        check(lambda x, dim=dim: torch.sort(x, dim=dim, stable=True), x, device=device,
              compiled_whole=sorts(device, shape[dim]))  # fmt: skip


def sorts(device, length):
    """Whether engines sort rows of this length; PyTorch is faster at longer ones on a GPU."""
    return device != "cuda" or length <= 4096


@pytest.mark.parametrize("dtype", [*NUMBERS, torch.bool], ids=str)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_running_extremes(dim, dtype, device):
    x = numbers((4, 3, 70), dtype, most=9)
    check(lambda x: torch.cummax(x, dim), x, device=device)
    check(lambda x: torch.cummin(x, dim), x, device=device)


def test_running_extremes_keep_what_is_no_number(device):
    x = torch.tensor([[1.0, nan, 3.0, nan, 2.0], [inf, -inf, nan, 0.0, -0.0], [-0.0, 0.0, 0, 1, 1]])
    for dim in (0, 1):
        check(lambda x, dim=dim: torch.cummax(x, dim), x, device=device)
        check(lambda x, dim=dim: torch.cummin(x, dim), x, device=device)
    check(lambda x: torch.cummax(x, 0), torch.tensor(2.0), device=device)


def test_scans_of_sizes_that_vary(device):
    others = [[torch.randn(n, m)] for n, m in [(1, 1), (0, 5), (3, 0), (9, 17), (4, 16)]]
    for dim in (0, 1):
        for function in (
            lambda x, dim=dim: torch.cumsum(x * 2, dim) + 1,
            lambda x, dim=dim: torch.cummin(x, dim),
            lambda x, dim=dim: torch.sort(x, dim=dim, stable=True),
        ):
            check(function, torch.randn(6, 8), device=device, dynamic=(0, 1), others=others)


def test_scans_of_other_strides(device):
    x = torch.randn(4, 6, 5)
    check(lambda x: torch.cumsum(x.transpose(0, 2), 0), x, device=device)
    check(lambda x: torch.cumsum(x, 1), x.transpose(0, 1), device=device)
    check(lambda x: torch.sort(x[:, ::2], stable=True), x, device=device)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("descending", [False, True])
def test_stable_sorts(descending, dtype, device):
    for shape, dim in [((3, 40), -1), ((300,), 0), ((5, 130, 3), 1), ((2, 3), 0)]:
        x = numbers(shape, dtype)
        check(
            lambda x, dim=dim: torch.sort(x, dim=dim, descending=descending, stable=True),
            x,
            device=device,
        )


@pytest.mark.parametrize("dtype", [*NUMBERS, torch.bool], ids=str)
def test_sorts_leave_equals_as_eager_does(dtype, device):
    for n in (3, 17, 100, 1000):
        x = numbers((2, n), dtype, most=9)
        if device == "cuda":  # where eager may leave them in any order
            check(lambda x: torch.sort(x)[0], x, device=device)
            continue
        check(lambda x: torch.sort(x), x, device=device)
        check(lambda x: torch.argsort(x, 0, descending=True), x, device=device)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("largest", [False, True])
def test_top_k(largest, dtype, device):
    for shape, k, dim in [((3, 40), 4, -1), ((2, 700), 10, -1), ((70, 3), 70, 0), ((2, 9), 0, 1)]:
        x = numbers(shape, dtype, most=9)
        place = slice(0, 1) if device == "cuda" else slice(0, 2)
        check(
            lambda x, k=k, dim=dim, place=place: torch.topk(x, k, dim, largest)[place],
            x,
            device=device,
        )
    if device != "cuda":
        y = numbers((1, 60), dtype, most=9)
        check(lambda x: torch.topk(x, 30, -1, largest, sorted=False), y, device=device)


def test_what_is_no_number_is_the_greatest(device):
    x = torch.tensor([[1.0, nan, -inf, 0.0, inf, -0.0, nan, 3.0], [-0.0, 0, -1, 1, 0, -0.0, 5, 5]])
    # Converted there: on a CPU bfloat16's NaN becomes a negative one, which PyTorch's sort on GPUs
    # takes for the least.
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        for function in (
            lambda x: torch.sort(x, stable=True),
            lambda x: torch.sort(x, descending=True, stable=True),
            lambda x: torch.topk(x, 3)[0],
            lambda x: torch.topk(x, 3, largest=False)[0],
        ):
            check(lambda x, f=function, d=dtype: f(x.to(d)), x, device=device)


@pytest.mark.parametrize("n", [63, 64, 65, 4096, 4097, 9000])
def test_rows_around_what_kernels_hold(n, device):
    x = torch.randperm(2 * n).view(2, n)
    for dtype in (torch.float32, torch.float64):
        check(lambda x: torch.sort(x), x.to(dtype), device=device,
              compiled_whole=sorts(device, n))  # fmt: skip
        check(lambda x: torch.topk(x, n // 2 + 1), x.to(dtype), device=device)
        check(lambda x: torch.topk(x, n // 64), x.to(dtype), device=device)


def test_selections(device):
    x = torch.randn(5, 33)
    check(lambda x: torch.msort(x), x, device=device)
    check(lambda x: torch.kthvalue(x, 7)[0], x, device=device)
    check(lambda x: torch.kthvalue(x, 2, 0, keepdim=True)[0], x, device=device)
    check(lambda x: torch.median(x), x, device=device)
    check(lambda x: torch.median(x), torch.tensor([1.0, nan, 3.0]), device=device)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_medians(dtype, device):
    for shape, dim in (((7, 30), 1), ((8, 5, 3), 0), ((5, 1), -1), ((4, 3), 0), ((9,), 0)):
        x = numbers(shape, dtype, most=6)
        if device != "cuda":  # where which of equals it is has no rule
            check(lambda x, d=dim: torch.median(x, d), x)
            check(lambda x, d=dim: torch.nanmedian(x, d), x)
            check(lambda x, d=dim: torch.median(x, d, keepdim=True), x.t() if x.ndim == 2 else x)
        check(lambda x, d=dim: torch.median(x, d).values + 1, x, device=device)
        check(lambda x, d=dim: torch.nanmedian(x, d).values, x, device=device)
        check(torch.nanmedian, x, device=device)
        check(torch.median, x, device=device)


def test_medians_beside_what_is_no_number(device):
    rows = torch.tensor([[nan, 3, nan, 1, 2], [nan] * 5, [1, 1, 2, nan, nan], [5, 4, 3, 2, 1]])
    if device != "cuda":
        for function in (torch.median, torch.nanmedian):
            for x in (rows, torch.where(torch.rand(40, 33) < 0.9, nan, torch.rand(40, 33))):
                check(lambda x, f=function: f(x, 1), x)
                check(lambda x, f=function: f(x, 0), x)
        for size in (1, 2, 3, 4, 5, 9, 40):
            check(lambda x: torch.nanmedian(x, 0), torch.full((size,), nan))
    check(lambda x: torch.median(x, 1).values, rows, device=device)
    for function in (lambda x: torch.nanmedian(x, 1).values, lambda x: torch.nanmedian(x, 0)[0],
                     torch.nanmedian, torch.median):  # fmt: skip
        check(function, rows, device=device)
        check(function, rows[1:2], device=device)
    for number in (2.0, nan):
        check(lambda x: torch.median(x, 0), torch.tensor(number), compiled_whole=device != "cuda",
              device=device)  # fmt: skip
        check(lambda x: torch.nanmedian(x, 0)[0], torch.tensor(number), device=device)


def test_places_of_medians_among_many_equals():
    for size in (2, 3, 4, 17, 64, 500, 1001):
        check(lambda x: torch.median(x, 1), torch.randint(0, 5, (6, size)).float())
        check(lambda x: torch.median(x, 0), torch.randint(0, 5, (size, 6)))


def test_they_run_on_the_cpu_backend():
    x = torch.randn(3, 20)
    kernels_of(lambda x: (torch.cumsum(x, 1), torch.cummax(x, 0)), x)
    kernels_of(lambda x: (torch.sort(x), torch.topk(x, 3), torch.argsort(x)), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.uint8])
@pytest.mark.parametrize("dim", [0, -1])
def test_mode(dtype, dim, device):
    if device == "cuda":
        pytest.skip(
            "a GPU's eager takes one of the most frequent by no rule: it is left to PyTorch"
        )
    x = torch.randint(0, 4, (5, 9)).to(dtype)
    values = lambda x: torch.mode(x, dim).values  # noqa: E731
    check(values, x, device=device)
    check(values, x.t(), device=device)
    check(values, x, device=device, dynamic=[1], compiled_whole=False)
    check(lambda x: torch.mode(x, dim, keepdim=True).values + 1, x, device=device)
    check(values, x[0, 0], device=device)


def test_place_of_mode():
    """Equals stand in the order of PyTorch's own kernel."""
    for size in (1, 7, 15, 40):
        check(torch.mode, torch.randint(0, 3, (6, size)), compiled_whole=True)
