# SPDX-License-Identifier: Apache-2.0
"""The engine cache: what is a hit, what is a miss, and what never harms."""

import dataclasses
import logging
import multiprocessing
import random
import subprocess
import sys

import pytest
import stator
import torch
from stator.compile import plan_compilation
from stator.engines.engine_cache import DiskEngineCache, engine_key
from stator.graphs.hand_over import Placeholder, hand_over
from stator.settings.compilation_settings import INVALIDATING_SETTINGS, CompilationSettings
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """Many attributes: each is a number that a mutation can change."""

    def __init__(self, width=8):
        super().__init__()
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        y = F.layer_norm(self.a(x) * 1.5, (x.shape[-1],), None, None, 1e-5)
        y = F.leaky_relu(y + 0.25, 0.01).clamp(-3.0, 7.0)
        y = F.elu(self.b(y) - 0.75, 1.25) / 2.5
        return F.hardtanh(F.softplus(y, 1.0, 20.0) ** 1.7, -2.0, 2.0) + x * 0.5


def net(seed=0, width=8):
    torch.manual_seed(seed)
    return Net(width).eval()


X = torch.randn(3, 8)


def cached(tmp_path, module=None, **settings):
    options = {
        "cache_built_engines": True, "reuse_cached_engines": True, "immutable_weights": False,
        "engine_cache_dir": str(tmp_path / "cache"), "timing_cache_path": "", "min_block_size": 1,
        "pass_through_build_failures": True,
    }  # fmt: skip
    with torch.no_grad():
        return stator.compile(module or net(), inputs=[X], **{**options, **settings})


def hit(compiled):
    return [bool(e.build_stats.get("cached")) for e in compiled.stator_report.engines]


@torch.no_grad()
def test_second_compilation_builds_nothing(tmp_path):
    first, second = cached(tmp_path), cached(tmp_path)
    assert hit(first) == [False] and hit(second) == [True]
    torch.testing.assert_close(second(X), net()(X), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second(X), first(X), rtol=0, atol=0)


@torch.no_grad()
def test_other_weights_are_never_served(tmp_path):
    cached(tmp_path)
    other = cached(tmp_path, net(1))
    assert hit(other) == [False]
    torch.testing.assert_close(other(X), net(1)(X), rtol=1e-4, atol=1e-5)


def test_each_setting_works_alone(tmp_path):
    cached(tmp_path, reuse_cached_engines=False)
    assert hit(cached(tmp_path, reuse_cached_engines=False)) == [False]  # writes, never reads
    assert hit(cached(tmp_path, cache_built_engines=False)) == [True]
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    assert hit(cached(tmp_path, cache_built_engines=False)) == [False]  # reads, never writes
    assert not list((tmp_path / "cache").iterdir())


