# SPDX-License-Identifier: Apache-2.0
"""Results have the strides of eager PyTorch's, and who reads strides reads the right ones."""

import io

import pytest
import stator
import torch
import torch.nn.functional as F
from torch import nn

from tests.correctness.layouts import DOORS, check_memory, compile_by, memory
from tests.ops.check import Call

LAST = torch.channels_last
LAST3D = torch.channels_last_3d


def image(*shape):
    return torch.randn(*(shape or (2, 3, 4, 5))).to(memory_format=LAST)


def _conv(**options):
    torch.manual_seed(0)
    return nn.Conv2d(3, 8, 3, padding=1).to(**options)


class Residual(nn.Module):
    """A part of a network for images: what it gives keeps the channels last."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        return F.max_pool2d(x + self.second(x), 2)


CHANNELS_LAST = {
    "pointwise": lambda x: torch.relu(x) * 2 + 1,
    "scalar": lambda x: torch.exp(x) / 3,
    "two": lambda x: x * torch.sigmoid(x),
    "broadcast": lambda x: x + torch.ones(3, 1, 1),
    "rows": lambda x: x * x.new_ones(5),
    "convolution": _conv(),
    "weights": _conv(memory_format=LAST),
    "residual": Residual(),
    "max_pool": lambda x: F.max_pool2d(torch.relu(x), 2),
    "avg_pool": lambda x: F.avg_pool2d(x + 1, 2),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x * 2, 2),
    "nearest": lambda x: F.interpolate(x + 0, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x + 0, size=(7, 3), mode="bilinear"),
    "batch_norm": lambda x: F.batch_norm(x, torch.zeros(3), torch.ones(3)),
    "cat": lambda x: torch.cat([x, x * 2], 1),
    "softmax": lambda x: torch.softmax(x, 1),
    "where": lambda x: torch.where(x > 0, x, -x),
    "pad": lambda x: F.pad(x * 2, (1, 1, 1, 1)),
    "roll": lambda x: torch.roll(x, 1, 2) * 2,
    "flip": lambda x: torch.flip(x, (0,)) + 1,
    "mean": lambda x: (x * 2).mean(1, keepdim=True),
    "cast": lambda x: (x * 2).to(torch.float16),
    "integers": lambda x: (x * 2).to(torch.int64) + 1,
    "compare": lambda x: x > 0.5,
    "clamp": lambda x: x.clamp(-1, 1),
    "contiguous": lambda x: (x * 2).contiguous(),
    "clone": lambda x: (x * 2).clone(),
    "both": lambda x: (x * 2, (x * 3).contiguous()),
    "permuted": lambda x: (x * 2).permute(0, 2, 3, 1),
    "flattened": lambda x: (x * 2).flatten(1) + 1,
    "one_pixel": lambda x: F.adaptive_avg_pool2d(torch.relu(x), 1),
}


# torch.export notes rows for what a GPU's kernel gives as channels_last: of few channels, or in a
# composite convolution (as of PyTorch 2.11). The compiled program gives what was noted.
NOTED_AS_ROWS_ON_A_GPU = {"convolution", "weights", "residual", "nearest", "bilinear"}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", CHANNELS_LAST)
def test_channels_last(name, door, device):
    if device == "cuda" and name in NOTED_AS_ROWS_ON_A_GPU:
        pytest.skip("PyTorch's fake operators note other strides than its kernels give")
    check_memory(CHANNELS_LAST[name], image(), device=device, door=door)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (2, 1, 4, 5), (2, 3, 1, 1), (1, 1, 4, 1)])
def test_sizes_of_one(shape, door, device):
    check_memory(lambda x: torch.relu(x) * 2, image(*shape), device=device, door=door)


ORDERS = {
    "to_channels_last": (lambda x: (x * 2).to(memory_format=LAST), (2, 3, 4, 5)),
    "channels_last_3d": (lambda x: torch.relu(x) + 1, (2, 3, 4, 5, 2)),
    "transpose": (lambda x: (x * 2).transpose(1, 2), (3, 4, 5)),
    "permute": (lambda x: (x + 1).permute(2, 0, 1), (3, 4, 5)),
    "t_then_add": (lambda x: (x @ x.t()).t() + 0.5, (3, 4)),
    "matmul_t": (lambda x: (x @ x.t()).t(), (3, 4)),
    "like": (lambda x: torch.zeros_like(x.t()) + x.t(), (3, 4)),
    "heads": (lambda x: (x * 2).view(2, 4, 2, 3).transpose(1, 2), (2, 4, 6)),
    "heads_contiguous": (
        lambda x: (x * 2).view(2, 4, 2, 3).transpose(1, 2).contiguous().view(2, 2, 12) + 1,
        (2, 4, 6),
    ),
    "expand": (lambda x: (x * 2).expand(4, 3), (3,)),
    "expand_middle": (lambda x: (x * 2).unsqueeze(1).expand(-1, 5, -1), (3, 4)),
    "expand_then_add": (lambda x: (x * 2).expand(4, 3) + 1, (3,)),
    "broadcast_to": (lambda x: torch.broadcast_to(x + 1, (2, 3, 4)), (3, 4)),
    "step": (lambda x: (x * 2)[:, ::2], (3, 4)),
    "columns": (lambda x: (x * 2)[:, 1:3], (3, 4)),
    "select": (lambda x: (x * 2)[:, 0], (3, 4)),
    "last_token": (lambda x: torch.softmax(x, -1)[:, -1], (2, 3, 4)),
    "rows": (lambda x: (x * 2)[1:], (3, 4)),
    "diagonal": (lambda x: (x * 2).diagonal(), (4, 4)),
    "unfold": (lambda x: (x * 2).unfold(0, 3, 1), (8,)),
    "as_strided": (lambda x: torch.as_strided(x * 2, (3, 3), (2, 1), 1), (3, 4)),
    "narrow_transpose": (lambda x: (x * 2).narrow(1, 1, 2).t(), (3, 4)),
    "empty": (lambda x: (x * 2).t(), (0, 4)),
    "outer": (lambda x: torch.outer(x, x).t(), (4,)),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ORDERS)
def test_orders(name, door, device):
    function, shape = ORDERS[name]
    x = torch.randn(shape)
    check_memory(
        function, x.to(memory_format=LAST3D) if len(shape) == 5 else x, device=device, door=door
    )


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["transpose", "gaps", "expanded", "negative_order"])
def test_inputs_of_any_strides(name, door, device):
    x = {
        "transpose": torch.randn(5, 4, 3).transpose(0, 2),
        "gaps": torch.randn(3, 4, 10)[:, :, ::2],
        "expanded": torch.randn(3, 1, 5).expand(3, 4, 5),
        "negative_order": torch.randn(4, 5, 3).permute(2, 0, 1),
    }[name]
    module = Call(lambda x: torch.tanh(x) * x).eval()
    given = x.cuda() if device == "cuda" else x
    compiled = compile_by(door, module, [given], device)
    for _ in range(2):
        got, expected = compiled(given), module(given)
        assert got.stride() == expected.stride()
        torch.testing.assert_close(got, expected)


def test_another_layout_than_the_example(device):
    """Values are right whatever the layout of a call; the strides are those of the example."""
    module = Call(lambda x: F.max_pool2d(torch.relu(x), 2) + 1).eval()
    where = "cuda" if device == "cuda" else "cpu"
    compiled = compile_by("compile", module, [image().to(where)], device)
    for x in (torch.randn(2, 3, 4, 5), torch.randn(2, 4, 3, 5).transpose(1, 2), image()):
        got = compiled(x.to(where))
        torch.testing.assert_close(got, module(x.to(where)))
        assert got.is_contiguous(memory_format=LAST)


# What reads memory by its strides.

ROLLED = {
    "result": lambda x: torch.as_strided(torch.roll(x, -1, 0) + 0, (5, 10), (4, 1), 0),
    "inside": lambda x: torch.as_strided(torch.roll(x, -1, 0) + 0, (5, 10), (4, 1), 0) * 2 + 1,
    "whole": lambda x: torch.as_strided(x * 2, (120,), (1,)) + 1,
    "offset": lambda x: torch.as_strided(x * 2, (3, 2), (7, 2), 5).exp(),
    "scalar": lambda x: torch.as_strided(x * 2, (), (), 7) + 1,
    "permuted": lambda x: torch.as_strided((x * 2).permute(0, 2, 3, 1), (4, 4), (5, 1)) + 1,
    "sliced": lambda x: torch.as_strided((x * 2)[1:], (4, 4), (5, 1), 3) + 1,
    "columns": lambda x: torch.as_strided((x * 2)[:, 1:], (4, 4), (5, 1)) + 1,
    "contiguous": lambda x: torch.as_strided((x * 2).contiguous(), (4, 4), (5, 1)) + 1,
    "of_input": lambda x: torch.as_strided(x, (4, 4), (5, 1), 2) + 1,
    "repeated": lambda x: torch.as_strided(x + 1, (3, 4), (0, 2)) * 2,
    "twice": lambda x: torch.as_strided(
        torch.as_strided(x * 2, (10, 10), (10, 1)).t(), (5, 5), (3, 2), 4) + 1,
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("layout", ["rows", "channels_last"])
@pytest.mark.parametrize("name", ROLLED)
def test_as_strided(name, layout, door, device):
    x = image() if layout == "channels_last" else torch.randn(2, 3, 4, 5)
    check_memory(ROLLED[name], x, device=device, door=door)


def test_as_strided_is_compiled(device):
    compiled = check_memory(ROLLED["inside"], image(), device=device, door="compile")
    assert compiled.stator_report.fallbacks == []


def test_as_strided_in_another_layout_is_an_error(device):
    where = "cuda" if device == "cuda" else "cpu"
    compiled = compile_by("compile", Call(ROLLED["inside"]).eval(), [image().to(where)], device)
    with pytest.raises(ValueError, match=r"was compiled for axes in the order \[0, 2, 3, 1\]"):
        compiled(torch.randn(2, 3, 4, 5, device=where))


BROKEN = {
    "as_strided": lambda y: torch.as_strided(y, (5, 10), (4, 1), 0) * 2,
    "strides": lambda y: y * y.stride(1),
    "branch": lambda y: y + (1 if y.is_contiguous() else 2),
    "view": lambda y: y.permute(0, 2, 3, 1).view(-1) * 2,
    "contiguous_view": lambda y: y.contiguous().view(-1) * 2,
    "preserved": lambda y: torch.empty_like(y).fill_(1) + y,
}


@pytest.mark.parametrize("name", BROKEN)
def test_after_a_graph_break(name, device):
    if device == "cuda" and name == "view":
        pytest.skip("eager refuses it: a GPU's roll gives rows, which cannot be viewed so")

    def function(x):
        y = torch.roll(x, -1, 0) + 0
        torch._dynamo.graph_break()
        return BROKEN[name](y)

    check_memory(function, image(), device=device, door="torch_compile")


SEGMENTS = {
    "as_strided": (lambda x: torch.as_strided(torch.roll(x, -1, 0) + 0, (5, 10), (4, 1)) * 2,
                   "aten.as_strided"),
    "sum_of_view": (lambda x: (x * 2).permute(0, 2, 3, 1).view(-1).sin() + 1, "aten.view"),
    "contiguous": (lambda x: (x * 2).contiguous().view(-1).sin() * 3, "aten.view"),
    "sine": (lambda x: torch.sin(x * 2) + 1, "aten.sin"),
    "last_sine": (lambda x: torch.sin(x * 2), "aten.sin"),
    "pieces": (lambda x: [t.sin() for t in (x * 2).split(2, 1)], "aten.sin"),
    "column": (lambda x: (x * 2)[:, 1].sin() + 1, "aten.sin"),
    "expanded": (lambda x: (x * 2)[:, :1].expand(2, 3, 4, 5).sin() + 1, "aten.sin"),
    "strided_columns": (lambda x: torch.as_strided((x * 2)[:, 1:], (4, 4), (5, 1)) + 1,
                        "aten.as_strided"),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", SEGMENTS)
def test_between_segments(name, door, device):
    """Operators in PyTorch see what an engine gives as they would see it in eager."""
    function, operator = SEGMENTS[name]
    check_memory(
        function, image(), device=device, door=door, torch_executed_ops={f"{operator}.default"}
    )


@pytest.mark.parametrize("door", DOORS)
def test_small_blocks(door, device):
    """What is left to PyTorch because there is little of it has its strides too."""
    for function in (
        lambda x: (x * 2).permute(0, 2, 3, 1).contiguous().view(-1),
        lambda x: (x * 2).contiguous() + 1,
        lambda x: torch.relu(x),
    ):
        check_memory(function, image(), device=device, door=door, min_block_size=10)


@pytest.mark.parametrize("door", DOORS)
def test_dynamic_sizes(door, device):
    module = Call(lambda x: (torch.relu(x) * 2, (x + 1).permute(0, 2, 3, 1), (x * 3)[:, 1:]))
    module = module.eval()
    where = "cuda" if device == "cuda" else "cpu"
    examples = [image(n, 3, 4, w).to(where) for n, w in ((2, 5), (4, 7), (3, 2))]
    if door == "compile":
        batch, width = torch.export.Dim("n", max=64), torch.export.Dim("w", max=64)
        program = torch.export.export(
            module, (examples[0],), dynamic_shapes={"args": ({0: batch, 3: width},)}
        )
        compiled = compile_by(door, program, [examples[0]], device)
    else:
        for x in examples:
            torch._dynamo.mark_dynamic(x, 0)
            torch._dynamo.mark_dynamic(x, 3)
        compiled = compile_by(door, module, examples[:1], device)
    for x in examples:
        got, expected = compiled(x), module(x)
        assert memory(got, [x]) == memory(expected, [x])
        torch.testing.assert_close(got, expected)


def test_saved_programs(tmp_path, device):
    """A saved program gives the same strides, as its fake operators said when it was traced."""
    if device == "reference":
        pytest.skip("the programs are the same")
    x = image().to("cuda" if device == "cuda" else "cpu")
    module = Call(lambda x: (torch.relu(x) * 2 + 1, (x * 2).expand(3, 2, 3, 4, 5), x[1:])).eval()
    compiled = compile_by("compile", module, [x], device)
    stator.save(compiled, tmp_path / "m.pt2", arg_inputs=[x])
    loaded = stator.load(tmp_path / "m.pt2").module()
    assert memory(loaded(x), [x]) == memory(module(x), [x])
    torch.testing.assert_close(loaded(x), module(x))


def test_engines_say_their_orders(device):
    where = "cuda" if device == "cuda" else "cpu"
    module = Call(lambda x: torch.relu(x) * 2).eval()
    compiled = compile_by("compile", module, [image().to(where)], device)
    (module,) = compiled.stator_report.engines
    assert module.engine.inputs[0]["order"] == [0, 2, 3, 1]
    assert module.engine.outputs[0]["order"] == [0, 2, 3, 1]
    assert module.engine.outputs[0]["shape"] == [2, 3, 4, 5]
    again = stator.Engine.from_bytes(module.engine.bytes())
    assert again(image().to(where))[0].is_contiguous(memory_format=LAST)


def test_gradients_are_not_asked_for(device):
    """A module in eval mode with parameters that want gradients gives what eager gives."""
    module = Residual().eval()
    assert any(p.requires_grad for p in module.parameters())
    check_memory(module, image(), device=device, door="torch_compile")


def test_the_program_gives_rows(tmp_path):
    """What is compiled without PyTorch is row-major: there is nobody to ask for strides."""
    module = Call(lambda x: torch.relu(x).permute(0, 2, 3, 1)).eval()
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(module, (image(),)), buffer)
    path = tmp_path / "m.pt2"
    path.write_bytes(buffer.getvalue())
    graph = stator._native.read_pt2(str(path))
    assert "strides [60, 1, 15, 3]" in str(graph)
