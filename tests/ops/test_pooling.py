# SPDX-License-Identifier: Apache-2.0
"""Maxima with their places, and batch normalization with new running statistics."""

import pytest
import torch
import torch.nn.functional as F

from tests.ops.check import check


def image(*shape):
    """With equal elements, infinities and NaN."""
    x = torch.randint(-3, 4, shape).float()
    x.view(-1)[::17] = float("nan")
    x.view(-1)[5::23] = float("-inf")
    return x


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "ceil_mode"),
    [(2, 2, 0, 1, False), (3, 2, 1, 1, False), (3, 1, 1, 2, False), ((3, 2), (2, 3), 0, 1, True)],
)
def test_max_pool_with_places(kernel, stride, padding, dilation, ceil_mode, device):
    def pool(x):
        return F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode, return_indices=True)

    check(pool, image(2, 3, 9, 11), device=device)
    check(pool, torch.full((1, 1, 9, 9), float("-inf")), device=device)


def test_max_pool_of_other_ranks(device):
    check(lambda x: F.max_pool1d(x, 3, 2, 1, return_indices=True), image(2, 3, 13), device=device)
    check(lambda x: F.max_pool3d(x, 2, 1, return_indices=True), image(2, 2, 4, 5, 3), device=device)
    check(lambda x: F.max_pool2d(x, 2, return_indices=True), image(3, 8, 6), device=device)


def test_max_pool_with_dynamic_sizes(device):
    check(
        lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True), image(2, 3, 8, 8), device=device,
        dynamic=(0,), others=[[image(1, 3, 8, 8)]],
    )  # fmt: skip


def test_adaptive_max_pool_with_places(device):
    check(
        lambda x: F.adaptive_max_pool2d(x, (3, 4), return_indices=True), image(2, 3, 8, 9),
        device=device,
    )  # fmt: skip
    check(lambda x: F.adaptive_max_pool1d(x, 4, return_indices=True), image(3, 10), device=device)
    check(
        lambda x: F.adaptive_max_pool3d(x, 2, return_indices=True), image(1, 2, 3, 4, 5),
        device=device,
    )  # fmt: skip


def test_functional_batch_norm(device):
    mean, variance = torch.randn(3), torch.rand(3) + 0.5
    weight, bias = torch.randn(3), torch.randn(3)

    def training(x):
        return torch.ops.aten._native_batch_norm_legit_functional(
            x, weight, bias, mean, variance, True, 0.1, 1e-5
        )

    def with_update(x):
        return torch.ops.aten._batch_norm_with_update_functional(
            x, weight, bias, mean, variance, 0.3, 1e-4
        )

    check(training, torch.randn(4, 3, 5, 5), device=device)
    check(with_update, torch.randn(4, 3, 7), device=device)
