# SPDX-License-Identifier: Apache-2.0
"""Files that cannot hurt: damaged engines, archives and caches are refused with a clear message.

The small, deterministic part of scripts/damage_files.py, and each form that once crashed, hung,
gave a wrong number, or was called a defect of Stator.
"""

import importlib.util
import logging
import multiprocessing
import os
import signal
import struct
import sys
from pathlib import Path

import pytest
import stator
import torch
from stator.engines.engine import Engine
from stator.engines.engine_cache import DiskEngineCache
from torch import nn

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts/damage_files.py"
_spec = importlib.util.spec_from_file_location("damage_files", _SCRIPT)
damage = importlib.util.module_from_spec(_spec)
sys.modules["damage_files"] = damage
_spec.loader.exec_module(damage)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    files = damage.make_samples(tmp_path_factory.mktemp("samples"))
    return {path.name: path for path in files}


@pytest.fixture(scope="module")
def engine(samples):
    return damage.EngineFile(samples["dynamic-cpu.engine"].read_bytes())


def outcome_of(form, tree, path, **limits):
    path.write_bytes(form.join(tree))
    engine = isinstance(form, damage.EngineFile)
    return (damage.run_engine if engine else damage.run_archive)(path, **limits)


def refused(form, tree, path, message=""):
    outcome = outcome_of(form, tree, path)
    assert outcome.kind == "refused", outcome
    assert message in outcome.message, outcome.message
    return outcome.message


def edited(form, *changes):
    tree = form.tree
    for path, value in changes:
        tree = damage.set_value(tree, path, value).tree
    return tree


def kinds(tree):
    ways = {}
    for path in damage.paths_of(tree):
        ways.setdefault(damage.kind_of(path), path)
    return ways


# ---------------------------------------------------------------- engines


def test_undamaged_files_run(samples):
    for name, path in samples.items():
        run = damage.run_engine if name.endswith(".engine") else damage.run_archive
        assert run(path).kind == "runs", name


def test_deep_lists_in_every_kind_of_field(engine, tmp_path):
    ways = kinds(engine.tree)
    assert len(ways) > 70
    for path in ways.values():
        tree = edited(engine, (path, f"{damage._MARK}{damage.DEEP}"))
        refused(engine, tree, tmp_path / "a.engine", "is nested more than 200 levels deep")


def test_every_kind_of_field_deleted_or_of_another_type(engine, tmp_path):
    for path in kinds(engine.tree).values():
        for value in (None, [[]], {"": 0}, -1):
            outcome = outcome_of(engine, edited(engine, (path, value)), tmp_path / "a.engine")
            assert outcome.kind in ("refused", "runs"), (path, value, outcome)


def slot_of(engine, value):
    """A slot of the size program that is the constant `value`, and the program with it."""
    sizes = [*engine.tree["sizes"], [0, value, 0]]
    return len(sizes) - 1, (("sizes",), sizes)


def test_steps_fit_their_kernels(engine, tmp_path):
    """Another kernel, other task counts, sizes, scratch memory, buffers of other shapes."""
    path, steps = tmp_path / "a.engine", engine.tree["steps"]
    assert len(engine.tree["kernels"]) > 1
    fits = "does not fit its kernel"
    for i, step in enumerate(steps):
        for kernel in range(len(engine.tree["kernels"])):
            if kernel != step["kernel"]:
                refused(engine, edited(engine, (("steps", i, "kernel"), kernel)), path, fits)
        for number in (0, 1, 2, 3, 1000, 2**40):
            slot, added = slot_of(engine, number)
            tree = edited(engine, added, (("steps", i, "task_count"), slot))
            assert outcome_of(engine, tree, path).kind in ("runs", "refused")
            for k in range(len(step["sizes"])):
                tree = edited(engine, added, (("steps", i, "sizes", k), slot))
                assert outcome_of(engine, tree, path).kind in ("runs", "refused")
        slot, added = slot_of(engine, 100000)
        tree = edited(engine, added, (("steps", i, "task_count"), slot))
        refused(engine, tree, path, fits)
        for list_name in ("buffers", "sizes", "symbols"):
            shorter = step[list_name][:-1]
            if step[list_name]:
                refused(engine, edited(engine, (("steps", i, list_name), shorter)), path)


