# SPDX-License-Identifier: Apache-2.0
"""What is found by sorting."""

import pytest
import torch

from tests.ops.check import check


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.uint8])
@pytest.mark.parametrize("dim", [0, -1])
def test_mode(dtype, dim, device):
    x = torch.randint(0, 4, (5, 9)).to(dtype)
    values = lambda x: torch.mode(x, dim).values  # noqa: E731
    check(values, x, device=device)
    check(values, x.t(), device=device)
    check(values, x, device=device, dynamic=[1], compiled_whole=False)
    check(lambda x: torch.mode(x, dim, keepdim=True).values + 1, x, device=device)
    check(values, x[0, 0], device=device)


def test_place_of_mode():
    """Equals stand in the order of PyTorch's own kernel."""
    for size in (1, 7, 15, 40):
        check(torch.mode, torch.randint(0, 3, (6, size)), compiled_whole=True)
