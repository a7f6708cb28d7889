# SPDX-License-Identifier: Apache-2.0
"""Engines on the GPU itself: streams, graphs, memory, architectures, threads. Needs a GPU."""

import logging
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


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_lower_precisions_where_they_are_allowed(half, caplog):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(16, 32, 3, padding=1)
            self.norm = nn.LayerNorm(32)
            self.inner, self.outer = nn.Linear(32, 64), nn.Linear(64, 32)

        def forward(self, x):
            y = self.conv(x).flatten(2).transpose(1, 2)
            heads = self.norm(y).unflatten(-1, (2, 16)).transpose(1, 2)
            z = nn.functional.scaled_dot_product_attention(heads, heads, heads)
            y = y + z.transpose(1, 2).flatten(2)
            return y + self.outer(nn.functional.gelu(self.inner(self.norm(y))))

    torch.manual_seed(0)
    module, x = Block().cuda().eval(), torch.randn(4, 16, 12, 12, device="cuda")
    exact = module.double()(x.double())
    module.float()

    def run(**settings):
        y = stator.compile(module, inputs=[x], **OPTIONS, **settings)(x)
        assert y.dtype == torch.float32
        return (y.double() - exact).abs().max().item()

    enabled = {torch.float32, half}
    assert run(disable_tf32=True, enabled_precisions=enabled) < 1e-5  # typing is explicit
    error = run(disable_tf32=True, use_explicit_typing=False, enabled_precisions=enabled)
    assert 1e-5 < error < (6e-2 if half is torch.bfloat16 else 8e-3)
    assert run(disable_tf32=True, use_explicit_typing=False) < 1e-5  # float32 alone is enabled


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


@torch.no_grad()
def test_weights_out_of_the_way_during_the_build():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 2048)).cuda().eval()
    x = torch.randn(8, 2048, device="cuda")
    expected, weights = module(x), 2 * 2048 * 2048 * 4
    before, during = torch.cuda.memory_allocated(), []

    class Listener(logging.Handler):
        def emit(self, record):
            during.append(torch.cuda.memory_allocated())

    logger, listener = logging.getLogger("torch_tensorrt"), Listener(logging.DEBUG)
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    try:
        engine = stator.compile(module, inputs=[x], offload_module_to_cpu=True, **OPTIONS)
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
    assert min(during) <= before - weights
    assert all(p.is_cuda for p in module.parameters())
    torch.testing.assert_close(engine(x), expected, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(module(x), expected)


@torch.no_grad()
def test_addresses_that_are_new_at_every_call():
    """All results are kept: after a while they come from copies, and are the same."""
    module = nn.Sequential(*(network() for _ in range(6)))  # more steps than copies are worth
    x = torch.randn(256, 64, device="cuda")
    engine = compiled(module, x)
    inputs = [torch.randn_like(x) for _ in range(80)]
    results = [engine(i) for i in inputs]
    assert len({r.data_ptr() for r in results}) == len(results)
    for i, (given, got) in enumerate(zip(inputs, results, strict=True)):
        expected = module(given)
        torch.testing.assert_close(
            got, expected, rtol=2e-2, atol=2e-2, msg=f"call {i}: {{}}".format
        )
    side = torch.cuda.Stream()  # and on another stream, and where the caller captures
    with torch.cuda.stream(side):
        late = engine(inputs[3])
    side.synchronize()
    torch.testing.assert_close(late, results[3])
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = engine(inputs[5])
    captured.zero_()
    graph.replay()
    torch.testing.assert_close(captured, results[5])


several = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two NVIDIA GPUs")


@several
@torch.no_grad()
def test_an_engine_on_each_gpu():
    """Models on two GPUs in one process, each called while the other's device is current."""
    modules = [network().to(f"cuda:{i}") for i in (0, 1)]
    inputs = [torch.randn(8, 64, device=f"cuda:{i}") for i in (0, 1)]
    engines = [compiled(m, x) for m, x in zip(modules, inputs, strict=True)]
    for current in (0, 1, 0):
        with torch.cuda.device(current):
            for module, x, engine in zip(modules, inputs, engines, strict=True):
                y = engine(x)
                assert y.device == x.device
                torch.testing.assert_close(y, module(x), rtol=2e-3, atol=2e-3)
    assert torch.cuda.current_device() == 0


@several
@torch.no_grad()
def test_the_setting_names_the_gpu():
    module, x = network().to("cuda:1"), torch.randn(8, 64, device="cuda:1")
    engine = compiled(module, x, device="cuda:1")
    assert engine(x).device == torch.device("cuda:1")
    torch.testing.assert_close(engine(x), module(x), rtol=2e-3, atol=2e-3)
    with pytest.raises(ValueError, match=r"this engine runs on cuda:1"):
        engine(x.to("cuda:0"))


@several
@torch.no_grad()
def test_a_model_on_two_gpus_is_right():
    """What lies on the second GPU runs in PyTorch, and the report says so."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(16, 32).to("cuda:0")
            self.b = nn.Linear(32, 16).to("cuda:1")

        def forward(self, x):
            return self.b(torch.relu(self.a(x)).to("cuda:1"))

    module, x = Two().eval(), torch.randn(4, 16, device="cuda:0")
    expected = module(x)
    jit = torch.compile(module, backend="stator", options={"min_block_size": 1})
    torch.testing.assert_close(jit(x), expected, rtol=2e-3, atol=2e-3)


@several
@torch.no_grad()
def test_convolutions_and_attention_on_the_second_gpu():
    """The libraries' handles belong to a device."""
    module = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3))
    module = module.eval().half().to("cuda:1")
    x = torch.randn(2, 8, 16, 16, device="cuda:1").half()
    torch.testing.assert_close(compiled(module, x)(x), module(x), rtol=1e-2, atol=1e-2)


