# SPDX-License-Identifier: Apache-2.0
"""Padding by amounts of either sign, which crop."""

import pytest
import torch
import torch.nn.functional as F

from tests.ops.check import check

MODES = pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
AMOUNTS = pytest.mark.parametrize(
    "amounts", [(-1, 2), (2, -1), (-2, -1), (3, -2), (0, -1, 1, -2), (-1, 2, 2, -3), (1, 0, -1, 0)]
)


@MODES
@AMOUNTS
def test_amounts_of_either_sign(mode, amounts, device):
    shape = (1, 6) if len(amounts) == 2 else (1, 7, 6)
    check(lambda x: F.pad(x, amounts, mode), torch.randn(2, *shape), device=device)
    check(lambda x: F.pad(x, amounts, mode) * 2, torch.randn(2, *shape), device=device, dynamic=[0])
    transposed = torch.randn(2, *shape[:-2], shape[-1], shape[-2]).mT
    check(lambda x: F.pad(x, amounts, mode), transposed, device=device)


@pytest.mark.parametrize("amounts", [(5, -4), (-4, 5)])
@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_more_than_what_is_left(mode, amounts, device):
    """PyTorch reads what it crops."""
    check(lambda x: F.pad(x, amounts, mode), torch.randn(1, 1, 6), device=device)
