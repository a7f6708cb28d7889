# SPDX-License-Identifier: Apache-2.0
"""Compiled modules as files: whole, mixed, with ranges; damaged and foreign ones."""

import subprocess
import sys

import pytest
import stator
import torch
from torch import nn

from tests.backend.mixed_model import mixed

OPTIONS = {"timing_cache_path": "", "min_block_size": 1, "pass_through_build_failures": True}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)).eval()


@torch.no_grad()
def test_mixed_programs_are_saved_whole(tmp_path):
    module, x = mixed()
    compiled = stator.compile(module, inputs=[x], **OPTIONS)
    stator.save(compiled, tmp_path / "m.ep", arg_inputs=[x])
    program = stator.load(tmp_path / "m.ep")
    targets = {str(n.target) for n in program.graph.nodes if n.op == "call_function"}
    assert {"tensorrt.execute_engine.default", "aten.linalg_qr.default"} <= targets
    for got, wanted in zip(program.module()(x), module(x), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_ranges_survive(tmp_path):
    module = network()
    ranged = stator.Input(min_shape=(1, 8), opt_shape=(4, 8), max_shape=(16, 8))
    compiled = stator.compile(module, inputs=[ranged], **OPTIONS)
    stator.save(compiled, tmp_path / "m.ep", arg_inputs=[torch.randn(3, 8)])
    loaded = stator.load(tmp_path / "m.ep").module()
    for batch in (1, 5, 16):
        x = torch.randn(batch, 8)
        torch.testing.assert_close(loaded(x), module(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_keywords_and_nests(tmp_path):
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, pair, scale=None):
            return {"sum": self.fc(pair[0]) + pair[1], "scaled": self.fc(pair[0]) * scale}

    module = Nested().eval()
    args, kwargs = [(torch.randn(2, 8), torch.randn(2, 8))], {"scale": torch.tensor(2.0)}
    compiled = stator.compile(module, arg_inputs=args, kwarg_inputs=kwargs, **OPTIONS)
    stator.save(compiled, tmp_path / "m.ep", arg_inputs=args, kwarg_inputs=kwargs)
    got = stator.load(tmp_path / "m.ep").module()(*args, **kwargs)
    torch.testing.assert_close(got, module(*args, **kwargs), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_compiled_modules_can_be_exported_again():
    module = network()
    x = torch.randn(2, 8)
    from stator.engines.serialization import _Exportable

    program = torch.export.export(_Exportable(stator.compile(module, inputs=[x], **OPTIONS)), (x,))
    torch.testing.assert_close(program.module()(x), module(x), rtol=1e-4, atol=1e-5)


def test_a_new_process_loads_it_with_torch_export(tmp_path):
    x = torch.randn(2, 8)
    stator.save(stator.compile(network(), inputs=[x], **OPTIONS), tmp_path / "m.pt2", inputs=[x])
    code = (
        "import torch, torch_tensorrt;"
        f"p = torch.export.load({str(tmp_path / 'm.pt2')!r});"
        "print(tuple(p.module()(torch.ones(2, 8)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "(2, 8)\n", done.stderr


@pytest.mark.parametrize("damage", ["truncated", "foreign", "missing"])
def test_files_that_are_none(tmp_path, damage):
    x = torch.randn(2, 8)
    path = tmp_path / "m.ep"
    stator.save(stator.compile(network(), inputs=[x], **OPTIONS), path, arg_inputs=[x])
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "foreign":
        path.write_text("something else")
    else:
        path.unlink()
    with pytest.raises((ValueError, OSError), match=r"m\.ep"):
        stator.load(path)


def test_an_engine_with_other_bytes_is_refused():
    x = torch.randn(2, 8)
    from stator.engines import operator

    compiled = stator.compile(network(), inputs=[x], **OPTIONS)
    call = compiled.stator_report.engines[0].as_operator()
    operator._engines.clear()
    call.engine[call.engine.numel() // 2] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        call(x)


def test_nothing_half_written(tmp_path):
    x = torch.randn(2, 8)
    compiled = stator.compile(network(), inputs=[x], **OPTIONS)
    with pytest.raises((OSError, RuntimeError)):
        stator.save(compiled, tmp_path / "missing" / "m.ep", arg_inputs=[x])
    with pytest.raises(ValueError, match="output_format='torchscript'"):
        stator.save(compiled, tmp_path / "m.ep", arg_inputs=[x], output_format="torchscript")
    with pytest.raises(ValueError, match="give arg_inputs"):
        stator.save(compiled, tmp_path / "m.ep")
    with pytest.raises(TypeError, match="Linear"):
        stator.save(nn.Linear(2, 2), tmp_path / "m.ep", arg_inputs=[x])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["__import__('os')", "a.b", "[1]", "f'{a}'", "lambda: 1"])
def test_sizes_of_a_program_are_arithmetic(size):
    from stator.engines.operator import _size

    with pytest.raises((ValueError, SyntaxError, NameError, TypeError)):
        value = _size(size, {"a": 3})
        assert isinstance(value, int)


@torch.no_grad()
@pytest.mark.parametrize("ir", ["dynamo", "default", "torch_compile"])
def test_ways_of_capture(ir):
    module, x = network(), torch.randn(2, 8)
    compiled = stator.compile(module, inputs=[x], ir=ir, **OPTIONS)
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-5)


def test_other_ways_of_capture_are_refused():
    with pytest.raises(ValueError, match="ir='ts' is not allowed; ir is 'dynamo', 'default'"):
        stator.compile(network(), inputs=[torch.randn(2, 8)], ir="ts")


class Scaled(nn.Module):
    def forward(self, x, mask=None, *, scale=1.0):
        y = x * 2 * scale
        return y if mask is None else y + mask.sum()


ROWS = stator.Input(min_shape=(1, 3), opt_shape=(2, 3), max_shape=(8, 3))
SIZE = stator.Input(min_shape=(1,), opt_shape=(1,), max_shape=(9,))


@torch.no_grad()
@pytest.mark.parametrize(
    ("inputs", "keywords"),
    [([ROWS], {}), (ROWS, {}), ([ROWS, SIZE], {}), ([ROWS, SIZE], {"scale": 3.0}),
     ([ROWS, torch.ones(4)], {}), ([], {"x": ROWS}), ([ROWS], {"mask": SIZE}),
     ([stator.Input((2, 3))], {})],
)  # fmt: skip
@pytest.mark.parametrize("name", ["inputs", "arg_inputs"])
def test_inputs_stand_for_tensors_when_saving(inputs, keywords, name, tmp_path):
    module = Scaled().eval()
    compiled = stator.compile(module, inputs, kwarg_inputs=keywords, **OPTIONS)
    stator.save(compiled, tmp_path / "m.pt2", **{name: inputs}, kwarg_inputs=keywords)
    loaded = stator.load(tmp_path / "m.pt2").module()
    rows = 2 if isinstance(inputs, list) and inputs and not inputs[0].is_dynamic else 5

    def example(value):
        if value is ROWS or (isinstance(value, stator.Input) and len(value.opt_shape) == 2):
            return torch.randn(rows, 3)
        return torch.randn(6) if value is SIZE else value

    args = [example(v) for v in (inputs if isinstance(inputs, list) else [inputs])]
    given = {k: example(v) for k, v in keywords.items()}
    torch.testing.assert_close(loaded(*args, **given), module(*args, **given))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [({"inputs": [3]}, TypeError, "argument 'x' is of the type int; give an example tensor"),
     ({"inputs": ["a"]}, TypeError, "argument 'x' is of the type str"),
     ({"inputs": [[1.0, 2.0]]}, TypeError, "argument 'x' is"),
     ({"inputs": 5}, TypeError, "inputs is a list of tensors and Inputs"),
     ({"inputs": {"x": ROWS}}, TypeError, "kwarg_inputs="),
     ({"inputs": [ROWS], "arg_inputs": [ROWS]}, ValueError, "give either inputs or arg_inputs"),
     ({"kwarg_inputs": {"y": ROWS}}, TypeError, "'x'"),
     ({"kwarg_inputs": [ROWS]}, TypeError, "kwarg_inputs is a dict"),
     ({"inputs": [ROWS], "kwarg_inputs": {"scale": 2.0}}, TypeError, "'scale' was left out")],
)  # fmt: skip
def test_saving_with_other_arguments(given, error, message, tmp_path):
    compiled = stator.compile(Scaled().eval(), [ROWS], **OPTIONS)
    with pytest.raises(error, match=message):
        stator.save(compiled, tmp_path / "m.pt2", **given)
    assert not list(tmp_path.iterdir())
