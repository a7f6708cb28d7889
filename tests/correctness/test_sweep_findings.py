# SPDX-License-Identifier: Apache-2.0
"""What scripts/sweep_operators.py found, one form of each kind."""

import pytest
import torch
from stator import compile as compile_program
from stator.lowering.passes import TORCH_TRT_DECOMPOSITIONS
from torch import nn
from torch.export import Dim, export
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.nn import functional as F

from tests.ops.check import Call, assert_same, check

# PyTorch 2.11 forgets a symbol once it has put a number in its place; the call is then refused.
refuses_questions = pytest.mark.skipif(
    not hasattr(ShapeEnv, "error_on_new_guards"), reason="this PyTorch answers and forgets the size"
)

EMPTY = torch.empty((2, 0), dtype=torch.int64)


def check_dynamic(function, device, *calls):
    """Every size above 1 of the first call's tensors may vary."""
    place = "cuda" if device == "cuda" else "cpu"
    calls = [[t.to(place) for t in tensors] for tensors in calls]
    sizes = tuple({k: Dim.AUTO for k, s in enumerate(t.shape) if s > 1} for t in calls[0])
    module: nn.Module = Call(function).eval()
    program = export(module, tuple(calls[0]), dynamic_shapes={"args": sizes}, strict=False)
    compiled = compile_program(
        program, device=device, min_block_size=1, optimization_level=0, timing_cache_path="",
        pass_through_build_failures=True, disable_tf32=True,
    )  # fmt: skip
    for tensors in calls:
        assert_same(compiled(*tensors), module(*tensors))
    return compiled


@pytest.mark.parametrize("x", [torch.randn(5), torch.arange(6).reshape(1, 2, 3)])
def test_gather_by_an_empty_index_of_another_rank(device, x):
    check(lambda x, i: torch.gather(x, 0, i), x, EMPTY, device=device)


@pytest.mark.parametrize("adds", [False, True])
def test_scatter_by_an_empty_index_of_another_rank(device, adds):
    def scatter(x, i, s):
        return torch.scatter_add(x, 0, i, s) if adds else torch.scatter(x, 0, i, s)

    check(scatter, torch.randn(5), EMPTY, torch.randn(2, 0), device=device)


@pytest.mark.parametrize("steps", [2, 17])
def test_more_differences_than_elements_of_a_symbolic_size(device, steps):
    def calls(n):
        return [torch.randn(n, n) for _ in range(3)]

    # More steps than elements: torch.export fixes the size, and other sizes are refused.
    sizes = (3,) if steps == 17 else (3, 4)
    check_dynamic(
        lambda x, y, z: torch.diff(x, steps, -1, y, z), device, *(calls(n) for n in sizes)
    )


def test_a_product_is_split_along_symbolic_axes(device):
    """The views between a product and what follows it are more than the bounds can prove."""

    def split(x, w):
        return (x @ w.flatten(1)).view(-1, *w.shape[1:]).transpose(1, 2).relu() * 2

    def flat(x, w):
        return (x @ w.flatten(1)).view(-1, *w.shape[1:]).relu() * 2

    for function in (split, flat):
        check_dynamic(
            function, device, [torch.randn(3, 4), torch.randn(4, 5, 6)],
            [torch.randn(7, 2), torch.randn(2, 3, 9)],
        )  # fmt: skip


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y, z: F.margin_ranking_loss(x * 2, y, z, reduction="none"),
        lambda x, y, z: F.hinge_embedding_loss(x + y, z, reduction="none"),
    ],
)
def test_a_composite_operator_that_pytorch_cannot_decompose(device, loss):
    calls = [[torch.randn(n), torch.randn(n), torch.ones(n)] for n in (5, 7)]
    check_dynamic(loss, device, *calls)


@refuses_questions
def test_decomposing_keeps_sizes_open(device):
    def function(x, i):
        return F.max_unpool1d(x, i, 3) * 2

    calls = [[torch.randn(1, c, 1), torch.ones(1, c, 1, dtype=torch.int64)] for c in (2, 4)]
    check_dynamic(function, device, *calls)


def test_decomposing_fixes_no_size_behind_the_program(device):
    """Tracing the diagonal's size again takes a range for a number, in both programs at once."""
    check_dynamic(lambda x: torch.diag(x, 2), device, [torch.randn(5, 3)], [torch.randn(2, 2)])


