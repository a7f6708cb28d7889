# SPDX-License-Identifier: Apache-2.0
"""Settings that change how engines are built, loaded and called, and not what they compute."""

import logging
import re

import pytest
import stator
import torch
import torch_tensorrt
from torch import nn

OPTIONS = {"min_block_size": 1, "timing_cache_path": "", "pass_through_build_failures": True}


def network():
    torch.manual_seed(0)
    layers = [nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64), nn.LayerNorm(64)]
    return nn.Sequential(*layers).eval()


class Interrupted(nn.Module):
    """Two engines with an operator between them that runs in PyTorch."""

    def __init__(self):
        super().__init__()
        self.first, self.last = network(), network()

    def forward(self, x):
        return self.last(torch.linalg.qr(self.first(x).T).Q.T)


X = torch.randn(16, 64)


@pytest.fixture
def listening(caplog):
    with caplog.at_level(logging.INFO, logger="torch_tensorrt"):
        yield


def compiled(module, **settings):
    return stator.compile(module, arg_inputs=[X], **{**OPTIONS, **settings})


@torch.no_grad()
def test_memory_of_intermediates_between_calls():
    module = network()
    for releases in (False, True):
        engine = compiled(module, dynamically_allocate_resources=releases)
        for _ in range(3):
            torch.testing.assert_close(engine(X), module(X), rtol=1e-4, atol=1e-5)
            (part,) = engine.stator_report.engines
            held = part.engine._callers.call.arena_bytes
            assert held == 0 if releases else held >= 16 * 256 * 4
    rows = torch.export.Dim("rows", min=1, max=64)
    program = torch.export.export(module, (X,), dynamic_shapes=[{0: rows}])
    engine = compiled(program, dynamically_allocate_resources=True)
    for count in (1, 64, 7, 64):
        x = torch.randn(count, 64)
        torch.testing.assert_close(engine(x), module(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_engines_loaded_when_all_are_built(caplog, listening):
    module, orders = Interrupted().eval(), {}
    for lazy in (False, True):
        caplog.clear()
        engine = compiled(module, lazy_engine_init=lazy)
        orders[lazy] = [
            "load" if m.endswith("loaded") else "build"
            for m in (r.getMessage() for r in caplog.records)
            if re.match(r"_run_on_acc_\d: (loaded|\d+ operators)", m)
        ]
        torch.testing.assert_close(engine(X).abs(), module(X).abs(), rtol=1e-3, atol=1e-4)
    assert orders == {False: ["build"] * 2, True: ["build"] * 2 + ["load"] * 2}


@torch.no_grad()
def test_the_runtime_that_can_be_looked_into(tmp_path):
    from torch_tensorrt.dynamo.runtime import PythonTorchTensorRTModule, TorchTensorRTModule

    module = network()
    for wanted in (False, None):
        (part,) = compiled(module, use_python_runtime=wanted).stator_report.engines
        assert type(part) is TorchTensorRTModule
    engine = compiled(module, use_python_runtime=True)
    (part,) = engine.stator_report.engines
    assert isinstance(part, PythonTorchTensorRTModule)
    part.enable_profiling()
    torch.testing.assert_close(engine(X), module(X), rtol=1e-4, atol=1e-5)
    assert part.step_times and all(ns >= 0 for _, _, ns in part.step_times)
    part.disable_profiling()
    del part.step_times
    engine(X)
    assert not hasattr(part, "step_times")
    with pytest.raises(ValueError, match="use_python_runtime=True"):
        torch_tensorrt.save(engine, tmp_path / "m.pt2", arg_inputs=[X])


@torch.no_grad()
def test_cached_engines_follow_these_settings_too(tmp_path):
    module = network()
    caching = {
        "cache_built_engines": True, "reuse_cached_engines": True, "immutable_weights": False,
        "engine_cache_dir": str(tmp_path), "engine_cache_size": 1 << 30,
    }  # fmt: skip
    compiled(module, **caching)
    engine = compiled(
        module, **caching, dynamically_allocate_resources=True, use_python_runtime=True
    )
    (part,) = engine.stator_report.engines
    assert part.build_stats == {"cached": True} and part.releases_memory
    torch.testing.assert_close(engine(X), module(X), rtol=1e-4, atol=1e-5)
    assert part.engine._callers.call.arena_bytes == 0


def timed(module, x, **settings):
    """How many tactics were timed, and the engine."""
    engine = stator.compile(module, arg_inputs=[x], **{**OPTIONS, **settings})
    return engine.stator_report.engines[0].build_stats["tactics_timed"], engine


class Attention(nn.Module):
    def forward(self, x):
        q = x.reshape(2, 64, 4, 16).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(q, q, q)


@torch.no_grad()
@pytest.mark.parametrize(
    ("module", "x"),
    [
        (nn.Linear(256, 512), torch.randn(128, 256)),
        (nn.Conv2d(16, 64, 3, padding=1), torch.randn(1, 16, 28, 28)),
        (nn.Conv2d(32, 32, 3, padding=1, groups=32), torch.randn(1, 32, 28, 28)),
        (Attention(), torch.randn(2, 64, 64)),
    ],
    ids=["product", "convolution", "depthwise", "attention"],
)
def test_the_tile_search_grows(module, x):
    counts = []
    for level in ("none", "fast", "moderate", "full"):
        count, engine = timed(module.eval(), x, tiling_optimization_level=level)
        torch.testing.assert_close(engine(x), module(x), rtol=1e-4, atol=1e-4)
        counts.append(count)
    assert counts == sorted(set(counts)), counts


@torch.no_grad()
def test_tiles_within_a_limit():
    module, x = nn.Linear(512, 512).eval(), torch.randn(256, 512)
    free, _ = timed(module, x, tiling_optimization_level="full")
    limited, engine = timed(
        module, x, tiling_optimization_level="full", l2_limit_for_tiling=200_000
    )
    least, lean = timed(module, x, tiling_optimization_level="full", l2_limit_for_tiling=0)
    assert least <= limited < free and least in (0, 1)
    for each in (engine, lean):
        torch.testing.assert_close(each(x), module(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="l2_limit_for_tiling"):
        timed(module, x, l2_limit_for_tiling=-2)
    with pytest.raises(ValueError, match="tiling_optimization_level"):
        timed(module, x, tiling_optimization_level="some")


def test_the_timing_cache_tells_searches_apart(tmp_path):
    module, x = nn.Linear(256, 512).eval(), torch.randn(128, 256)
    cache = {"timing_cache_path": str(tmp_path / "timing.json")}
    first, _ = timed(module, x, **cache)
    again, _ = timed(module, x, **cache)
    wider, _ = timed(module, x, **cache, tiling_optimization_level="full")
    assert first > 0 and again == 0 and wider > first
