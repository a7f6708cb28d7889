# SPDX-License-Identifier: Apache-2.0
"""Converters, layers and lowering passes written in Python."""

import copy
import importlib
import itertools
import logging

import numpy as np
import pytest
import stator
import torch
from torch import nn
from torch_tensorrt.dynamo.conversion import (
    DYNAMO_CONVERTERS,
    ConverterPriority,
    TRTInterpreter,
    dynamo_tensorrt_converter,
)
from torch_tensorrt.dynamo.conversion.converter_utils import auto_generate_converter
from torch_tensorrt.dynamo.lowering import TORCH_TRT_DECOMPOSITIONS
from torch_tensorrt.dynamo.lowering.passes._aten_lowering_pass import (
    _aten_lowering_pass,
    _remove_lowering_pass,
)

trt = importlib.import_module("tensorrt")  # after torch_tensorrt, which provides it
OPTIONS = {"min_block_size": 1, "timing_cache_path": "", "pass_through_build_failures": True}


@torch.library.custom_op("stator_test::swap", mutates_args=())
def swap(x: torch.Tensor, y: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    return y * scale, x.clone()


@swap.register_fake
def _(x, y, scale):
    return torch.empty_like(y), torch.empty_like(x)


@torch.library.custom_op("stator_test::affine", mutates_args=())
def affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return x * weight + bias


@affine.register_fake
def _(x, weight, bias):
    return torch.empty_like(x)


class Affine(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8)), nn.Parameter(torch.randn(8))

    def forward(self, x):
        return torch.relu(torch.ops.stator_test.affine(torch.relu(x), self.weight, self.bias))


class Swap(nn.Module):
    def forward(self, x, y):
        a, b = torch.ops.stator_test.swap(x + 1, y, 2.0)
        return a - b


def compiled(module, *inputs, **options):
    return stator.compile(module, arg_inputs=list(inputs), **{**OPTIONS, **options})


def doors(module, inputs, **options):
    """Both ways to compile, as functions."""
    yield compiled(module, *inputs, **options)
    torch._dynamo.reset()
    yield torch.compile(module, backend="stator", options={**OPTIONS, **options})


def runs_whole(module):
    report = module.stator_report
    return report.supported_operators == report.total_operators


@pytest.fixture
def registered():
    """Converters made here are gone afterwards."""
    before = copy.copy(DYNAMO_CONVERTERS._python)
    yield
    DYNAMO_CONVERTERS._python.clear()
    DYNAMO_CONVERTERS._python.update(before)


def affine_converter(seen):
    def converter(ctx, target, args, kwargs, name):
        seen.append((target, args, name))
        x, weight, bias = args
        shape = (1, *weight.shape)
        scaled = ctx.net.add_elementwise(
            x, ctx.net.add_constant(shape, weight).get_output(0), trt.ElementWiseOperation.PROD
        )
        scaled.name = name + "_scaled"
        shifted = ctx.net.add_elementwise(
            scaled.get_output(0),
            ctx.net.add_constant(shape, bias.detach().numpy()).get_output(0),
            trt.ElementWiseOperation.SUM,
        )
        return shifted.get_output(0)

    return converter


@torch.no_grad()
def test_a_converter_with_weights_through_both_doors(registered):
    op, seen = torch.ops.stator_test.affine.default, []
    module, x = Affine().eval(), torch.randn(3, 8)
    assert op not in DYNAMO_CONVERTERS
    assert not runs_whole(compiled(module, x))
    dynamo_tensorrt_converter(op)(affine_converter(seen))
    assert op in DYNAMO_CONVERTERS and torch.ops.stator_test.affine in DYNAMO_CONVERTERS
    for call in doors(module, [x]):
        torch.testing.assert_close(call(x), module(x))
    assert len(seen) == 2
    _, (given, weight, _), name = seen[0]
    assert given.shape == (3, 8) and given.dtype is trt.float32
    assert isinstance(weight, torch.Tensor) and torch.equal(weight, module.weight)
    assert "affine" in name
    assert runs_whole(compiled(module, x))


