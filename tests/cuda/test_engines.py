# SPDX-License-Identifier: Apache-2.0
"""Engines on the GPU itself: streams, graphs, memory, architectures, threads. Needs a GPU."""

import os
import subprocess
import sys
import threading

import pytest
import stator
import torch
from torch import nn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
OPTIONS = {"timing_cache_path": "", "min_block_size": 1, "pass_through_build_failures": True}


def network(width=64):
    torch.manual_seed(0)
    layers = [nn.Linear(width, 128), nn.GELU(), nn.Linear(128, width), nn.LayerNorm(width)]
    return nn.Sequential(*layers).eval().cuda()


def compiled(module, x, **settings):
    return stator.compile(module, inputs=[x], **{**OPTIONS, **settings})


@torch.no_grad()
def test_portable_engine():
    module, x = network(), torch.randn(5, 64, device="cuda")
    engine = compiled(module, x, hardware_compatible=True)
    torch.testing.assert_close(engine(x), module(x), rtol=2e-3, atol=2e-3)


def test_engine_for_another_architecture(tmp_path):
    """The program names both architectures and writes nothing."""
    x = torch.randn(5, 64, device="cuda")
    torch.export.save(torch.export.export(network(), (x,)), tmp_path / "m.pt2")
    code = (
        "import stator, torch;"
        f"p = torch.export.load({str(tmp_path / 'm.pt2')!r});"
        "m = stator.compile(p, arg_inputs=[torch.randn(5, 64).cuda()], min_block_size=1,"
        "timing_cache_path='', optimization_level=0, pass_through_build_failures=True);"
        "m(torch.randn(5, 64, device='cuda'))"
    )
    other = "sm_80" if torch.cuda.get_device_capability() != (8, 0) else "sm_86"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "STATOR_CUDA_ARCH": other},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"the engine was built for {other}; the GPU here is" in done.stderr
    assert "or with hardware_compatible" in done.stderr


@torch.no_grad()
def test_the_callers_stream_orders_the_work():
    module, x = network(), torch.zeros(8, 64, device="cuda")
    engine = compiled(module, x)
    engine(x)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for step in range(20):
            torch.cuda._sleep(200_000)
            x.fill_(float(step) / 10)
            y = engine(x) * 2
            expected = module(x) * 2
        stream.synchronize()
    torch.testing.assert_close(y, expected, rtol=2e-3, atol=2e-3)


@torch.no_grad()
def test_graphs_follow_the_addresses():
    module = network()
    engine = compiled(module, torch.randn(8, 64, device="cuda"))
    keep = []
    for _ in range(40):
        x = torch.randn(8, 64, device="cuda")
        keep.append(x)  # so that every call has another address
        torch.testing.assert_close(engine(x), module(x), rtol=2e-3, atol=2e-3)


@torch.no_grad()
def test_inside_a_graph_of_the_caller():
    module, x = network(), torch.randn(8, 64, device="cuda")
    engine = compiled(module, x)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            engine(x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = engine(x)
    x.copy_(torch.randn(8, 64, device="cuda"))
    graph.replay()
    torch.testing.assert_close(y, module(x), rtol=2e-3, atol=2e-3)


def test_threads_share_an_engine():
    module, x = network(), torch.randn(8, 64, device="cuda")
    engine = compiled(module, x)
    inputs = [torch.randn(8, 64, device="cuda") for _ in range(4)]
    with torch.no_grad():
        expected = [module(t) for t in inputs]
    wrong = []

    def work(i):
        with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
            for _ in range(50):
                y = engine(inputs[i])
            torch.cuda.current_stream().synchronize()
            if not torch.allclose(y, expected[i], rtol=2e-3, atol=2e-3):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@torch.no_grad()
def test_tf32_can_be_switched_off():
    torch.manual_seed(0)
    module, x = nn.Linear(1024, 256).cuda(), torch.randn(64, 1024, device="cuda")
    exact = nn.functional.linear(x.double(), module.weight.double(), module.bias.double())

    def error(**settings):
        return (compiled(module, x, **settings)(x).double() - exact).abs().max().item()

    assert error(disable_tf32=True) < 1e-5 < error(disable_tf32=False) < 1e-2


@torch.no_grad()
def test_attention_without_tf32():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 150, 64, device="cuda") for _ in range(3))

    class Attention(nn.Module):
        def forward(self, q, k, v):
            return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    exact = Attention()(q.double(), k.double(), v.double())

    def error(**settings):
        engine = stator.compile(Attention(), inputs=[q, k, v], **OPTIONS, **settings)
        return (engine(q, k, v).double() - exact).abs().max().item()

    assert error(disable_tf32=True) < 1e-5 < error(disable_tf32=False) < 1e-2
