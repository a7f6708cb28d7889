# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
import stator
import torch
from torch import nn
from torch.export import Dim

from tests.ops.check import assert_same

SETTINGS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0}


def mlp():
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).eval()


@torch.no_grad()
def test_module_with_tensors():
    model, x = mlp(), torch.randn(2, 8)
    assert_same(stator.compile(model, [x], **SETTINGS)(x), model(x))


@torch.no_grad()
def test_exported_program():
    model, x = mlp(), torch.randn(2, 8)
    program = torch.export.export(model, (x,), dynamic_shapes={"input": {0: Dim("b", max=64)}})
    compiled = stator.compile(program, arg_inputs=[x], **SETTINGS)
    for n in (1, 2, 64):
        x = torch.randn(n, 8)
        assert_same(compiled(x), model(x))


@torch.no_grad()
def test_dynamic_input():
    model = mlp()
    shape = stator.Input(min_shape=(1, 8), opt_shape=(4, 8), max_shape=(16, 8))
    compiled = stator.compile(model, inputs=[shape], **SETTINGS)
    for n in (1, 3, 16):
        x = torch.randn(n, 8)
        assert_same(compiled(x), model(x))


class TwoInputs(nn.Module):
    def forward(self, x, y, *, scale=1.0):
        return {"a": (x + y) * scale, "b": [x - y, y]}


@torch.no_grad()
def test_keywords_and_nested_outputs():
    x, y = torch.randn(3), torch.randn(3)
    compiled = stator.compile(
        TwoInputs(), arg_inputs=[x], kwarg_inputs={"y": y, "scale": 2.0}, **SETTINGS
    )
    assert_same(compiled(x, y=y, scale=2.0), TwoInputs()(x, y, scale=2.0))
    with pytest.raises(ValueError, match=r"was 2\.0 when the model was captured"):
        compiled(x, y=y, scale=3.0)


class Mixed(nn.Module):
    """Two engines around an operator without a converter."""

    def forward(self, x):
        y = (x * 2).relu() + 1
        z = torch.linalg.inv(y @ y.transpose(-1, -2) + 9 * torch.eye(x.shape[-2]))
        return (z * 3).tanh(), y


@torch.no_grad()
def test_mixed_program_has_the_segments_as_children():
    x = torch.randn(2, 4, 4)
    compiled = stator.compile(Mixed(), [x], **SETTINGS)
    assert_same(compiled(x), Mixed()(x))
    names = [name for name, _ in compiled.named_children()]
    assert names == ["_run_on_acc_0", "_run_on_gpu_1", "_run_on_acc_2"]
    (fallback,) = [f for f in compiled.stator_report.fallbacks if "inv" in f["target"]]
    assert "test_compile.py" in fallback["source"]


@torch.no_grad()
def test_mixed_program_with_dynamic_sizes():
    shape = stator.Input(min_shape=(1, 3, 3), opt_shape=(2, 3, 3), max_shape=(9, 3, 3))
    compiled = stator.compile(Mixed(), [shape], **SETTINGS)
    for n in (1, 4, 9):
        x = torch.randn(n, 3, 3)
        assert_same(compiled(x), Mixed()(x))


@torch.no_grad()
def test_torch_executed_ops():
    x = torch.randn(2, 8)
    model = mlp()
    for op in (torch.ops.aten.gelu.default, torch.ops.aten.gelu, "torch.ops.aten.gelu.default"):
        compiled = stator.compile(model, [x], torch_executed_ops={op}, **SETTINGS)
        assert [f["target"] for f in compiled.stator_report.fallbacks] == ["aten.gelu.default"]
        assert_same(compiled(x), model(x))


@torch.no_grad()
def test_state_is_written_back():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x):
            self.count.add_(1)
            return x * self.count

    model, same, x = Counter(), Counter(), torch.randn(3)
    compiled = stator.compile(model, [x], **SETTINGS)
    for _ in range(3):
        assert_same(compiled(x), same(x))


@torch.no_grad()
def test_engine_saved_and_loaded(tmp_path):
    model, x = mlp(), torch.randn(2, 8)
    compiled = stator.compile(model, [x], **SETTINGS)
    (module,) = compiled.stator_report.engines
    module.engine.save(tmp_path / "model.engine")
    engine = stator.Engine.load(tmp_path / "model.engine")
    assert_same(engine(x)[0], model(x))
    assert_same(stator.Engine.from_bytes(module.engine.bytes())(x)[0], model(x))


@torch.no_grad()
def test_same_input_same_bytes():
    model, x = mlp(), torch.randn(2, 8)
    first, second = (
        stator.compile(model, [x], **SETTINGS).stator_report.engines[0].engine.bytes()
        for _ in range(2)
    )
    assert first == second


@torch.no_grad()
def test_many_threads_share_an_engine():
    model = mlp()
    shape = stator.Input(min_shape=(1, 8), opt_shape=(4, 8), max_shape=(64, 8))
    compiled = stator.compile(model, [shape], **SETTINGS)
    wrong = []

    def work(n):
        for _ in range(50):
            x = torch.randn(n, 8)
            if not torch.allclose(compiled(x), model(x), rtol=1e-4, atol=1e-5):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 3, 8, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@torch.no_grad()
def test_dryrun_builds_nothing_and_writes_the_report(capsys, tmp_path):
    model, x = mlp(), torch.randn(2, 8)
    path = tmp_path / "report.txt"
    result = stator.compile(model, [x], dryrun=str(path), **SETTINGS)
    printed = capsys.readouterr().out
    assert printed.strip() == path.read_text().strip()
    assert printed.startswith("+" * 26 + " Dry-Run Results for Graph " + "+" * 26 + "\n\n")
    assert "TRT Engine #1 - Submodule name: _run_on_acc_0" in printed
    assert_same(result(x), model(x))
