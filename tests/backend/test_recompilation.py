# SPDX-License-Identifier: Apache-2.0
"""torch.compile: when graphs are compiled again, and when not; what programs do around them."""

import logging
import threading

import pytest
import torch
from torch import nn

OPTIONS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0,
           "pass_through_build_failures": True}  # fmt: skip


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.fixture
def plans(monkeypatch):
    """How often a graph was planned, whatever for."""
    from stator import backend

    made = []
    plan = backend.plan_compilation
    monkeypatch.setattr(backend, "plan_compilation", lambda *a: made.append(1) or plan(*a))
    return made


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


@torch.no_grad()
def test_same_shapes_do_not_compile_again(plans):
    module = small()
    compiled = torch.compile(module, backend="stator", options=OPTIONS)
    for _ in range(3):
        x = torch.randn(2, 4)
        close(compiled(x), module(x))
    assert len(plans) == 1


@torch.no_grad()
def test_every_shape_is_compiled_once_without_dynamic_sizes(plans):
    module = small()
    compiled = torch.compile(module, backend="stator", dynamic=False, options=OPTIONS)
    for batch in (4, 8, 4, 8, 3, 3):
        x = torch.randn(batch, 4)
        close(compiled(x), module(x))
    assert len(plans) == 3


@torch.no_grad()
def test_another_dtype_compiles_again(plans):
    def function(x):
        return torch.relu(x) * 2

    compiled = torch.compile(function, backend="stator", options=OPTIONS)
    for dtype in (torch.float32, torch.float64, torch.float32, torch.float16):
        x = torch.randn(3, 4).to(dtype)
        got = compiled(x)
        assert got.dtype == dtype
        torch.testing.assert_close(got, function(x))
    assert len(plans) == 3


@torch.no_grad()
def test_size_outside_the_marked_range_compiles_again(plans):
    module = small()
    compiled = torch.compile(module, backend="stator", options=OPTIONS)
    x = torch.randn(4, 4)
    torch._dynamo.mark_dynamic(x, 0, min=2, max=8)
    close(compiled(x), module(x))
    close(compiled(torch.randn(8, 4).copy_(x.repeat(2, 1))), module(x.repeat(2, 1)))
    assert len(plans) == 1
    y = torch.randn(16, 4)
    close(compiled(y), module(y))
    assert len(plans) == 2


@torch.no_grad()
def test_two_dynamic_dimensions_and_shared_ones(plans):
    def function(x, y):
        return torch.softmax(x @ y.transpose(-1, -2), -1)

    compiled = torch.compile(function, backend="stator", dynamic=True, options=OPTIONS)
    for n, m in ((3, 5), (7, 2), (6, 9)):
        x, y = torch.randn(n, 4), torch.randn(m, 4)
        close(compiled(x, y), function(x, y))
    assert len(plans) == 1


@torch.no_grad()
def test_branches_of_python_are_graphs_of_their_own(plans):
    def function(x, flag):
        y = torch.relu(x)
        return y + 1 if flag else y * 3

    compiled = torch.compile(function, backend="stator", options=OPTIONS)
    x = torch.randn(2, 3)
    for flag in (True, False, True, False):
        close(compiled(x, flag), function(x, flag))
    assert len(plans) == 2


@torch.no_grad()
def test_data_dependent_branches_break_the_graph():
    def function(x):
        y = torch.relu(x) + 1
        if y.sum() > 10:
            return y * 2
        return y - 1

    compiled = torch.compile(function, backend="stator", options=OPTIONS)
    for x in (torch.zeros(2, 3), torch.ones(4, 5), torch.zeros(2, 3)):
        close(compiled(x), function(x))


@torch.no_grad()
def test_loops_and_data_dependent_sizes():
    def function(x):
        for i in range(3):
            x = torch.tanh(x) + i
        kept = x[x > 1.5]
        return kept * 2, kept.sum()

    compiled = torch.compile(function, backend="stator", options=OPTIONS)
    x = torch.randn(4, 5)
    for got, wanted in zip(compiled(x), function(x), strict=True):
        close(got, wanted)


