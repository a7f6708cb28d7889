# SPDX-License-Identifier: Apache-2.0
"""What torch.export assumed of sizes: a call outside it is refused, by every door."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stator
import torch
from torch import nn

PROGRAM = Path(os.environ.get("STATOR_PROGRAM") or Path(sys.executable).parent / "stator")
SETTINGS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0}


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def window_attention(x):
    """Pads to a multiple of its window, as many vision models do, if that is needed."""
    window = 4
    x = x.unsqueeze(-1) * torch.arange(1.0, 4.0)
    if x.shape[1] % window != 0:
        x = torch.nn.functional.pad(x, (0, 0, 0, window - x.shape[1] % window))
    y = x.reshape(x.shape[0], -1, window, x.shape[2])
    return (y.softmax(2) * y).flatten(1, 2).sum(1)


# (model, a size of dimension 1 that it is compiled with, sizes that must work, sizes that may not)
CONDITIONS = {
    "divisible": (lambda x: x * 2 if x.shape[1] % 2 == 0 else x + 100, 8, (4, 10), (9, 5)),
    "slice beyond": (lambda x: x[:, :10] * 2, 8, (4, 9), (14, 10)),
    "less": (lambda x: x + 1 if x.shape[1] < 10 else x - 1, 8, (4, 9), (14, 10)),
    "view": (lambda x: x.view(x.shape[0], 1, -1, 2) + 1, 8, (4, 10), (9,)),
    "floor": (lambda x: x + 1 if x.shape[1] // 3 == 2 else x - 1, 8, (6, 7), (9, 5)),
    "ceil": (lambda x: x + 1 if math.ceil(x.shape[1] / 3) == 3 else x - 1, 8, (7, 9), (6, 10)),
    "round": (lambda x: x + 1 if round(x.shape[1] / 4) == 2 else x - 1, 8, (6, 10), (5, 11)),
    "min and max": (
        lambda x: x + 1 if max(min(x.shape[1], 12), 6) < 12 else x - 1, 8, (4, 11), (12, 20)
    ),
    "product": (lambda x: x + 1 if x.shape[1] * x.shape[1] < 100 else x - 1, 8, (4, 9), (10,)),
    "two sizes": (lambda x: x + 1 if x.shape[0] < x.shape[1] else x - 1, 8, (4, 9), (2, 1)),
    "true division": (lambda x: x + 1 if x.shape[1] * 1.5 > 9.1 else x - 1, 8, (7, 9), (6,)),
    "not equal": (lambda x: x if x.shape[1] in (5, 7) else x * 2, 8, (4, 6), (5, 7)),
    "window": (window_attention, 8, (8, 12), (9, 10)),
    "one": (lambda x: x + 7 if x.shape[1] == 1 else x * 3, 8, (2, 5), (1,)),
}  # fmt: skip


def case(name):
    function, size, good, bad = CONDITIONS[name]
    declared = stator.Input(min_shape=(2, 1), opt_shape=(2, size), max_shape=(2, 64))
    return Model(function).eval(), declared, good, bad


def refuses(call, x):
    with pytest.raises((ValueError, RuntimeError)) as error:
        call(x)
    return str(error.value)


def never_wrong(call, model, x):
    """An error, or eager's values."""
    try:
        result = call(x)
    except (ValueError, RuntimeError):
        return
    torch.testing.assert_close(result, model(x))  # raises where eager does


def check(call, model, good, bad):
    for size in good:
        x = torch.randn(2, size)
        torch.testing.assert_close(call(x), model(x))
    for size in bad:
        never_wrong(call, model, torch.randn(2, size))


@pytest.mark.parametrize("name", CONDITIONS)
def test_compiled_module(name):
    model, declared, good, bad = case(name)
    check(stator.compile(model, [declared], **SETTINGS), model, good, bad)


@pytest.mark.parametrize("name", CONDITIONS)
def test_program_of_several_parts(name):
    model, declared, good, bad = case(name)
    compiled = stator.compile(model, [declared], **SETTINGS, torch_executed_ops={"aten.add.Tensor"})
    check(compiled, model, good, bad)


