# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from tests.ops.check import check, on_gpu


def test_embedding(device):
    table = torch.randn(11, 6)
    ids = torch.tensor([[0, 10, 3], [5, 5, 1]])
    check(lambda i: F.embedding(i, table), ids, device=device)
    check(lambda i: F.embedding(i, table, padding_idx=3), ids.int(), device=device)


def test_embedding_with_dynamic_sizes(device):
    module = torch.nn.Embedding(20, 8)
    others = [[torch.randint(0, 20, (n, m))] for n, m in [(1, 1), (4, 3)]]
    check(module, torch.randint(0, 20, (2, 5)), device=device, dynamic=(0, 1), others=others)


def test_embedding_out_of_range_is_an_error(device):
    compiled = check(torch.nn.Embedding(5, 4), torch.tensor([1, 2]), device=device)
    bad = on_gpu(torch.tensor([1, 5])) if device == "cuda" else torch.tensor([1, 5])
    with pytest.raises(IndexError, match="index out of range in self"):
        compiled(bad)
        torch.cuda.synchronize()  # a GPU's fault is reported by the next call
        compiled(bad)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_index_select(dim, device):
    x, i = torch.randn(4, 5, 6), torch.tensor([3, 0, 2])
    check(lambda x, i: torch.index_select(x, dim, i), x, i, device=device)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gather(dim, device):
    x, i = torch.randn(4, 5), torch.randint(0, 4, (3, 4))
    check(lambda x, i: torch.gather(x, dim, i), x, i, device=device)


def test_index_tensors(device):
    x, i, j = torch.randn(4, 5, 6), torch.tensor([0, 3, -1]), torch.tensor([1, 2, -5])
    check(lambda x, i: x[i], x, i, device=device)
    check(lambda x, i: x[:, i], x, i, device=device)
    check(lambda x, i, j: x[i, j], x, i, j, device=device)
    check(lambda x, i, j: x[i[:, None], j], x, i, j, device=device)


def test_scatter(device):
    x, i, s = torch.randn(4, 5), torch.randint(0, 4, (2, 5)), torch.randn(2, 5)
    check(
        lambda x, i, s: x.scatter(0, i % 4, s), x, torch.arange(10).view(2, 5) % 2, s, device=device
    )
    check(lambda x, i, s: x.scatter_add(0, i, s), x, i, s, device=device)


def test_slice_scatter(device):
    x, s = torch.randn(4, 5), torch.randn(4, 2)
    check(lambda x, s: torch.slice_scatter(x, s, 1, 1, 3), x, s, device=device)
    check(lambda x, s: torch.select_scatter(x, s, 1, 2), x, torch.randn(4), device=device)


def test_topk_and_sort(device):
    x = torch.randn(3, 9)
    check(lambda x: torch.topk(x, 4, -1), x, device=device)
    check(lambda x: torch.topk(x, 2, 0, largest=False), x, device=device)
    check(lambda x: torch.sort(x, -1), x, device=device)
    check(lambda x: torch.sort(x, 0, descending=True), x, device=device)


def test_one_hot_like_comparison(device):
    check(lambda i: (i[:, None] == torch.arange(5)).float(), torch.tensor([1, 4, 0]), device=device)
