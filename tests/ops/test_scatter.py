# SPDX-License-Identifier: Apache-2.0
"""Writing by index: scatter, index_add, index_copy, index_put and their relatives."""

import pytest
import stator
import torch

from tests.ops.check import Call, assert_same, check, on_gpu

NUMBERS = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16,
    torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64,
]  # fmt: skip


REDUCES = ["sum", "prod", "mean", "amax", "amin"]


def numbers(shape, dtype):
    return torch.randint(0, 9, shape).to(dtype)


def reducible(shape, dtype):
    """Of which products of many stay small, where the type has fractions; of both signs."""
    if dtype.is_floating_point:
        return ((torch.rand(shape) + 0.5) * torch.randint(0, 2, shape).mul(2).sub(1)).to(dtype)
    return torch.randint(-9 if dtype.is_signed else 0, 9, shape).to(dtype)


def check_reduced(function, *args, device="cpu", **options):
    """A GPU's eager kernels round halves after each update, in any order."""
    half = args[0].dtype in (torch.float16, torch.bfloat16)
    if device == "cuda" and half:
        options = {"rtol": 5e-2, "atol": 5e-2, **options}
    check(function, *args, device=device, **options)


@pytest.mark.parametrize("dtype", [*NUMBERS, torch.bool], ids=str)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scatter(dim, dtype, device):
    x, src = numbers((6, 5, 7), dtype), numbers((4, 5, 7), dtype)
    index = torch.argsort(torch.rand(6, 5, 7), dim)[:4, :4, :6]
    check(lambda x, i, s: x.scatter(dim, i, s), x, index, src, device=device)
    check(lambda x, i: x.scatter(dim, i, 1), x, index, device=device)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scatter_add(dim, dtype, device):
    x, src = numbers((6, 5, 70), dtype), numbers((4, 5, 70), dtype)
    index = torch.randint(0, 4, (4, 4, 66))
    check(lambda x, i, s: x.scatter_add(dim, i, s), x, index, src, device=device)
    check(lambda x, i, s: (x * 2).scatter_add(dim, i, s + 1) + 1, x, index, src, device=device)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("include_self", [True, False], ids=["self", "alone"])
@pytest.mark.parametrize("reduce", REDUCES)
def test_scatter_reduce(reduce, include_self, dtype, device):
    for dim, places in ((0, 4), (-1, 40)):
        x, src = reducible((6, 5, 41), dtype), reducible((4, 5, 41), dtype)
        index = torch.randint(0, places, (4, 4, 40))
        check_reduced(
            lambda x, i, s, d=dim: x.scatter_reduce(d, i, s, reduce, include_self=include_self),
            x, index, src, device=device,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("include_self", [True, False], ids=["self", "alone"])
@pytest.mark.parametrize("reduce", REDUCES[1:])
def test_index_reduce(reduce, include_self, dtype, device):
    index = torch.randint(0, 3, (9,))
    for shape, dim in (((4,), 0), ((4, 35), 0), ((5, 4, 6), 1), ((5, 4), -1)):
        source = list(shape)
        source[dim] = 9
        check_reduced(
            lambda x, i, s, d=dim: x.index_reduce(d, i, s, reduce, include_self=include_self),
            reducible(shape, dtype), index, reducible(source, dtype), device=device,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("reduce", ["add", "multiply"])
def test_scatter_with_reduce(reduce, dtype, device):
    x, index = reducible((5, 6), dtype), torch.randint(0, 5, (9, 6))
    check_reduced(lambda x, i, s: x.scatter(0, i, s, reduce=reduce), x, index,
                  reducible((9, 6), dtype), device=device)  # fmt: skip
    check_reduced(lambda x, i: x.scatter(0, i, 2, reduce=reduce), x, index, device=device)


def test_truth_values_are_any_and_all(device):
    x, src = numbers((5, 6), torch.bool), torch.randint(0, 2, (9, 6)) > 0
    x[:2] = torch.tensor([[True], [False]])
    index, row = torch.randint(0, 5, (9, 6)), torch.randint(0, 5, (9,))
    check(lambda x, i, s: x.scatter_add(0, i, s), x, index, src, device=device)
    check(lambda x, i, s: x.index_put((i,), s, accumulate=True), x, row, src, device=device)
    if device == "cuda":  # where eager has no others
        return
    for reduce in ("sum", "prod", "amax", "amin"):
        for own in (True, False):
            check(lambda x, i, s, r=reduce, o=own: x.scatter_reduce(0, i, s, r, include_self=o),
                  x, index, src)  # fmt: skip
    check(lambda x, i, s: x.index_add(0, i, s), x, row, src)
    check(lambda x, i, s: x.put(i, s, accumulate=True), x, torch.randint(0, 30, (9, 6)), src)
    check(lambda x, i, s: x.scatter(0, i, s, reduce="multiply"), x, index, src)


@pytest.mark.parametrize("reduce", REDUCES)
def test_reductions_of_what_is_no_number(reduce, device):
    nan, inf = float("nan"), float("inf")
    x = torch.tensor([nan, -0.0, 0.0, 1.0, inf, -inf, 2.0])
    src = torch.tensor([1.0, 0.0, -0.0, nan, -inf, inf, 3.0, nan])
    index = torch.tensor([0, 1, 2, 3, 4, 5, 6, 6])
    for own in (True, False):
        check(lambda x, i, s, o=own: x.scatter_reduce(0, i, s, reduce, include_self=o), x, index,
              src, device=device)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float16, torch.bfloat16], ids=str)