@pytest.mark.parametrize("name", CONDITIONS)
def test_everything_in_pytorch(name):
    model, declared, good, bad = case(name)
    settings = SETTINGS | {"min_block_size": 1000}
    compiled = stator.compile(model, [declared], **settings)
    check(compiled, model, good, bad)


@pytest.mark.parametrize("name", CONDITIONS)
def test_saved_program(name, tmp_path):
    model, declared, good, bad = case(name)
    compiled = stator.compile(model, [declared], **SETTINGS)
    stator.save(compiled, tmp_path / "m.pt2", inputs=[torch.randn(2, CONDITIONS[name][1])])
    check(stator.load(tmp_path / "m.pt2").module(), model, good, bad)


@pytest.mark.parametrize("name", CONDITIONS)
def test_torch_compile_compiles_again(name):
    model, _, good, bad = case(name)
    compiled = torch.compile(model, backend="stator", dynamic=True, options=SETTINGS)
    for size in (CONDITIONS[name][1], *good, *bad):
        x = torch.randn(2, size)
        if name == "view" and size % 2 == 1:
            with pytest.raises(RuntimeError):
                compiled(x)  # as in eager
        else:
            torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("name", CONDITIONS)
def test_command_line(name, tmp_path):
    model, _, good, bad = case(name)
    size = torch.export.Dim.DYNAMIC(min=2, max=64)
    program = torch.export.export(
        model, (torch.randn(2, CONDITIONS[name][1]),), dynamic_shapes={"x": {1: size}}
    )
    try:
        torch.export.save(program, tmp_path / "m.pt2")
    except Exception as error:
        pytest.skip(f"torch.export.save cannot write it: {str(error).splitlines()[0]}")
    made = run("compile", tmp_path / "m.pt2", "-o", tmp_path / "m.engine")
    assert made.returncode == 0, made.stderr
    x = torch.randn(2, good[0])
    np.save(tmp_path / "x.npy", x.numpy())
    done = run("run", tmp_path / "m.engine", "--input", f"x={tmp_path / 'x.npy'}", "-o",
               tmp_path / "y.npy")  # fmt: skip
    assert done.returncode == 0, done.stderr
    engine = stator.Engine.load(tmp_path / "m.engine")
    outside = [size for size in bad if size > 1]  # the file says at least 2
    check(lambda x: engine(x)[0], model, good, outside)
    if outside:
        np.save(tmp_path / "x.npy", np.ones((2, outside[0]), np.float32))
        refused = run("run", tmp_path / "m.engine", "--input", f"x={tmp_path / 'x.npy'}", "-o",
                      tmp_path / "y.npy")  # fmt: skip
        assert refused.returncode == 1
        assert "compiled for sizes where" in refused.stderr or "allowed" in refused.stderr


def run(*args):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, check=False)


def test_message_says_condition_line_and_size():
    model, declared, _, _ = case("divisible")
    message = refuses(stator.compile(model, [declared], **SETTINGS), torch.ones(2, 9))
    assert "x.shape[1] % 2" in message
    assert "test_guards.py" in message
    assert "is 9" in message


@pytest.mark.parametrize("settings", [{}, {"torch_executed_ops": {"aten.add.Tensor"}}])
def test_message_names_the_sizes_of_its_condition_alone(settings):
    class Several(nn.Module):
        def forward(self, x, mask, n):
            y = x * 2 if x.shape[1] % 2 == 0 else x + 100
            y = y * 3 if mask.shape[0] < n.shape[1] else y
            return y + mask.sum() + n.sum()

    declared = [
        stator.Input(min_shape=(2, 1), opt_shape=(3, 8), max_shape=(8, 64)),
        stator.Input(min_shape=(1,), opt_shape=(4,), max_shape=(9,)),
        stator.Input(min_shape=(1, 3), opt_shape=(2, 6), max_shape=(9, 16)),
    ]
    compiled = stator.compile(Several().eval(), declared, **SETTINGS, **settings)
    args = torch.ones(5, 9), torch.ones(3), torch.ones(7, 6)
    calls = [compiled]
    if not settings:
        calls.append(compiled.stator_report.engines[0].engine)
    for call in calls:
        with pytest.raises(
            ValueError, match=r"\(x.shape\[1\] % 2\) == 0 \(test_guards.py"
        ) as error:
            call(*args)
        said = str(error.value).split("which does not hold here: ")[1].split(". ")[0]
        assert said in ("dimension 1 of argument 'x' is 9", 'dimension 1 of input 0 "x" is 9')
        with pytest.raises(ValueError, match=r"mask.shape\[0\] < n.shape\[1\]") as error:
            call(torch.ones(5, 8), torch.ones(8), torch.ones(7, 4))
        said = str(error.value).split("which does not hold here: ")[1]
        assert "is 8" in said and "is 4" in said and "'x'" not in said and '"x"' not in said


