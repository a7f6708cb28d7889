# SPDX-License-Identifier: Apache-2.0
"""The model families, small, with every named axis dynamic, through both doors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stator
import torch
import torch_tensorrt

from benchmarks.models import ZOO
from tests.ops.check import assert_same

NAMES = [entry.name for entry in ZOO.values()] if isinstance(ZOO, dict) else [e.name for e in ZOO]


def entry_of(name):
    return ZOO[name] if isinstance(ZOO, dict) else next(e for e in ZOO if e.name == name)


def cases_of(entry):
    """Example inputs at the usual sizes, at batch 1, and at odd ones."""
    sizes = [{}, {"batch": 1}, {"batch": 3}]
    if "sequence" in entry.axis_names:
        sizes += [{"batch": 1, "sequence": 1}, {"batch": 2, "sequence": 13}]
    return [entry.example_inputs(small=True, **s) for s in sizes]


@pytest.fixture(scope="module", params=NAMES)
def entry(request):
    return entry_of(request.param)


@torch.no_grad()
def test_compiled_whole_and_equal_to_eager(entry):
    network = entry.network(small=True)
    program = entry.export(small=True, dynamic=True)
    compiled = stator.compile(program, timing_cache_path="", pass_through_build_failures=True)
    report = compiled.stator_report
    assert report.fallbacks == []
    assert len(report.engines) == 1
    for inputs in cases_of(entry):
        assert_same(compiled(*inputs), network(*inputs))


@torch.no_grad()
def test_decomposed_graph_gives_the_same(entry):
    network = entry.network(small=True)
    # torch cannot decompose GPT-2's dynamic view(-1, width).view(shape): its sizes are fixed here.
    program = entry.export(small=True, dynamic=entry.name != "gpt2").run_decompositions()
    compiled = stator.compile(program, timing_cache_path="", pass_through_build_failures=True)
    assert compiled.stator_report.fallbacks == []
    inputs = entry.example_inputs(small=True)
    assert_same(compiled(*inputs), network(*inputs))


@torch.no_grad()
def test_through_torch_compile(entry):
    network = entry.network(small=True)
    compiled = torch.compile(network, backend="stator", options={"timing_cache_path": ""})
    for inputs in cases_of(entry)[:3]:
        assert_same(compiled(*inputs), network(*inputs))


@torch.no_grad()
def test_saved_and_loaded(entry, tmp_path):
    """What torch.compile compiles without a break compiles ahead of time, is saved and loaded."""
    network, inputs = entry.network(small=True), entry.example_inputs(small=True)
    assert torch._dynamo.explain(network)(*inputs).graph_break_count == 0
    compiled = stator.compile(entry.export(small=True, dynamic=True), timing_cache_path="")
    torch_tensorrt.save(compiled, tmp_path / "model.ep", inputs=list(inputs))
    loaded = torch_tensorrt.load(tmp_path / "model.ep").module()
    for case in cases_of(entry)[:3]:
        assert_same(loaded(*case), network(*case))


@torch.no_grad()
def test_program_alone(entry, tmp_path):
    """A .pt2 file compiled and run by the program `stator`, and verified by it."""
    from safetensors.numpy import load_file, save_file

    program = Path(sys.executable).parent / "stator"
    exported = entry.export(small=True, dynamic=True)
    torch.export.save(exported, tmp_path / "model.pt2")
    names = exported.graph_signature.user_inputs
    inputs = entry.example_inputs(small=True)
    save_file(
        {n: np.ascontiguousarray(t.numpy()) for n, t in zip(names, inputs, strict=True)},
        tmp_path / "in.safetensors",
    )
    for command in (
        ["compile", "model.pt2", "-o", "model.engine"],
        ["run", "model.engine", "--inputs", "in.safetensors", "-o", "out.safetensors"],
        ["verify", "model.engine", "model.pt2", "--inputs", "in.safetensors"],
        ["inspect", "model.engine"],
    ):
        done = subprocess.run(
            [program, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    outputs = load_file(tmp_path / "out.safetensors")
    expected = entry.network(small=True)(*inputs)
    expected = expected if isinstance(expected, tuple | list) else (expected,)
    for name, value in zip(exported.graph_signature.user_outputs, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(outputs[name]), value, rtol=1e-4, atol=1e-5)
