# SPDX-License-Identifier: Apache-2.0
"""The runners: each takes a network and its inputs and returns a call that runs it once.

A runner lives in a process of its own (`worker.py`), because threads, allocators and global
settings of one would disturb another. All of them compute in float32 with the same number of
threads, on static shapes, from the same seeded weights.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Outputs = tuple[Tensor, ...]


@dataclass
class Built:
    """A network ready to run: `call()` runs it once and returns its outputs as they come."""

    call: Callable[[], Any]
    export_s: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
    keep: list[Any] = field(default_factory=list)
    new_caller: Callable[[], Callable[[], Any]] | None = None

    def another_caller(self) -> Callable[[], Any]:
        """A call for one more thread: the same one, where any number of threads may use it."""
        return self.call if self.new_caller is None else self.new_caller()


@dataclass(frozen=True)
class Runner:
    """One way to run a network; `packages` are what it needs beside PyTorch."""

    name: str
    title: str
    build: Callable[[nn.Module, tuple[Tensor, ...], int], Built]
    packages: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """Say what is not installed, or None when the runner can work."""
        absent = [name for name in self.packages if importlib.util.find_spec(name) is None]
        return f"not installed: {', '.join(absent)}" if absent else None


def outputs_of(result: Any) -> Outputs:
    """Bring what a call returned (tensor, arrays, dictionary, nested) to a tuple of tensors."""
    if isinstance(result, Tensor):
        return (result,)
    if isinstance(result, dict):
        result = tuple(result.values())
    elif hasattr(result, "to_tuple"):
        result = result.to_tuple()
    if isinstance(result, (list, tuple)):
        return tuple(tensor for part in result for tensor in outputs_of(part))
    return (torch.as_tensor(result),)


def _export(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Any, float]:
    start = time.perf_counter()
    with torch.no_grad():
        program = torch.export.export(network, inputs)
    return program, time.perf_counter() - start


def _scratch(built: Built) -> Path:
    """A folder that lives as long as the built network."""
    folder = tempfile.TemporaryDirectory(prefix="stator-bench-")
    built.keep.append(folder)
    return Path(folder.name)


def _eager(network: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Built:
    return Built(lambda: network(*inputs))


def _inductor(network: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Built:
    compiled = torch.compile(network)
    return Built(lambda: compiled(*inputs))


def _inductor_max(network: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Built:
    # Freezing turns parameters into constants while tracing; as an option of torch.compile it
    # would come too late.
    import torch._inductor.config as inductor_config

    inductor_config.freezing = True
    compiled = torch.compile(network, mode="max-autotune")
    return Built(lambda: compiled(*inputs))


def _aot_inductor(network: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Built:
    import torch._inductor.config as inductor_config

    inductor_config.freezing = True
    program, export_s = _export(network, inputs)
    built = Built(lambda: None, export_s)
    path = str(_scratch(built) / "model.pt2")
    with torch.no_grad():
        torch._inductor.aoti_compile_and_package(program, package_path=path)
    loaded = torch._inductor.aoti_load_package(path)
    built.call = lambda: loaded(*inputs)
    return built


def _openvino(network: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Built:
    import openvino

    program, export_s = _export(network, inputs)
    core = openvino.Core()
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # processors with AMX would otherwise use bfloat16
    }
    compiled = core.compile_model(openvino.convert_model(program), "CPU", options)
    arrays = [tensor.numpy() for tensor in inputs]

    def new_caller() -> Callable[[], Any]:
        request = compiled.create_infer_request()
        return lambda: request.infer(arrays, share_inputs=True, share_outputs=True)

    built = Built(new_caller(), export_s, keep=[core, compiled], new_caller=new_caller)
    return built


def _onnxruntime(network: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Built:
    import onnxruntime

    program, export_s = _export(network, inputs)
    built = Built(lambda: None, export_s)
    path = _scratch(built) / "model.onnx"
    torch.onnx.export(program, args=inputs, f=path, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    built.call = lambda: session.run(None, feed)
    built.keep.append(session)
    return built


def _stator(network: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Built:
    import stator

    program, export_s = _export(network, inputs)
    built = Built(lambda: None, export_s)
    cache = str(_scratch(built) / "timing.cache")

    def build() -> Any:
        return stator.compile(program, arg_inputs=list(inputs), timing_cache_path=cache)

    compiled = build()
    built.call = lambda: compiled(*inputs)

    def build_again() -> float:
        start = time.perf_counter()
        build()
        return time.perf_counter() - start

    built.notes["build_again"] = build_again  # with the timing cache of the first build
    return built


def _stator_jit(network: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Built:
    import stator  # noqa: F401  (registers the backend)

    compiled = torch.compile(network, backend="stator")
    return Built(lambda: compiled(*inputs))


def stator_program() -> Path | None:
    """The `stator` program beside this interpreter, or on the path."""
    import sys

    beside = Path(sys.executable).parent / "stator"
    if beside.exists():
        return beside
    found = shutil.which("stator")
    return Path(found) if found else None


RUNNERS: dict[str, Runner] = {
    runner.name: runner
    for runner in (
        Runner("eager", "eager", _eager),
        Runner("inductor", "Inductor", _inductor),
        Runner("inductor-max", "Inductor max-autotune, freezing", _inductor_max),
        Runner("aot-inductor", "AOTInductor, freezing", _aot_inductor),
        Runner("openvino", "OpenVINO", _openvino, ("openvino",)),
        Runner("onnxruntime", "ONNX Runtime", _onnxruntime, ("onnxruntime", "onnxscript")),
        Runner("stator", "Stator", _stator, ("stator",)),
        Runner("stator-jit", "Stator, torch.compile", _stator_jit, ("stator",)),
    )
}

# What Stator is measured against: the fastest of these is the best peer.
PEERS = ("eager", "inductor", "inductor-max", "aot-inductor", "openvino", "onnxruntime")
