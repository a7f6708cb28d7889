# SPDX-License-Identifier: Apache-2.0
"""Python integers are arguments like sizes, but may be negative."""

import pytest
import stator
import torch
from torch import nn

FAST = {"timing_cache_path": "", "optimization_level": 0, "min_block_size": 1,
        "pass_through_build_failures": True}  # fmt: skip
NUMBERS = (3, 5, -7, -1, 4)
FUNCTIONS = {
    "product": lambda x, n: x * n,
    "roll": lambda x, n: x.roll(n),
    "new_full": lambda x, n: x.new_full((2,), n) + x[:2],
    "quotient": lambda x, n: x * (n // 2),
    "quotient_of_negative": lambda x, n: x * (n // -2) + n % -3,
    "remainder": lambda x, n: x + n % 3,
    "abs": lambda x, n: x * abs(n),
    "left_shift": lambda x, n: x + (n << 2),
    "right_shift": lambda x, n: x * (n >> 1),
    "extrema": lambda x, n: x * min(n, 2) + max(n, -3),
    "power": lambda x, n: x * n**2,
    "bits": lambda x, n: x * (n & 5),
    "true_division": lambda x, n: x * (n / 2),
    "repeat": lambda x, n: x.repeat(n % 4 + 1) * 2,
    "with_a_size": lambda x, n: (x.new_zeros(3) + x) * (n * x.shape[0] // 2),
    "negative_divisor": lambda x, n: x * ((4 * n + 1) // (2 * n)) + (4 * n + 1) % (2 * n),
    "size_of_a_product": lambda x, n: torch.zeros(n * n) + n,
    "arange": lambda x, n: torch.arange(n, n + 3) * x,
    "item": lambda x, n: x * (x.long()[1].item() * n),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("first", [3, -7])
def test_just_in_time(name, first):
    torch._dynamo.reset()
    f, x = FUNCTIONS[name], torch.arange(3.0)
    compiled = torch.compile(f, backend="stator", options=FAST)
    for n in (first, *NUMBERS):
        torch.testing.assert_close(compiled(x, n), f(x, n))


def test_read_from_a_tensor():
    torch._dynamo.reset()

    def f(x, t):
        n = t.item()
        return x * n + n // 2 - n % 3

    x = torch.arange(3.0)
    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        compiled = torch.compile(f, backend="stator", options=FAST, fullgraph=True)
        for n in NUMBERS:
            torch.testing.assert_close(compiled(x, torch.tensor(n)), f(x, torch.tensor(n)))


def test_ahead_of_time():
    class M(nn.Module):
        def forward(self, x, t):
            n = t.item()
            return x * n + n // 2 - n % 3

    x = torch.arange(3.0)
    compiled = stator.compile(M(), [x, torch.tensor(4)], **FAST)
    for n in NUMBERS:
        torch.testing.assert_close(compiled(x, torch.tensor(n)), M()(x, torch.tensor(n)))