def test_counts_past_what_the_type_holds(dtype, device):
    if device == "cuda":
        pytest.skip("eager counts in any order there")
    x, index = torch.ones(3, dtype=dtype), torch.randint(0, 2, (600,))
    src = torch.randint(0, 3, (600,)).to(dtype)
    for own in (True, False):
        check(lambda x, i, s, o=own: x.scatter_reduce(0, i, s, "mean", include_self=o), x, index,
              src)  # fmt: skip
        check(lambda x, i, s, o=own: x.index_reduce(0, i, s, "mean", include_self=o), x, index, src)
    full = torch.zeros(512, dtype=torch.int64)  # a count that wraps around to zero
    check(lambda x, i, s: x.scatter_reduce(0, i, s, "mean", include_self=False), x, full, src[:512])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_halves_are_rounded_where_eager_rounds_them(dtype):
    index = torch.randint(0, 3, (200,))
    for shape, dim in (((3,), 0), ((3, 8), 0), ((4, 3, 8), 1), ((8, 3), 1)):
        source = list(shape)
        source[dim] = 200
        x, src = torch.rand(shape).to(dtype), torch.rand(source).to(dtype)
        rows = index.view([-1 if k == dim % len(shape) else 1 for k in range(len(shape))])
        exact = {"rtol": 0, "atol": 0}
        check(lambda x, i, s, d=dim: x.index_add(d, i, s), x, index, src, **exact)
        check(lambda x, i, s, d=dim: x.scatter_add(d, i, s), x, rows.expand(source), src, **exact)
        check(lambda x, i, s, d=dim: x.index_reduce(d, i, s, "mean"), x, index, src, **exact)
        if dim == 0:
            check(lambda x, i, s: x.index_put((i,), s, accumulate=True), x, index, src, **exact)


@pytest.mark.parametrize("reduce", REDUCES)
def test_reductions_of_sizes_that_vary(reduce, device):
    def function(x, i, s):
        rows = x.scatter_reduce(0, i, s, reduce, include_self=False)
        return rows, (x * 2).t().scatter_reduce(1, i.t(), s.t(), reduce).relu()

    def case(n, m, k):
        return [torch.randn(n, m), torch.randint(0, max(n, 1), (k, m)), torch.randn(k, m)]

    inputs = [
        stator.Input(min_shape=[1, 1], opt_shape=[4, 8], max_shape=[16, 64]),
        stator.Input(min_shape=[0, 1], opt_shape=[4, 8], max_shape=[40, 64], dtype=torch.int64),
        stator.Input(min_shape=[0, 1], opt_shape=[4, 8], max_shape=[40, 64]),
    ]
    compiled = stator.compile(Call(function), inputs=inputs, device=device, min_block_size=1)
    assert compiled.stator_report.fallbacks == []
    for sizes in [(3, 4, 5), (9, 33, 40), (4, 1, 0), (1, 64, 1)]:
        given = case(*sizes)
        given = [on_gpu(t) for t in given] if device == "cuda" else given
        assert_same(compiled(*given), function(*given))


def test_scatter_keeps_the_last_of_a_place(device):
    x, src = torch.zeros(3, 40), torch.randn(9, 40)
    index = torch.randint(0, 3, (9, 40))
    if device != "cuda":  # where eager may keep any of them
        check(lambda x, i, s: x.scatter(0, i, s), x, index, src, device=device)
    check(lambda i, s: torch.zeros(3, 40).scatter_add(0, i, s), index, src, device=device)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_rows_by_index(dim, device):
    x, index = torch.randn(6, 7, 40), torch.tensor([5, 0, 5, 3])
    shape = [6, 7, 40]
    shape[dim] = 4
    src, one = torch.randn(shape), torch.tensor([5, 0, 2, 3])
    check(lambda x, i, s: x.index_add(dim, i, s), x, index, src, device=device)
    check(lambda x, i, s: x.index_add(dim, i, s, alpha=2), x, index, src, device=device)
    check(lambda x, i, s: x.index_copy(dim, i, s), x, one, src, device=device)
    check(lambda x, i: x.index_fill(dim, i, 3.5), x, one, device=device)


