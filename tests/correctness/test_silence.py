# SPDX-License-Identifier: Apache-2.0
"""Where nothing is compiled somebody says so: once, with the reason and what to change."""

import logging
import re
from pathlib import Path

import pytest
import stator
import torch
import torch_tensorrt
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
FAST = {"timing_cache_path": "", "optimization_level": 0}


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


def lines(caplog, level=logging.WARNING):
    return [r.getMessage() for r in caplog.records if r.levelno == level]


def small():
    return nn.Sequential(nn.Linear(8, 8), nn.GELU()).eval()


def test_readme_example_builds_engines(caplog):
    text = (ROOT / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    scope = {}
    with caplog.at_level(logging.INFO, "torch_tensorrt"), torch.no_grad():
        exec(code, scope)
    assert len(scope["engine"].stator_report.engines) == 1
    assert lines(caplog) == []
    summaries = [line for line in lines(caplog, logging.INFO) if "1 engine with 2 of 2" in line]
    assert len(summaries) == 2  # one a door


def test_summary_is_one_line_at_info(caplog):
    with caplog.at_level(logging.INFO, "torch_tensorrt"):
        stator.compile(small(), [torch.randn(2, 8)], **FAST)
    found = [line for line in lines(caplog, logging.INFO) if "operators" in line and "; " in line]
    assert len([line for line in found if line.startswith("the model: ")]) == 1
    assert re.search(
        r"the model: 1 engine with 2 of 2 operators, 0 in PyTorch; \d+\.\d\d s", found[-1]
    )


@torch.no_grad()
def test_a_whole_graph_is_compiled_whatever_its_size():
    x = torch.randn(2, 8)
    for model in (nn.ReLU(), small()):
        compiled = stator.compile(model, [x], **FAST)
        assert len(compiled.stator_report.engines) == 1
        torch.testing.assert_close(compiled(x), model(x))


class Mixed(nn.Module):
    """An operator without a converter between a block of one and a block of two."""

    def forward(self, x):
        return torch.linalg.inv(x + 9 * torch.eye(4)).tanh().relu()


def test_blocks_of_a_mixed_graph_need_two_operators():
    report = stator.compile(Mixed(), [torch.rand(4, 4)], **FAST).stator_report
    left = {f["target"] for f in report.fallbacks}
    assert "aten.tanh.default" not in left and "aten.relu.default" not in left
    assert len(report.engines) >= 1


def test_documents_default_is_kept_under_their_names(caplog):
    x = torch.randn(2, 8)
    compiled = torch_tensorrt.compile(small(), inputs=[x], **FAST)
    assert compiled.stator_report.engines == []
    (line,) = lines(caplog)
    assert "fewer than min_block_size=5; compile with min_block_size=2" in line
    assert len(torch_tensorrt.dynamo.compile(
        torch.export.export(small(), (x,)), inputs=[x], min_block_size=2, **FAST
    ).stator_report.engines) == 1  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("name", ["torch_tensorrt", "tensorrt"])
def test_documents_default_in_torch_compile(name, caplog):
    torch.compile(small(), backend=name, options=FAST)(torch.randn(2, 8))
    (line,) = lines(caplog)
    assert "no engine was built" in line and "min_block_size=5" in line
    caplog.clear()
    torch._dynamo.reset()
    torch.compile(small(), backend="stator", options=FAST)(torch.randn(2, 8))
    assert lines(caplog) == []


def test_training_mode_is_said_once(caplog):
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.Linear(8, 8))
    compiled = torch.compile(model, backend="stator", options=FAST)
    x = torch.randn(2, 8)
    compiled(x).sum().backward()
    compiled(torch.randn(3, 8))
    compiled(torch.randn(4, 8))
    (line,) = lines(caplog)
    assert "training mode" in line and ".eval()" in line and "Sequential" in line
    assert model[0].weight.grad is not None


def test_graph_breaks_share_one_warning(caplog):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            x = self.a(x)
            torch._dynamo.graph_break()
            x = self.b(x)
            torch._dynamo.graph_break()
            return self.c(x)

    torch.compile(Broken(), backend="stator", options=FAST)(torch.randn(2, 4))
    assert len(lines(caplog)) == 1
    caplog.clear()
    torch._dynamo.reset()
    torch.compile(Broken(), backend="stator", options=FAST)(torch.randn(2, 4))
    assert len(lines(caplog)) == 1  # another call of torch.compile


def test_an_input_that_requires_a_gradient(caplog):
    x = torch.randn(2, 8, requires_grad=True)
    torch.compile(small(), backend="stator", options=FAST)(x).sum().backward()
    (line,) = lines(caplog)
    assert "requires a gradient" in line and x.grad is not None


class Inverse(nn.Module):
    def forward(self, x):
        return torch.linalg.inv(x)


@torch.no_grad()
def test_nothing_has_a_converter(caplog):
    x = torch.eye(3)
    compiled = stator.compile(Inverse(), [x], **FAST)
    (line,) = lines(caplog)
    assert "engines can hold none of its" in line and "linalg_inv" in line and "dryrun" in line
    torch.testing.assert_close(compiled(x), x)
    caplog.clear()
    torch.compile(Inverse(), backend="stator", options=FAST)(x)
    (line,) = lines(caplog)
    assert "linalg_inv" in line and "test_silence.py" in line


@torch.no_grad()
def test_a_model_left_in_training_mode_ahead_of_time(caplog):
    compiled = stator.compile(nn.Sequential(nn.Dropout()), [torch.ones(3)], **FAST)
    assert compiled.stator_report.engines == []
    (line,) = lines(caplog)
    assert "random numbers" in line and "training mode; call .eval()" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there(caplog):
    x = torch.randn(2, 8)
    for compile in (
        lambda: stator.compile(small(), [x], device="cuda", **FAST),
        lambda: torch.compile(small(), backend="stator", options={"device": "cuda", **FAST})(x),
    ):
        caplog.clear()
        with torch.no_grad():
            try:
                compile()
            except Exception as error:  # a build without the backend refuses the setting
                assert "cuda" in str(error)
                continue
        (line,) = lines(caplog)
        assert "cuda" in line


@torch.no_grad()
def test_what_was_asked_for_is_not_warned_of(caplog, capsys):
    x = torch.randn(2, 8)
    stator.compile(small(), [x], min_block_size=float("inf"), **FAST)
    stator.compile(small(), [x], dryrun=True, **FAST)
    stator.compile(nn.Identity(), [x], **FAST)
    assert lines(caplog) == []


@torch.no_grad()
def test_lstm_runs_right_and_is_no_secret(caplog):
    model, x = nn.LSTM(4, 4).eval(), torch.randn(3, 2, 4)
    compiled = stator.compile(model, [x], **FAST)
    torch.testing.assert_close(compiled(x)[0], model(x)[0])
    assert compiled.stator_report.engines or len(lines(caplog)) == 1


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", stator.__version__)