@torch.no_grad()
def test_two_results_and_dynamic_shapes(registered):
    seen = []

    @dynamo_tensorrt_converter(torch.ops.stator_test.swap.default, supports_dynamic_shapes=True)
    def converter(ctx, target, args, kwargs, name):
        x, y, scale = args
        seen.append(y.shape)
        by = ctx.net.add_constant((1, 1), np.full((1, 1), scale, np.float32)).get_output(0)
        product = ctx.net.add_elementwise(y, by, trt.ElementWiseOperation.PROD)
        return product.get_output(0), ctx.net.add_identity(x).get_output(0)

    rows = torch.export.Dim("rows", min=2, max=16)
    inputs = (torch.randn(4, 5), torch.randn(4, 5))
    program = torch.export.export(Swap(), inputs, dynamic_shapes=[{0: rows}, {0: rows}])
    engine = compiled(program, *inputs)
    assert seen == [(-1, 5)]
    assert runs_whole(engine)
    for count in (2, 4, 16):
        x, y = torch.randn(count, 5), torch.randn(count, 5)
        torch.testing.assert_close(engine(x, y), Swap()(x, y))


def test_sizes_that_a_converter_does_not_take(registered):
    """supports_dynamic_shapes is False by default; the setting overrules it."""
    calls = []
    dynamo_tensorrt_converter(torch.ops.stator_test.affine.default)(affine_converter(calls))
    rows = torch.export.Dim("rows", min=2, max=16)
    program = torch.export.export(Affine(), (torch.randn(4, 8),), dynamic_shapes=[{0: rows}])
    assert not runs_whole(compiled(program, torch.randn(4, 8)))
    assert runs_whole(compiled(program, torch.randn(4, 8), assume_dynamic_shape_support=True))
    assert len(calls) == 1


@torch.no_grad()
def test_a_validator_decides_for_each_node(registered):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(8))

        def forward(self, x):
            op = torch.ops.stator_test.affine
            return op(x, self.w, self.w), op(x[:, :4] + 0, self.w[:4] + 0, self.w[4:] + 0)

    asked, seen = [], []

    def wide(node, settings):
        asked.append(settings.min_block_size)
        return node.meta["val"].shape[1] == 8

    op = torch.ops.stator_test.affine.default
    dynamo_tensorrt_converter(op, capability_validator=wide)(affine_converter(seen))
    module, x = Two().eval(), torch.randn(3, 8)
    engine = compiled(module, x)
    assert asked == [1, 1] and len(seen) == 1
    torch.testing.assert_close(engine(x), module(x))
    assert engine.stator_report.total_operators - engine.stator_report.supported_operators == 1


@torch.no_grad()
def test_priorities(registered):
    """HIGH comes before the compiler's own converter; what a validator refuses goes on."""
    calls = []

    def relu(tag, accept=True, **options):
        @dynamo_tensorrt_converter(
            torch.ops.aten.relu.default, capability_validator=lambda n, s: accept, **options
        )
        def converter(ctx, target, args, kwargs, name):
            calls.append(tag)
            return ctx.net.add_activation(args[0], trt.ActivationType.SIGMOID).get_output(0)

    module, x = nn.ReLU(), torch.randn(3, 4)
    relu("standard")
    torch.testing.assert_close(compiled(module, x)(x), module(x))
    assert calls == []
    relu("refuses", accept=False, priority=ConverterPriority.HIGH)
    torch.testing.assert_close(compiled(module, x)(x), module(x))
    relu("off", enabled=False, priority=ConverterPriority.HIGH)
    relu("high", priority=ConverterPriority.HIGH)
    torch.testing.assert_close(compiled(module, x)(x), torch.sigmoid(x))
    assert calls == ["high"]


@torch.no_grad()
def test_a_converter_that_fails(registered, caplog):
    @dynamo_tensorrt_converter(torch.ops.stator_test.affine.default)
    def converter(ctx, target, args, kwargs, name):
        raise RuntimeError("no such layer")

    module, x = Affine().eval(), torch.randn(3, 8)
    with pytest.raises(RuntimeError, match=r"affine.*test_converters.py.*no such layer"):
        compiled(module, x)
    log = logging.getLogger("torch_tensorrt")
    log.addHandler(caplog.handler)
    try:
        engine = compiled(module, x, pass_through_build_failures=False)
    finally:
        log.removeHandler(caplog.handler)
    assert "runs in PyTorch" in caplog.text and "no such layer" in caplog.text
    torch.testing.assert_close(engine(x), module(x))


