# SPDX-License-Identifier: Apache-2.0
"""Every tactic that competes for a region gives the right numbers, not only the fastest.

A build that times them all names them in the log; then the timing cache, which decides, is made to
name each of them in turn. Needs a GPU.
"""

import json
import logging
import re

import pytest
import stator
import torch
from torch import nn

from tests.ops.test_quantized_products import Quantized, QuantizedConv

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
TIMED = re.compile(r"^(\S+): (\S+(?: \S+)*?) ([\d.e+]+) us, in")


def each_tactic(module, inputs, folder, caplog, **settings):
    """Yield (region, tactic, engine) for all that were timed."""
    cache = folder / "timing.json"
    options = {
        "timing_cache_path": str(cache), "min_block_size": 1, "optimization_level": 5,
        "pass_through_build_failures": True, **settings,
    }  # fmt: skip
    log = logging.getLogger("torch_tensorrt")
    with caplog.at_level(logging.DEBUG, logger="torch_tensorrt"):
        log.addHandler(caplog.handler)
        try:
            stator.compile(module, inputs=inputs, **options)
        finally:
            log.removeHandler(caplog.handler)
    timed = {}
    for record in caplog.records:
        if (found := TIMED.match(record.getMessage())) and float(found[3]) < 1e20:
            timed.setdefault(found[1], []).append(found[2])
    winners = json.loads(cache.read_text())
    (device,) = winners["devices"]
    keys = list(winners["devices"][device])
    assert len(keys) == len(timed)
    for region, tactics in timed.items():
        for tactic in tactics:
            for key in keys:  # of its own kind only; the others keep their winner
                forced = json.loads(json.dumps(winners))
                if len(keys) > 1 and winners["devices"][device][key]["tactic"] not in tactics:
                    continue
                forced["devices"][device][key]["tactic"] = tactic
                cache.write_text(json.dumps(forced))
                yield region, tactic, stator.compile(module, inputs=inputs, **options)


def check(module, inputs, folder, caplog, tolerance=2e-2, **settings):
    with torch.no_grad():
        double = module.double()
        exact = double(*(i.double() for i in inputs)).float()
        module.to(inputs[0].dtype)
        tactics = set()
        for region, tactic, engine in each_tactic(module, inputs, folder, caplog, **settings):
            y = engine(*inputs)
            message = f"{region} by {tactic}: {{}}"
            torch.testing.assert_close(
                y.float(), exact, rtol=tolerance, atol=tolerance, msg=message.format
            )
            tactics.add(tactic)
    return tactics


CONVOLUTIONS = [
    # channels, results, kernel, stride, padding, dilation, size, batch
    (64, 64, 3, 1, 1, 1, (14, 14), 1),
    (32, 96, 3, 2, 1, 1, (17, 23), 3),
    (8, 16, 5, 1, 2, 1, (9, 9), 2),
    (3, 64, 7, 2, 3, 1, (32, 32), 2),
    (3, 32, 3, 2, 1, 1, (33, 31), 1),
    (64, 128, 1, 2, 0, 1, (15, 15), 1),
    (128, 64, 3, 1, 2, 2, (7, 7), 9),
    (16, 24, (1, 7), 1, (0, 3), 1, (12, 12), 1),
    (256, 256, 3, 1, 1, 1, (7, 7), 2),
    (24, 40, 3, 3, 0, 1, (20, 20), 1),
]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions(case, tmp_path, caplog):
    channels, out, kernel, stride, padding, dilation, size, batch = case
    torch.manual_seed(0)
    dtype = torch.float16 if channels % 3 else torch.bfloat16
    conv = nn.Conv2d(channels, out, kernel, stride, padding, dilation)
    module = nn.Sequential(conv, nn.SiLU()).to("cuda", dtype).eval()
    x = torch.randn(batch, channels, *size, device="cuda", dtype=dtype)
    tactics = check(module, [x], tmp_path, caplog)
    if torch.cuda.get_device_capability() == (9, 0):
        assert any(t.startswith("wgmma") for t in tactics), tactics


def test_convolutions_along_one_dim(tmp_path, caplog):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv1d(80, 64, 3, 2, 1), nn.GELU()).to("cuda", torch.float16).eval()
    check(module, [torch.randn(2, 80, 101, device="cuda").half()], tmp_path, caplog)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [(128, 768, 768), (1, 2048, 1000), (197, 3072, 96), (70, 40, 24), (300, 512, 2048), (7, 64, 8)],
)
def test_products(rows, depth, columns, residual, tmp_path, caplog):
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(depth, columns)

        def forward(self, x, y):
            z = self.layer(x)
            return z + y if residual else nn.functional.gelu(z) * y

    torch.manual_seed(0)
    dtype = torch.bfloat16 if residual else torch.float16
    x, y = torch.randn(rows, depth).to("cuda", dtype), torch.randn(rows, columns).to("cuda", dtype)
    tactics = check(Product().to("cuda", dtype).eval(), [x, y], tmp_path, caplog, tolerance=3e-2)
    if torch.cuda.get_device_capability() == (9, 0):
        assert any(t.startswith("wgmma") for t in tactics), tactics


def two_four(weight):
    """The two largest of every four along the rows; the others are zero."""
    groups = weight.detach().view(-1, 4)
    kept = groups.abs().topk(2, dim=1).indices
    return torch.zeros_like(groups).scatter(1, kept, groups.gather(1, kept)).view_as(weight)


