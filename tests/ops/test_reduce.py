# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
import torch.nn.functional as F

from tests.ops.check import check


@pytest.mark.parametrize("dim", [0, 1, -1, (0, 2), (1, 2), None])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("op", [torch.sum, torch.mean, torch.amax, torch.amin])
def test_reductions(op, dim, keepdim, device):
    kwargs = {} if dim is None else {"dim": dim, "keepdim": keepdim}
    check(lambda x: op(x, **kwargs), torch.randn(3, 5, 17), device=device)


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("dim", [-1, 0, (0, 1)])
def test_variance(correction, dim, device):
    x = torch.randn(6, 21) + 10
    check(lambda x: torch.var(x, dim, correction=correction), x, device=device)
    check(lambda x: torch.std(x, dim, correction=correction), x, device=device)
    check(lambda x: torch.var_mean(x, dim, correction=correction), x, device=device)


@pytest.mark.parametrize("op", [torch.any, torch.all])
def test_any_all(op, device):
    x = torch.randn(4, 6) > 0.5
    check(lambda x: (op(x), op(x, 1), op(x, 0, keepdim=True)), x, device=device)


@pytest.mark.parametrize("op", [torch.argmax, torch.argmin])
def test_arg_reductions_take_the_first(op, device):
    x = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0], [math.nan, 1.0, math.nan]])
    check(lambda x: (op(x, 1), op(x, 0, keepdim=True), op(x)), x, device=device)


def test_max_with_indices(device):
    check(lambda x: (*torch.max(x, 1), *torch.min(x, 0)), torch.randn(4, 7), device=device)


def test_prod(device):
    check(lambda x: (torch.prod(x, 1), torch.prod(x)), torch.randn(3, 5), device=device)


def test_sums_of_integers_and_bools(device):
    check(lambda x: x.sum(), torch.randint(0, 9, (4, 5), dtype=torch.int32), device=device)
    check(lambda x: x.sum(1), torch.randn(4, 5) > 0, device=device)


def test_empty_reductions(device):
    check(lambda x: (x.sum(0), x.sum()), torch.randn(0, 3), device=device)


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("op", [F.softmax, F.log_softmax])
@pytest.mark.parametrize("shape", [(5, 7), (3, 33), (1, 1), (2, 1000)])
def test_softmax(op, dim, shape, device):
    check(lambda x: op(x, dim), torch.randn(shape) * 5, device=device)


def test_softmax_of_a_masked_row_is_nan(device):
    x = torch.randn(3, 8)
    x[1] = -math.inf
    check(lambda x: F.softmax(x, -1), x, device=device)


def test_softmax_with_dynamic_sizes(device):
    others = [[torch.randn(n, m)] for n, m in [(1, 1), (3, 40), (9, 7)]]
    x = torch.randn(5, 20)
    check(lambda x: F.softmax(x, -1), x, device=device, dynamic=(0, 1), others=others)


@pytest.mark.parametrize("normalized", [(16,), (5, 16)])
@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm(normalized, affine, device):
    module = torch.nn.LayerNorm(normalized, elementwise_affine=affine)
    if affine:
        torch.nn.init.normal_(module.weight)
        torch.nn.init.normal_(module.bias)
    check(module, torch.randn(3, 5, 16) * 3 + 2, device=device)


def test_layer_norm_with_dynamic_sizes(device):
    others = [[torch.randn(n, m, 24)] for n, m in [(1, 1), (2, 7), (3, 2)]]
    module = torch.nn.LayerNorm(24)
    check(module, torch.randn(2, 4, 24), device=device, dynamic=(0, 1), others=others)


def test_rms_norm(device):
    module = torch.nn.RMSNorm(32, eps=1e-6)
    torch.nn.init.normal_(module.weight)
    check(module, torch.randn(3, 5, 32), device=device)


def test_group_norm(device):
    check(torch.nn.GroupNorm(4, 8), torch.randn(2, 8, 5, 6), device=device)


def test_batch_norm(device):
    for module, shape in [
        (torch.nn.BatchNorm2d(6), (2, 6, 4, 5)),
        (torch.nn.BatchNorm1d(6), (3, 6)),
        (torch.nn.BatchNorm2d(6, affine=False), (2, 6, 3, 3)),
    ]:
        module.running_mean.normal_()
        module.running_var.uniform_(0.5, 2)
        check(module, torch.randn(shape), device=device)


def test_cumsum(device):
    check(lambda x: (torch.cumsum(x, 1), torch.cumsum(x, 0)), torch.randn(3, 9), device=device)


def test_logsumexp(device):
    check(lambda x: torch.logsumexp(x, -1), torch.randn(4, 9) * 10, device=device)


def test_norms(device):
    check(lambda x: (x.norm(dim=-1), F.normalize(x, dim=1)), torch.randn(4, 9), device=device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8])
@pytest.mark.parametrize("op", [torch.argmax, torch.argmin])
def test_places_of_extremes(op, dtype, device):
    x = (torch.randn(3, 19, 37) * 3).to(dtype)
    if dtype.is_floating_point:
        x[0, 3, ::5], x[1, :, 1], x[2] = math.nan, -math.inf, -0.0
        x[2, ::2] = 0.0
    check(lambda x: (op(x), op(x, 0), op(x, 1), op(x, -1, keepdim=True) + 1), x, device=device)
    check(lambda x: op(x, 1), x, device=device, dynamic=(0, 1), others=[[x[:2, :4]], [x[:0]]])