PADDED = {  # of one dimension, of any size
    "padding": lambda x: nn.functional.pad(x, (0, (-x.shape[1]) % 16)).unflatten(1, (-1, 16)) * 2,
    "padding as remainders": lambda x: nn.functional.pad(
        x, (0, (16 - x.shape[1] % 16) % 16)
    ).reshape(x.shape[0], -1, 16).cumsum(-1),
    "chunks and back": lambda x: nn.functional.pad(x, (0, (-x.shape[1]) % 256))
    .reshape(x.shape[0], -1, 256).cumsum(-1).reshape(x.shape[0], -1)[:, : x.shape[1]] + x,
    "patches": lambda x: x.new_ones(math.ceil(x.shape[1] / 14)) * 2,
    "negated quotient": lambda x: nn.functional.pad(
        x, (0, -(-x.shape[1] // 8) * 8 - x.shape[1])
    ).reshape(-1, 8) * 2,
    "branch on a ceiling": lambda x: (
        x * 2 if math.ceil(x.shape[1] / 16) * 16 >= x.shape[1] else x
    ),
    "branch on a floor": lambda x: x * 2 if x.shape[1] // 16 * 16 <= x.shape[1] else x,
    "branch on chunks": lambda x: (
        x * 2 if (x.shape[1] + (-x.shape[1]) % 16) // 16 <= x.shape[1] else x
    ),
}  # fmt: skip


def test_places_of_patches_need_no_condition(caplog):
    """Centres of patches by arange(0.5, n), as vision models with rotary places have them."""

    def places(x):
        rows, columns = (torch.arange(0.5, x.shape[d] // 16) for d in (0, 1))
        both = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)
        return both.new_ones((x.shape[0] // 16) * (x.shape[1] // 16), 2) + both + x.sum()

    model = Model(places).eval()
    declared = stator.Input(min_shape=(32, 32), opt_shape=(64, 64), max_shape=(512, 512))
    with caplog.at_level("WARNING"):
        compiled = stator.compile(model, [declared], **SETTINGS)
    assert "valid only where" not in caplog.text
    for size in ((32, 32), (70, 100), (512, 48)):
        x = torch.rand(size)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("most", [300, 100000])
@pytest.mark.parametrize("name", PADDED)
def test_conditions_that_the_ranges_imply_are_none(name, most, caplog):
    model = Model(PADDED[name]).eval()
    declared = stator.Input(min_shape=(1, 1), opt_shape=(2, 37), max_shape=(4, most))
    with caplog.at_level("WARNING"):
        compiled = stator.compile(model, [declared], **SETTINGS)
    assert "valid only where" not in caplog.text
    for size in (1, 2, 14, 15, 16, 17, 256, 300):
        x = torch.randn(3, size)
        torch.testing.assert_close(compiled(x), model(x))


def test_narrowed_range_is_told(caplog):
    model, declared, _, _ = case("less")
    with caplog.at_level("WARNING"):
        stator.compile(model, [declared], **SETTINGS)
    assert "x.shape[1] < 10" in caplog.text


def test_nested_inputs_and_keywords():
    class Nested(nn.Module):
        def forward(self, x, pair, *, opts):
            y = x * 2 if x.shape[1] % 2 == 0 else x + 100
            return y + pair[1]["k"].sum() if opts["A b"].shape[0] > 3 else y

    def size(least, opt):
        return stator.Input(min_shape=(least,), opt_shape=(opt,), max_shape=(64,))

    model = Nested().eval()
    x = stator.Input(min_shape=(2, 2), opt_shape=(2, 8), max_shape=(2, 64))
    compiled = stator.compile(
        model, [x, [size(1, 3), {"k": size(1, 5)}]], kwarg_inputs={"opts": {"A b": size(1, 6)}},
        **SETTINGS,
    )  # fmt: skip

    def args(a, b):
        return (torch.randn(2, a), [torch.randn(3), {"k": torch.randn(5)}]), {
            "opts": {"A b": torch.randn(b)}
        }

    for sizes in ((4, 6), (10, 4)):
        a, k = args(*sizes)
        torch.testing.assert_close(compiled(*a, **k), model(*a, **k))
    for sizes in ((9, 6), (8, 3)):
        a, k = args(*sizes)
        with pytest.raises((ValueError, RuntimeError)):
            compiled(*a, **k)


def test_squeezed_dimension_that_varies():
    model = Model(lambda x: x.squeeze(1) * 2).eval()
    declared = stator.Input(min_shape=(2, 1), opt_shape=(2, 8), max_shape=(2, 64))
    compiled = stator.compile(model, [declared], **SETTINGS)
    x = torch.randn(2, 5)
    torch.testing.assert_close(compiled(x), model(x))
    assert "squeezed" in refuses(compiled, torch.randn(2, 1))


def test_convolutions_down_to_one_pixel():
    """How tensors lie in memory is no reason to refuse a size."""
    layers = []
    for i in range(4):
        layers += [nn.Conv2d(3 if i == 0 else 4, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(2)).eval()
    declared = stator.Input(
        min_shape=(1, 3, 8, 8), opt_shape=(2, 3, 32, 32), max_shape=(4, 3, 64, 64)
    )
    compiled = stator.compile(model, [declared], **SETTINGS)
    for shape in ((1, 3, 8, 8), (2, 3, 16, 9), (4, 3, 64, 64)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


SIZES = {
    "interpolate": lambda x: nn.functional.interpolate(x[None], scale_factor=1.7)[0],
    "ceil": lambda x: x.new_zeros(math.ceil(x.shape[1] / 3)) + 1,
    "round": lambda x: x.new_ones(round(x.shape[1] / 3)) * 2,
    "trunc": lambda x: x.new_ones(math.trunc(x.shape[1] / 3)) * 2,
    "floor of a quotient": lambda x: x.new_ones(math.floor(x.shape[1] / 2.5)) * 2,
    "arange": lambda x: torch.arange(0, x.shape[1], 0.5) * 2,
    "power": lambda x: x.new_ones(2 ** x.shape[1]) * 3,
    "square": lambda x: x.new_ones(x.shape[1] ** 2) * 3,
    "bits": lambda x: x.new_ones((x.shape[1] & 3) + 1, x.shape[1] | 1) * 3,
    "negative": lambda x: x.new_ones((-x.shape[1]) // 3 + x.shape[1]) * 3,
    "modulo": lambda x: x.new_ones((x.shape[1] - 7) % 5 + abs(x.shape[1] - 9)) * 3,
    "min and max": lambda x: x.new_ones(max(x.shape[1] // 2, 3) + min(x.shape[1], 5)) * 3,
    "quotient as a number": lambda x: x * (x.shape[1] / 3),
    "part in PyTorch": lambda x: torch.special.bessel_j0(x.new_ones(round(x.shape[1] / 3))) * 2,
}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("door", ["compile", "torch.compile"])
def test_sizes_by_any_arithmetic(name, door):
    model = Model(SIZES[name]).eval()
    if door == "compile":
        declared = stator.Input(min_shape=(2, 6), opt_shape=(2, 8), max_shape=(2, 16))
        call = stator.compile(model, [declared], **SETTINGS)
    else:
        call = torch.compile(model, backend="stator", dynamic=True, options=SETTINGS)
    for size in (8, 10, 13, 7):
        x = torch.randn(2, size)
        torch.testing.assert_close(call(x), model(x))
