# SPDX-License-Identifier: Apache-2.0
"""Losses and distances."""

import pytest
import torch
import torch.nn.functional as F

from tests.ops.check import check

REDUCTIONS = pytest.mark.parametrize("reduction", ["none", "mean", "sum"])


@REDUCTIONS
def test_losses_of_pairs(reduction, device):
    a, b, target = torch.randn(7, 5), torch.randn(7, 5), torch.randint(0, 2, (7, 5)) * 2 - 1
    check(
        lambda a, b, t: (
            F.margin_ranking_loss(a, b, t, margin=0.3, reduction=reduction),
            F.mse_loss(a, b, reduction=reduction),
            F.l1_loss(a, b, reduction=reduction),
        ),
        a, b, target, device=device,
    )  # fmt: skip
    check(
        lambda a, b, t: F.cosine_embedding_loss(a, b, t, margin=0.1, reduction=reduction),
        a, b, target[:, 0].contiguous(), device=device,
    )  # fmt: skip


@REDUCTIONS
def test_hinge_embedding_loss(reduction, device):
    x, target = torch.randn(7, 5), torch.randint(-1, 2, (7, 5))
    check(
        lambda x, t: F.hinge_embedding_loss(x, t, margin=0.7, reduction=reduction), x, target,
        device=device,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int64])
def test_targets_of_integers(dtype, device):
    """-1 of bytes is 255."""
    target = torch.tensor([1, -1, 1, -1, 0]).to(dtype)
    a, b = torch.randint(0, 9, (2, 5, 4)).to(dtype)
    check(lambda a, b, t: F.cosine_embedding_loss(a, b, t, margin=0.1), a, b, target, device=device)
    x = torch.randn(5)
    check(lambda x, t: F.hinge_embedding_loss(x, t, margin=0.7), x, target, device=device)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("log_input", [False, True])
def test_poisson_loss(full, log_input, device):
    x, target = torch.rand(6, 4) + 0.1, torch.randint(0, 6, (6, 4)).float()
    check(
        lambda x, t: F.poisson_nll_loss(x, t, log_input=log_input, full=full), x, target,
        device=device,
    )  # fmt: skip


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, float("inf")])
def test_distances(p, device):
    check(lambda a, b: torch.dist(a, b, p), torch.randn(3, 4), torch.randn(4), device=device)
    check(lambda x: F.pdist(x, p), torch.randn(6, 3), device=device)


def test_bilinear(device):
    module = torch.nn.Bilinear(4, 5, 3)
    check(module, torch.randn(2, 6, 4), torch.randn(2, 6, 5), device=device)
    check(
        torch.nn.Bilinear(4, 5, 3, bias=False), torch.randn(6, 4), torch.randn(6, 5),
        device=device, dynamic=(0,), others=[[torch.randn(2, 4), torch.randn(2, 5)]],
    )  # fmt: skip


def test_derivatives(device):
    grad, y = torch.randn(3, 4), torch.softmax(torch.randn(3, 4), 1)
    aten = torch.ops.aten
    check(lambda g, y: aten._softmax_backward_data(g, y, -1, torch.float32), grad, y, device=device)
    check(
        lambda g, y: aten._log_softmax_backward_data(g, y.log(), 0, torch.float32), grad, y,
        device=device,
    )  # fmt: skip
    check(lambda g, y: aten.native_dropout_backward(g, y > 0.2, 1.25), grad, y, device=device)


def test_margin_of_integers(device):
    """Products wrap around in their own type before the margin makes floats of them."""
    a, b, t = torch.randint(0, 10, (3, 5, 5), dtype=torch.uint8)
    for margin in (0.0, 0.5, 1.0):
        check(
            lambda a, b, t, m=margin: F.margin_ranking_loss(a, b, t, margin=m, reduction="none"),
            a, b, t, device=device,
        )  # fmt: skip


def test_cosines_of_integers(device):
    """Products of bytes wrap around, their sums do not."""
    a, b = torch.randint(0, 255, (2, 6, 5), dtype=torch.uint8)
    target = torch.tensor([1, -1, 1, -1, 1, 1])
    for x, y, t in ((a, b, target), (a[0], a[0], target[0]), (a.int(), b.int(), target)):
        check(lambda x, y, t: F.cosine_embedding_loss(x, y, t), x, y, t, device=device)