def test_excluded_operators_are_not_converted(registered):
    seen = []
    dynamo_tensorrt_converter(torch.ops.stator_test.affine.default)(affine_converter(seen))
    module, x = Affine().eval(), torch.randn(3, 8)
    engine = compiled(module, x, torch_executed_ops={"torch.ops.stator_test.affine"})
    assert seen == [] and not runs_whole(engine)
    compiled(module, x, torch_executed_ops={"torch.ops.not_loaded.anything"})
    assert len(seen) == 1


def test_results_are_checked(registered):
    @dynamo_tensorrt_converter(torch.ops.stator_test.affine.default)
    def converter(ctx, target, args, kwargs, name):
        return ctx.net.add_reduce(args[0], trt.ReduceOperation.SUM, 2, False).get_output(0)

    with pytest.raises(RuntimeError, match="1 dimensions, the operator's has 2"):
        compiled(Affine().eval(), torch.randn(3, 8))


@torch.no_grad()
def test_a_generated_converter(registered):
    module, x = Affine().eval(), torch.randn(3, 8)
    auto_generate_converter(torch.ops.stator_test.affine)
    assert torch.ops.stator_test.affine.default in DYNAMO_CONVERTERS
    for call in doors(module, [x]):
        torch.testing.assert_close(call(x), module(x))
    assert runs_whole(compiled(module, x))
    auto_generate_converter(torch.ops.stator_test.swap.default)
    pair = torch.randn(2, 3), torch.randn(2, 3)
    engine = compiled(Swap(), *pair)
    torch.testing.assert_close(engine(*pair), Swap()(*pair))
    assert runs_whole(engine)
    with pytest.raises(TypeError, match="no operator"):
        auto_generate_converter(torch.relu)


