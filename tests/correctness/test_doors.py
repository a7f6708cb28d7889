# SPDX-License-Identifier: Apache-2.0
"""The outermost handlers: a failure of the compiler is a fall-back, a user's error is not."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import stator
import torch
from stator import backend as backend_module
from stator import compile as _compile  # noqa: F401
from stator.graphs import hand_over as hand_over_module
from stator.lowering import capture as capture_module
from stator.lowering.passes import add_pass, remove_pass
from torch import nn

compile_module = sys.modules["stator.compile"]
FAST = {"timing_cache_path": "", "optimization_level": 0}
PROGRAM = Path(sys.executable).parent / "stator"
ERRORS = [
    KeyError("u5"), ValueError("size expression 'x' has a number"), AssertionError(),
    RuntimeError("std::bad_cast"), stator.InternalError("value comes from outside"),
    stator.UnsupportedError("no"), RecursionError("deep"), TypeError("dtype is not known"),
    AttributeError("no such thing"), MemoryError(), SyntaxError("generated"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


class Model(nn.Module):
    """Writes a buffer and its argument, gives back a view and a nest."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x, scale=2.0):
        self.count += 1
        x.mul_(2)
        y = self.linear(x) * scale
        return {"y": y, "view": x.view(-1), "count": self.count + 0}


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def fail_with(monkeypatch, error, where):
    def broken(*_args, **_kwargs):
        raise error

    for module in (compile_module, backend_module):
        if hasattr(module, where):
            monkeypatch.setattr(module, where, broken)
    if where == "add_node":
        monkeypatch.setattr(hand_over_module._HandOver, "call", lambda self, node: broken())


def same(got, expected):
    assert got.keys() == expected.keys()
    for key in got:
        torch.testing.assert_close(got[key], expected[key])


STAGES = ["plan_compilation", "build_engines", "build_program", "add_node"]


@torch.no_grad()
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_ahead_of_time(error, stage, caplog, monkeypatch):
    fail_with(monkeypatch, error, stage)
    model, same_model, x = Model().eval(), Model().eval(), torch.randn(3, 4)
    same_model.load_state_dict(model.state_dict())
    compiled = stator.compile(model, [x.clone()], **FAST)
    (line,) = warnings_of(caplog)
    assert line.startswith("the model was not compiled and runs in PyTorch: ")
    assert str(error).strip("'") in line
    before, other = x.clone(), x.clone()
    model.count.zero_()
    for _ in range(2):
        same(compiled(before), same_model(other))
    torch.testing.assert_close(before, other)
    assert isinstance(compiled, stator.UncompiledModule)
    report = compiled.stator_report
    assert report.engines == [] and report.fallbacks[0]["kind"] == "failed"
    assert "runs in PyTorch" in str(report)


@torch.no_grad()
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_just_in_time(error, stage, caplog, monkeypatch):
    fail_with(monkeypatch, error, stage)
    model, same_model, x = Model().eval(), Model().eval(), torch.randn(3, 4)
    same_model.load_state_dict(model.state_dict())
    compiled = torch.compile(model, backend="stator", options=FAST)
    before, other = x.clone(), x.clone()
    for _ in range(2):
        got = compiled(before)
        same(got, same_model(other))
        assert got["view"].data_ptr() == before.data_ptr()
    torch.testing.assert_close(before, other)
    (line,) = warnings_of(caplog)
    assert line.startswith("the graph of forward (") and "test_doors.py" in line
    assert str(error).strip("'") in line


@torch.no_grad()
def test_the_node_and_its_line_are_named(caplog, monkeypatch):
    fail_with(monkeypatch, KeyError("u5"), "add_node")
    compiled = stator.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval(),
                              [torch.randn(3, 4)], **FAST)  # fmt: skip
    (line,) = warnings_of(caplog)
    assert "at linear (aten.linear.default" in line and "KeyError: 'u5'" in line
    (fallback,) = compiled.stator_report.fallbacks
    assert fallback["node"] == "linear"


@torch.no_grad()
def test_a_defect_comes_with_what_a_report_needs(caplog, monkeypatch):
    fail_with(monkeypatch, stator.InternalError("value x comes from outside"), "plan_compilation")
    with caplog.at_level(logging.DEBUG, "torch_tensorrt"):
        stator.compile(nn.ReLU(), [torch.randn(3)], **FAST)
    (line,) = warnings_of(caplog)
    for part in ("defect of Stator", stator.__version__, torch.__version__, "DEBUG",
                 "dump_directory", "pass_through_build_failures"):  # fmt: skip
        assert part in line
    assert "Traceback (most recent call last)" in caplog.text
    assert "aten.relu.default" in caplog.text


