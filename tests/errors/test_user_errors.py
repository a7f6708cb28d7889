# SPDX-License-Identifier: Apache-2.0
"""One test a user error: the text says what is wrong, where, and what to do."""

import subprocess
import sys
from pathlib import Path

import pytest
import stator
import torch
from torch import nn

SETTINGS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0}
PROGRAM = Path(sys.executable).parent / "stator"


@pytest.fixture(scope="module")
def compiled():
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU()).eval()
    shape = stator.Input(min_shape=(1, 8), opt_shape=(2, 8), max_shape=(4, 8))
    return stator.compile(model, [shape], **SETTINGS)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pt2"
    program = torch.export.export(nn.Sequential(nn.Linear(8, 4)).eval(), (torch.randn(2, 8),))
    torch.export.save(program, path)
    return path


def run(*args):
    done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_unknown_setting():
    with pytest.raises(TypeError) as error:
        stator.compile(nn.ReLU(), [torch.randn(1)], min_blok_size=3)
    assert str(error.value) == (
        "there is no setting 'min_blok_size'; did you mean 'min_block_size'?"
    )


def test_value_out_of_range():
    with pytest.raises(ValueError) as error:
        stator.compile(nn.ReLU(), [torch.randn(1)], optimization_level=9)
    assert str(error.value) == (
        "CompilationSettings: optimization_level=9 is not allowed; "
        "optimization_level is an integer from 0 to 5 or None"
    )


def test_neither_module_nor_program():
    with pytest.raises(TypeError) as error:
        stator.compile(lambda x: x, [torch.randn(1)])
    assert str(error.value) == "compile takes an nn.Module or an ExportedProgram, got function"


def test_no_inputs():
    with pytest.raises(ValueError, match=r"give inputs=\[\.\.\.\]"):
        stator.compile(nn.ReLU())


def test_input_with_min_over_max():
    with pytest.raises(ValueError) as error:
        stator.Input(min_shape=(4, 8), opt_shape=(2, 8), max_shape=(4, 8))
    assert str(error.value) == "Input: dimension 0 needs min <= opt <= max, got 4, 2, 4"


def test_dimension_that_the_model_fixes():
    class Fixed(nn.Module):
        def forward(self, x):
            return x.reshape(2, 8) + 1

    shape = stator.Input(min_shape=(1, 8), opt_shape=(2, 8), max_shape=(4, 8))
    with pytest.raises(ValueError, match="the model fixes a size that an Input declares"):
        stator.compile(Fixed(), [shape], **SETTINGS)


def test_wrong_number_of_arguments(compiled):
    message = r"there is no argument 2; the model was compiled for \(input\)"
    with pytest.raises(TypeError, match=message):
        compiled(torch.randn(2, 8), torch.randn(2, 8))


def test_wrong_dtype(compiled):
    with pytest.raises(ValueError, match=r"must be float32; cast it with \.to\(torch\.float32\)"):
        compiled(torch.randn(2, 8).double())


def test_wrong_rank(compiled):
    with pytest.raises(
        ValueError, match="has 1 dimensions, the (engine was built|model was compiled) for 2"
    ):
        compiled(torch.randn(8))


def test_wrong_fixed_size(compiled):
    with pytest.raises(ValueError, match=r"dimension 1 .*8.* 9|9.*8"):
        compiled(torch.randn(2, 9))


def test_size_outside_the_range(compiled):
    with pytest.raises(ValueError, match=r"5"):
        compiled(torch.randn(5, 8))


def test_not_a_tensor(compiled):
    with pytest.raises(TypeError, match=r"a torch\.Tensor is expected"):
        compiled(1.0)
    with pytest.raises(TypeError, match=r"argument 'input' is \[\*\] and was one value"):
        compiled([1.0])


def test_require_full_compilation_names_operator_and_line():
    class M(nn.Module):
        def forward(self, x):
            return torch.linalg.inv(x)

    with pytest.raises(stator.UnsupportedError) as error:
        stator.compile(M(), [torch.eye(3)], require_full_compilation=True, **SETTINGS)
    text = str(error.value)
    assert "linalg_inv" in text
    assert "test_user_errors.py" in text


def test_missing_engine_file(tmp_path):
    with pytest.raises(OSError, match="nothing.engine"):
        stator.Engine.load(tmp_path / "nothing.engine")


def test_damaged_engine_file(compiled, tmp_path):
    path = tmp_path / "model.engine"
    compiled.stator_report.engines[0].engine.save(path)
    data = path.read_bytes()
    for size in (0, 7, 100, len(data) // 2, len(data) - 100):
        path.write_bytes(data[:size])
        with pytest.raises(stator.InvalidFileError, match=r"model\.engine"):
            stator.Engine.load(path)
    path.write_bytes(b"PK\3\4" + data[4:])
    with pytest.raises(stator.InvalidFileError):
        stator.Engine.load(path)


def test_unwritable_engine_path(compiled):
    with pytest.raises(OSError, match="missing-folder"):
        compiled.stator_report.engines[0].engine.save("missing-folder/model.engine")


def test_program_missing_model(tmp_path):
    assert "none.pt2" in run("compile", tmp_path / "none.pt2", "-o", tmp_path / "m.engine")


def test_program_damaged_model(model_file, tmp_path):
    data = model_file.read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 30):
        path = tmp_path / "cut.pt2"
        path.write_bytes(data[:size])
        message = run("compile", path, "-o", tmp_path / "m.engine")
        assert "cut.pt2" in message
        assert not (tmp_path / "m.engine").exists()


def test_program_unwritable_output(model_file, tmp_path):
    message = run("compile", model_file, "-o", tmp_path / "no" / "m.engine")
    assert "m.engine" in message


def test_program_unknown_setting(model_file, tmp_path):
    message = run("dryrun", model_file, "--set", "min_blok_size=3")
    assert "did you mean 'min_block_size'" in message


def test_program_wrong_input(model_file, tmp_path):
    engine = tmp_path / "m.engine"
    subprocess.run([PROGRAM, "compile", model_file, "-o", engine], check=True, capture_output=True)
    assert "no input 'z'" in run("run", engine, "--shape", "z=2x8")
    assert "input" in run("run", engine, "--shape", "input=3x8")
    assert "is not a shape" in run("run", engine, "--shape", "input=2y8")


def test_unsupported_operator_in_the_program(tmp_path):
    class M(nn.Module):
        def forward(self, x):
            return torch.linalg.inv(x)

    path = tmp_path / "inverse.pt2"
    torch.export.save(torch.export.export(M(), (torch.eye(3),)), path)
    message = run("compile", path, "-o", tmp_path / "m.engine")
    assert "linalg_inv" in message
    assert "test_user_errors.py" in message
