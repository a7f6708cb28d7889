# SPDX-License-Identifier: Apache-2.0
"""Layers that only move elements: gathers, resizing, padding, slices set into tensors."""

import pytest
import stator
import torch
import torch.nn.functional as F
from torch import nn

from tests.ops.check import Call, assert_same, check

TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8,
         torch.int8, torch.int32, torch.int64]  # fmt: skip


def some(shape, dtype=torch.float32):
    if dtype == torch.bool:
        return torch.rand(shape) < 0.5
    return (torch.randn(shape) * 20).abs().to(dtype)


def exactly(function, *args, **kwargs):
    check(function, *args, rtol=0, atol=0, **kwargs)


# ---------------------------------------------------------------- gathers


@pytest.mark.parametrize("dtype", TYPES)
def test_gather(dtype, device):
    x, i = some((4, 5, 19), dtype), torch.randint(0, 4, (3, 4, 17))
    for dim in [0, -1] if dtype == torch.float32 else [1]:
        exactly(lambda x, i, d=dim: torch.gather(x, d, i), x, i, device=device)


def test_gather_of_what_is_computed_and_turned(device):
    x, i = torch.randn(6, 5), torch.randint(0, 5, (5, 3))
    exactly(lambda x, i: torch.gather(x.t() * 2, 1, i) + 1, x, i, device=device)
    exactly(lambda x, i: torch.gather(x.t().half(), 1, i).float(), x, i, device=device)
    exactly(lambda x, i: torch.gather(x[1::2].t(), 1, i % 3), x, i, device=device)
    exactly(lambda x, i: torch.gather(x[:, 1:].expand(6, 4), 1, i % 4), x, i, device=device)


def test_gather_with_dynamic_sizes(device):
    others = [[torch.randn(n, 4), torch.randint(0, 4, (n, 4))] for n in (1, 3, 11)]
    others.append([torch.randn(0, 4), torch.zeros(0, 4, dtype=torch.int64)])
    exactly(lambda x, i: torch.gather(x, 1, i), torch.randn(6, 4), torch.randint(0, 4, (6, 4)),
            device=device, dynamic=(0,), others=others)  # fmt: skip


def test_take_along_dim(device):
    x, i = torch.randn(5, 7), torch.randint(-7, 7, (5, 3))
    exactly(lambda x, i: torch.take_along_dim(x, i, 1), x, i, device=device)
    exactly(lambda x, i: torch.take_along_dim(x, i[:1], 1), x, i, device=device)
    exactly(lambda x: torch.take_along_dim(x, x.argsort(1), 1), x, device=device)
    exactly(lambda x, i: torch.take_along_dim(x, i % 35), x, i, device=device)


def out_of_range(compiled, error, sentence, *args):
    with pytest.raises(error, match=sentence):
        compiled(*args)
        torch.cuda.synchronize()  # a GPU's fault is reported by the next call
        compiled(*(t if t.is_floating_point() else torch.zeros_like(t) for t in args))


def test_gather_out_of_range_is_an_error(device):
    x, i = torch.randn(4, 5), torch.randint(0, 4, (4, 5))
    compiled = check(lambda x, i: torch.gather(x, 1, i), x, i, device=device)
    bad = i.clone()
    bad[2, 3] = 5
    given = [x.cuda(), bad.cuda()] if device == "cuda" else [x, bad]
    out_of_range(
        compiled, RuntimeError, "index 5 is out of bounds for dimension 1 with size 5", *given
    )


@pytest.mark.parametrize("dtype", TYPES)
def test_index_tensors(dtype, device):
    x = some((4, 5, 19), dtype)
    i, j, k = torch.tensor([0, 3, -1]), torch.tensor([1, 2, -4]), torch.tensor([-19, 18, 0])
    exactly(lambda x, i, j: x[:, i[:, None], j], x, i, j, device=device)
    if dtype == torch.float32:
        exactly(lambda x, i, j: x[i, j], x, i, j, device=device)
        exactly(lambda x, i, k: x[i, :, k], x, i, k, device=device)
        exactly(lambda x, i, j, k: x[i, j, k], x, i, j, k, device=device)


