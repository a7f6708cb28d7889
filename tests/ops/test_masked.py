# SPDX-License-Identifier: Apache-2.0
"""Reading and writing where a mask says so, and at places of the flattened tensor."""

import pytest
import stator
import torch

from tests.ops.check import Call, check

DTYPES = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.int64, torch.uint8, torch.bool]
)


def values(shape, dtype):
    return torch.randint(0, 2 if dtype is torch.bool else 9, shape).to(dtype)


@DTYPES
def test_masked_scatter(dtype, device):
    x, source = values((4, 6), dtype), values((30,), dtype)
    mask = torch.rand(4, 6) < 0.5
    check(torch.masked_scatter, x, mask, source, device=device)
    check(torch.masked_scatter, x, mask[0], source, device=device)
    check(torch.masked_scatter, x.t(), mask.t(), source.view(5, 6), device=device)
    check(torch.masked_scatter, x, torch.ones_like(mask), source, device=device)
    check(torch.masked_scatter, x[0, 0], mask[0, 0], source, device=device)


def test_masked_scatter_of_any_size():
    def declared(dtype):
        return stator.Input(min_shape=(0, 3), opt_shape=(4, 3), max_shape=(9, 3), dtype=dtype)

    source = torch.randn(27)
    compiled = stator.compile(
        Call(torch.masked_scatter), [declared(torch.float32), declared(torch.bool), source],
        require_full_compilation=True, timing_cache_path="",
    )  # fmt: skip
    for rows in (0, 1, 4, 9):
        x, mask = torch.randn(rows, 3), torch.rand(rows, 3) < 0.6
        torch.testing.assert_close(compiled(x, mask, source), torch.masked_scatter(x, mask, source))


def test_masked_scatter_of_too_few():
    x, mask, source = torch.zeros(5), torch.tensor([1, 1, 0, 0, 0]).bool(), torch.ones(3)
    compiled = stator.compile(
        Call(torch.masked_scatter), [x, mask, source], require_full_compilation=True,
        timing_cache_path="",
    )  # fmt: skip
    assert compiled(x, mask, source).tolist() == [1, 1, 0, 0, 0]
    with pytest.raises(RuntimeError, match="Number of elements of source"):
        compiled(x, torch.ones(5).bool(), source)


@DTYPES
def test_put(dtype, device):
    x, source = values((3, 4), dtype), values((2, 3), dtype)
    index = torch.tensor([[0, 5, -1], [11, 3, -12]])[:, :2]
    for accumulate in (False, True):
        if dtype is torch.bool and accumulate:
            continue
        f = lambda x, i, s, accumulate=accumulate: x.put(i, s, accumulate=accumulate)  # noqa: E731
        check(f, x, index[:1], source[:1, :2], device=device)
        check(f, x.t(), torch.tensor([2, -3]), source[0, :2], device=device)
        check(f, x[0, 0], torch.tensor(0), source[0, 0], device=device)
        check(f, x, index[:0], source[:0, :2], device=device)
    if dtype is not torch.bool:
        check(lambda x, i, s: x.put(i, s, accumulate=True), x, torch.tensor([1, 1, 1]),
              source[0], device=device)  # fmt: skip


def test_put_beyond():
    x, index, source = torch.zeros(2, 3), torch.tensor([1, -6]), torch.ones(2)
    compiled = stator.compile(
        Call(lambda x, i, s: x.put(i, s)), [x, index, source], require_full_compilation=True,
        timing_cache_path="",
    )  # fmt: skip
    assert compiled(x, index, source).tolist() == [[1, 1, 0], [0, 0, 0]]
    with pytest.raises(IndexError, match="tried to access index 6"):
        compiled(x, torch.tensor([1, 6]), source)


@DTYPES
def test_masked_index(dtype, device):
    aten = torch.ops.aten
    x = values((4, 5), dtype)
    rows, columns = torch.tensor([[-3], [2], [9]]), torch.tensor([0, 7, -20, 1])
    mask = (rows >= 0) & (rows < 4) & (columns >= 0) & (columns < 5)
    check(lambda x, m, i, j: aten._unsafe_masked_index(x, m, [i, j], 1), x, mask, rows, columns,
          device=device)  # fmt: skip
    check(lambda x, m, i: aten._unsafe_masked_index(x, m, [None, i], 1), x, mask[0:1, :].expand(
        4, -1), columns, device=device)  # fmt: skip
    if dtype is not torch.bool:
        check(
            lambda x, m, i, j, v: aten._unsafe_masked_index_put_accumulate(x, m, [i, j], v),
            x, mask, rows, columns, values((3, 4), dtype), device=device,
        )  # fmt: skip
