# SPDX-License-Identifier: Apache-2.0
"""What models may do around, between and inside engines, and still give PyTorch's results."""

import pytest
import stator
import torch
import torch_tensorrt
from torch import nn

OPTIONS = {"min_block_size": 1, "timing_cache_path": "", "pass_through_build_failures": True}


def compiled(module, *inputs, **settings):
    return stator.compile(module, arg_inputs=list(inputs), **{**OPTIONS, **settings})


def check(module, *inputs, **settings):
    engine = compiled(module, *inputs, **settings)
    torch.testing.assert_close(engine(*inputs), module(*inputs), rtol=1e-4, atol=1e-5)
    return engine


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


PATTERNS = {
    "bij,bjk->bik": [(2, 3, 4), (2, 4, 5)],
    "ij,jk": [(3, 4), (4, 5)],
    "i,j->ij": [(3,), (4,)],
    "ii->": [(4, 4)],
    "ii->i": [(4, 4)],
    "bii->bi": [(2, 4, 4)],
    "...ij,...jk->...ik": [(2, 3, 4, 5), (3, 5, 2)],
    "ij,ij->": [(3, 4), (3, 4)],
    "ijk->kji": [(2, 3, 4)],
    "bqhd,bkhd->bhqk": [(2, 5, 3, 4), (2, 6, 3, 4)],
    "ij,kj,lk->il": [(2, 3), (4, 3), (5, 4)],
    "i->": [(5,)],
}


@torch.no_grad()
@pytest.mark.parametrize("pattern", PATTERNS)
def test_einsum(pattern):
    inputs = [torch.randn(shape) for shape in PATTERNS[pattern]]
    check(Function(lambda *x: torch.einsum(pattern, *x)), *inputs)


@torch.no_grad()
def test_normalizations():
    """A layer norm is one region; what only looks like one is computed as it is written."""
    x = torch.randn(4, 16)
    norm = check(nn.LayerNorm(16).eval(), x)
    (part,) = norm.stator_report.engines
    assert part.build_stats["regions"] == 1

    def written(x):  # std is unbiased, and eps stands outside the root
        return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5)

    check(Function(written), x)
    assert not torch.allclose(written(x), nn.functional.layer_norm(x, (16,)), atol=1e-3)
    check(nn.GroupNorm(4, 16).eval(), torch.randn(2, 16, 5))
    for op in ("matmul", "transpose.int", "sum.dim_IntList", "sum"):
        assert "torch.ops.aten." + op in stator.DYNAMO_CONVERTERS


@torch.no_grad()
def test_programs_exported_without_strictness():
    module, x = nn.Sequential(nn.Linear(8, 8), nn.GELU()).eval(), torch.randn(3, 8)
    for strict in (False, True):
        program = torch.export.export(module, (x,), strict=strict)
        torch.testing.assert_close(compiled(program, x)(x), module(x), rtol=1e-4, atol=1e-5)


FALLBACKS = {
    "a view of an engine's result": lambda x: torch.linalg.qr(x + 1).Q[1:, ::2] * 2,
    "two results": lambda x: (lambda q, r: (q * 2, r + 1))(*torch.linalg.qr(x * 2)),
    "type promotion": lambda x: torch.linalg.matrix_exp(x[:4, :4]) + torch.arange(4) * 2,
    "sizes that depend on data": lambda x: torch.nonzero(x > 0).sum() + (x * 2).sum(),
    "a result without dimensions": lambda x: torch.linalg.matrix_rank(x) + (x * 0).sum(),
    "nothing and something": lambda x: (None, torch.linalg.qr(x).R + 1, None),
    "an input handed through": lambda x: (x, torch.linalg.qr(x).R.abs() + 1),
}


@torch.no_grad()
@pytest.mark.parametrize("name", FALLBACKS)
def test_parts_in_pytorch(name):
    function, x = FALLBACKS[name], torch.randn(6, 5)
    engine = compiled(Function(function), x)
    expected, given = function(x), engine(x)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)
    assert engine.stator_report.total_operators > engine.stator_report.supported_operators
    torch._dynamo.reset()
    jit = torch.compile(Function(function), backend="stator", options=OPTIONS)
    torch.testing.assert_close(jit(x), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_random_numbers_come_from_pytorch():
    module, x = Function(lambda x: torch.rand_like(x * 2) + x * 0), torch.zeros(3, 4)
    engine = compiled(module, x)
    torch.manual_seed(5)
    expected = module(x)
    torch.manual_seed(5)
    torch.testing.assert_close(engine(x), expected)


@torch.no_grad()
def test_borders_copy_nothing():
    """What an engine gives is what PyTorch's part gets, and its result goes on as it is."""
    seen = []

    @torch.library.custom_op("stator_test::look", mutates_args=())
    def look(x: torch.Tensor) -> torch.Tensor:
        result = x.clone()
        seen.append((x.data_ptr(), result.data_ptr()))
        return result

    @look.register_fake
    def _(x):
        return torch.empty_like(x)

    class Module(nn.Module):
        def forward(self, x):
            y = torch.relu(x * 2)
            z = torch.ops.stator_test.look(y)
            return y, z, z + 1

    x = torch.randn(64, 64)
    y, z, _ = compiled(Module(), x)(x)
    assert seen[-1] == (y.data_ptr(), z.data_ptr())


@torch.no_grad()
def test_past_pytorchs_recompile_limit():
    """After its limit PyTorch runs a function eagerly; results stay right."""
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval()
    torch._dynamo.reset()
    jit = torch.compile(module, backend="stator", dynamic=False, options=OPTIONS)
    for rows in range(2, 16):
        x = torch.randn(rows, 8)
        torch.testing.assert_close(jit(x), module(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_each_graph_has_its_display(capsys):
    def function(x):
        y = torch.relu(x) * 2
        torch._dynamo.graph_break()
        return torch.sigmoid(y) + 1

    torch._dynamo.reset()
    jit = torch.compile(function, backend="stator", options={**OPTIONS, "dryrun": True})
    x = torch.randn(4, 4)
    torch.testing.assert_close(jit(x), function(x))
    assert capsys.readouterr().out.count("Dry-Run Results for Graph") == 2


def test_a_just_in_time_module_is_not_saved(tmp_path):
    jit = torch.compile(nn.ReLU(), backend="stator", options=OPTIONS)
    with pytest.raises(TypeError, match=r"torch\.compile.*stator\.compile"):
        torch_tensorrt.save(jit, tmp_path / "m.pt2", arg_inputs=[torch.randn(3)])


def test_models_that_cannot_be_exported():
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.from_numpy(x.detach().numpy() * 2)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2

    module = Function(lambda x: Own.apply(x) + (1 if x.sum().item() > 0 else 2))
    with pytest.raises(torch_tensorrt.ExportError) as raised:
        torch_tensorrt.dynamo.trace(module, [torch.randn(3)])
    text = str(raised.value)
    assert "strict=False" in text and "scaled_dot_product_attention" in text