def test_index_put(device):
    x, i, j = torch.randn(5, 6, 7), torch.tensor([4, 0, -1]), torch.tensor([1, 2, -6])
    values = torch.randn(3, 7)

    def put(accumulate):
        return lambda x, i, j, v: x.index_put((i, j), v, accumulate=accumulate)

    check(put(True), x, i, j, values, device=device)
    check(put(False), x, torch.tensor([4, 0, 1]), j, values, device=device)
    check(lambda x, i, v: x.index_put((i,), v), x, torch.tensor([3, 1]), x[:1, 0], device=device)


def test_scatters_of_sizes_that_vary(device):
    def case(n, m, k):
        return [torch.randn(n, m), torch.randint(0, max(n, 1), (k, m)), torch.randn(k, m)]

    sizes = [(3, 4), (9, 33), (4, 1)]
    n = 4

    def add(x, i, s):
        return x.scatter_add(0, i, s)

    inputs = [
        stator.Input(min_shape=[1, 1], opt_shape=[4, 8], max_shape=[16, 64]),
        stator.Input(min_shape=[4, 1], opt_shape=[4, 8], max_shape=[4, 64], dtype=torch.int64),
        stator.Input(min_shape=[4, 1], opt_shape=[4, 8], max_shape=[4, 64]),
    ]
    compiled = stator.compile(Call(add), inputs=inputs, device=device, min_block_size=1)
    for rows, columns in sizes:
        given = case(rows, columns, n)
        given = [on_gpu(t) for t in given] if device == "cuda" else given
        assert_same(compiled(*given), add(*given))


def test_scatters_of_nothing(device):
    x = torch.randn(3, 4)
    none = torch.zeros((0, 4), dtype=torch.int64)
    check(lambda x, i: x.scatter(0, i, 1.0), x, none, device=device)
    check(lambda x, i: x.scatter_add(0, i, x), x, none, device=device)
    number, place, update = torch.tensor(1.0), torch.tensor(0), torch.tensor(2.0)
    check(lambda x, i, s: x.scatter(0, i, s), number, place, update, device=device)
    for reduce in REDUCES:
        for own in (True, False):
            check(lambda x, i, r=reduce, o=own: x.scatter_reduce(0, i, x, r, include_self=o), x,
                  none, device=device)  # fmt: skip
            check(lambda x, i, s, r=reduce, o=own: x.scatter_reduce(0, i, s, r, include_self=o),
                  number, place, update, device=device)  # fmt: skip
    check(lambda x, i, s: x.index_reduce(0, i, s, "prod"), number, place, update, device=device)
    check(lambda x, i, s: x.index_reduce(0, i, s, "mean", include_self=False), x, none[:, 0], x[:0],
          device=device)  # fmt: skip


def test_scatter_out_of_range_is_an_error(device):
    def add(x, i):
        return torch.zeros_like(x).scatter_add(0, i, x)

    x, index = torch.randn(3, 4), torch.zeros((3, 4), dtype=torch.int64)
    compiled = check(add, x, index, device=device)
    for bad in (3, -1):
        wrong = index.clone()
        wrong[2, 1] = bad
        wrong, y = (on_gpu(wrong), on_gpu(x)) if device == "cuda" else (wrong, x)
        with pytest.raises(RuntimeError, match=f"index {bad} is out of bounds"):
            compiled(y, wrong)
            torch.cuda.synchronize()  # a GPU's fault is reported by the next call
            compiled(y, torch.zeros_like(wrong))


def test_where_it_is_written_was_computed_in_place(device):
    def twice(x, i, s):
        y = torch.relu(x)
        return y.scatter_add(0, i, s), y.sum(), y.scatter(0, i[:1], s).cumsum(0)

    index = torch.tensor([[0, 1, 2], [3, 0, 0]])
    check(twice, torch.randn(4, 3), index, torch.randn(2, 3), device=device)


def test_strided_places_are_written(device):
    def scatter(size, stride, offset):
        return lambda x, s: torch.as_strided_scatter(x * 2, s, size, stride, offset) + 1

    x = torch.randn(5, 6)
    check(scatter((3, 2), (7, 2), 5), x, torch.randn(3, 2), device=device)
    check(scatter((2, 3), (1, 2), 0), x, torch.randn(2, 3), device=device)
    check(scatter((5, 6), (6, 1), 0), x, torch.randn(5, 6), device=device)
    check(scatter((), (), 7), x, torch.randn(()), device=device)
    check(scatter((0, 3), (3, 1), 0), x, torch.randn(0, 3), device=device)
    check(lambda x, s: torch.as_strided_scatter((x * 2).t(), s, (4, 3), (3, 1), 2) * 3, x,
          torch.randn(4, 3), device=device)  # fmt: skip
