# SPDX-License-Identifier: Apache-2.0
"""torch.compile: weights that change after the first call, also where PyTorch counts nothing."""

import logging

import pytest
import torch
from stator import _native
from stator.graphs.weights import WatchedWeights
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


def _untyped(m):
    m[0].weight.untyped_storage().copy_((m[0].weight + 1).untyped_storage())


CHANGES = [_add, _add_bias, _replace, _numpy, _vector, _through_double, _one_row, _counted, _marked,
           _untyped]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("size", [8, 96])  # read whole, and by a sample
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__[1:])
def test_is_seen(change, size):
    model = nn.Sequential(nn.Linear(size, size), nn.GELU()).eval()
    compiled, x = torch.compile(model, backend="stator", options=FAST), torch.randn(2, size)
    compiled(x)
    for _ in range(3):
        torch.testing.assert_close(compiled(x), model(x))
        change(model)
        torch.testing.assert_close(compiled(x), model(x))


@torch.no_grad()
def test_statistics_are_weights_too():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    compiled, x = torch.compile(model, backend="stator", options=FAST), torch.randn(1, 3, 6, 6)
    compiled(x)
    model[1].running_mean.data.fill_(3.0)
    torch.testing.assert_close(compiled(x), model(x))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.float32])
def test_of_other_types_and_layouts(dtype):
    model = nn.Linear(6, 6).eval().to(dtype)
    model.weight = nn.Parameter(model.weight.t(), requires_grad=False)
    compiled, x = torch.compile(model, backend="stator", options=FAST), torch.randn(2, 6).to(dtype)
    compiled(x)
    model.weight.data *= 3
    torch.testing.assert_close(compiled(x), model(x), atol=1e-2, rtol=1e-2)


def compilations(caplog):
    return sum("compiled again" in r.getMessage() for r in caplog.records)


@torch.no_grad()
def test_what_holds_the_same_is_not_compiled_again(caplog):
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU()).eval()
    compiled, x = torch.compile(model, backend="stator", options=FAST), torch.randn(2, 8)
    expected = compiled(x)
    with caplog.at_level(logging.INFO, "torch_tensorrt"):
        model.double().float()  # other memory
        torch.testing.assert_close(compiled(x), expected)
        model[0].weight.mul_(1)  # another version
        torch.testing.assert_close(compiled(x), expected)
    assert compilations(caplog) == 0
    model[0].weight.data += 1  # where it lies now is watched
    torch.testing.assert_close(compiled(x), model(x))


@torch.no_grad()
def test_weights_that_change_become_inputs(caplog):
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU()).eval()
    compiled, x = torch.compile(model, backend="stator", options=FAST), torch.randn(2, 8)
    compiled(x)
    with caplog.at_level(logging.INFO, "torch_tensorrt"):
        for _ in range(5):
            model[0].weight.data += 1
            torch.testing.assert_close(compiled(x), model(x))
    assert compilations(caplog) == 1
    model[0].bias.data += 1
    torch.testing.assert_close(compiled(x), model(x))
    assert compilations(caplog) == 1


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


@torch.no_grad()
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "change", [_replace, _vector, _through_double, _counted], ids=lambda f: f.__name__[1:]
)
def test_on_a_gpu(change):
    model = nn.Sequential(nn.Linear(96, 96), nn.GELU()).eval().cuda()
    x = torch.randn(2, 96, device="cuda")
    compiled = torch.compile(model, backend="stator", options=FAST)
    compiled(x)
    for _ in range(3):
        change(model)
        torch.testing.assert_close(compiled(x), model(x), atol=1e-3, rtol=1e-3)
    model[0].weight.data += 1
    torch.autograd.graph.increment_version(model[0].weight)
    torch.testing.assert_close(compiled(x), model(x), atol=1e-3, rtol=1e-3)