@torch.no_grad()
def test_graphs_called_in_turns_and_from_threads():
    module = small()
    compiled = torch.compile(module, backend="stator", dynamic=False, options=OPTIONS)
    inputs = [torch.randn(n, 4) for n in (2, 3, 5)]
    wanted = [module(x) for x in inputs]
    for x in inputs:
        compiled(x)
    wrong = []

    def work(i):
        with torch.no_grad():
            for _ in range(50):
                if not torch.allclose(compiled(inputs[i]), wanted[i], rtol=1e-4, atol=1e-5):
                    wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@torch.no_grad()
def test_functions_methods_and_none():
    class Holder:
        def __init__(self):
            self.scale = torch.tensor(3.0)

        def method(self, x, extra=None):
            return x * self.scale, None if extra is None else extra + 1

    holder = Holder()
    compiled = torch.compile(holder.method, backend="stator", options=OPTIONS)
    x = torch.randn(2, 2)
    got = compiled(x)
    close(got[0], x * 3)
    assert got[1] is None
    close(compiled(x, extra=x)[1], x + 1)


@torch.no_grad()
def test_views_and_aliases_of_inputs():
    def function(x):
        view = x.view(-1)[1:]
        return view, x.t(), view * 2

    compiled = torch.compile(function, backend="stator", options=OPTIONS)
    x = torch.randn(3, 2)
    got = compiled(x)
    for a, b in zip(got, function(x), strict=True):
        close(a, b)
    got[0].fill_(7.0)  # a view of the caller's tensor, as in eager
    assert x.view(-1)[1:].eq(7.0).all()


def test_inference_mode():
    module = small()
    compiled = torch.compile(module, backend="stator", options=OPTIONS)
    x = torch.randn(2, 4)
    with torch.inference_mode():
        close(compiled(x), module(x))
    with torch.no_grad():
        close(compiled(x), module(x))


@torch.no_grad()
def test_autocast_regions():
    module = small()
    compiled = torch.compile(module, backend="stator", options=OPTIONS)
    x = torch.randn(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, wanted = compiled(x), module(x)
    assert got.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(got, wanted, rtol=3e-2, atol=3e-2)
    close(compiled(x), module(x))


@torch.no_grad()
def test_build_failure_is_a_warning_unless_asked_for(monkeypatch, caplog):
    from stator import _native, backend

    class Failing:
        def __init__(self, compilation):
            self.compilation = compilation

        def __getattr__(self, name):
            return getattr(self.compilation, name)

        def build(self, *_):
            raise _native.StatorError("no luck")

    build = backend.build_engines
    monkeypatch.setattr(backend, "build_engines", lambda c, s: build(Failing(c), s))
    module, x = small(), torch.randn(2, 4)
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        options = {**OPTIONS, "pass_through_build_failures": False}
        close(torch.compile(module, backend="stator", options=options)(x), module(x))
    assert "_run_on_acc_0 was not built and runs in PyTorch: no luck" in caplog.text
    torch._dynamo.reset()
    with pytest.raises(Exception, match="no luck"):
        torch.compile(module, backend="stator", options=OPTIONS)(x)


def test_sizes_and_numbers_still_vary_after_a_weight_has_changed():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 4)

        def forward(self, x, n):
            return torch.relu(self.linear(x)) * n + n

    model = Scaled().eval()
    compiled = torch.compile(model, backend="stator", dynamic=True, options={"min_block_size": 1})
    with torch.no_grad():
        compiled(torch.randn(3, 4), 3), compiled(torch.randn(5, 4), 5)
        for _ in range(2):
            model.linear.weight.mul_(0.5)
            for size, n in ((3, 7), (5, 9), (2, 11)):
                x = torch.randn(size, 4)
                torch.testing.assert_close(compiled(x, n), model(x, n))
