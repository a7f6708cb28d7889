# SPDX-License-Identifier: Apache-2.0
"""Operators in place: replaced where nothing else refers to their memory, else left to PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import stator
import torch
from document_helpers import place
from stator.graphs.functionalize import make_functional
from torch import Tensor, nn
from torch.nn import functional as F

Function = Callable[[Tensor], Tensor | tuple[Tensor, ...]]


class Model(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("w", torch.linspace(-1, 1, 27 * 2).reshape(2, 3, 3, 3))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("variance", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(x)


def conv(model: Model, x: Tensor) -> Tensor:
    return F.conv2d(x, model.w, padding=1)


def residual(model: Model, x: Tensor) -> Tensor:
    y = conv(model, x).relu_()
    z = F.hardtanh_(conv(model, x + 1), 0.0, 6.0)
    z += y
    return z.mul_(2).relu_()


def used_before(model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
    y = conv(model, x)
    before = y.exp()
    return before, y.neg_()


def read_twice(model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
    y = x * 2
    z = y.add_(y)
    return y + 1, z


def seen_by_view(model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
    y = x + 1
    flat = y.view(-1)
    y.mul_(3)
    return flat, y


def seen_by_dropout(model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
    y = x + 1
    same = F.dropout(y, training=False)
    y.mul_(3)
    return same, y


def of_dropout(model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
    y = x + 1
    F.dropout(y, training=False).mul_(3)
    return y, x


def of_a_part(model: Model, x: Tensor) -> Tensor:
    y = x + 1
    first, _second = y.chunk(2, dim=-1)
    first.relu_()
    return y


def of_the_input(model: Model, x: Tensor) -> Tensor:
    return x.add_(1) * 2


def of_another_type(model: Model, x: Tensor) -> Tensor:
    y = x.half() * 1.5
    return y.add_(x)  # stays half


def of_a_buffer(model: Model, x: Tensor) -> Tensor:
    return x + model.w.add_(1).sum()


def statistics(model: Model, x: Tensor) -> Tensor:
    return F.batch_norm(x, model.mean, model.variance, training=True)


PLAIN = [residual, used_before, read_twice]
OTHERS = [
    seen_by_view,
    seen_by_dropout,
    of_dropout,
    of_a_part,
    of_the_input,
    of_another_type,
    of_a_buffer,
    statistics,
]


def make(function: Callable[..., Tensor | tuple[Tensor, ...]]) -> Model:
    model = Model(lambda x: function(model, x))
    return model


@pytest.mark.parametrize("function", PLAIN + OTHERS, ids=lambda f: f.__name__)
def test_which_are_replaced(function: Callable[..., Tensor]) -> None:
    program = torch.export.export(make(function), (torch.randn(2, 3, 4, 4),), strict=False)
    assert make_functional(program.graph) == (function in PLAIN)
    if function in PLAIN:
        program.graph.lint()


@pytest.mark.parametrize("function", PLAIN + OTHERS, ids=lambda f: f.__name__)
def test_results_are_those_of_eager(function: Callable[..., Tensor]) -> None:
    x = place(torch.randn(2, 3, 4, 4))
    eager, model = place(make(function)), place(make(function))
    compiled = stator.compile(model, inputs=[x.clone()], min_block_size=1)
    for _ in range(2):
        given, ours = x.clone(), x.clone()
        expected, got = eager(given), compiled(ours)
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(ours, given)
    for ours, theirs in zip(model.buffers(), eager.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)
