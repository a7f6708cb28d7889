# SPDX-License-Identifier: Apache-2.0
"""Models that are one engine are called without the program's graph, and give what it gives."""

import copy
from collections import namedtuple

import pytest
import stator
import torch
from torch import nn

Pair = namedtuple("Pair", ["total", "parts"])


def tuple_of(x, y):
    return x + y, x * y


def one(x, y):
    return x + y


def another_order(x, y):
    total = x + y
    return torch.relu(total), total, total


def inputs_turned_round(x, y):
    return torch.atan2(y, x), y


def partly(x, y):
    return torch.nonzero(x > y), [x + y, {"y": y * 2}]


def listed(x, y):
    return [x - y, y]


def keyed(x, y):
    return {"b": x + y, "a": (x * y, [y - x])}


def named(x, y):
    return Pair(x + y, (x * y,))


def empty(x, y):
    return ()


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, y):
        return self.function(x, y)


def tensors(device="cpu"):
    device = "cuda" if device == "cuda" else "cpu"
    return torch.randn(3, 4, device=device), torch.randn(3, 4, device=device)


def refuse(*_):
    raise AssertionError("the graph was called")


def same(result, expected):
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)
    assert type(result) is type(expected)


@torch.no_grad()
@pytest.mark.parametrize("function", [tuple_of, one, another_order, keyed, named])
def test_result_and_its_form(function, device):
    x, y = tensors(device)
    model = Model(function).eval()
    compiled = stator.compile(model, inputs=[x, y], device=device)
    same(compiled(x, y), model(x, y))
    compiled.__dict__["program"] = refuse
    same(compiled(x, y), model(x, y))
    same(compiled(y=y, x=x), model(x, y))
    same(compiled(x, y=y), model(x, y))


@torch.no_grad()
@pytest.mark.parametrize("function", [inputs_turned_round, partly, listed, empty])
def test_result_that_the_graph_gives(function):
    x, y = tensors()
    model = Model(function).eval()
    compiled = stator.compile(model, inputs=[x, y])
    for _ in range(3):
        same(compiled(x, y), model(x, y))
        same(compiled(y=y, x=x), model(x, y))
    with pytest.raises(TypeError, match="missing argument 'y'"):
        compiled(x)
    if function is not empty:  # which reads nothing
        with pytest.raises(TypeError):
            compiled(x, [y])


@torch.no_grad()
def test_order_of_an_engine_s_inputs(device):
    x = tensors(device)[0].view(1, 3, 4, 1)
    mean, variance, weight, bias = (torch.rand(3, device=x.device) + 0.5 for _ in range(4))

    class Normalize(nn.Module):
        def forward(self, x, mean, variance, weight, bias):
            return nn.functional.batch_norm(x, mean, variance, weight, bias)

    args = (x, mean, variance, weight, bias)
    compiled = stator.compile(Normalize().eval(), inputs=list(args), device=device)
    for _ in range(3):
        same(compiled(*args), Normalize()(*args))
        same(compiled(x, mean, variance, bias=bias, weight=weight), Normalize()(*args))
    with pytest.raises(TypeError, match="missing argument"):
        compiled(*args[:4])


@torch.no_grad()
def test_arguments_in_a_nest():
    class Nested(nn.Module):
        def forward(self, batch, *, scale):
            return batch["a"] * scale, batch["b"][0] + 1

    x, y = tensors()
    model = Nested().eval()
    batch = {"a": x, "b": [y]}
    compiled = stator.compile(model, arg_inputs=[batch], kwarg_inputs={"scale": y})
    for _ in range(3):
        same(compiled(batch, scale=y), model(batch, scale=y))
        same(compiled({"b": [y], "a": x}, scale=x), model(batch, scale=x))
    with pytest.raises(TypeError, match="missing argument 'scale'"):
        compiled(batch)


@torch.no_grad()
def test_wrong_calls_are_told_as_ever():
    x, y = tensors()
    compiled = stator.compile(Model(one).eval(), inputs=[x, y])
    for _ in range(2):
        compiled(x, y)
        with pytest.raises(TypeError, match="missing argument 'y'"):
            compiled(x)
        with pytest.raises(TypeError, match="there is no argument 'z'"):
            compiled(x, y, z=y)
        with pytest.raises(TypeError, match="given twice"):
            compiled(x, y, x=x)
        with pytest.raises(TypeError, match="no argument 3"):
            compiled(x, y, y)
        with pytest.raises(TypeError):
            compiled(x, [y])
        with pytest.raises(TypeError):
            compiled(x, y=3.0)


@torch.no_grad()
def test_hooks_run():
    x, y = tensors()
    compiled = stator.compile(Model(one).eval(), inputs=[x, y])
    compiled(x, y)
    calls = []
    before = compiled.register_forward_pre_hook(lambda *_: calls.append("before"))
    after = compiled.register_forward_hook(lambda *_: calls.append("after"))
    compiled(x, y)
    assert calls == ["before", "after"]
    before.remove(), after.remove()
    same(compiled(x, y), x + y)
    assert calls == ["before", "after"]


@torch.no_grad()
def test_what_a_model_changes_is_written():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("sum", torch.zeros(3, 4))

        def forward(self, x, y):
            self.sum += x
            return x + y, self.sum * 2

    x, y = tensors()
    model = Counts().eval()
    compiled = stator.compile(copy.deepcopy(model), inputs=[x, y])
    for _ in range(3):
        same(compiled(x, y), model(x, y))


@torch.no_grad()
def test_copies_find_the_way_again():
    x, y = tensors()
    compiled = stator.compile(Model(tuple_of).eval(), inputs=[x, y])
    compiled(x, y)
    copied = copy.deepcopy(compiled)
    for _ in range(2):
        same(copied(x, y), (x + y, x * y))


@torch.no_grad()
@pytest.mark.parametrize("function", [tuple_of, another_order, keyed])
def test_torch_compile(function, device):
    x, y = tensors(device)
    compiled = torch.compile(Model(function).eval(), backend="stator", options={"device": device})
    for _ in range(3):
        same(compiled(x, y), function(x, y))
