# SPDX-License-Identifier: Apache-2.0
"""Gradients inside a model: torch.func is compiled, what enable_grad() trains runs in PyTorch."""

import logging

import pytest
import torch
from stator import backend as backend_module
from stator.graphs.tracing_state import restored_state
from torch import func, nn
from torch._C import _functorch
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

FAST = {"timing_cache_path": "", "optimization_level": 0, "min_block_size": 1}
MODES = {"enabled": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


def potential(requires_grad=False):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    return net.eval().requires_grad_(requires_grad)


def lines(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def cubes(p):
    return (p**3).sum()


def vjp(net, x):
    y, pull = func.vjp(net, x)
    return y, pull(torch.ones_like(y))


def of_each_sample(net, x):
    weights = {name: p.detach() for name, p in net.named_parameters()}

    def loss(w, sample):
        return func.functional_call(net, w, (sample,)).pow(2).sum()

    return func.vmap(func.grad(loss), in_dims=(None, 0))(weights, x)


def beside_a_constant(net, x):
    def loss(p):
        with torch.no_grad():
            scale = net(p)
        return (scale * net(p)).sum()

    return func.grad(loss)(x)


TRANSFORMS = {
    "grad": lambda net, x: func.grad(cubes)(x),
    "grad_of_grad": lambda net, x: func.grad(lambda q: func.grad(cubes)(q).sum())(x),
    "grad_and_value": lambda net, x: func.grad_and_value(lambda p: net(p).sum())(x),
    "vmap_of_grad": lambda net, x: func.vmap(func.grad(lambda p: net(p).sum()))(x),
    "vjp": vjp,
    "jvp": lambda net, x: func.jvp(net, (x,), (torch.ones_like(x),)),
    "jacrev": lambda net, x: func.jacrev(net)(x),
    "jacfwd": lambda net, x: func.jacfwd(net)(x),
    "hessian": lambda net, x: func.hessian(lambda p: net(p).sum())(x),
    "of_weights": lambda net, x: func.grad(
        lambda w: func.functional_call(net, w, (x,)).pow(2).sum()
    )(dict(net.named_parameters())),
    "of_each_sample": of_each_sample,
    "beside_a_constant": beside_a_constant,
    "beside_the_value": lambda net, x: net(x) + func.grad(lambda p: net(p).sum())(x),
}


def check(function, net, x, compiled=None, rtol=1e-4):
    """Called twice, at another size, and with another weight, as eager."""
    compiled = compiled or torch.compile(function, backend="stator", options=FAST)
    for argument in (x, x, torch.randn(x.shape[0] + 1, 3)):
        same(compiled(net, argument), function(net, argument), rtol)
    net[0].weight.data = net[0].weight.data * 2
    same(compiled(net, x), function(net, x), rtol)


def same(given, expected, rtol):
    for a, b in zip(tree_leaves(given), tree_leaves(expected), strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("requires_grad", [False, True], ids=["frozen", "unfrozen"])
@pytest.mark.parametrize("mode", ["enabled", "no_grad"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name, mode, requires_grad, caplog):
    with MODES[mode]():
        check(TRANSFORMS[name], potential(requires_grad), torch.randn(4, 3))
    assert not lines(caplog)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["grad", "vmap_of_grad", "hessian"])
def test_transforms_at_sizes_that_vary(name, mode):
    function = TRANSFORMS[name]
    with MODES[mode]():
        compiled = torch.compile(function, backend="stator", options=FAST, dynamic=True)
        check(function, potential(), torch.randn(4, 3), compiled)


def test_the_gradient_of_a_number():
    f = func.grad(cubes)
    for x in (torch.tensor(2.0), torch.ones(2), torch.ones(0), torch.ones(3, 2).t()):
        torch.testing.assert_close(torch.compile(f, backend="stator", options=FAST)(x), f(x))


def test_weights_that_require_gradients_are_compiled(caplog):
    """With gradients switched on, as users call models: engines, and results without gradients."""
    net, x = potential(requires_grad=True), torch.randn(4, 3)
    compiled = torch.compile(
        net, backend="stator", options={**FAST, "require_full_compilation": True}
    )
    for _ in range(2):
        given = compiled(x)
        assert not given.requires_grad
        torch.testing.assert_close(given, net(x).detach(), rtol=1e-4, atol=1e-5)
        net[2].bias.data = net[2].bias.data + 1
    assert all(p.requires_grad for p in net.parameters())
    assert not lines(caplog)


def forces(net, positions):
    with torch.enable_grad():
        p = positions.detach().requires_grad_(True)
        return -torch.autograd.grad(net(p).sum(), p)[0]


def gradients_of_weights(net, x):
    with torch.enable_grad():
        return torch.autograd.grad(net(x).sum(), list(net.parameters()))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("mode", ["enabled", "no_grad"])
@pytest.mark.parametrize("requires_grad", [False, True], ids=["frozen", "unfrozen"])
def test_forces(requires_grad, mode, dynamic, caplog):
    with MODES[mode]():
        compiled = torch.compile(forces, backend="stator", options=FAST, dynamic=dynamic)
        check(forces, potential(requires_grad), torch.randn(4, 3), compiled)
    assert any("runs in PyTorch" in line for line in lines(caplog))


@torch.no_grad()
def test_gradients_of_weights_within_no_grad(caplog):
    check(gradients_of_weights, potential(requires_grad=True), torch.randn(4, 3))
    assert any("torch.enable_grad() in the model" in line for line in lines(caplog))


@torch.no_grad()
def test_a_part_with_gradients_that_trains_nothing(caplog):
    def f(net, x):
        with torch.enable_grad():
            y = net(x)
        return y * 2

    check(f, potential(), torch.randn(4, 3))
    assert not lines(caplog)


def process_state():
    return (
        torch.is_grad_enabled(),
        _functorch.get_interpreter_stack(),
        forward_ad._current_level,
        torch._C._is_fwd_grad_enabled(),
        _functorch.get_inplace_requires_grad_allowed(),
        torch._C._autograd._saved_tensors_hooks_get_disabled_error_message(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
    )


def stop_within_transforms(*_args):
    """As tracing leaves a graph at an error: all that begins has begun, and nothing has ended."""
    torch._C._set_grad_enabled(not torch.is_grad_enabled())
    _functorch._vmap_increment_nesting(2, "error")
    _functorch._jvp_increment_nesting()
    torch._C._set_fwd_grad_enabled(True)
    torch._C._enter_dual_level()
    torch._C._autograd._saved_tensors_hooks_disable("none within torch.func")
    _functorch._grad_increment_nesting()
    _functorch.set_inplace_requires_grad_allowed(True)
    torch.amp.autocast_mode._enter_autocast("cpu", torch.float16, True, True)
    raise KeyError("u5")


@pytest.mark.parametrize("mode", ["enabled", "no_grad"])
def test_an_error_leaves_nothing_switched_on(mode):
    with MODES[mode]():
        before = process_state()
        with pytest.raises(KeyError), restored_state():
            stop_within_transforms()
        assert process_state() == before
        net, x = potential(), torch.randn(4, 3)
        same(func.hessian(cubes)(x[0]), (6 * x[0]).diag(), 1e-4)
        assert net(x).dtype == torch.float32


def test_an_error_within_outer_transforms_leaves_them():
    def f(x):
        depth = len(_functorch.get_interpreter_stack())
        with pytest.raises(KeyError), restored_state():
            _functorch._grad_increment_nesting()
            raise KeyError("u5")
        assert len(_functorch.get_interpreter_stack()) == depth
        return cubes(x)

    torch.testing.assert_close(func.grad(f)(torch.ones(2)), torch.full((2,), 3.0))


def test_a_failure_within_transforms_runs_in_pytorch(monkeypatch, caplog):
    monkeypatch.setattr(backend_module, "aot_autograd", lambda **_: stop_within_transforms)
    hessian, x, before = func.hessian(cubes), torch.randn(3), process_state()
    given = torch.compile(lambda x: hessian(x), backend="stator", options=FAST)(x)
    torch.testing.assert_close(given, hessian(x))
    assert process_state() == before
    (line,) = lines(caplog)
    assert "runs in PyTorch" in line and "u5" in line
