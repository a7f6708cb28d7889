# SPDX-License-Identifier: Apache-2.0
"""Engines split so that each can be built within a memory budget."""

import logging
import sys
import types

import pytest
import stator
import torch
from torch import nn

OPTIONS = {"timing_cache_path": "", "min_block_size": 1, "pass_through_build_failures": True,
           "optimization_level": 0}  # fmt: skip
WEIGHT = 4 * 512 * 512  # of one layer
FIXED = 8 << 20  # of any build


def network():
    torch.manual_seed(0)
    layers = []
    for _ in range(6):
        layers += [nn.Linear(512, 512), nn.ReLU()]
    return nn.Sequential(*layers).eval()


X = torch.randn(2, 512)


def compiled(**settings):
    return stator.compile(network(), inputs=[X], **{**OPTIONS, **settings})


@pytest.mark.parametrize(("layers", "engines"), [(6.5, 1), (3.5, 2), (2.5, 3), (1.5, 6)])
@torch.no_grad()
def test_budget_splits_engines(layers, engines, capsys):
    budget = FIXED + int(3 * layers * WEIGHT)
    settings = {"enable_resource_partitioning": True, "cpu_memory_budget": budget}
    module = compiled(**settings)
    names = [e.name for e in module.stator_report.engines]
    assert names == [f"_run_on_acc_{i}" for i in range(engines)]
    torch.testing.assert_close(module(X), network()(X), rtol=1e-4, atol=1e-5)
    compiled(**settings, dryrun=True)
    assert capsys.readouterr().out.count("TRT Engine #") == engines


def test_budget_too_small_for_a_node():
    with pytest.raises(stator.UnsupportedError, match="cpu_memory_budget=1000 is too small for"):
        compiled(enable_resource_partitioning=True, cpu_memory_budget=1000)


def test_without_a_budget_what_is_free_counts(monkeypatch):
    class Memory:
        available = FIXED + int(3 * 3.5 * WEIGHT)

    fake = types.SimpleNamespace(virtual_memory=lambda: Memory)
    monkeypatch.setitem(sys.modules, "psutil", fake)
    assert len(compiled(enable_resource_partitioning=True).stator_report.engines) == 2
    Memory.available = 1 << 40
    assert len(compiled(enable_resource_partitioning=True).stator_report.engines) == 1


def test_budget_without_partitioning_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        module = compiled(cpu_memory_budget=1000)
    assert "cpu_memory_budget is used by enable_resource_partitioning=True alone" in caplog.text
    assert len(module.stator_report.engines) == 1


@torch.no_grad()
def test_shared_weights_and_branches():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(512, 512), nn.Linear(512, 512)

        def forward(self, x):
            y, z = self.a(x), self.b(x)
            for _ in range(3):
                y, z = torch.relu(self.b(z) + y), torch.tanh(self.a(y) - z)
            return y, z, y.shape[0] * 2

    torch.manual_seed(0)
    module = Branches().eval()
    ranged = stator.Input(min_shape=(1, 512), opt_shape=(2, 512), max_shape=(9, 512))
    split = stator.compile(
        module, inputs=[ranged], enable_resource_partitioning=True,
        cpu_memory_budget=FIXED + int(3 * 1.5 * WEIGHT), **OPTIONS,
    )  # fmt: skip
    assert len(split.stator_report.engines) > 4
    for batch in (1, 5, 9):
        x = torch.randn(batch, 512)
        for got, wanted in zip(split(x), module(x), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
