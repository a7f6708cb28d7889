# SPDX-License-Identifier: Apache-2.0
"""Times Stator on an NVIDIA GPU beside PyTorch, interleaved in one process.

For each model and element type: eager, eager in a CUDA graph, Inductor's modes and Stator; the
median of CUDA-event times with the queue kept full, and of calls made one at a time ("alone");
build seconds, the largest error against float32, and the share of the roofline (FLOPs over
787 TFLOP/s, an H200's measured bf16 rate).

  python benchmarks/gpu.py                          every model, bfloat16
  python benchmarks/gpu.py --models bert_b16_s384 --dtypes bfloat16 float16 --profile
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stator
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.models import ZOO

PEAK_FLOPS = 787e12  # bf16, dense, measured on an H200
CASES: dict[str, tuple[str, dict[str, int]]] = {
    "resnet50_b1": ("resnet50", {"batch": 1}),
    "resnet50_b32": ("resnet50", {"batch": 32}),
    "vit_b16_b1": ("vit_b16", {"batch": 1}),
    "vit_b16_b32": ("vit_b16", {"batch": 32}),
    "bert_b1_s128": ("bert_base", {"batch": 1, "sequence": 128}),
    "bert_b16_s384": ("bert_base", {"batch": 16, "sequence": 384}),
    "gpt2_b4_s512": ("gpt2", {"batch": 4, "sequence": 512}),
    "llama_b1_s512": ("llama", {"batch": 1, "sequence": 512}),
    "llama_2048_b1_s1024": ("llama_2048", {"batch": 1, "sequence": 1024}),
    "whisper_b1": ("whisper_encoder", {"batch": 1}),
    "convnext_b8": ("convnext_base", {"batch": 8}),
    "efficientnet_b8": ("efficientnet_b0", {"batch": 8}),
    "mobilenet_v3_b32": ("mobilenet_v3", {"batch": 32}),
}
INDUCTOR_MODES = ("default", "reduce-overhead", "max-autotune")


@dataclass
class Runner:
    """One way to run the model; `call` gives its output."""

    name: str
    build_s: float = 0.0
    call: Callable[[], Any] | None = None
    failure: str = ""
    times_ms: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    error: float = 0.0


def _build(name: str, make: Callable[[], Callable[[], Any]]) -> Runner:
    runner = Runner(name)
    start = time.perf_counter()
    try:
        call = make()
        with torch.no_grad():
            call()
        torch.cuda.synchronize()
        runner.build_s = time.perf_counter() - start
        with torch.no_grad():
            for _ in range(3):
                call()
        torch.cuda.synchronize()
        runner.call = call
    except Exception as error:
        runner.failure = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return runner


def _cuda_graph(network: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[[], Any]:
    side = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(side):
        for _ in range(3):
            network(*inputs)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        output = network(*inputs)

    def call() -> Any:
        graph.replay()
        return output

    return call


def _runners(
    network: nn.Module, inputs: tuple[Tensor, ...], args: argparse.Namespace
) -> list[Runner]:
    def inductor(mode: str) -> Callable[[], Any]:
        torch._dynamo.reset()
        compiled = torch.compile(network, mode=None if mode == "default" else mode)
        return lambda: compiled(*inputs)

    def ours() -> Callable[[], Any]:
        compiled = stator.compile(
            network, inputs=list(inputs), timing_cache_path="", pass_through_build_failures=True,
            optimization_level=args.level,
        )  # fmt: skip
        return lambda: compiled(*inputs)

    made = [
        _build("eager", lambda: lambda: network(*inputs)),
        _build("eager, CUDA graph", lambda: _cuda_graph(network, inputs)),
    ]
    for mode in args.inductor:
        made.append(_build(f"Inductor {mode}", lambda mode=mode: inductor(mode)))
    made.append(_build("Stator", ours))
    return made


def _time_block(call: Callable[[], Any], seconds: float) -> list[float]:
    """Milliseconds of single calls, by events; the queue is kept full so that gaps show."""
    begin, times = time.perf_counter(), []
    with torch.no_grad():
        while time.perf_counter() - begin < seconds:
            events = [torch.cuda.Event(enable_timing=True) for _ in range(21)]
            events[0].record()
            for event in events[1:]:
                call()
                event.record()
            torch.cuda.synchronize()
            times += [a.elapsed_time(b) for a, b in itertools.pairwise(events)]
    return times


def _time_single(call: Callable[[], Any], seconds: float) -> list[float]:
    """Milliseconds of calls that each find the GPU idle, the host's part included."""
    begin, times = time.perf_counter(), []
    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    with torch.no_grad():
        while time.perf_counter() - begin < seconds:
            torch.cuda.synchronize()
            a.record()
            call()
            b.record()
            b.synchronize()
            times.append(a.elapsed_time(b))
    return times


def _largest(output: Any) -> Tensor:
    tensors = output if isinstance(output, list | tuple) else [output]
    return tensors[0].detach().float()


