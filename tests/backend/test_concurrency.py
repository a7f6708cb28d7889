# SPDX-License-Identifier: Apache-2.0
"""Branches that run side by side: max_aux_streams."""

import json

import pytest
import stator
import torch
from torch import nn

from tests.ops.check import assert_same


class Towers(nn.Module):
    """Three towers of one input and what joins them; one goes on from another's middle."""

    def __init__(self, width=64):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        middle = [self.norm(f(x).relu()) for f in self.first]
        ends = [s(m).softmax(-1) for s, m in zip(self.second, middle, strict=True)]
        return ends[0] @ ends[1].transpose(-1, -2) @ ends[2], middle[1]


def compiled(module, x, device, **settings):
    if device == "cuda":
        module, x = module.cuda(), x.cuda()
    engine = stator.compile(module.eval(), arg_inputs=(x,), device=device, min_block_size=1,
                            timing_cache_path="", disable_tf32=True, **settings)  # fmt: skip
    return engine, module, x


def lanes(engine, tmp_path):
    """The lanes of an engine's groups, as its file's header says them."""
    (module,) = (m for m in engine.modules() if hasattr(m, "engine"))
    path = tmp_path / "m.engine"
    module.engine.save(str(path))
    content = path.read_bytes()
    header = json.loads(content[24 : 24 + int.from_bytes(content[8:16], "little")])
    return {lane for group, lane in (step["lane"] for step in header["steps"]) if group >= 0}


@pytest.mark.parametrize("streams", [None, 0, 1, 2, 8])
def test_results_are_the_same(device, streams):
    engine, module, x = compiled(Towers(), torch.randn(5, 64), device, max_aux_streams=streams)
    for _ in range(4):  # as it is, and as a repeated graph
        assert_same(engine(x), module(x))


@pytest.mark.parametrize(("streams", "most"), [(0, -1), (1, 1), (2, 2), (8, 2)])
def test_as_many_streams_as_there_are_branches(device, streams, most, tmp_path):
    if device == "reference":
        pytest.skip("the reference backend runs steps one after another")
    engine, _, _ = compiled(Towers(), torch.randn(5, 64), device, max_aux_streams=streams)
    assert max(lanes(engine, tmp_path), default=-1) == most


def test_dynamic_batch(device):
    inputs = [stator.Input(min_shape=(1, 64), opt_shape=(8, 64), max_shape=(40, 64))]
    module = Towers().cuda() if device == "cuda" else Towers()
    engine = stator.compile(module.eval(), inputs=inputs, device=device, min_block_size=1,
                            max_aux_streams=2, disable_tf32=True)  # fmt: skip
    for rows in (1, 40, 7, 8):
        x = torch.randn(rows, 64, device="cuda" if device == "cuda" else "cpu")
        for _ in range(3):
            assert_same(engine(x), module(x))


def test_many_branches_under_load(device):
    """Branches of very different lengths, again and again: nothing overtakes the join."""

    class Uneven(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layers = nn.ModuleList(nn.Linear(96, 96) for _ in range(10))

        def forward(self, x):
            ends = []
            for depth in (1, 2, 3, 4):
                y = x
                for layer in self.layers[:depth]:
                    y = torch.tanh(layer(y))
                ends.append(y.sum(-1, keepdim=True) + y)
            return torch.cat(ends, -1) @ torch.cat(ends, -1).transpose(-1, -2)

    engine, module, x = compiled(Uneven(), torch.randn(64, 96), device, max_aux_streams=3)
    for seed in range(20):
        torch.manual_seed(seed)
        x = torch.randn_like(x)
        assert_same(engine(x), module(x), rtol=1e-3, atol=1e-3)