def test_a_gpu_that_does_not_exist():
    count = torch.cuda.device_count()
    with pytest.raises(Exception, match=f"cuda:{count}|invalid device|device ordinal"):
        compiled(network().cpu(), torch.randn(8, 64), device=f"cuda:{count}")


class Lookup(nn.Module):
    def forward(self, table, index, divisor):
        return table[index] * 2 + (index // divisor)[:, None]


@torch.no_grad()
def test_wrong_data_is_an_error_and_the_engine_goes_on():
    """On the caller's stream a later call reports it; memory is never read out of bounds."""
    table = torch.randn(50, 8, device="cuda")
    index, ones = torch.arange(20, device="cuda"), torch.ones(20, dtype=torch.int64, device="cuda")
    engine = stator.compile(Lookup(), inputs=[table, index, ones], **OPTIONS)
    expected = Lookup()(table, index, ones)
    streams = [None, torch.cuda.Stream()]
    for stream in streams:
        for bad, error, text in [
            ((table, index + 40, ones), IndexError, r"index 5\d is out of bounds for dimension 0"),
            ((table, index - 55, ones), IndexError, r"index -5\d is out of bounds for dimension 0"),
            ((table, index, ones - 1), RuntimeError, "ZeroDivisionError"),
        ]:
            with torch.cuda.stream(stream), pytest.raises(error, match=text):
                engine(*bad)
                torch.cuda.synchronize()
                engine(table, index, ones)
            with torch.cuda.stream(stream):
                torch.testing.assert_close(engine(table, index, ones), expected)
            torch.cuda.synchronize()


@torch.no_grad()
def test_wrong_data_in_a_captured_graph():
    """Runs that repeat are CUDA graphs; their kernels report too."""
    table = torch.randn(50, 8, device="cuda")
    index, ones = torch.arange(20, device="cuda"), torch.ones(20, dtype=torch.int64, device="cuda")
    engine = stator.compile(Lookup(), inputs=[table, index, ones], **OPTIONS)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(5):
            engine(table, index, ones)
        index += 40
        with pytest.raises(IndexError, match=r"index 5\d is out of bounds"):
            engine(table, index, ones)
            torch.cuda.synchronize()
            engine(table, index, ones)
        torch.cuda.synchronize()
        index -= 40
        try:
            engine(
                table, index, ones
            )  # the error of the call before, which began before it was read
        except IndexError:
            torch.cuda.synchronize()
        torch.testing.assert_close(engine(table, index, ones), Lookup()(table, index, ones))
