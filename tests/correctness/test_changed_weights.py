# SPDX-License-Identifier: Apache-2.0
"""torch.compile: weights that change after the first call, also where PyTorch counts nothing."""

import logging

import pytest
import torch
from stator import _native
from stator.graphs import weights as weights_module
from stator.graphs.weights import FreezeAgain, WatchedWeights
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

FAST = {"timing_cache_path": "", "optimization_level": 0, "min_block_size": 1,
        "pass_through_build_failures": True}  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


def _add(m):
    m[0].weight.data += 1


def _add_bias(m):
    m[0].bias.data.add_(1)


def _replace(m):
    m[0].weight.data = m[0].weight.data + 1


def _numpy(m):
    m[0].weight.detach().numpy()[...] += 1


def _vector(m):
    vector_to_parameters(parameters_to_vector(m.parameters()) + 1, m.parameters())


def _through_double(m):
    m.double()
    m[0].weight.data += 1
    m.float()


def _one_row(m):
    m[0].weight.data[0] = 2.0


def _counted(m):
    m[0].weight.add_(1)


def _marked(m):
    m[0].weight.detach().numpy()[1, 1] += 1
    torch.autograd.graph.increment_version(m[0].weight)


def _add_and_say(m):
    m[0].weight.data += 1
    torch.autograd.graph.increment_version(m[0].weight)


def _untyped(m):
    m[0].weight.untyped_storage().copy_((m[0].weight + 1).untyped_storage())


CHANGES = [_add, _add_bias, _replace, _numpy, _vector, _through_double, _one_row, _counted, _marked,
           _untyped, _add_and_say]  # fmt: skip


# What is seen in a GPU's memory too.
ON_GPU = [_replace, _vector, _through_double, _counted, _add_and_say]


@pytest.fixture
def where(device):
    """Where weights lie."""
    if device == "reference":
        pytest.skip("weights lie in host memory, as for the CPU backend")
    return device


@torch.no_grad()
@pytest.mark.parametrize("size", [8, 96])  # read whole, and by a sample
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__[1:])
def test_is_seen(change, size, where):
    if where == "cuda" and change not in ON_GPU:
        pytest.skip("nothing is looked at in a GPU's memory")
    model = nn.Sequential(nn.Linear(size, size), nn.GELU()).eval().to(where)
    compiled = torch.compile(model, backend="stator", options=FAST)
    x = torch.randn(2, size, device=where)
    close = {"atol": 1e-3, "rtol": 1e-3} if where == "cuda" else {}
    compiled(x)
    for _ in range(4):
        torch.testing.assert_close(compiled(x), model(x), **close)
        change(model)
        torch.testing.assert_close(compiled(x), model(x), **close)


@torch.no_grad()
def test_statistics_are_weights_too(where):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval().to(where)
    compiled = torch.compile(model, backend="stator", options=FAST)
    x = torch.randn(1, 3, 6, 6, device=where)
    compiled(x)
    model[1].running_mean.fill_(3.0)
    torch.testing.assert_close(compiled(x), model(x), atol=1e-4, rtol=1e-4)
    if where == "cuda":
        return
    model[1].running_mean.data.fill_(4.0)
    torch.testing.assert_close(compiled(x), model(x))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.float32])
def test_of_other_types_and_layouts(dtype, where):
    model = nn.Linear(6, 6).eval().to(where, dtype)
    model.weight = nn.Parameter(model.weight.t(), requires_grad=False)
    compiled = torch.compile(model, backend="stator", options=FAST)
    x = torch.randn(2, 6, device=where).to(dtype)
    compiled(x)
    model.weight.data *= 3
    if where == "cuda":
        torch.autograd.graph.increment_version(model.weight)
    torch.testing.assert_close(compiled(x), model(x), atol=1e-2, rtol=1e-2)


def compilations(caplog):
    return sum("compiled again" in r.getMessage() for r in caplog.records)


@torch.no_grad()
def test_what_holds_the_same_is_not_compiled_again(where, caplog):
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU()).eval().to(where)
    compiled = torch.compile(model, backend="stator", options=FAST)
    x = torch.randn(2, 8, device=where)
    expected = compiled(x)
    with caplog.at_level(logging.INFO, "torch_tensorrt"):
        model.double().float()  # other memory
        torch.testing.assert_close(compiled(x), expected)
        model[0].weight.mul_(1)  # another version
        torch.testing.assert_close(compiled(x), expected)
    assert compilations(caplog) == 0
    model[0].weight.data = model[0].weight.data + 1  # where it lies now is watched
    torch.testing.assert_close(compiled(x), model(x))


