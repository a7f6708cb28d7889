# SPDX-License-Identifier: Apache-2.0
"""Compiled modules inside of what PyTorch traces with: recorded right, or refused; no noise."""

import copy
import warnings

import pytest
import stator
import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

SETTINGS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x).relu() * 2


class InParts(Model):
    """A part in PyTorch between two engines."""

    def forward(self, x):
        y = self.linear(x).exp()
        return torch.special.bessel_j0(y) * 2 + 1


@pytest.fixture(params=[Model, InParts])
def model(request):
    return request.param().eval()


@pytest.fixture(params=["first call", "later call"])
def compiled(model, request):
    rows = stator.Input(min_shape=(1, 4), opt_shape=(2, 4), max_shape=(9, 4))
    module = stator.compile(model, [rows], **SETTINGS)
    if request.param == "later call":
        module(torch.randn(2, 4))
        module(torch.randn(2, 4))
    return module


def check(traced, model):
    for _ in range(2):
        x = torch.randn(2, 4)
        torch.testing.assert_close(traced(x), model(x), rtol=1e-4, atol=1e-5)


def test_jit_trace(compiled, model, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is deprecated", category=DeprecationWarning)
        traced = torch.jit.trace(compiled, (torch.randn(2, 4),))
    check(traced, model)
    out, err = capfd.readouterr()
    assert out == "" and err == ""


def test_make_fx_records_the_call(compiled, model):
    traced = make_fx(compiled)(torch.randn(2, 4))
    check(traced, model)


def test_export(compiled, model):
    program = torch.export.export(compiled, (torch.randn(2, 4),))
    check(program.module(), model)


def test_export_with_dynamic_sizes(compiled, model):
    rows = ({0: torch.export.Dim.DYNAMIC(max=9)},)
    program = torch.export.export(compiled, (torch.randn(2, 4),), dynamic_shapes={"args": rows})
    for n in (2, 5, 9):
        x = torch.randn(n, 4)
        torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)


def test_fake_tensors():
    engine = stator.compile(Model().eval(), [torch.randn(2, 4)], **SETTINGS)
    with FakeTensorMode() as mode:
        y = engine(mode.from_tensor(torch.randn(2, 4)))
    assert type(y).__name__ == "FakeTensor" and tuple(y.shape) == (2, 3)
    y = engine(mode.from_tensor(torch.randn(2, 4)))
    assert type(y).__name__ == "FakeTensor"


def test_symbolic_trace_of_a_model_around_it(compiled, model):
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = compiled

        def forward(self, x):
            return self.part(x) + 1

    traced = fx.symbolic_trace(Around())
    assert [n.target for n in traced.graph.nodes if n.op == "call_module"] == ["part"]
    x = torch.randn(3, 4)
    torch.testing.assert_close(traced(x), model(x) + 1, rtol=1e-4, atol=1e-5)


def test_symbolic_trace_of_itself_is_refused(compiled):
    with pytest.raises(TypeError, match="cannot look into a compiled model"):
        fx.symbolic_trace(compiled)


def test_deepcopy_is_silent(compiled, model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copied = copy.deepcopy(compiled)
    check(copied, model)


def test_a_mode_that_looks_on(compiled, model):
    from torch.utils.flop_counter import FlopCounterMode

    x = torch.randn(2, 4)
    with FlopCounterMode(display=False):
        y = compiled(x)
    torch.testing.assert_close(y, model(x), rtol=1e-4, atol=1e-5)


def test_tracing_leaves_later_calls_alone(compiled, model):
    make_fx(compiled)(torch.randn(2, 4))
    check(compiled, model)