X = torch.randn(2, 3, 4, 5)
LAYERS = {
    "activation": (lambda n, x: n.add_activation(x, trt.ActivationType.GELU_ERF),
                   nn.functional.gelu),
    "unary": (lambda n, x: n.add_unary(x, trt.UnaryOperation.EXP), torch.exp),
    "cast": (lambda n, x: n.add_cast(x, trt.int32), lambda x: x.to(torch.int32)),
    "reduce": (lambda n, x: n.add_reduce(x, trt.ReduceOperation.AVG, 0b1010, True),
               lambda x: x.mean((1, 3), keepdim=True)),
    "product": (lambda n, x: n.add_reduce(x, trt.ReduceOperation.PROD, 0b1100, False),
                lambda x: x.prod(3).prod(2)),
    "softmax": (lambda n, x: set_(n.add_softmax(x), axes=1 << 3), lambda x: x.softmax(3)),
    "softmax by default": (lambda n, x: n.add_softmax(x), lambda x: x.softmax(1)),
    "shuffle": (lambda n, x: set_(n.add_shuffle(x), first_transpose=(0, 2, 1, 3),
                                  reshape_dims=(0, 4, -1), second_transpose=(2, 1, 0)),
                lambda x: x.permute(0, 2, 1, 3).reshape(2, 4, 15).permute(2, 1, 0)),
    "squeeze": (lambda n, x: n.add_squeeze(n.add_unsqueeze(x, (0, 2)).get_output(0), (0,)),
                lambda x: x.unsqueeze(1)),
    "concatenation": (lambda n, x: set_(n.add_concatenation([x, x]), axis=2),
                      lambda x: torch.cat([x, x], 2)),
    "slice": (lambda n, x: n.add_slice(x, (0, 1, 0, 1), (2, 2, 2, 2), (1, 1, 2, 2)),
              lambda x: x[:, 1:3, 0:4:2, 1:5:2]),
    "slice backwards": (lambda n, x: n.add_slice(x, (0, 0, 0, 4), (2, 3, 4, 5), (1, 1, 1, -1)),
                        lambda x: x.flip(3)),
    "gather": (lambda n, x: n.add_gather(x, torch.tensor([[2, 0], [1, 1]]), 1),
               lambda x: x[:, torch.tensor([[2, 0], [1, 1]])]),
    "top k": (lambda n, x: n.add_topk(x, trt.TopKOperation.MAX, 2, 1 << 3),
              lambda x: x.topk(2, 3).values),
    "matrix product": (
        lambda n, x: n.add_matrix_multiply(x, trt.MatrixOperation.NONE, x,
                                           trt.MatrixOperation.TRANSPOSE),
        lambda x: x @ x.mT),
    "einsum": (lambda n, x: n.add_einsum([x, x], "abij,abkj->abik"), lambda x: x @ x.mT),
    "scale": (lambda n, x: n.add_scale(x, trt.ScaleMode.CHANNEL, np.ones(3, np.float32),
                                       np.arange(3, dtype=np.float32), None),
              lambda x: x * torch.arange(3.0).reshape(3, 1, 1) + 1),
    "convolution": (
        lambda n, x: set_(n.add_convolution_nd(x, 4, (3, 3), np.ones((4, 3, 3, 3), np.float32),
                                               np.ones(4, np.float32)), padding_nd=(1, 1)),
        lambda x: nn.functional.conv2d(x, torch.ones(4, 3, 3, 3), torch.ones(4), padding=1)),
    "convolution padded to one side": (
        lambda n, x: set_(n.add_convolution_nd(x, 2, (2, 2), np.ones((2, 3, 2, 2), np.float32)),
                          padding_mode=trt.PaddingMode.SAME_UPPER),
        lambda x: nn.functional.conv2d(nn.functional.pad(x, (0, 1, 0, 1)), torch.ones(2, 3, 2, 2))),
    "deconvolution": (
        lambda n, x: set_(n.add_deconvolution_nd(x, 2, (2, 2), np.ones((3, 2, 2, 2), np.float32)),
                          stride_nd=(2, 2)),
        lambda x: nn.functional.conv_transpose2d(x, torch.ones(3, 2, 2, 2), stride=2)),
    "pooling": (lambda n, x: set_(n.add_pooling_nd(x, trt.PoolingType.MAX, (2, 2)),
                                  stride_nd=(1, 1)),
                lambda x: nn.functional.max_pool2d(x, 2, 1)),
    "mean pooling": (lambda n, x: n.add_pooling_nd(x, trt.PoolingType.AVERAGE, (2, 2)),
                     lambda x: nn.functional.avg_pool2d(x, 2)),
    "padding": (lambda n, x: n.add_padding_nd(x, (1, 0), (0, 2)),
                lambda x: nn.functional.pad(x, (0, 2, 1, 0))),
    "normalization": (
        lambda n, x: n.add_normalization(x, torch.ones(1, 1, 1, 5), torch.zeros(1, 1, 1, 5), 8),
        lambda x: nn.functional.layer_norm(x, (5,))),
    "group norm": (
        lambda n, x: set_(n.add_normalization(x, torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1),
                                              0b1100), num_groups=3),
        lambda x: nn.functional.group_norm(x, 3)),
    "select": (lambda n, x: n.add_select(
        n.add_elementwise(x, np.zeros((1, 1, 1, 1), np.float32),
                          trt.ElementWiseOperation.GREATER).get_output(0), x, x),
               lambda x: x),
    "resize": (lambda n, x: set_(n.add_resize(x), shape=(2, 3, 8, 10)),
               lambda x: nn.functional.interpolate(x, (8, 10))),
    "parametric relu": (lambda n, x: n.add_parametric_relu(x, torch.full((1, 1, 1, 1), 0.5)),
                        lambda x: nn.functional.leaky_relu(x, 0.5)),
    "cumulative": (lambda n, x: n.add_cumulative(x, 2, trt.CumulativeOperation.SUM, False, False),
                   lambda x: x.cumsum(2)),
}  # fmt: skip


def set_(layer, **attributes):
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