def test_immutable_weights_are_built_anew(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        assert hit(cached(tmp_path, immutable_weights=True)) == [False]
        assert hit(cached(tmp_path, immutable_weights=True)) == [False]
    assert not (tmp_path / "cache").exists()
    assert "immutable_weights=False" in caplog.records[0].getMessage()


class InMemory(stator.BaseEngineCache):
    def __init__(self):
        self.blobs, self.hits = {}, 0

    def save(self, hash, blob, *args, **kwargs):
        self.blobs[hash] = blob

    def load(self, hash, *args, **kwargs):
        self.hits += hash in self.blobs
        return self.blobs.get(hash)


def test_custom_cache(tmp_path):
    mine = InMemory()
    assert hit(cached(tmp_path, custom_engine_cache=mine)) == [False]
    assert hit(cached(tmp_path, custom_engine_cache=mine)) == [True]
    assert mine.hits == 1 and not (tmp_path / "cache").exists()
    with pytest.raises(ValueError, match="custom_engine_cache"):
        cached(tmp_path, custom_engine_cache=object())


# A value other than the default for each setting; the key must know all that invalidate.
OTHER_VALUES = {
    "enabled_precisions": {torch.float16},
    "torch_executed_ops": {"aten.nothing.default"},
    "device": "cpu",
    "engine_capability": stator.EngineCapability.SAFETY,
    "tiling_optimization_level": "fast",
    "autocast_low_precision_type": torch.float16,
    "autocast_excluded_nodes": {"layer_norm"},
    "autocast_excluded_ops": {"aten.softmax.int"},
    "autocast_calibration_dataloader": [torch.ones(2)],
    "custom_engine_cache": InMemory(),
    "use_python_runtime": None,
    "min_block_size": 2,
    "timing_cache_path": "/nowhere/else",
    "engine_cache_dir": "/nowhere",
    "dump_directory": "",
    "disabled_passes": {"recognize_rms_norm"},
}


def other_value(field):
    default = getattr(CompilationSettings(), field.name)
    if field.name in OTHER_VALUES:
        return OTHER_VALUES[field.name]
    if isinstance(default, bool):
        return not default
    return 3 + (default or 0)


def key_of(settings):
    program = torch.export.export(net(), (X,)).run_decompositions({})
    signature = program.graph_signature
    placeholders = [
        Placeholder() if spec.target is None
        else Placeholder("parameter", spec.target, program.state_dict[spec.target])
        for spec in signature.input_specs
    ]  # fmt: skip
    output = next(n for n in program.graph.nodes if n.op == "output")
    results = [("user_output", value, "") for value in output.args[0]]
    handed = hand_over(program.graph_module, placeholders, results)
    return engine_key(plan_compilation(handed, settings), 0, settings)


BASE = {"immutable_weights": False, "min_block_size": 1}
SKIPPED = {"optimization_level", "disabled_constant_fold_exclusions"}  # the latter takes no value
CHANGES = [f for f in dataclasses.fields(CompilationSettings) if f.name not in SKIPPED]


@pytest.mark.parametrize("field", CHANGES, ids=lambda f: f.name)
def test_settings_that_invalidate(field):
    before = CompilationSettings(**BASE)
    extra = {"use_explicit_typing": True} if field.name == "use_fp32_acc" else {}
    after = CompilationSettings(**{**BASE, **extra, field.name: other_value(field)})
    if field.name == "immutable_weights":
        after = CompilationSettings(**{**BASE, "immutable_weights": True})
    same = key_of(before) == key_of(after)
    assert same == (field.name not in INVALIDATING_SETTINGS)


def test_default_optimization_level_is_three():
    keys = [key_of(CompilationSettings(**BASE, optimization_level=n)) for n in (None, 3, 2)]
    assert keys[0] == keys[1] != keys[2]


def test_key_does_not_depend_on_hash_seeds():
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.backend.test_engine_cache import *\n"
        "print(key_of(CompilationSettings(**BASE, enabled_precisions={torch.float32,"
        " torch.float16, torch.bfloat16}, autocast_excluded_nodes={'a', 'b', 'c'})))"
    )
    program = [sys.executable, "-c", code]
    import os

    keys = {
        subprocess.run(program, capture_output=True, text=True, check=True,
                       env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("0", "1", "2")
    }  # fmt: skip
    assert len(keys) == 1 and len(keys.pop()) == 65


def test_mutations_of_one_attribute_share_no_key():
    """Numbers of the exported graph changed one at a time: no two graphs have one key."""
    program = torch.export.export(net(), (X,)).run_decompositions({})
    gm = program.graph_module
    weights = [p.detach() for p in program.state_dict.values()]
    sites = [
        (node, i)
        for node in gm.graph.nodes
        if node.op == "call_function"
        for i, value in enumerate(node.args)
        if isinstance(value, float)
    ]
    assert len(sites) >= 10
    settings = CompilationSettings(**BASE)
    placeholders = [Placeholder("parameter", f"w{i}", w) for i, w in enumerate(weights)]
    placeholders.append(Placeholder())
    output = next(n for n in gm.graph.nodes if n.op == "output")
    results = [("user_output", value, "") for value in output.args[0]]

    def key():
        return engine_key(
            plan_compilation(hand_over(gm, placeholders, results), settings), 0, settings
        )

    numbers = random.Random(0)
    seen = {key(): None}
    tried = set()
    while len(tried) < 10_000:
        node, i = numbers.choice(sites)
        before = node.args[i]
        value = numbers.choice([before + 2.0**-20, -before, numbers.uniform(0.1, 9.0)])
        if (node.name, i, value) in tried or value == before:
            continue
        tried.add((node.name, i, value))
        node.update_arg(i, value)
        mutated = key()
        node.update_arg(i, before)
        assert mutated not in seen, ((node.name, i, value), seen[mutated])
        seen[mutated] = (node.name, i, value)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign", "empty"])
@torch.no_grad()
def test_damaged_files_are_misses(tmp_path, damage, caplog):
    cached(tmp_path)
    (path,) = (tmp_path / "cache").iterdir()
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[len(data) // 2] ^= 0x10
    else:
        data = b"" if damage == "empty" else b"something else" * 100
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        compiled = cached(tmp_path)
    assert hit(compiled) == [False]
    assert any("is not used" in r.getMessage() for r in caplog.records)
    torch.testing.assert_close(compiled(X), net()(X), rtol=1e-4, atol=1e-5)
    assert hit(cached(tmp_path)) == [True]  # written anew


def test_least_recently_used_go_first(tmp_path, caplog):
    cache = DiskEngineCache(str(tmp_path / "c"), 250)
    cache.save("a1", b"x" * 100)
    cache.save("b2", b"x" * 100)
    import os

    os.utime(cache.path("a1"), (1, 1))
    os.utime(cache.path("b2"), (2, 2))
    assert cache.load("a1") is not None  # used last now
    cache.save("c3", b"x" * 100)
    assert cache.load("b2") is None and cache.load("a1") is not None
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        cache.save("d4", b"x" * 300)
    assert cache.load("d4") is None and "engine_cache_size is 250" in caplog.text
    assert sum(p.stat().st_size for p in (tmp_path / "c").iterdir()) <= 250


def _hammer(folder, seed):
    cache = DiskEngineCache(folder, 5000)
    numbers = random.Random(seed)
    for _ in range(300):
        name = f"{numbers.randrange(8):02x}"
        blob = cache.load(name)
        assert blob is None or (len(blob) == 1000 and set(blob) == {int(name, 16)})
        cache.save(name, bytes([int(name, 16)]) * 1000)


def test_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_hammer, args=(str(tmp_path), i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".new-")]


def test_unwritable_folder_is_a_warning(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file")
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        assert hit(cached(tmp_path)) == [False]
    assert "was not cached" in caplog.text


def test_dry_run_touches_no_cache(tmp_path, capsys):
    cached(tmp_path, dryrun=True, timing_cache_path=str(tmp_path / "t.bin"))
    assert not (tmp_path / "cache").exists() and not (tmp_path / "t.bin").exists()