def test_index_tensors_with_constants(device):
    x = torch.randn(4, 5, 6)
    i, j = torch.tensor([[0], [3]]), torch.tensor([1, 2, -5])
    exactly(lambda x: x[i, j] * 2, x, device=device)
    exactly(lambda x: x[:, i, j].relu(), x, device=device)
    exactly(lambda x: x[j], torch.randn(8, 3), device=device)


def test_index_tensors_of_one_element(device):
    x, i = torch.randn(1, 1), torch.tensor([0, -1, 0])
    compiled = check(lambda x, i: x[i, i], x, i, device=device)
    bad = torch.tensor([0, 1, 0])
    given = [x.cuda(), bad.cuda()] if device == "cuda" else [x, bad]
    out_of_range(compiled, IndexError, "index 1 is out of bounds", *given)


def test_index_tensors_with_dynamic_sizes(device):
    def args(n):
        return [torch.randn(n, 4), torch.arange(n).flip(0), torch.arange(n) % 4]

    exactly(lambda x, i, j: x[i, j], *args(6), device=device, dynamic=(0,),
            others=[args(1), args(13), args(0)])  # fmt: skip


def test_index_tensors_out_of_range_is_an_error(device):
    x, i, j = torch.randn(4, 5), torch.tensor([0, 3]), torch.tensor([1, 4])
    compiled = check(lambda x, i, j: x[i, j], x, i, j, device=device)
    for bad in [(i, torch.tensor([1, 5])), (i, torch.tensor([-6, 0]))]:
        given = [x, *bad]
        given = [t.cuda() for t in given] if device == "cuda" else given
        value = int(bad[1][(bad[1] >= 5) | (bad[1] < -5)])
        out_of_range(
            compiled,
            IndexError,
            f"index {value} is out of bounds for dimension 1 with size 5",
            *given,
        )


# ---------------------------------------------------------------- resizing


FORMATS = pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])


def resized(x, size, **options):
    return lambda x: F.interpolate(x, size=size, **options)


@FORMATS
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("size", [(14, 22), (3, 5), (28, 33), (9, 140)])
def test_nearest(size, mode, format, device):
    x = torch.randn(2, 3, 7, 11).to(memory_format=format)
    exactly(resized(x, size, mode=mode), x, device=device)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_of_other_types(mode, dtype, device):
    x = some((2, 3, 7, 11), dtype)
    exactly(resized(x, (9, 30), mode=mode), x, device=device)
    exactly(resized(x, (14, 22), mode=mode), x, device=device)