@torch.library.custom_op("stator_test::same", mutates_args=())
def same(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return like.clone()


@same.register_fake
def _(x, like):
    return torch.empty_like(like)


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, registered):
    build, expected = LAYERS[name]
    like = expected(X)

    class Module(nn.Module):
        def forward(self, x):
            return torch.ops.stator_test.same(x, like)

    @dynamo_tensorrt_converter(torch.ops.stator_test.same.default)
    def converter(ctx, target, args, kwargs, name):
        return build(ctx.net, args[0]).get_output(0)

    torch.testing.assert_close(compiled(Module(), X)(X), like, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", list(trt.ActivationType), ids=lambda k: k.name)
def test_activations_are_functions_of_each_element(kind):
    x = torch.linspace(-3, 3, 13)
    y = kind.function(x, kind.alpha, kind.beta)
    assert y.shape == x.shape and torch.isfinite(y).all()


def test_what_the_layer_api_lacks_is_named():
    net = trt.INetworkDefinition()
    with pytest.raises(AttributeError, match="no add_loop; it has: add_activation"):
        net.add_loop()
    layer = net.add_activation(np.zeros(3, np.float32), trt.ActivationType.RELU)
    with pytest.raises(AttributeError, match="Activation has no attribute 'axes'; it has: type"):
        layer.axes = 3
    x = torch.zeros(1, 3, 8, 8)
    for kind in (trt.PoolingType.MAX, trt.PoolingType.AVERAGE):
        for changes in (
            {"padding_mode": trt.PaddingMode.EXPLICIT_ROUND_UP},
            {"padding_mode": trt.PaddingMode.SAME_UPPER},
            {"pre_padding": (1, 1)},
        ):
            layer = set_(net.add_pooling_nd(x, kind, (3, 3)), **changes)
            with pytest.raises(ValueError, match="is not available; EXPLICIT_ROUND_DOWN"):
                layer.get_output(0).value  # noqa: B018
    weights = np.ones((3, 2, 2, 2), np.float32)
    layer = set_(net.add_deconvolution_nd(x, 2, (2, 2), weights), pre_padding=(1, 1))
    with pytest.raises(ValueError, match="the same on both sides"):
        layer.get_output(0).value  # noqa: B018
    with pytest.raises(AttributeError, match=r"no tensorrt.Builder; it has: .*ActivationType"):
        trt.Builder  # noqa: B018


def test_an_installed_tensorrt_is_not_hidden(tmp_path):
    import subprocess
    import sys

    (tmp_path / "tensorrt.py").write_text("installed = True\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import torch_tensorrt, tensorrt;"
    subprocess.run([sys.executable, "-c", code + "assert tensorrt.installed"], check=True)


@pytest.fixture
def passes():
    from stator.lowering.passes import _passes

    before = list(_passes)
    yield
    _passes[:] = before


@torch.no_grad()
def test_lowering_passes(passes):
    order = []

    @_aten_lowering_pass
    def last(gm, settings):
        order.append("last")
        return gm

    @_aten_lowering_pass(index=0)
    def first(gm, settings):
        assert isinstance(settings, stator.CompilationSettings)
        order.append("first")
        for node in list(gm.graph.nodes):
            if node.target is torch.ops.aten.add.Tensor:
                with gm.graph.inserting_after(node):
                    new = gm.graph.call_function(torch.ops.aten.sub.Tensor, node.args)
                node.replace_all_uses_with(new)
                gm.graph.erase_node(node)
        gm.recompile()
        return gm

    class Module(nn.Module):
        def forward(self, x, y):
            return torch.relu(x + y)

    x, y = torch.randn(3, 4), torch.randn(3, 4)
    for call in doors(Module(), [x, y]):
        torch.testing.assert_close(call(x, y), torch.relu(x - y))
    assert order == ["first", "last"] * 2
    assert _remove_lowering_pass(index=0) is first
    torch.testing.assert_close(compiled(Module(), x, y)(x, y), torch.relu(x + y))


def test_passes_that_are_wrong(passes):
    module, x = nn.ReLU(), torch.randn(3)

    @_aten_lowering_pass
    def nothing(gm, settings):
        return None

    with pytest.raises(TypeError, match="the lowering pass nothing gave"):
        compiled(module, x)
    _remove_lowering_pass(index=-1)
    with pytest.raises(ValueError, match="no such lowering pass"):
        _remove_lowering_pass(index=99)
    with pytest.raises(TypeError, match="a function is expected"):
        _aten_lowering_pass(3)


@torch.no_grad()
def test_a_tensor_in_the_place_of_a_tuple(passes):
    """The document's pass leaves getitem(new, 0) behind; it must not mean batch 0."""
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default

    @_aten_lowering_pass(index=0)
    def rewrite(gm, settings):
        for node in list(gm.graph.nodes):
            if node.target is flash:
                with gm.graph.inserting_after(node):
                    new = gm.graph.call_function(
                        nn.functional.scaled_dot_product_attention, node.args[:3],
                        {"is_causal": True},
                    )  # fmt: skip
                node.replace_all_uses_with(new)
                gm.graph.erase_node(node)
        return gm

    class Module(nn.Module):
        def forward(self, q, k, v):
            return flash(q, k, v, 0.0, True)[0] + 1

    q, k, v = (torch.randn(2, 3, 8, 16) for _ in range(3))
    engine = compiled(Module(), q, k, v)
    torch.testing.assert_close(engine(q, k, v), Module()(q, k, v), rtol=1e-4, atol=1e-5)
    assert runs_whole(engine)


@torch.no_grad()
def test_decompositions():
    """An operator without a converter is decomposed; popped from the table it runs in PyTorch."""

    class Module(nn.Module):
        def forward(self, x, y):
            return nn.functional.soft_margin_loss(x, y) + torch.relu(x).sum()

    x, y = torch.randn(4, 5), torch.sign(torch.randn(4, 5))
    loss = torch.ops.aten.soft_margin_loss.default
    engine = compiled(Module(), x, y)
    torch.testing.assert_close(engine(x, y), Module()(x, y))
    assert runs_whole(engine)
    kept = TORCH_TRT_DECOMPOSITIONS.pop(loss)
    try:
        engine = compiled(Module(), x, y)
        assert not runs_whole(engine)
        torch.testing.assert_close(engine(x, y), Module()(x, y))
    finally:
        TORCH_TRT_DECOMPOSITIONS[loss] = kept


@torch.no_grad()
def test_the_interpreter_gives_an_engines_bytes():
    program = torch.export.export(Affine().eval(), (torch.randn(3, 8),)).run_decompositions()
    with pytest.raises(stator.UnsupportedError, match="affine"):
        TRTInterpreter(program.graph_module, []).run()
    module = nn.Sequential(nn.Linear(8, 4), nn.ReLU()).eval()
    gm = torch.export.export(module, (torch.randn(3, 8),)).run_decompositions().graph_module
    result = TRTInterpreter(gm, []).run()
    x, state = torch.randn(3, 8), [module[0].weight, module[0].bias]
    (y,) = result.engine(*state, x)
    torch.testing.assert_close(y, module(x))
    assert len(result.input_names) == 3 and len(result.output_names) == 1


def test_every_pair_of_names_is_known():
    for name, other in itertools.pairwise(trt.__all__):
        assert getattr(trt, name) is not None and getattr(trt, other) is not None


DECOMPOSED = {
    "hinge": lambda x: nn.functional.hinge_embedding_loss(x, torch.sign(x)),
    "triplet": lambda x: nn.functional.triplet_margin_loss(x, x.flip(0), x * 2),
    "row stack": lambda x: torch.row_stack([x, x]),
    "gradient": lambda x: torch.gradient(x, dim=1)[0],
    "multi margin": lambda x: nn.functional.multilabel_soft_margin_loss(x, (x > 0).float()),
    "cosine": lambda x: nn.functional.cosine_embedding_loss(x, x.flip(1), torch.ones(4)),
    "isreal": lambda x: torch.isreal(x),
    "chain": lambda x: torch.chain_matmul(x, x.mT, x),
    "diagonal": lambda x: torch.diagflat(x[0]),
    "sinc": lambda x: torch.sinc(x),
    "renorm": lambda x: torch.renorm(x, 2, 0, 1.0),
    "logaddexp": lambda x: torch.logaddexp2(x, x.flip(0)),
    "huber": lambda x: nn.functional.huber_loss(x, x.flip(0)),
}


@torch.no_grad()
@pytest.mark.parametrize("name", DECOMPOSED)
@pytest.mark.parametrize("all_of_them", [False, True])
def test_decomposed_or_not_results_are_right(name, all_of_them):
    class Module(nn.Module):
        def forward(self, x):
            return DECOMPOSED[name](torch.tanh(x))

    x = torch.randn(4, 6)
    settings = {"enable_experimental_decompositions": all_of_them}
    for call in doors(Module(), [x], **settings):
        torch.testing.assert_close(call(x), Module()(x), rtol=1e-4, atol=1e-5)
