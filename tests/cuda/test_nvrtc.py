# SPDX-License-Identifier: Apache-2.0
"""Without a GPU: every generated kernel of the model zoo compiles for the architectures we name.

The program builds the engine up to the point where it would be loaded, which needs a driver.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.models import ZOO
from tests.ops.test_quantized_products import Quantized, QuantizedConv

WITHOUT_GPU = pytest.mark.skipif(
    torch.cuda.is_available() or find_spec("nvidia") is None,
    reason="needs pip's nvidia-cuda-nvrtc; the tests on the GPU itself say more",
)


def program():
    beside = Path(sys.executable).parent / "stator"
    return str(beside) if beside.exists() else shutil.which("stator")


# Kernels of float32 have no forms of their own for newer architectures.
@WITHOUT_GPU
@pytest.mark.parametrize(
    ("dtype", "architecture"),
    [(torch.bfloat16, "sm_80"), (torch.bfloat16, "sm_90"), (torch.bfloat16, "sm_100"),
     (torch.float32, "sm_80")],
    ids=["bf16-sm_80", "bf16-sm_90", "bf16-sm_100", "f32-sm_80"],
)  # fmt: skip
@pytest.mark.parametrize("model", ZOO)
def test_zoo_compiles(model, dtype, architecture, tmp_path):
    network = ZOO[model].network(small=True).to(dtype)
    inputs = ZOO[model].example_inputs(small=True)
    inputs = tuple(t.to(dtype) if t.is_floating_point() else t for t in inputs)
    check_kernels(network, inputs, architecture, tmp_path)


@WITHOUT_GPU
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_bytes_compile(architecture, tmp_path):
    network = nn.Sequential(
        QuantizedConv((32, 16, 3, 3), padding=1, zero=5), nn.ReLU(),
        QuantizedConv((32, 32, 1, 1), zero=-128), nn.Flatten(2), Quantized((40, 64), zero=3),
    ).eval()  # fmt: skip
    check_kernels(network, (torch.randn(2, 16, 8, 8),), architecture, tmp_path)


class Checked(nn.Module):
    """What kernels check: indices, classes, divisors, reductions over nothing; shifts too."""

    def forward(self, x, i, j):
        y = torch.cat([x[i + 5], nn.functional.embedding(j, x) * 2, x])
        z = nn.functional.one_hot(j, 7).sum() + (i // j).sum() + (i % j).sum() + (i << j).sum()
        loss = nn.functional.binary_cross_entropy(x.sigmoid(), x.sigmoid())
        return y + z + loss + (i >> j).sum() + torch.fmod(i, j).sum(), x.amax(0) + x.max()


@WITHOUT_GPU
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_checks_compile(architecture, tmp_path):
    inputs = (torch.randn(5, 16), torch.tensor([-5, -1, 0, 2]), torch.tensor([1, 2, 3, 4]))
    check_kernels(Checked(), inputs, architecture, tmp_path)


class Moved(nn.Module):
    """What gathers: by one index or several, at computed places, under guards."""

    def forward(self, x, i):
        y = nn.functional.interpolate(x, scale_factor=1.7) + x[:, i, i].mean(-1)[..., None, None]
        y = y + nn.functional.interpolate(x, y.shape[-2:], mode="bicubic")
        y = nn.functional.pad(y, (1, 2, 1, 0), "reflect") + y.sum()
        y = nn.functional.pad(y, (1, 2, 1, 0), "circular").relu()
        z = torch.slice_scatter(y, y[..., 1:4] * 2, 3, 2, 8, 2)
        grid = torch.gather(z, 1, y.argmax(1, keepdim=True)).expand(-1, 2, -1, -1)
        return nn.functional.grid_sample(z, grid.permute(0, 2, 3, 1), align_corners=False)


@WITHOUT_GPU
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_what_moves_elements_compiles(architecture, dtype, tmp_path):
    inputs = (torch.randn(2, 7, 7, 7).to(dtype), torch.arange(7))
    check_kernels(Moved(), inputs, architecture, tmp_path)


class Whole(nn.Module):
    """Scans, sorts, top-k and scatters, in every way in which they are printed."""

    def forward(self, x, i):
        scans = [torch.cumsum(x, 1), torch.cumprod(x, 0), *torch.cummax(x, 1), *torch.cummin(x, 0)]
        orders = [*torch.sort(x, 0), *torch.topk(x, 3), *torch.sort(i, 1, descending=True)]
        y = x.scatter(1, i, x) + x.scatter_add(0, i % 5, x)
        return [*scans, *orders, y, i.scatter_add(1, i, i), x.index_add(0, i[0, :5], x)]


class Reduced(nn.Module):
    """Scatters by every reduction."""

    def forward(self, x, i):
        y = [
            x.scatter_reduce(1, i, x, how, include_self=own)
            for how in ("sum", "prod", "mean", "amax", "amin")
            for own in (True, False)
        ]
        truth = (x > 0).scatter_reduce(1, i, x > 1, "prod"), (x > 0).scatter_add(1, i, x > 1)
        return [*y, *truth, x.index_reduce(0, i[0, :5], x, "amax"), torch.bucketize(x, x[0])]


@WITHOUT_GPU
@pytest.mark.parametrize("architecture", ["sm_80", "sm_100"])
@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8,
     torch.int16, torch.int32, torch.int64],
)  # fmt: skip
def test_reductions_by_index_compile(dtype, architecture, tmp_path):
    check_kernels(Reduced(), (torch.ones(5, 50).to(dtype), torch.zeros(5, 50).long()), architecture,
                  tmp_path)  # fmt: skip


class Logarithms(nn.Module):
    def forward(self, x):
        return torch.logcumsumexp(x, 0), torch.logcumsumexp(x, 1), torch.nanmedian(x, 1).values


@WITHOUT_GPU
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_running_logarithms_compile(dtype, tmp_path):
    check_kernels(Logarithms(), (torch.ones(5, 50).to(dtype),), "sm_90", tmp_path)


@WITHOUT_GPU
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int8])
def test_whole_layers_compile(dtype, architecture, tmp_path):
    x, i = torch.ones(5, 4000).to(dtype), torch.randint(0, 5, (5, 4000))
    check_kernels(Whole(), (x, i), architecture, tmp_path)


def check_kernels(network, inputs, architecture, tmp_path):
    torch.export.save(torch.export.export(network, inputs), tmp_path / "model.pt2")
    result = subprocess.run(
        [program(), "compile", str(tmp_path / "model.pt2"), "-o", str(tmp_path / "model.engine"),
         "--device", "cuda", "--optimization-level", "0"],
        env={**os.environ, "STATOR_CUDA_ARCH": architecture, "VIRTUAL_ENV": sys.prefix},
        capture_output=True, text=True,
    )  # fmt: skip
    message = result.stdout + result.stderr
    assert "NVRTC" not in message
    assert "libcuda.so.1 was not found" in message  # built; only the driver is missing
