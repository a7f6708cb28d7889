# SPDX-License-Identifier: Apache-2.0
"""Calls as the model takes them are taken; others are errors that name the argument and the way."""

import logging
import warnings

import pytest
import stator
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

FAST = {"timing_cache_path": "", "optimization_level": 0}
warnings.filterwarnings("ignore", message=".*nested tensors.*|.*CSR.*|.*quantize.*")


class Pair(nn.Module):
    """Positional and keyword-only arguments, with defaults."""

    def forward(self, left, right=None, *, scale=1.0, mask=None):
        out = left * scale
        if right is not None:
            out = out + right.relu()
        return out if mask is None else out * mask


class Nest(nn.Module):
    def forward(self, batch, *rest):
        return batch["a"] + batch["b"][0] + sum(rest)


def small():
    return nn.Sequential(nn.Linear(8, 4), nn.ReLU()).eval()


@pytest.fixture(scope="module")
def one():
    model, x = small(), torch.randn(2, 8)
    return stator.compile(model, [x], **FAST), model, x


@pytest.fixture(scope="module")
def two():
    x, y = torch.randn(4), torch.randn(4)
    return stator.compile(Pair(), [x, y], **FAST), x, y


# ------------------------------------------------------------------ what eager takes


@torch.no_grad()
@pytest.mark.parametrize("given", ["tensor", "input"])
def test_one_input_is_one_argument(given):
    model, x = small(), torch.randn(2, 8)
    example = x if given == "tensor" else stator.Input((2, 8))
    for compiled in (
        stator.compile(model, inputs=example, **FAST),
        stator.compile(model, arg_inputs=example, **FAST),
        stator.compile(stator.trace(model, example), inputs=example, **FAST),
    ):
        torch.testing.assert_close(compiled(x), model(x))


@torch.no_grad()
def test_save_takes_one_tensor(tmp_path, one):
    compiled, model, x = one
    stator.save(compiled, tmp_path / "model.pt2", inputs=x)
    torch.testing.assert_close(stator.load(tmp_path / "model.pt2").module()(x), model(x))


def test_keywords_for_positions(two):
    compiled, x, y = two
    expected = Pair()(x, y)
    for got in (
        compiled(x, y), compiled(left=x, right=y), compiled(right=y, left=x), compiled(x, right=y),
        compiled(x, y, scale=1.0), compiled(x, y, mask=None), compiled(x, y, mask=None, scale=1.0),
    ):  # fmt: skip
        torch.testing.assert_close(got, expected)


def test_positions_for_keywords():
    x, y = torch.randn(4), torch.randn(4)
    compiled = stator.compile(Pair(), [x], kwarg_inputs={"right": y, "scale": 2.0}, **FAST)
    expected = Pair()(x, y, scale=2.0)
    torch.testing.assert_close(compiled(x, y, scale=2.0), expected)
    torch.testing.assert_close(compiled(x, scale=2.0, right=y), expected)
    torch.testing.assert_close(compiled(scale=2.0, right=y, left=x), expected)


def test_defaults_that_were_compiled_in_may_be_left_out():
    x, y = torch.randn(4), torch.randn(4)
    compiled = stator.compile(Pair(), [x, None], kwarg_inputs={"scale": 1.0, "mask": y}, **FAST)
    expected = Pair()(x, mask=y)
    torch.testing.assert_close(compiled(x, mask=y), expected)
    torch.testing.assert_close(compiled(x, None, mask=y, scale=1.0), expected)
    torch.testing.assert_close(compiled(left=x, mask=y), expected)


def test_a_tensors_default_of_none_does_not_stand_for_it():
    x, y = torch.randn(4), torch.randn(4)
    compiled = stator.compile(Pair(), [x], kwarg_inputs={"mask": y}, **FAST)
    torch.testing.assert_close(compiled(x, mask=y), Pair()(x, mask=y))
    with pytest.raises(TypeError, match=r"missing argument 'mask'; .*\(left, mask\)"):
        compiled(x)


def test_keywords_of_an_exported_program():
    x, y = torch.randn(4), torch.randn(4)
    program = torch.export.export(Pair(), (x,), {"right": y})
    compiled = stator.compile(program, **FAST)
    torch.testing.assert_close(compiled(right=y, left=x), Pair()(x, y))
    with pytest.raises(TypeError, match="missing argument 'right'"):
        compiled(x)


