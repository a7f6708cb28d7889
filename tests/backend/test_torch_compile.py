# SPDX-License-Identifier: Apache-2.0
import logging

import pytest
import torch
from torch import nn

from tests.ops.check import assert_same

OPTIONS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0}


def compiled(module, **options):
    return torch.compile(module, backend="stator", options={**OPTIONS, **options})


def mlp():
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).eval()


@pytest.mark.parametrize("name", ["stator", "torch_tensorrt", "tensorrt"])
def test_every_name(name):
    model, x = mlp(), torch.randn(2, 8)
    with torch.no_grad():
        assert_same(torch.compile(model, backend=name, options=OPTIONS)(x), model(x))


def test_without_no_grad():
    model, x = mlp(), torch.randn(2, 8)
    y = compiled(model)(x)
    assert_same(y, model(x).detach())
    assert not y.requires_grad


def test_training_mode_is_left_alone():
    model, x = mlp().train(), torch.randn(2, 8)
    out = compiled(model)(x)
    assert out.requires_grad
    out.sum().backward()
    assert model[0].weight.grad is not None


def test_input_that_requires_a_gradient_is_left_alone():
    model, x = mlp(), torch.randn(2, 8, requires_grad=True)
    compiled(model)(x).sum().backward()
    assert x.grad is not None


def test_mark_dynamic():
    model, f = mlp(), None
    f = compiled(model)
    with torch.no_grad():
        for n in (4, 5, 7, 2):
            x = torch.randn(n, 8)
            torch._dynamo.maybe_mark_dynamic(x, 0)
            assert_same(f(x), model(x))


def test_automatic_dynamic_sizes():
    model = mlp()
    f = compiled(model)
    with torch.no_grad():
        for n in (3, 4, 9, 1):
            x = torch.randn(n, 8)
            assert_same(f(x), model(x))


def test_integer_argument_becomes_a_symbol():
    class M(nn.Module):
        def forward(self, x, n):
            return (x * n + 1).relu()

    f = torch.compile(M(), backend="stator", options=OPTIONS, dynamic=True)
    for n in (3, 4, 5):
        x = torch.randn(4, 4)
        assert_same(f(x, n), M()(x, n))


def test_nested_inputs_and_outputs():
    class M(nn.Module):
        def forward(self, batch):
            a, (b, c) = batch["a"], batch["rest"]
            return {"sum": a + b, "pair": (b * c, a), "none": None, "number": 3}

    batch = {"a": torch.randn(2, 3), "rest": (torch.randn(2, 3), torch.randn(3))}
    assert_same(compiled(M())(batch), M()(batch))


def test_output_that_is_an_input():
    class M(nn.Module):
        def forward(self, x):
            return x, x + 1

    x = torch.randn(3)
    same, plus = compiled(M())(x)
    assert same is x
    assert_same(plus, x + 1)


def test_weight_changed_in_place_is_seen():
    model, x = mlp(), torch.randn(2, 8)
    f = compiled(model)
    with torch.no_grad():
        f(x)
        model[0].weight.mul_(2)
        assert_same(f(x), model(x))


def test_input_written_to():
    class M(nn.Module):
        def forward(self, x):
            x.add_(1)
            return x * 2

    x, y = torch.zeros(3), torch.zeros(3)
    assert_same(compiled(M())(x), M()(y))
    assert_same(x, y)


def test_buffer_written_to():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x):
            self.count += 1
            return x * self.count

    a, b, x = Counter(), Counter(), torch.randn(3)
    f = compiled(a)
    for _ in range(3):
        assert_same(f(x), b(x))
    assert_same(a.count, b.count)


def test_graph_break():
    class M(nn.Module):
        def forward(self, x):
            x = (x * 2).relu()
            torch._dynamo.graph_break()
            return x.sigmoid() + 1

    x = torch.randn(4)
    assert_same(compiled(M())(x), M()(x))


def test_unsupported_operator_runs_in_pytorch():
    class M(nn.Module):
        def forward(self, x):
            y = (x * 2).relu() + 1
            z = torch.linalg.inv(y @ y.t() + torch.eye(4) * 9)
            return (z * 3).tanh()

    x = torch.randn(4, 4)
    assert_same(compiled(M())(x), M()(x))


def test_dryrun_prints_at_the_first_call(capsys):
    model, x = mlp(), torch.randn(2, 8)
    f = compiled(model, dryrun=True)
    assert capsys.readouterr().out == ""
    with torch.no_grad():
        assert_same(f(x), model(x))
        assert "Dry-Run Results for Graph" in capsys.readouterr().out
        f(x)
    assert capsys.readouterr().out == ""


def test_setting_without_effect_warns_once(caplog):
    with caplog.at_level(logging.WARNING, "torch_tensorrt"), torch.no_grad():
        compiled(mlp(), dla_sram_size=1)(torch.randn(1, 8))
    lines = [r.message for r in caplog.records if "dla_sram_size" in r.message]
    assert len(lines) == 1
    assert "no effect" in lines[0]


def test_unknown_option_is_an_error():
    with pytest.raises(Exception, match="did you mean 'min_block_size'"):
        torch.compile(mlp(), backend="stator", options={"min_blok_size": 3})(torch.randn(1, 8))