@torch.no_grad()
def test_weights_that_change_often_become_inputs(where, caplog):
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU()).eval().to(where)
    compiled = torch.compile(model, backend="stator", options=FAST)
    x = torch.randn(2, 8, device=where)
    compiled(x)
    with caplog.at_level(logging.INFO, "torch_tensorrt"):
        for _ in range(6):
            model[0].weight.add_(1)
            torch.testing.assert_close(compiled(x), model(x))
    said = [r.getMessage() for r in caplog.records if "compiled again" in r.getMessage()]
    assert [m.split(", ")[1] for m in said] == [
        *["weights compiled in"] * FreezeAgain.ALWAYS, "weights as its inputs"
    ]  # fmt: skip
    model[0].bias.add_(1)
    torch.testing.assert_close(compiled(x), model(x))
    assert compilations(caplog) == FreezeAgain.ALWAYS + 1


@torch.no_grad()
def test_weights_that_change_seldom_are_compiled_in(caplog, monkeypatch):
    """Where the compiled graph has served long enough in between."""
    clock = [0.0]
    monkeypatch.setattr(weights_module.time, "monotonic", lambda: clock[0])
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU()).eval()
    compiled, x = torch.compile(model, backend="stator", options=FAST), torch.randn(2, 8)
    compiled(x)
    with caplog.at_level(logging.INFO, "torch_tensorrt"):
        for _ in range(5):
            clock[0] += 1e6
            model[0].weight.add_(1)
            torch.testing.assert_close(compiled(x), model(x))
    assert "as its inputs" not in caplog.text and compilations(caplog) == 5
    for many in (1, FreezeAgain.ALWAYS, 20):
        decides = FreezeAgain()
        decides.seconds, decides.end = 2.0, clock[0]
        clock[0] += 39
        answers = [decides.at_a_change() for _ in range(many)]
        assert answers == [k < FreezeAgain.ALWAYS for k in range(many)]
        clock[0] += 1
        assert decides.at_a_change()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.complex64])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 1000, 3001])
def test_digests_that_are_computed_on_the_device(dtype, count, where, monkeypatch):
    monkeypatch.setattr(weights_module, "_WORDS", 64)
    digest = weights_module._sums_of_words
    t = (torch.rand(count, device=where) * 100).to(dtype)
    before = digest(t)
    assert digest(t.clone()) == before
    for k in {0, count // 2, count - 1} if count else ():
        changed = t.clone()
        changed.view(torch.uint8)[k * t.element_size()] ^= 1
        assert digest(changed) != before
    if count > 8:
        assert digest(t.flip(0)) != before


def test_what_a_sample_shows():
    """Of a large weight a change of all elements, of a tenth, of its first or last one."""

    def changed(change):
        w = nn.Parameter(torch.randn(512, 512))
        watched = WatchedWeights([(0, w)])
        assert watched.are_noted([w])
        change(w.detach().numpy())
        return not watched.are_noted([w])

    def scattered(a):
        generator = torch.Generator().manual_seed(0)
        a.reshape(-1)[torch.randperm(a.size, generator=generator)[: a.size // 10].numpy()] += 1

    def first(a):
        a[0, 0] += 1

    def last(a):
        a[-1, -1] += 1

    def everything(a):
        a *= 1.001

    assert all(map(changed, (scattered, first, last, everything)))


def test_every_byte_of_a_small_one_is_read():
    memory = torch.zeros(4096, dtype=torch.uint8)
    watch = _native.MemoryWatch([(memory.data_ptr(), 4096), (memory.data_ptr(), 0)])
    assert not watch.any_changed()
    for i in (0, 1, 2711, 4095):
        memory[i] = 1
        assert watch.any_changed() and watch.changed() == [0]
        memory[i] = 0
    assert not watch.any_changed()


@torch.no_grad()
def test_weights_without_plain_memory():
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("w", torch.eye(4).to_sparse())

        def forward(self, x):
            return torch.sparse.mm(self.w, x).relu() + 1

    model, x = Sparse().eval(), torch.randn(4, 4)
    compiled = torch.compile(model, backend="stator", options=FAST)
    for _ in range(2):
        torch.testing.assert_close(compiled(x), model(x))
        model.w.values().mul_(2)
    empty = nn.Linear(0, 3).eval()
    torch.testing.assert_close(
        torch.compile(empty, backend="stator", options=FAST)(torch.ones(2, 0)),
        empty(torch.ones(2, 0)),
    )