def test_keyword_calls_of_one_engine(one):
    compiled, model, x = one
    torch.testing.assert_close(compiled(input=x), model(x))


# ------------------------------------------------------------------ what it does not


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ([], {}, r"missing arguments 'left', 'right'; the model was compiled for \(left, right\)"),
        ([0, 0, 0], {}, r"there is no argument 3; the model was compiled for \(left, right\)"),
        ([0, 0], {"left": 0}, "argument 'left' is given twice, by position and by keyword"),
        ([0, 0], {"middle": 0}, r"there is no argument 'middle'; .*\(left, right\)"),
        ([0, 0], {"scale": 2.0}, "argument 'scale' was left out when the model was compiled, so "
         "that its default 1.0"),
        ([0, 0], {"mask": 0}, "argument 'mask' was left out when the model was compiled"),
        ([0, [0]], {}, r"argument 'right' is \[\*\] and was one value"),
    ],
)  # fmt: skip
def test_counts_and_keywords_are_named_as_the_models(args, kwargs, message, two):
    compiled, x, y = two

    def fill(v):
        return [x] if v == [0] else y if v == 0 else v

    with pytest.raises(TypeError, match=message):
        compiled(*map(fill, args), **{k: fill(v) for k, v in kwargs.items()})


def test_counts_of_one_engine(one):
    compiled, _, x = one
    with pytest.raises(TypeError, match=r"missing argument 'input'; the model was compiled for"):
        compiled()
    with pytest.raises(TypeError, match=r"there is no argument 2; .*\(input\)"):
        compiled(x, x)


def test_nests_are_named():
    x = torch.randn(3)
    compiled = stator.compile(Nest(), [{"a": x, "b": [x]}, x], **FAST)
    torch.testing.assert_close(compiled({"a": x, "b": [x]}, x), 3 * x)
    torch.testing.assert_close(compiled({"b": [x], "a": x}, x), 3 * x)
    with pytest.raises(TypeError, match=r"argument 'batch' is .*'a'.* and was .*'b': \[\*\]"):
        compiled({"a": x}, x)
    with pytest.raises(TypeError, match="missing argument number 2"):
        compiled({"a": x, "b": [x]})
    with pytest.raises(TypeError, match="there is no argument 3"):
        compiled({"a": x, "b": [x]}, x, x)


@pytest.mark.parametrize("value", [3.0, 2, True, None, "2.0", torch.tensor(2.0), torch.ones(3)])
def test_constants_are_named(value):
    x, y = torch.randn(4), torch.randn(4)
    compiled = stator.compile(Pair(), [x, y], kwarg_inputs={"scale": 2.0}, **FAST)
    torch.testing.assert_close(compiled(x, y, scale=2.0), Pair()(x, y, scale=2.0))
    with pytest.raises(ValueError, match=r"argument 'scale' was 2\.0 when the model was captured"):
        compiled(x, y, scale=value)