def _measure(case: str, dtype: torch.dtype, args: argparse.Namespace) -> dict[str, Any]:
    model, sizes = CASES[case]
    network = ZOO[model].network().cuda()
    inputs = tuple(t.cuda() for t in ZOO[model].example_inputs(**sizes))
    with torch.no_grad():
        exact = _largest(network(*inputs))
        with FlopCounterMode(display=False) as counter:
            network(*inputs)
    flops = counter.get_total_flops()
    network = network.to(dtype)
    inputs = tuple(t.to(dtype) if t.is_floating_point() else t for t in inputs)
    runners = _runners(network, inputs, args)
    working = [r for r in runners if r.call is not None]
    for runner in working:
        with torch.no_grad():
            difference = (_largest(runner.call()) - exact).abs().max()
        runner.error = (difference / exact.abs().max()).item()
    for _ in range(args.blocks):
        for runner in working:
            runner.times_ms += _time_block(runner.call, args.seconds / args.blocks)
            runner.latencies_ms += _time_single(runner.call, 0.5 * args.seconds / args.blocks)
    rows = {}
    for r in runners:
        ms = statistics.median(r.times_ms) if r.times_ms else None
        rows[r.name] = {
            "ms": ms, "latency_ms": statistics.median(r.latencies_ms) if r.latencies_ms else None,
            "build_s": r.build_s, "error": r.error, "failure": r.failure,
            "roofline": flops / PEAK_FLOPS * 1e3 / ms if ms else None,
        }  # fmt: skip
    return {"case": case, "dtype": str(dtype).removeprefix("torch."), "gflop": flops / 1e9,
            "runners": rows}  # fmt: skip


def _profile(case: str, dtype: torch.dtype, args: argparse.Namespace) -> None:
    model, sizes = CASES[case]
    network = ZOO[model].network().cuda().to(dtype)
    inputs = tuple(t.cuda() for t in ZOO[model].example_inputs(**sizes))
    inputs = tuple(t.to(dtype) if t.is_floating_point() else t for t in inputs)
    compiled = stator.compile(network, inputs=list(inputs), timing_cache_path="",
                              optimization_level=args.level)  # fmt: skip
    for module in compiled.stator_report.engines:
        for _ in range(3):
            rows = module.engine.profile(*inputs)
        total = sum(ns for _, _, ns in rows)
        kinds: dict[str, tuple[int, int]] = {}
        for _, kernel, ns in rows:
            count, spent = kinds.get(kernel, (0, 0))
            kinds[kernel] = (count + 1, spent + ns)
        print(f"{case} {dtype}: {total / 1e6:.3f} ms in {len(rows)} steps")
        for kernel, (count, ns) in sorted(kinds.items(), key=lambda k: -k[1][1]):
            print(f"  {ns / 1e3:9.1f} us  {count:4d} x {kernel}")
        for name, kernel, ns in sorted(rows, key=lambda r: -r[2])[: args.profile]:
            print(f"    {ns / 1e3:8.1f} us  {kernel:28s} {name[:80]}")


def _kernels(case: str, dtype: torch.dtype, args: argparse.Namespace) -> None:
    """What the GPU runs in one call of Stator's engine, by PyTorch's profiler."""
    model, sizes = CASES[case]
    network = ZOO[model].network().cuda().to(dtype)
    inputs = tuple(t.cuda() for t in ZOO[model].example_inputs(**sizes))
    inputs = tuple(t.to(dtype) if t.is_floating_point() else t for t in inputs)
    compiled = stator.compile(network, inputs=list(inputs), timing_cache_path="",
                              optimization_level=args.level)  # fmt: skip
    with torch.no_grad():
        for _ in range(4):
            compiled(*inputs)
        torch.cuda.synchronize()
        activities = [torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profiler:
            for _ in range(5):
                compiled(*inputs)
            torch.cuda.synchronize()
    rows = sorted(profiler.key_averages(), key=lambda r: -r.device_time_total)
    total = sum(r.device_time_total for r in rows) / 5
    print(f"{case} {dtype}: {total / 1e3:.3f} ms of kernels")
    for row in rows[: args.kernels]:
        print(f"  {row.device_time_total / 5:9.1f} us  {row.count // 5:4d} x {row.key[:110]}")


def _print(result: dict[str, Any]) -> None:
    rows = result["runners"]
    stator_ms, stator_latency = rows["Stator"]["ms"], rows["Stator"]["latency_ms"]
    print(f"\n{result['case']} {result['dtype']} ({result['gflop']:.0f} GFLOP)")
    for name, row in rows.items():
        if row["ms"] is None:
            print(f"  {name:26s} failed: {row['failure']}")
            continue
        ratio = f"{row['ms'] / stator_ms:5.2f}x" if stator_ms else ""
        alone = f"{row['latency_ms'] / stator_latency:5.2f}x" if stator_latency else ""
        print(f"  {name:26s} {row['ms']:8.3f} ms  {ratio}  "
              f"alone {row['latency_ms']:8.3f} ms  {alone}  build {row['build_s']:6.1f} s  "
              f"error {row['error']:.1e}  roofline {row['roofline']:.2f}")  # fmt: skip


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", nargs="+", choices=list(CASES), default=list(CASES))
    add("--dtypes", nargs="+", default=["bfloat16"], choices=["bfloat16", "float16", "float32"])
    add("--inductor", nargs="*", choices=INDUCTOR_MODES, default=["default", "reduce-overhead"])
    add("--seconds", type=float, default=1.0, help="timed for each runner (%(default)s)")
    add("--blocks", type=int, default=4, help="turns that each runner takes (%(default)s)")
    add("--level", type=int, default=3, help="optimization_level (%(default)s)")
    add("--profile", type=int, metavar="N", help="print Stator's N longest steps instead")
    add("--kernels", type=int, metavar="N", help="print the GPU's N longest kernels instead")
    add("--json", metavar="FILE")
    args = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    results = []
    for case in args.models:
        for name in args.dtypes:
            dtype = getattr(torch, name)
            if args.kernels is not None:
                _kernels(case, dtype, args)
                continue
            if args.profile is not None:
                _profile(case, dtype, args)
                continue
            results.append(_measure(case, dtype, args))
            _print(results[-1])
            if args.json:
                Path(args.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
