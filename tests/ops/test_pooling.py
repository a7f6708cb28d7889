# SPDX-License-Identifier: Apache-2.0
"""Maxima with their places, and batch normalization with new running statistics."""

import pytest
import stator
import torch
import torch.nn.functional as F

from tests.ops.check import Call, assert_same, check


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_windows_of_other_ranks(dtype, device):
    line, volume = torch.randn(2, 3, 37, dtype=dtype), torch.randn(1, 2, 7, 8, 9, dtype=dtype)
    line[0, 0, ::7] = float("nan")
    volume.view(-1)[::31] = float("-inf")
    check(lambda x: F.max_pool1d(x, 3, 2, 1, 2, ceil_mode=True), line, device=device)
    check(lambda x: F.avg_pool1d(x, 4, 3, 2, ceil_mode=True), line, device=device)
    check(lambda x: F.avg_pool1d(x, 4, 3, 2, True, False), line, device=device)
    check(lambda x: F.max_pool3d(x, (3, 2, 3), 2, 1), volume, device=device)
    check(lambda x: F.avg_pool3d(x, 3, 2, 1, True, False), torch.randn(1, 2, 8, 7, 9).to(dtype),
          device=device)  # fmt: skip
    check(lambda x: F.avg_pool1d(x, 21, 1, 10), torch.randn(2, 3, 64, dtype=dtype), device=device)


def test_windows_of_a_formula(device):
    """What is computed where it is read is not read outside of the image."""
    check(lambda x: F.avg_pool2d(x + 1, 3, 2, 1), torch.randn(1, 4, 9, 9), device=device)
    check(lambda x: F.avg_pool1d(x.exp(), 3, 1, 1), torch.randn(2, 4, 33), device=device)
    convolution = torch.nn.Conv2d(3, 8, 3)
    check(
        lambda x: F.avg_pool2d(convolution(x) + 1, 3, 2, 1).relu(), torch.randn(1, 3, 12, 12),
        device=device,
    )  # fmt: skip


@pytest.mark.parametrize("sizes", [(1, 1), (3, 3), (5, 4), (14, 7), (20, 30), (1, 5)])
def test_adaptive_windows(sizes, device):
    x = torch.randn(2, 3, 14, 21)
    x[0, 0, 3, 4] = float("nan")
    check(lambda x: F.adaptive_avg_pool2d(x, sizes), x, device=device)
    check(lambda x: F.adaptive_max_pool2d(x, sizes), x, device=device)
    check(
        lambda x: F.adaptive_avg_pool2d(x, sizes), x, device=device, dynamic=(0, ),
        others=[[torch.randn(5, 3, 14, 21)]],
    )  # fmt: skip


def test_windows_with_dynamic_sizes(device):
    def pools(x):
        return (
            F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1, True, False),
            F.avg_pool2d(x, 2, ceil_mode=True), F.adaptive_avg_pool2d(x, (5, 4)),
        )  # fmt: skip

    module = stator.compile(
        Call(pools), device=device, min_block_size=1,
        arg_inputs=[stator.Input(min_shape=[1, 2, 6, 6], opt_shape=[2, 2, 20, 22],
                                 max_shape=[4, 2, 90, 60])],
    )  # fmt: skip
    shapes = [(1, 2, 20, 12), (4, 2, 6, 8), (2, 2, 90, 34)]
    if torch.__version__ >= "2.13":  # earlier ones export for even sizes alone
        shapes += [(1, 2, 20, 11), (4, 2, 6, 7), (2, 2, 77, 34)]
    for shape in shapes:
        x = torch.randn(shape, device="cuda" if device == "cuda" else "cpu")
        assert_same(module(x), pools(x))
