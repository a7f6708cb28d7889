# SPDX-License-Identifier: Apache-2.0
"""What governs a build: verify, time budgets, timing caches, determinism."""

import logging

import pytest
import stator
import torch
from stator import verification
from torch import nn

from tests.backend.mixed_model import mixed

OPTIONS = {"timing_cache_path": "", "min_block_size": 1, "pass_through_build_failures": True}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64), nn.LayerNorm(64)).eval()


X = torch.randn(8, 64)


@torch.no_grad()
def test_verified_engines_stay(caplog):
    module, x = mixed()
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        compiled = stator.compile(module, inputs=[x], verify=True, **OPTIONS)
        jit = torch.compile(module, backend="stator", options={**OPTIONS, "verify": True})
        jit(x)
    assert caplog.text == ""
    assert len(compiled.stator_report.engines) >= 3


@torch.no_grad()
def test_verified_with_ranges_and_state():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls.add_(1)
            return self.fc(x) + self.calls

    module = Counter().eval()
    ranged = stator.Input(min_shape=(1, 4), opt_shape=(2, 4), max_shape=(8, 4))
    compiled = stator.compile(module, inputs=[ranged], verify=True, **OPTIONS)
    x = torch.randn(3, 4)
    torch.testing.assert_close(compiled(x), module.fc(x) + 1, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_engine_that_is_off_runs_in_pytorch(caplog, monkeypatch):
    call = stator.EngineModule.forward
    monkeypatch.setattr(
        stator.EngineModule, "forward", lambda self, *a: [t + 0.01 for t in call(self, *a)]
    )
    module = network()
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        compiled = stator.compile(module, inputs=[X], verify=True, **OPTIONS)
    assert "_run_on_acc_0 is not right and runs in PyTorch: output 0 differs by 0.01" in caplog.text
    torch.testing.assert_close(compiled(X), module(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("got", "expected", "reason"),
    [
        (torch.ones(2), torch.ones(3), "is torch.float32(2,), not torch.float32(3,)"),
        (torch.tensor([1, 2]), torch.tensor([1, 3]), "differs in 1 of 2 elements"),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, float("nan")]), "NaN"),
        (torch.tensor([float("inf")]), torch.tensor([-float("inf")]), "infinities"),
        (torch.ones(4).half(), torch.ones(4).half() * 1.001, ""),
        (torch.zeros(0), torch.zeros(0), ""),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")]), ""),
    ],
)
def test_differences(got, expected, reason):
    text = verification._difference([got], [expected], verification._TOLERANCE)
    assert (reason in text) if reason else text == ""


def stats(**settings):
    compiled = stator.compile(network(), inputs=[X], **{**OPTIONS, **settings})
    (engine,) = compiled.stator_report.engines
    with torch.no_grad():
        torch.testing.assert_close(compiled(X), network()(X), rtol=1e-4, atol=1e-5)
    return engine.build_stats


def test_a_budget_that_is_spent_leaves_first_guesses():
    assert stats(build_time_budget=1e-6)["tactics_timed"] == 0
    assert stats(build_time_budget=60.0)["tactics_timed"] == stats()["tactics_timed"] > 0
    assert stats(optimization_level=0)["tactics_timed"] == 0


def test_one_timing_cache_gives_one_engine(tmp_path):
    """Byte for byte, although timings differ from run to run."""
    path = str(tmp_path / "timings")

    def build():
        compiled = stator.compile(network(), inputs=[X], **{**OPTIONS, "timing_cache_path": path})
        (engine,) = compiled.stator_report.engines
        return engine.engine.bytes(), engine.build_stats["tactics_timed"]

    _, first = build()
    second, timed = build()
    third, again = build()
    assert first > 0 and timed == again == 0 and second == third