def odd_tensors():
    x = torch.randn(2, 8)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = mode.from_tensor(x)
    rows = [x[0], x[1]]
    return {
        "meta": (x.to("meta"), "on the device meta"),
        "coo": (x.to_sparse(), r"layout is torch\.sparse_coo; give \.to_dense\(\)"),
        "csr": (x.to_sparse_csr(), r"layout is torch\.sparse_csr"),
        "mkldnn": (x.to_mkldnn(), r"layout is torch\._mkldnn"),
        "quantized": (torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
                      r"quantized \(torch\.quint8\); give \.dequantize\(\)"),
        "nested": (torch.nested.nested_tensor(rows), r"nested \(torch\.strided\)"),
        "jagged": (torch.nested.nested_tensor(rows, layout=torch.jagged),
                   r"nested \(torch\.jagged\)"),
        "fake": (fake, "a FakeTensor, which has no data"),
        "float64": (x.double(), r"is torch\.float64 and must be float32; cast it with \.to\("),
        "int64": (x.long(), r"is torch\.int64 and must be float32"),
        "complex64": (x + 0j, r"is torch\.complex64 and must be float32"),
        "list": ([[1.0]], "list|argument 'input' is"), "None": (None, "NoneType"),
        "number": (3.0, "float"), "array": (x.numpy(), "ndarray"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", odd_tensors())
@pytest.mark.parametrize("call", ["model", "keyword", "engine"])
def test_tensors_at_hand_are_named(kind, call, one):
    value, message = odd_tensors()[kind]
    compiled, _, _ = one
    if call == "engine":
        engine = compiled.stator_report.engines[0].engine
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            engine(value)
    elif kind == "fake":  # a compiled module says what sizes it would give
        y = compiled(value) if call == "model" else compiled(input=value)
        assert type(y) is type(value)
        return
    else:
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            compiled(value) if call == "model" else compiled(input=value)
    assert "'input'" in str(caught.value)


@torch.no_grad()
def test_tensors_without_memory_of_their_own(one):
    compiled, model, x = one
    compiled(x)
    resized = torch.randn(2, 8)
    resized.untyped_storage().resize_(0)
    masked = torch.masked.masked_tensor(x, x > 0)
    for call in (
        lambda: torch.func.vmap(compiled)(torch.randn(5, 2, 8)),
        lambda: torch.func.functionalize(compiled)(x),
        lambda: torch.func.jvp(compiled, (x,), (x,)),
        lambda: compiled(resized),
        lambda: compiled(masked),
    ):
        with pytest.raises(TypeError, match=r"'input' is a .*Tensor without dense memory"):
            call()
    nothing = stator.Input(min_shape=(0, 8), opt_shape=(2, 8), max_shape=(4, 8))
    compiled = stator.compile(model, nothing, **FAST)
    assert compiled(torch.empty(0, 8)).shape == (0, 4)


@torch.no_grad()
def test_views_subclasses_and_conjugates_are_taken(one):
    compiled, model, x = one
    wide = torch.randn(8, 2).t()
    torch.testing.assert_close(compiled(wide), model(wide))
    torch.testing.assert_close(compiled(nn.Parameter(x)), model(x))
    pair = torch.complex(torch.zeros(2, 8), x).conj().imag
    assert pair.is_neg()
    torch.testing.assert_close(compiled(pair), model(pair))


def test_a_gradient_that_nobody_computes_is_said_once(one, caplog):
    compiled, model, x = one
    compiled = stator.compile(model, [x], **FAST)
    wanting = x.clone().requires_grad_()
    for _ in range(3):
        assert not compiled(wanting).requires_grad
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1
    assert "'input' requires a gradient" in caplog.text
    caplog.clear()
    other = stator.compile(model, [x], **FAST)
    with torch.no_grad():
        other(wanting)
    assert "requires a gradient" not in caplog.text
    stator.compile(model, [x], **FAST)(input=wanting)
    assert "'input' requires a gradient" in caplog.text


def test_a_size_that_is_no_integer(one):
    class Rows(nn.Module):
        def forward(self, x, n):
            return x[:n] * 2

    x = torch.randn(8, 4)
    program = torch.export.export(Rows(), (x, 3), dynamic_shapes=(None, torch.export.Dim.DYNAMIC))
    compiled = stator.compile(program, **FAST)
    torch.testing.assert_close(compiled(x, 5), x[:5] * 2)
    for wrong in (2.5, None, "3"):
        with pytest.raises((TypeError, ValueError), match=r"int|argument"):
            compiled(x, wrong)


def test_wrong_inputs_to_a_model_with_parts_in_pytorch(caplog):
    class Mixed(nn.Module):
        def forward(self, x):
            return torch.linalg.inv((x * 2).relu() + 9 * torch.eye(4)).tanh() + 1

    x = torch.randn(4, 4)
    compiled = stator.compile(Mixed(), [x], **FAST)
    assert compiled.stator_report.engines
    with pytest.raises(TypeError, match=r"'x'.*torch\.sparse_coo"):
        compiled(x.to_sparse())
    with pytest.raises(ValueError, match=r"'x' is torch\.float64"):
        compiled(x.double())
    with pytest.raises(TypeError, match="there is no argument 'y'"):
        compiled(x, y=x)
