# SPDX-License-Identifier: Apache-2.0
"""Ahead of time: models in which the values of tensors decide what is computed."""

import copy
import pickle

import numpy as np
import pytest
import stator
import torch
from torch import nn

SETTINGS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0}


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.function(self.linear(x), x)


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(np.tanh(x.detach().numpy())) if x.sum() > 0 else x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def branch(y, x):
    if y.sum() > 0:
        return y.relu() * 2
    return y - 1


def loop(y, x):
    while y.abs().sum() > 1:
        y = y / 2
    return y + 1


def rows(y, x):
    return torch.stack([row * 2 if row.sum() > 0 else row for row in y])


def iterated(y, x):
    for i in (y[0] > 0).nonzero():
        y = y + i
    return y


def empty_or_not(y, x):
    y = y[y[:, 0] > 0]
    return torch.zeros(1, 4) if y.shape[0] == 0 else y * 2


def item_in_a_condition(y, x):
    return y * 3 if x[0, 0].item() > 0 else y


# Broken by torch.compile at the places in question.
BROKEN = {f.__name__: f for f in (branch, loop, rows, iterated, empty_or_not, item_in_a_condition)}
BROKEN["autograd function"] = lambda y, x: Own.apply(y) * 2

# Held by one graph, and compiled ahead of time.
WHOLE = {
    "item as a size": lambda y, x: y[: int(x[0, 0].abs().item()) + 1] * 2,
    "item as a shape": lambda y, x: torch.zeros(int((x > 0).sum().item())) + 1,
    "item as an index": lambda y, x: x[:, y.sum(0).argmax().item()] * 2,
    "item as an end": lambda y, x: x[:, : y.sum(0).argmax().item() + 1] * 2,
    "tensor as an index": lambda y, x: x[:, y.sum(0).argmax()] * 2,
    "numpy": lambda y, x: torch.from_numpy(np.tanh(y.detach().numpy())) * 2,
    "tensor of a list": lambda y, x: y + torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "tensor of items": lambda y, x: y + torch.tensor([x[0, 0].item(), 2.0, 3.0, 4.0]),
    "tensor of tensors": lambda y, x: y + torch.tensor([x.sum(), x.mean(), 0, 0]),
    "list": lambda y, x: y * sum(x[0].tolist()),
    "mask": lambda y, x: y[x[:, 0] > 0] * 2,
    "unique": lambda y, x: torch.unique(y.round()) * 2,
    "number": lambda y, x: [y.sum().item(), y],
}


@pytest.fixture(params=["static", "dynamic"])
def inputs(request):
    if request.param == "static":
        return [torch.randn(3, 4)]
    return [stator.Input(min_shape=(2, 4), opt_shape=(3, 4), max_shape=(9, 4))]


def check(call, model, sizes=(3,)):
    for seed in range(5):
        for size in sizes:
            x = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed))
            torch.testing.assert_close(call(x), model(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", BROKEN)
def test_compiled_part_by_part(name, inputs, caplog):
    model = Model(BROKEN[name]).eval()
    with caplog.at_level("WARNING"):
        compiled = stator.compile(model, inputs, **SETTINGS)
    assert "Model is not compiled ahead of time" in caplog.text
    assert "cannot follow Model, at " in caplog.text and "test_data_dependent.py" in caplog.text
    assert "cannot follow" in str(compiled.stator_report)
    sizes = (3, 5, 2) if isinstance(inputs[0], stator.Input) else (3,)
    check(compiled, model, sizes)


@torch.no_grad()
def test_parts_have_engines(caplog):
    model = Model(branch).eval()
    compiled = stator.compile(model, [torch.randn(3, 4)], **SETTINGS)
    with caplog.at_level("INFO", "torch_tensorrt"):
        compiled(torch.randn(3, 4))
    assert "1 engine with" in caplog.text


@pytest.mark.parametrize("name", WHOLE)
def test_compiled_ahead_of_time(name, caplog):
    model = Model(WHOLE[name]).eval()
    with caplog.at_level("WARNING"), torch.no_grad():
        compiled = stator.compile(model, [torch.randn(3, 4)], **SETTINGS)
        check(compiled, model)
    assert "not compiled" not in caplog.text


def test_printing_is_no_part_of_it(capfd):
    def prints(y, x):
        print("mean", y.mean())
        return y * 2

    model = Model(prints).eval()
    compiled = stator.compile(model, [torch.randn(3, 4)], **SETTINGS)
    capfd.readouterr()
    compiled(torch.randn(3, 4))
    assert capfd.readouterr().out == ""


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


def test_a_number_that_the_model_changes_is_told(caplog):
    rows = stator.Input(min_shape=(1, 4), opt_shape=(3, 4), max_shape=(9, 4))
    model = nn.Sequential(Counts(), nn.ReLU()).eval()
    with caplog.at_level("WARNING"):
        compiled = stator.compile(model, [rows], **SETTINGS)
    assert caplog.text.count("Counts changes its attribute 'calls'") == 1
    assert model[0].calls == 0
    torch.testing.assert_close(compiled(torch.ones(3, 4)), torch.ones(3, 4))


@pytest.mark.parametrize(
    "setting", [{"require_full_compilation": True}, {"pass_through_build_failures": True}]
)
def test_an_error_where_it_is_asked_for(setting):
    with pytest.raises(stator.ExportError, match="cannot follow Model, at .*test_data_dependent"):
        stator.compile(Model(branch).eval(), [torch.randn(3, 4)], **SETTINGS, **setting)
    with pytest.raises(stator.ExportError, match="cannot follow Model"):
        stator.trace(Model(branch).eval(), [torch.randn(3, 4)])


@torch.no_grad()
def test_what_can_be_done_with_it(tmp_path):
    model = Model(branch).eval()
    compiled = stator.compile(model, [torch.randn(3, 4)], **SETTINGS)
    check(compiled, model)
    check(copy.deepcopy(compiled), model)
    check(pickle.loads(pickle.dumps(compiled)), model)
    with pytest.raises(TypeError, match="compiles when it is called, because"):
        stator.save(compiled, tmp_path / "m.pt2", inputs=[torch.randn(3, 4)])
    with pytest.raises(TypeError, match="compiled already"):
        stator.compile(compiled, [torch.randn(3, 4)])
    x = torch.randn(3, 4, requires_grad=True)
    with torch.enable_grad():
        assert not compiled(x).requires_grad


def test_a_models_own_error_stays_one():
    model = Model(lambda y, x: y @ x).eval()
    with pytest.raises(stator.ExportError, match="y @ x"):
        stator.compile(model, [torch.randn(3, 4)], **SETTINGS)
