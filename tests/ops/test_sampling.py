# SPDX-License-Identifier: Apache-2.0
"""Reading at fractional places: grid_sample in all modes, antialiased resizing."""

import pytest
import torch
import torch.nn.functional as F

from tests.ops.check import check

CORNERS = pytest.mark.parametrize("align_corners", [False, True])
PADDING = pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])


@CORNERS
@PADDING
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode, padding, align_corners, device):
    x, grid = torch.randn(2, 3, 5, 7), torch.rand(2, 4, 6, 2) * 3 - 1.5
    check(lambda x, g: F.grid_sample(x, g, mode, padding, align_corners), x, grid, device=device)


@CORNERS
@PADDING
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_grid_sample_of_volumes(mode, padding, align_corners, device):
    x, grid = torch.randn(2, 3, 3, 4, 5), torch.rand(2, 2, 3, 4, 3) * 3 - 1.5
    check(lambda x, g: F.grid_sample(x, g, mode, padding, align_corners), x, grid, device=device)


def test_grid_sample_with_dynamic_sizes(device):
    check(
        lambda x, g: F.grid_sample(x, g, align_corners=False), torch.randn(2, 3, 5, 7),
        torch.rand(2, 4, 6, 2) * 2 - 1, device=device, dynamic=(0,),
        others=[[torch.randn(1, 3, 5, 7), torch.rand(1, 4, 6, 2) * 2 - 1]],
    )  # fmt: skip


@CORNERS
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(4, 5), (16, 20), (7, 30)])
def test_antialiased_resizing(mode, size, align_corners, device):
    check(
        lambda x: F.interpolate(
            x, size=size, mode=mode, antialias=True, align_corners=align_corners
        ),
        torch.randn(2, 3, 11, 13), device=device,
    )  # fmt: skip


def test_antialiased_resizing_by_factors(device):
    check(
        lambda x: F.interpolate(x, scale_factor=(0.4, 1.7), mode="bilinear", antialias=True),
        torch.randn(1, 2, 11, 13), device=device,
    )  # fmt: skip