@FORMATS
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(14, 22), (3, 5), (9, 30), (1, 1), (7, 11)])
def test_smooth(size, mode, align_corners, format, device):
    x = torch.randn(2, 3, 7, 11).to(memory_format=format)
    check(resized(x, size, mode=mode, align_corners=align_corners), x, device=device)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_smooth_of_other_types(mode, device):
    for dtype, tolerance in [(torch.float64, 1e-9), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]:
        x = torch.randn(2, 3, 7, 11).to(dtype)
        check(resized(x, (9, 30), mode=mode), x, device=device, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("align_corners", [False, True])
def test_lines_and_volumes(align_corners, device):
    line, volume = torch.randn(2, 3, 7), torch.randn(2, 3, 3, 4, 5)
    check(resized(line, 10, mode="linear", align_corners=align_corners), line, device=device)
    check(
        resized(volume, (5, 4, 9), mode="trilinear", align_corners=align_corners),
        volume,
        device=device,
    )
    exactly(resized(line, 10), line, device=device)
    exactly(resized(volume, (6, 8, 10)), volume, device=device)
    exactly(resized(volume, (5, 4, 9), mode="nearest-exact"), volume, device=device)


@pytest.mark.parametrize("factor", [2, 0.5, 1.7, (2.0, 1.0), 1.1])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("recompute", [False, True])
def test_resizing_by_factors(mode, factor, recompute, device):
    x = torch.randn(1, 2, 8, 5)
    options = {"recompute_scale_factor": True} if recompute else {}
    check(lambda x: F.interpolate(x, scale_factor=factor, mode=mode, **options), x, device=device)


def varying(function, least, most, shapes, device, **tolerances):
    """Compiled once for images of `least` to `most`, compared with eager for every shape."""
    module = Call(function).eval()
    module = module.cuda() if device == "cuda" else module
    usual = torch.randn(shapes[0])
    image = stator.Input(min_shape=least, opt_shape=shapes[0], max_shape=most, dtype=usual.dtype)
    compiled = stator.compile(
        module, inputs=[image], device=device, min_block_size=1, optimization_level=0,
        timing_cache_path="", pass_through_build_failures=True,
    )  # fmt: skip
    for shape in shapes:
        x = torch.randn(shape)
        x = x.cuda() if device == "cuda" else x
        assert_same(compiled(x), module(x), **tolerances)
    return compiled


IMAGES = ((1, 3, 2, 2), (4, 3, 60, 60), [(2, 3, 7, 11), (1, 3, 2, 2), (4, 3, 23, 57), (1, 3, 5, 5)])


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("factor", [2, 4, 0.5, 1.7])
def test_resizing_of_images_whose_sizes_vary(mode, factor, device):
    varying(lambda x: F.interpolate(x, scale_factor=factor, mode=mode), *IMAGES, device)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_resizing_to_a_fixed_size(mode, device):
    varying(lambda x: F.interpolate(x, size=(9, 6), mode=mode), *IMAGES, device)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_aligned_resizing_of_images_whose_sizes_vary(mode, device):
    varying(
        lambda x: F.interpolate(x, scale_factor=2, mode=mode, align_corners=True), *IMAGES, device
    )


def test_resizing_between_other_layers(device):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Upsample(scale_factor=2), nn.Conv2d(8, 4, 3),
        nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear"), nn.ReflectionPad2d(2),
        nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"),
    )  # fmt: skip
    check(model, torch.randn(1, 3, 10, 12), device=device)


# ---------------------------------------------------------------- padding


PADS = {
    "one": (1, 1, 1, 1),
    "more": (3, 2, 0, 4),
    "none": (0, 0, 0, 0),
}


@FORMATS
@pytest.mark.parametrize("pad", PADS.values(), ids=PADS.keys())
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_with_own_elements(mode, pad, format, device):
    x = torch.randn(2, 3, 5, 30).to(memory_format=format)
    exactly(lambda x: F.pad(x, pad, mode), x, device=device)
    exactly(lambda x: F.pad(x * 2, pad, mode).relu(), x, device=device)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_of_other_types(mode, dtype, device):
    x = some((2, 3, 20), dtype)
    try:
        F.pad(x, (2, 3), mode)
    except (RuntimeError, NotImplementedError):
        pytest.skip("PyTorch has no kernel for it")
    exactly(lambda x: F.pad(x, (2, 3), mode), x, device=device)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_cropping_on_one_side_and_padding_on_the_other(mode, device):
    x = torch.randn(2, 3, 6, 20)
    for pad in [(-2, 3, 1, -1), (3, -2, -1, 1), (-1, -2, -3, -1)]:
        exactly(lambda x, p=pad: F.pad(x, p, mode), x, device=device)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_of_volumes(mode, device):
    x = torch.randn(2, 3, 4, 5, 6)
    exactly(lambda x: F.pad(x, (1, 2, 3, 1, 2, 0), mode), x, device=device)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular", "constant"])
def test_padding_of_images_whose_sizes_vary(mode, device):
    varying(lambda x: F.pad(x, (1, 1, 1, 0), mode), *IMAGES, device)