@torch.no_grad()
@pytest.mark.parametrize("stage", STAGES)
def test_failures_can_be_raised(stage, monkeypatch):
    fail_with(monkeypatch, KeyError("u5"), stage)
    options = {**FAST, "pass_through_build_failures": True}
    with pytest.raises(KeyError):
        stator.compile(nn.ReLU(), [torch.randn(3)], **options)
    with pytest.raises(Exception, match="u5"):
        torch.compile(nn.ReLU(), backend="stator", options=options)(torch.randn(3))


@torch.no_grad()
@pytest.mark.parametrize("stage", STAGES)
def test_full_compilation_is_never_a_fall_back(stage, monkeypatch):
    fail_with(monkeypatch, KeyError("u5"), stage)
    options = {**FAST, "require_full_compilation": True}
    with pytest.raises(KeyError):
        stator.compile(nn.ReLU(), [torch.randn(3)], **options)
    with pytest.raises(Exception, match="u5"):
        torch.compile(nn.ReLU(), backend="stator", options=options)(torch.randn(3))


@torch.no_grad()
def test_an_engine_that_cannot_be_built_is_left_out(monkeypatch, caplog):
    class Two(nn.Module):
        def forward(self, x):
            return torch.linalg.inv((x * 2).relu() + 9 * torch.eye(4)).tanh() + 1

    store = compile_module.EngineStore
    real = store.key

    def key(self, compilation, index):
        if index == 0:
            raise KeyError("u5")
        return real(self, compilation, index)

    monkeypatch.setattr(store, "key", key)
    x = torch.randn(4, 4)
    compiled = stator.compile(Two(), [x], **FAST)
    assert len(compiled.stator_report.engines) == 1
    torch.testing.assert_close(compiled(x), Two()(x), rtol=1e-4, atol=1e-5)
    (line,) = warnings_of(caplog)
    assert line.startswith("_run_on_acc_0 was not built and runs in PyTorch: KeyError: 'u5'")


def test_training_survives_a_failure(monkeypatch):
    fail_with(monkeypatch, KeyError("u5"), "plan_compilation")
    model = nn.Linear(4, 4).eval()
    compiled = torch.compile(model, backend="stator", options=FAST)
    compiled(torch.randn(2, 4)).sum().backward()
    assert model.weight.grad is not None


@torch.no_grad()
def test_a_failure_when_a_weight_has_changed(monkeypatch, caplog):
    model, x = nn.Linear(4, 4).eval(), torch.randn(2, 4)
    compiled = torch.compile(model, backend="stator", options=FAST)
    compiled(x)
    fail_with(monkeypatch, KeyError("u5"), "plan_compilation")
    model.weight.mul_(2)
    torch.testing.assert_close(compiled(x), model(x))
    model.weight.mul_(2)
    torch.testing.assert_close(compiled(x), model(x))
    assert len(warnings_of(caplog)) == 1


@torch.no_grad()
def test_users_errors_are_raised():
    x = torch.randn(3, 3)
    with pytest.raises(TypeError, match="min_blok_size"):
        stator.compile(nn.ReLU(), [x], min_blok_size=1)
    with pytest.raises(ValueError, match="has no number"):
        stator.compile(nn.ReLU(), [x], device="reference:1:2")
    with pytest.raises(stator.UnsupportedError):

        class Inverse(nn.Module):
            def forward(self, x):
                return torch.linalg.inv(x)

        stator.compile(Inverse(), [x], require_full_compilation=True)


@torch.no_grad()
def test_errors_of_the_users_passes_are_raised():
    @add_pass
    def broken(gm, settings):
        raise KeyError("mine")

    try:
        with pytest.raises(KeyError, match="mine"):
            stator.compile(nn.ReLU(), [torch.randn(3)], **FAST)
        with pytest.raises(Exception, match="mine"):
            torch.compile(nn.ReLU(), backend="stator", options=FAST)(torch.randn(3))
    finally:
        remove_pass(broken)


