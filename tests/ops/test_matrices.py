# SPDX-License-Identifier: Apache-2.0
"""Diagonals, triangles and powers of matrices; linspace of whole numbers."""

import pytest
import torch

from tests.ops.check import check


@pytest.mark.parametrize("offset", [0, 1, -2])
@pytest.mark.parametrize(("dim1", "dim2"), [(0, 1), (1, 0), (-1, 0), (1, 2)])
def test_diagonal_scatter(offset, dim1, dim2, device):
    x = torch.randn(4, 5, 4)
    source = torch.randn_like(torch.diagonal(x, offset, dim1, dim2))
    check(lambda x, s: torch.diagonal_scatter(x, s, offset, dim1, dim2), x, source, device=device)


@pytest.mark.parametrize("offset", [0, 2, -1, -9])
def test_places_of_triangles(offset, device):
    check(
        lambda x: (
            x + 1, torch.tril_indices(4, 3, offset), torch.triu_indices(3, 5, offset)
        ),
        torch.randn(2), device=device,
    )  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_matrix_power(n, device):
    check(lambda x: torch.linalg.matrix_power(x, n), torch.randn(2, 4, 4), device=device)


def test_linspace_of_whole_numbers(device):
    check(
        lambda x: (
            x + torch.linspace(0, 10, 7, dtype=torch.int64),
            torch.linspace(-5.7, 5.2, 7, dtype=torch.int32),
        ),
        torch.zeros(7), device=device,
    )  # fmt: skip