@pytest.mark.parametrize("dtype", TYPES)
def test_cropping_and_constant_padding(dtype, device):
    x = some((4, 5, 19), dtype)
    exactly(lambda x: F.pad(x, (-2, 3, 1, -1)), x, device=device)
    exactly(lambda x: F.pad(x, (-2, -3), value=1), x, device=device)
    exactly(lambda x: F.pad(x, (0, 0, -2, -2, 2, 2), value=1), x, device=device)


# ---------------------------------------------------------------- slices set into tensors


def sliced(dim, step, dtype, device):
    x = some((8, 9, 20), dtype)
    index = [slice(None)] * 3
    index[dim] = slice(1, 7, step)
    part = some(x[tuple(index)].shape, dtype)
    exactly(lambda x, s: torch.slice_scatter(x, s, dim, 1, 7, step), x, part, device=device)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_slice_scatter(step, device):
    for dim in [0, 1, -1]:
        sliced(dim, step, torch.float32, device)


@pytest.mark.parametrize("dtype", TYPES)
def test_slice_scatter_of_other_types(dtype, device):
    sliced(-1, 2, dtype, device)


def test_slice_scatter_at_the_ends(device):
    x = torch.randn(6, 20)
    for begin, end in [(0, 20), (0, 3), (17, 20), (5, 5), (-3, 20)]:
        part = torch.randn(6, len(range(20)[begin:end]))
        exactly(
            lambda x, s, b=begin, e=end: torch.slice_scatter(x * 2, s + 1, 1, b, e),
            x, part, device=device,
        )  # fmt: skip


def test_select_scatter_and_assignments(device):
    x = torch.randn(6, 20)

    def assigned(x):
        y = x.clone()
        y[:, 2:5] = x[:, 5:8]
        y[3] = x[0]
        y[:, ::4] += 2
        return y

    exactly(lambda x, s: torch.select_scatter(x, s, 1, -3), x, torch.randn(6), device=device)
    exactly(assigned, x, device=device)


def test_slice_scatter_with_dynamic_sizes(device):
    others = [[torch.randn(n, 4), torch.randn(n, 2)] for n in (1, 5, 0)]
    exactly(lambda x, s: torch.slice_scatter(x, s, 1, 1, 3), torch.randn(3, 4), torch.randn(3, 2),
            device=device, dynamic=(0,), others=others)  # fmt: skip


# ---------------------------------------------------------------- kernels


EVERYDAY = {
    "gather": (lambda x, i: torch.gather(x, 1, i), (4, 5), (4, 3)),
    "index": (lambda x, i: x[i, i], (4, 5), (7,)),
    "nearest": (lambda x, i: F.interpolate(x, scale_factor=2) + i.sum(), (1, 3, 4, 5), (2,)),
    "bilinear": (
        lambda x, i: F.interpolate(x, (7, 9), mode="bilinear") + i.sum(), (1, 3, 4, 5), (2,)
    ),
    "bicubic": (
        lambda x, i: F.interpolate(x, (7, 9), mode="bicubic") + i.sum(), (1, 3, 4, 5), (2,)
    ),
    "reflect": (lambda x, i: F.pad(x, (1, 1, 1, 1), "reflect") + i.sum(), (1, 3, 4, 5), (2,)),
    "circular": (lambda x, i: F.pad(x, (1, 1, 1, 1), "circular") + i.sum(), (1, 3, 4, 5), (2,)),
    "slice_scatter": (
        lambda x, i: torch.slice_scatter(x, x[:, :2] * 2, 1, 0, 4, 2) + i.sum(), (4, 5), (2,)
    ),
    "grid_sample": (
        lambda x, i: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1), align_corners=False) + i.sum(),
        (1, 3, 4, 5), (2,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EVERYDAY.values(), ids=EVERYDAY.keys())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_runs_in_pytorch(case, dtype, device):
    function, shape, index_shape = case
    x, i = torch.randn(shape).to(dtype), torch.randint(0, 4, index_shape)
    tolerance = 1e-5 if dtype == torch.float32 else 4e-2
    compiled = check(function, x, i, device=device, rtol=tolerance, atol=tolerance)
    assert compiled.stator_report.fallbacks == []