@torch.no_grad()
def test_an_uncompiled_model_is_called_as_the_model(monkeypatch, tmp_path):
    fail_with(monkeypatch, KeyError("u5"), "plan_compilation")
    model, x = Model().eval(), torch.randn(3, 4)
    compiled = stator.compile(model, [x.clone()], kwarg_inputs={"scale": 3.0}, **FAST)
    got = compiled(scale=3.0, x=x.clone())
    torch.testing.assert_close(got["y"], model(x.clone(), 3.0)["y"])
    with pytest.raises(TypeError, match="there is no argument 'size'"):
        compiled(x, size=3.0)
    stator.save(compiled, tmp_path / "model.pt2")
    stator.load(tmp_path / "model.pt2").module()(x.clone(), scale=3.0)


def test_dry_run_gives_what_is_called_as_the_model(capsys):
    model, x = nn.Linear(4, 2).eval(), torch.randn(3, 4)
    result = stator.compile(model, [x], dryrun=True)
    assert "Dry-Run" in capsys.readouterr().out
    torch.testing.assert_close(result(input=x), model(x))
    assert result.stator_report.total_operators == 1


# ------------------------------------------------------------------ torch.export's errors


class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x + 1
        return x - 1


class Shapes(nn.Module):
    def forward(self, left, right):
        return left @ right


def test_export_errors_have_our_sentence_in_front():
    with pytest.raises(stator.ExportError) as caught:
        stator.compile(Branch(), [torch.randn(3)], require_full_compilation=True)
    text = str(caught.value)
    assert text.startswith("torch.export (with strict=False) cannot follow Branch, at ")
    assert "test_doors.py" in text and "if x.sum() > 0:" in text
    assert 'torch.compile(model, backend="stator")' in text
    assert caught.value.__cause__ is not None
    assert type(caught.value.__cause__).__module__.startswith("torch")


def test_export_errors_name_the_helper_that_forward_called():
    def helper(x):
        return x if x.sum() > 1 else -x

    class Calls(nn.Module):
        def forward(self, x):
            return helper(x)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Calls()

        def forward(self, x):
            return self.inner(torch.stack([x, x]))

    with pytest.raises(stator.ExportError) as caught:
        stator.compile(Outer(), [torch.ones(3)], require_full_compilation=True)
    assert "in helper, `return x if x.sum() > 1 else -x`" in str(caught.value)


def test_a_models_own_error_is_told_apart():
    with pytest.raises(stator.ExportError, match="left @ right") as caught:
        stator.compile(Shapes(), [torch.randn(2, 3), torch.randn(2, 3)])
    assert "call it with them" in str(caught.value)


def test_inputs_that_are_not_the_arguments():
    x = torch.randn(2, 2)
    with pytest.raises(TypeError, match=r"Shapes\.forward.*missing .*'right'"):
        stator.compile(Shapes(), [x])
    with pytest.raises(TypeError, match=r"Shapes\.forward.*too many positional"):
        stator.compile(Shapes(), [x, x, x])
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'middle'"):
        stator.compile(Shapes(), [x, x], kwarg_inputs={"middle": x})
    with pytest.raises(TypeError, match=r"kwarg_inputs=\{\.\.\.\}"):
        stator.compile(Shapes(), {"left": x, "right": x})


def test_what_is_no_model_or_no_list_of_inputs():
    import numpy

    x = torch.randn(2, 2)
    for wrong in (3, "x", numpy.zeros((2, 2)), {x}):
        with pytest.raises(TypeError, match="inputs is a list of tensors"):
            stator.compile(nn.ReLU(), wrong)
    compiled = stator.compile(nn.ReLU(), (v for v in [x]), **FAST)
    with pytest.raises(TypeError, match="compiled already"):
        stator.compile(compiled, [x])
    dry = stator.compile(nn.ReLU(), [x], min_block_size=float("inf"), dryrun=True)
    assert len(stator.compile(dry, [x], **FAST).stator_report.engines) == 1


@torch.no_grad()
def test_torchscript_modules():
    script, x = torch.jit.script(nn.Linear(4, 4).eval()), torch.randn(2, 4)
    try:
        compiled = stator.compile(script, [x], **FAST)
    except stator.ExportError as error:
        assert "torch.compile(model" in str(error)
    else:
        torch.testing.assert_close(compiled(x), script(x))


@torch.no_grad()
def test_the_backend_called_by_hand(caplog):
    x = torch.randn(3)
    graph = torch.fx.symbolic_trace(nn.ReLU())
    compiled = backend_module.stator_backend(graph, [x], options=FAST)
    torch.testing.assert_close(compiled(x), x.relu())


