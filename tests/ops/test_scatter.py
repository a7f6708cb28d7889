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


def numbers(shape, dtype):
    return torch.randint(0, 9, shape).to(dtype)


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
    check(lambda x, i, s: x.scatter(0, i, s), torch.tensor(1.0), torch.tensor(0),
          torch.tensor(2.0), device=device)  # fmt: skip


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