def test_buffers_keep_their_dimensions(engine, tmp_path):
    for i, buffer in enumerate(engine.tree["buffers"]):
        for d in range(len(buffer["shape"])):
            shorter = buffer["shape"][:d] + buffer["shape"][d + 1 :]
            tree = edited(engine, (("buffers", i, "shape"), shorter))
            refused(engine, tree, tmp_path / "a.engine")


def test_operations_of_sizes(engine, tmp_path):
    for i, (operation, _, _) in enumerate(engine.tree["sizes"]):
        for other in range(9):
            if other != operation:
                tree = edited(engine, (("sizes", i, 0), other))
                outcome = outcome_of(engine, tree, tmp_path / "a.engine")
                assert outcome.kind in ("refused", "runs"), outcome


def test_payloads_are_the_ones_that_the_code_was_made_with(engine, tmp_path):
    for i, kernel in enumerate(engine.tree["kernels"]):
        payload = kernel["payload"]
        for other in (payload[: len(payload) // 10], "", "0", "16", str(int(payload) + 1)):
            if other != payload:
                tree = edited(engine, (("kernels", i, "payload"), other))
                refused(engine, tree, tmp_path / "a.engine", "is not the one that the contract")


def test_sizes_that_overflow_are_invalid(engine, tmp_path):
    path = tmp_path / "a.engine"
    sizes = [*engine.tree["sizes"], [0, 2**62, 0]]
    last = len(sizes) - 1
    for more in (
        [[4, last, last]],
        [[2, last, last]],
        [[4, last + k, last + k] for k in range(60)],
        [[5, last + k, last + k] for k in range(1, 60)],
    ):
        message = refused(engine, edited(engine, (("sizes",), sizes + more)), path)
        assert "defect" not in message
    for i in range(len(engine.tree["buffers"])):
        slot, added = slot_of(engine, 2**46)
        tree = edited(engine, added, (("buffers", i, "size_bytes"), slot))
        refused(engine, tree, path)


def test_blobs_are_the_ones_that_were_written(engine, tmp_path):
    weights, code = engine.tree["weights"], engine.tree["code"]
    path = tmp_path / "a.engine"
    for blob in range(len(engine.tree["blobs"])):
        for list_name, items in (("weights", weights), ("code", code)):
            for i, item in enumerate(items):
                if item["blob"] != blob:
                    tree = edited(engine, ((list_name, i, "blob"), blob))
                    refused(engine, tree, path, "is another one by its digest")


def test_bits_of_weights_and_code(samples, engine, tmp_path):
    data = bytearray(samples["dynamic-cpu.engine"].read_bytes())
    begin = len(data) - len(engine.blobs)
    for i, (offset, size, _) in enumerate(engine.tree["blobs"]):
        for at in (0, size // 2, size - 1):
            damaged = bytearray(data)
            damaged[begin + offset + at] ^= 0x10
            path = tmp_path / "a.engine"
            path.write_bytes(damaged)
            with pytest.raises(stator.InvalidFileError, match="does not match its digest"):
                Engine.load(path)
            with pytest.raises(stator.InvalidFileError, match="does not match its digest"):
                Engine.from_bytes(bytes(damaged))
            if i in [c["blob"] for c in engine.tree["code"]]:
                with pytest.raises(stator.InvalidFileError, match="does not match its digest"):
                    Engine.load(path, verify_digests=False)
            else:
                Engine.load(path, verify_digests=False)
                Engine.from_bytes(bytes(damaged), verify_digests=False)


@pytest.mark.parametrize("name", ["dynamic-cpu", "images-cpu", "tokens-cpu", "tokens-reference"])
def test_random_damage_of_engines(samples, name, tmp_path):
    path = samples[f"{name}.engine"]
    for change, outcome in damage.damage_file(path, 60, 7, tmp_path, 2):
        assert outcome.kind in ("runs", "refused"), (change.text, outcome)


# ---------------------------------------------------------------- archives


@pytest.fixture(scope="module")
def archive(samples):
    return damage.Archive(samples["dynamic.pt2"].read_bytes())


def model_of(archive):
    (name,) = (n for n in archive.tree if "/models/" in n)
    return name


def tensor_paths(archive):
    name = model_of(archive)
    way = (name, "graph_module", "graph", "tensor_values")
    return {k: (*way, k) for k in damage.value_at(archive.tree, way)}


def test_contradicting_shapes(archive, tmp_path):
    path = tmp_path / "a.pt2"
    ways = tensor_paths(archive)
    for name, way in ways.items():
        meta = damage.value_at(archive.tree, way)
        for d, size in enumerate(meta["sizes"]):
            if "as_int" not in size:
                continue
            for number in (size["as_int"] + 1, -1, 2**62):
                tree = edited(archive, ((*way, "sizes", d), {"as_int": number}))
                message = refused(archive, tree, path, str(path))
                assert "defect" not in message, (name, d, number)
        fewer = edited(archive, ((*way, "sizes"), meta["sizes"][1:]))
        assert "sizes and" in refused(archive, fewer, path)


def test_contradicting_weights(archive, tmp_path):
    path = tmp_path / "a.pt2"
    (config,) = (n for n in archive.tree if n.endswith("weights_config.json"))
    for name, entry in archive.tree[config]["config"].items():
        way = (config, "config", name, "tensor_meta")
        meta = entry["tensor_meta"]
        for field, value, message in (
            ("dtype", 4, "is stored as"),
            ("sizes", [{"as_int": 3}] * len(meta["sizes"]), "is stored as"),
            ("strides", [{"as_int": 2}] * len(meta["sizes"]), "is stored with the strides"),
            ("storage_offset", {"as_int": 1}, "is stored with the storage offset 1"),
        ):
            text = refused(archive, edited(archive, ((*way, field), value)), path, message)
            assert f"weight '{name}'" in text
        tree = edited(archive, ((config, "config", name, "path_name"), "nowhere"))
        refused(archive, tree, path, "is missing")


def test_arguments_that_no_operator_takes(archive, tmp_path):
    """Numbers among the arguments out of range: refused with the node's name, or harmless."""
    path = tmp_path / "a.pt2"
    way = (model_of(archive), "graph_module", "graph", "nodes")
    for i, node in enumerate(damage.value_at(archive.tree, way)):
        for k, item in enumerate(node["inputs"]):
            if "as_int" in item["arg"]:
                for number in (1000, -1000, 2**63 - 1, -(2**63)):
                    argument = ((*way, i, "inputs", k, "arg", "as_int"), number)
                    outcome = outcome_of(archive, edited(archive, argument), path)
                    assert outcome.kind in ("refused", "runs"), (node["target"], outcome)


def test_checksums_of_archives(samples, tmp_path):
    data = bytearray(samples["dynamic.pt2"].read_bytes())
    at = data.index(b"stack_trace")
    data[at + 3] ^= 1
    path = tmp_path / "a.pt2"
    path.write_bytes(data)
    outcome = damage.run_archive(path)
    assert outcome.kind == "refused" and "does not match its checksum" in outcome.message


def test_deep_lists_in_archives(archive, tmp_path):
    for path in kinds(archive.tree).values():
        if len(path) > 4 and path[-1] not in ("name", "sizes", "arg"):
            continue
        tree = edited(archive, (path, f"{damage._MARK}{damage.DEEP}"))
        refused(archive, tree, tmp_path / "a.pt2", "is nested more than 200 levels deep")


@pytest.mark.parametrize("name", ["dynamic", "tokens"])
def test_random_damage_of_archives(samples, name, tmp_path):
    for change, outcome in damage.damage_file(samples[f"{name}.pt2"], 25, 7, tmp_path, 2):
        assert outcome.kind in ("runs", "refused"), (change.text, outcome)


# ---------------------------------------------------------------- bytes behind the end

MORE = {"one": b"\0", "many": b"\0" * 64, "text": b"x" * 100000}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
def test_bytes_behind_the_end(samples, more, tmp_path):
    for name, path in samples.items():
        longer = tmp_path / name
        longer.write_bytes(path.read_bytes() + more)
        run = damage.run_engine if name.endswith(".engine") else damage.run_archive
        outcome = run(longer)
        assert outcome.kind == "refused", (name, outcome)
        if name.endswith(".engine"):
            with pytest.raises(stator.InvalidFileError, match="the file should have"):
                Engine.load(longer)
            with pytest.raises(stator.InvalidFileError, match="the file should have"):
                Engine.from_bytes(longer.read_bytes())
        else:
            with pytest.raises(ValueError, match="is no saved program, or is damaged"):
                stator.load(longer)


@torch.no_grad()
def test_bytes_behind_the_end_of_a_cached_engine(tmp_path, caplog):
    compiled(tmp_path)
    (path,) = tmp_path.glob("*.engine")
    path.write_bytes(path.read_bytes() + b"x")
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        is_right(*compiled(tmp_path))
    assert "is not used" in caplog.text and "the file should have" in caplog.text


# ---------------------------------------------------------------- the engine cache

X = torch.randn(3, 8)


def compiled(cache, seed=0):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 4)).eval()
    with torch.no_grad():
        return module, stator.compile(
            module, inputs=[X], cache_built_engines=True, reuse_cached_engines=True,
            immutable_weights=False, engine_cache_dir=str(cache), timing_cache_path="",
            min_block_size=1, pass_through_build_failures=True, optimization_level=0,
        )  # fmt: skip


def is_right(module, result):
    torch.testing.assert_close(result(X), module(X), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_engine_under_anothers_key_is_a_miss(tmp_path, caplog):
    compiled(tmp_path, 0)
    (first,) = tmp_path.glob("*.engine")
    kept = first.read_bytes()
    first.unlink()
    compiled(tmp_path, 1)
    (second,) = tmp_path.glob("*.engine")
    second.write_bytes(kept)
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        is_right(*compiled(tmp_path, 1))
    assert "it was built from something else" in caplog.text


@torch.no_grad()
def test_flipped_bits_in_the_cache_are_misses(tmp_path, caplog):
    compiled(tmp_path)
    (path,) = tmp_path.glob("*.engine")
    data = path.read_bytes()
    (length,) = struct.unpack_from("<q", data, 8)
    for at in range(24 + length + 64, len(data), len(data) // 8):
        damaged = bytearray(data)
        damaged[at] ^= 0x40
        path.write_bytes(damaged)
        is_right(*compiled(tmp_path))


@torch.no_grad()
def test_damaged_headers_in_the_cache_are_misses(tmp_path):
    compiled(tmp_path)
    (path,) = tmp_path.glob("*.engine")
    form = damage.EngineFile(path.read_bytes())
    for way, value in (
        (("steps", 0, "kernel"), 1),
        (("steps", 0, "task_count"), 0),
        (("buffers", 0, "shape"), []),
        (("kernels", 0, "payload"), "1"),
        (("sizes", 0, 0), 3),
        (("name",), f"{damage._MARK}{damage.DEEP}"),
    ):
        path.write_bytes(form.join(edited(form, (way, value))))
        is_right(*compiled(tmp_path))


def _write_and_die(folder):
    cache = DiskEngineCache(folder, 10**6)
    cache._write("dead", lambda path: (Path(path).write_bytes(b"x" * 1000),
                                       os.kill(os.getpid(), signal.SIGKILL)))  # fmt: skip


def test_leftovers_of_killed_processes(tmp_path):
    context = multiprocessing.get_context("fork")
    for _ in range(2):
        writer = context.Process(target=_write_and_die, args=(str(tmp_path),))
        writer.start()
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
    (tmp_path / "0a.engine.tmp.abcdef").write_bytes(b"x" * 1000)
    assert len(list(tmp_path.glob(".new-*"))) == 1, "the second removed what the first left"
    cache = DiskEngineCache(str(tmp_path), 10**6)
    cache.save("a1", b"x" * 100)
    assert [p.name for p in tmp_path.iterdir()] == ["a1.engine"]


def test_unfinished_files_count(tmp_path):
    """A file that another process writes takes room that engines must not take."""
    cache = DiskEngineCache(str(tmp_path), 1000)
    cache.save("a1", b"x" * 300)
    with cache._writing():  # somebody is at it: nothing is removed
        (tmp_path / ".new-other").write_bytes(b"x" * 600)
        cache.save("b2", b"x" * 300)
        assert (tmp_path / ".new-other").exists()
    assert cache.load("b2") is not None and cache.load("a1") is None