class Sparse(nn.Module):
    def __init__(self, depth, columns, end):
        super().__init__()
        self.layer = nn.Linear(depth, columns)
        self.layer.weight = nn.Parameter(two_four(self.layer.weight))
        self.end = end

    def forward(self, x, y):
        z = self.layer(x)
        return {"relu": z.relu(), "sum": z + y, "gelu": nn.functional.gelu(z) * y}[self.end]


@pytest.mark.parametrize("end", ["relu", "sum", "gelu"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("rows", "depth", "columns"), [(128, 768, 1024), (512, 64, 96)])
def test_sparse_products(rows, depth, columns, dtype, end, tmp_path, caplog):
    torch.manual_seed(0)
    module = Sparse(depth, columns, end).to("cuda", dtype).eval()
    x, y = torch.randn(rows, depth).to("cuda", dtype), torch.randn(rows, columns).to("cuda", dtype)
    tactics = check(module, [x, y], tmp_path, caplog, tolerance=3e-2, sparse_weights=True)
    assert any(t.startswith("cusparselt") for t in tactics), tactics


def test_dense_weights_stay_dense(tmp_path, caplog):
    torch.manual_seed(0)
    module = Sparse(64, 96, "relu").to("cuda", torch.float16).eval()
    module.layer.weight.data[0, :3] = 1  # three in a group of four
    x, y = torch.randn(128, 64).cuda().half(), torch.randn(128, 96).cuda().half()
    tactics = check(module, [x, y], tmp_path, caplog, tolerance=3e-2, sparse_weights=True)
    assert not any(t.startswith("cusparselt") for t in tactics), tactics


def test_sparse_kernels_must_be_allowed(tmp_path, caplog):
    torch.manual_seed(0)
    module = Sparse(64, 96, "relu").to("cuda", torch.float16).eval()
    x, y = torch.randn(128, 64).cuda().half(), torch.randn(128, 96).cuda().half()
    tactics = check(module, [x, y], tmp_path, caplog, tolerance=3e-2)
    assert not any(t.startswith("cusparselt") for t in tactics), tactics


BYTES = {
    "product": (Quantized((96, 128), zero=3), (70, 128)),
    "deep": (Quantized((64, 2048), zero=-128), (33, 2048)),
    "columns": (Quantized((1000, 64), zero=0, bounds=(0, 255, torch.uint8)), (5, 64)),
    "convolution": (QuantizedConv((64, 32, 3, 3), padding=1, zero=5), (2, 32, 14, 14)),
    "strided": (QuantizedConv((24, 16, 3, 3), stride=2, padding=1, zero=-128), (3, 16, 17, 23)),
    "first": (QuantizedConv((64, 3, 7, 7), stride=2, padding=3, zero=9), (1, 3, 33, 31)),
}


@pytest.mark.parametrize("name", BYTES)
@torch.no_grad()
def test_bytes(name, tmp_path, caplog):
    module, shape = BYTES[name]
    module, x = module.cuda().eval(), torch.randn(shape, device="cuda")
    expected, seen = module(x), set()
    for region, tactic, engine in each_tactic(module, [x], tmp_path, caplog, disable_tf32=True):
        message = f"{region} by {tactic}: {{}}"
        torch.testing.assert_close(engine(x), expected, rtol=1e-4, atol=1e-4, msg=message.format)
        seen.add(tactic)
    if torch.cuda.get_device_capability() == (9, 0):
        assert any(t.endswith((" i8", " u8")) for t in seen), seen


def test_residual_sums_in_float32(tmp_path, caplog):
    """Halves whose sums stay wide: products with a widened bias that add to float32."""

    class Stream(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(96, 96, bias=i != 1) for i in range(4))
            self.norms = nn.ModuleList(nn.LayerNorm(96) for _ in range(4))

        def forward(self, x):
            for norm, layer in zip(self.norms, self.layers, strict=True):
                x = x + layer(norm(x))
            return x

    torch.manual_seed(0)
    x = torch.randn(140, 96, device="cuda").bfloat16()
    tactics = check(Stream().to(x).eval(), [x], tmp_path, caplog, tolerance=3e-2)
    assert any(t.startswith("cublaslt") for t in tactics), tactics


def test_streams_are_more_precise_than_in_eager():
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64)) for _ in range(24)]

    class Stream(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(blocks)

        def forward(self, x):
            for block in self.blocks:
                x = x + block(x)
            return nn.functional.layer_norm(x, (64,))

    module = Stream().cuda().bfloat16().eval()
    x = (8 * torch.randn(128, 64, device="cuda")).bfloat16()
    with torch.no_grad():
        eager = module(x)
        ours = stator.compile(module, inputs=[x], min_block_size=1)(x)
        exact = module.double()(x.double())
    assert (ours - exact).norm() < 0.7 * (eager - exact).norm()


@pytest.mark.parametrize(
    ("rows", "depth", "columns"), [(300, 512, 1001), (64, 128, 5025), (33, 64, 7), (1, 256, 50257)]
)
@pytest.mark.parametrize("activation", [nn.Identity(), nn.SiLU()], ids=["plain", "silu"])
def test_rows_of_an_odd_number_of_columns(rows, depth, columns, activation, tmp_path, caplog):
    torch.manual_seed(0)
    dtype = torch.bfloat16 if rows > 100 else torch.float16
    module = nn.Sequential(nn.Linear(depth, columns, bias=False), activation).to("cuda", dtype)
    x = torch.randn(rows, depth, device="cuda").to(dtype)
    tactics = check(module.eval(), [x], tmp_path, caplog, tolerance=3e-2)
    if torch.cuda.get_device_capability() == (9, 0):
        assert any(t.startswith("wgmma") for t in tactics), tactics