def test_inputs_that_are_not_an_exported_programs():
    program = torch.export.export(nn.Linear(4, 4), (torch.randn(2, 4),))
    with pytest.raises(ValueError, match="1: input"):
        stator.compile(program, [stator.Input((2, 4)), stator.Input((2, 4))])
    with pytest.raises(ValueError, match="'input' of the exported program has 2 dimensions"):
        stator.compile(program, [stator.Input((2, 4, 1))])


# ------------------------------------------------------------------ files


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.pt2"
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval(), torch.randn(2, 8)
    stator.save(stator.compile(model, [x], **FAST), path, arg_inputs=[x])
    return path, model, x


def load(path):
    """What load gives; its errors are the two that it states, with a message."""
    try:
        return stator.load(path)
    except (ValueError, OSError) as error:
        assert type(error) in (ValueError, FileNotFoundError, IsADirectoryError, OSError)
        assert path.name in str(error) and len(str(error)) > len(str(path)) + 10
        return None


def test_load_of_cut_files(saved, tmp_path):
    data = saved[0].read_bytes()
    path = tmp_path / "cut.pt2"
    for size in [*range(0, 64, 7), *range(64, len(data), len(data) // 40)]:
        path.write_bytes(data[:size])
        assert load(path) is None


def test_load_of_altered_files(saved, tmp_path):
    data, model, x = saved[0].read_bytes(), *saved[1:]
    path = tmp_path / "altered.pt2"
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(120):
        position = int(torch.randint(len(data), (1,), generator=generator))
        value = int(torch.randint(1, 256, (1,), generator=generator))
        altered = bytearray(data)
        altered[position] ^= value
        path.write_bytes(altered)
        program = load(path)
        if program is None:
            refused += 1
            continue
        with torch.no_grad():  # padding, or a name that nobody reads
            torch.testing.assert_close(program.module()(x), model(x))
    assert refused > 60


def test_load_of_parts_before_the_start_of_the_file(saved, tmp_path):
    data = bytearray(saved[0].read_bytes())
    wide = data.rfind(b"PK\x06\x06")  # the end of a 64-bit archive, where there is one
    at = wide + 48 if wide >= 0 else data.rfind(b"PK\x05\x06") + 16
    start = int.from_bytes(data[at : at + 4], "little")
    data[at : at + 4] = (start + 1000).to_bytes(4, "little")
    (tmp_path / "moved.pt2").write_bytes(data)
    with pytest.raises(ValueError, match="moved.pt2' is damaged: its list of parts"):
        stator.load(tmp_path / "moved.pt2")


def test_load_of_altered_parts_with_right_checksums(saved, tmp_path):
    import zipfile

    path = tmp_path / "parts.pt2"
    with zipfile.ZipFile(saved[0]) as archive:
        parts = {i.filename: archive.read(i) for i in archive.infolist()}
    texts = [b"", b"{", b"[]", b"null", b"{}", b"[" * 10000, b"\xff\xfe", b"0", b'"x"']
    for name in parts:
        for text in texts:
            with zipfile.ZipFile(path, "w") as archive:
                for other, data in parts.items():
                    archive.writestr(other, text if other == name else data)
            load(path)
        with zipfile.ZipFile(path, "w") as archive:
            for other, data in parts.items():
                if other != name:
                    archive.writestr(other, data)
        load(path)


def test_load_of_other_files(tmp_path, saved):
    for name, data in {"text.pt2": b"hello", "engine.pt2": b"STATOR\0\1" + b"\0" * 100,
                       "pickle.pt2": b"\x80\x04N."}.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
        assert load(tmp_path / name) is None
    with pytest.raises(ValueError, match=r"stator\.Engine\.load"):
        stator.load(tmp_path / "engine.pt2")
    with pytest.raises(FileNotFoundError):
        stator.load(tmp_path / "none.pt2")
    with pytest.raises(IsADirectoryError):
        stator.load(tmp_path)


@pytest.mark.parametrize(
    "spec", ["", "{", "[]", "{}", '{"digest": 1}', "[" * 5000,
             '{"digest": "", "name": "", "inputs": [], "symbols": [], "outputs": [{}]}',
             '{"digest": "", "name": "", "inputs": [], "symbols": [],'
             ' "outputs": [{"dtype": "nn", "shape": []}]}'],
)  # fmt: skip
def test_damaged_descriptions_of_engines(spec):
    with pytest.raises(ValueError, match="damaged"):
        torch.ops.tensorrt.execute_engine([torch.ones(2)], [], torch.zeros(4).byte(), spec)


# ------------------------------------------------------------------ the program's settings


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pt2"
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU()).eval()
    torch.export.save(
        torch.export.export(
            model,
            (torch.randn(2, 8),),
            dynamic_shapes=({0: torch.export.Dim("n", min=2, max=9)},),
        ),
        path,
    )
    return path


def program(*args):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, check=False)