@torch.library.custom_op("stator_test::fraction", mutates_args=())
def fraction(x: torch.Tensor) -> torch.Tensor:
    return torch.frac(x)


@fraction.register_fake
def _(x):
    return torch.empty_like(x)


@refuses_questions
def test_a_decomposition_that_asks_for_a_size_is_not_taken(device):
    """The answer would hold for the traced size alone."""

    def by_size(x):
        return torch.frac(x) if x.shape[0] == 4 else x - torch.trunc(x)

    operator = torch.ops.stator_test.fraction.default
    TORCH_TRT_DECOMPOSITIONS[operator] = by_size
    try:
        calls = [[torch.randn(n) * 3] for n in (4, 5)]
        check_dynamic(lambda x: fraction(x) * 2, device, *calls)
    finally:
        del TORCH_TRT_DECOMPOSITIONS[operator]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_distances_of_integers_wrap_around(device, dtype):
    x, y = torch.randint(0, 100, (2, 5, 4)).to(dtype)
    check(F.pairwise_distance, x, y, device=device)
    check(lambda a, b, c: F.triplet_margin_loss(a, b, c), x, y, x + y, device=device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_sign_of_nan_is_zero(device, dtype):
    x = torch.tensor([float("nan"), -float("inf"), -0.0, 0.0, 2.5], dtype=dtype)
    check(lambda x: (torch.sign(x), torch.sgn(x) * 2), x, device=device)


def test_a_recurrence_is_followed_once(device):
    """Each value is read twice: followed along every path, forty steps would never end."""

    def chebyshev(x):
        before, now = x, x + 1
        for _ in range(40):
            before, now = now, 2 * x * now - before
        return now

    check(chebyshev, torch.rand(16), device=device, rtol=1e-3)


def test_copies_of_empty_tensors_of_any_strides(device):
    x = torch.randn(0, 3, 5, 0, 2).transpose(1, 3)
    check(lambda x: (x.clone(memory_format=torch.contiguous_format), x.contiguous() + 1), x,
          device=device)  # fmt: skip


@pytest.mark.parametrize("shape", [(), (5,), (10, 5)])
def test_margins_of_several_labels_are_those_of_the_kernel(device, shape):
    """PyTorch's decomposition counts labels behind the first -1."""
    x, labels = torch.randn(shape), torch.randint(-1, 5, shape) if shape else torch.tensor(0)
    check(F.multilabel_margin_loss, x, labels, device=device, compiled_whole=False)


def test_running_statistics_of_an_empty_batch_stay(device):
    def function(x, mean, variance):
        return F.batch_norm(x, mean, variance, training=True)

    mean, variance = torch.randn(3), torch.rand(3)
    calls = [[torch.randn(4, 3), mean.clone(), variance.clone()]]
    compiled = check_dynamic(function, device, *calls)
    place = "cuda" if device == "cuda" else "cpu"
    state = [t.clone().to(place) for t in (mean, variance)]
    compiled(torch.randn(0, 3, device=place), *state)
    torch.testing.assert_close(state, [mean.to(place), variance.to(place)], rtol=0, atol=0)
    x = torch.randn(6, 3, device=place)
    compiled(x, *state)
    assert not torch.equal(state[0].cpu(), mean)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resized_bytes(device, mode):
    """PyTorch's kernels average bytes in fixed point, its decompositions in floats."""
    x = torch.randint(0, 255, (1, 3, 10, 11), dtype=torch.uint8)
    if device != "cuda":
        check(lambda x: F.interpolate(x, size=(5, 7), mode=mode), x, device=device, rtol=0, atol=0,
              compiled_whole=False)  # fmt: skip


def test_extremes_of_halves_need_no_library(device):
    """LLVM would narrow a maximum of widened halves to one of halves, which is a call."""
    x = torch.randn(5, 7).half()
    check(lambda x: torch.masked.var(x, 1, mask=x > 0, unbiased=True), x, device=device)
    check_dynamic(lambda x: (x.clamp_min(0.1), torch.maximum(x, x.flip(0)), x.amax(1)), device,
                  [x], [torch.randn(1, 3).half()])  # fmt: skip