def test_program_refuses_partial_compilation(model_file, tmp_path):
    done = program("compile", model_file, "-o", tmp_path / "m.engine",
                   "--set", "require_full_compilation=False")  # fmt: skip
    assert done.returncode == 1 and not (tmp_path / "m.engine").exists()
    assert "Compile in Python" in done.stderr and "stator.save" in done.stderr
    done = program("compile", model_file, "-o", tmp_path / "m.engine", "-O", "0",
                   "--set", "require_full_compilation=True")  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""


def test_program_says_what_to_do_about_unsupported_operators(tmp_path):
    class Inverse(nn.Module):
        def forward(self, x):
            return torch.linalg.inv(x)

    path = tmp_path / "inverse.pt2"
    torch.export.save(torch.export.export(Inverse(), (torch.eye(3),)), path)
    done = program("compile", path, "-o", tmp_path / "m.engine")
    assert done.returncode == 1
    assert "require_full_compilation=False" not in done.stderr
    assert "compile in Python" in done.stderr and "linalg_inv" in done.stderr


@pytest.mark.parametrize(
    ("setting", "why"),
    [("min_block_size=3", "one engine of the whole model"),
     ("use_fast_partitioner=False", "one engine of the whole model"),
     ("cpu_memory_budget=1000", "one engine of the whole model"),
     ("sparse_weights=True", "no sparse kernels"), ("disable_tf32=True", "always IEEE"),
     ("use_explicit_typing=False", "not faster"),
     ("enabled_precisions=float32,float16", "without use_explicit_typing=False")],
)  # fmt: skip
def test_program_warns_of_settings_without_effect(setting, why, model_file, tmp_path):
    done = program("compile", model_file, "-o", tmp_path / "m.engine", "-O", "0", "--set", setting)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: ") and setting.split("=")[0] in line and why in line


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--set", "disabled_passes=fold_constant", "did you mean 'fold_constants'"),
     ("--opt-size", "zz=4", "no dynamic size 'zz'"),
     ("--opt-size", "SYMBOL=400", "outside of the model's range, [02] to 9")],
)  # fmt: skip
def test_program_names_unknown_values(option, value, message, model_file, tmp_path):
    if "SYMBOL" in value:
        (symbol,) = torch.export.load(model_file).range_constraints
        value = value.replace("SYMBOL", str(symbol))
    done = program("compile", model_file, "-o", tmp_path / "m.engine", "-O", "0", option, value)
    assert done.returncode == 1 and re.search(message, done.stderr)


def test_program_refuses_options_that_say_nothing_of_a_file(model_file, tmp_path):
    done = program("inspect", model_file, "--json")
    assert done.returncode == 1 and "--json prints an engine" in done.stderr
    assert program("compile", model_file, "-o", tmp_path / "m.engine", "-O", "0").returncode == 0
    done = program("inspect", tmp_path / "m.engine", "--set", "min_block_size=3")
    assert done.returncode == 1 and "explain-settings" in done.stderr
    done = program("dryrun", model_file, "--set", "verify=True")
    assert done.returncode == 1 and "Python's alone" in done.stderr


def test_unknown_passes_are_named_in_python():
    with pytest.raises(ValueError, match="did you mean 'fold_constants'"):
        stator.CompilationSettings(disabled_passes={"fold_constant"})


def test_capture_keeps_arguments_that_are_called_like_builtins():
    class Named(nn.Module):
        def forward(self, input, max=3, *, type=2.0):
            return input * max + type

    x = torch.randn(4)
    compiled = stator.compile(Named(), [x, 5], kwarg_inputs={"type": 1.5}, **FAST)
    torch.testing.assert_close(compiled(x, 5, type=1.5), Named()(x, 5, type=1.5))
    assert capture_module is not None
