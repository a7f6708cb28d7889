#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Damage engine files and .pt2 archives one field at a time, and see that nobody is hurt.

Each damaged file has its digests and checksums made right again, so that only its content is wrong.
The program `stator` loads and runs it in a process of its own, with limits of time and memory. It
may refuse the file or run it; a signal, a run beyond its time, or an internal error is a find.

    python scripts/damage_files.py --count 2000 --seed 1
    python scripts/damage_files.py --file model.engine --count 500
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_BUILT = ROOT / "build/release/tools/stator/stator"
PROGRAM = Path(
    os.environ.get("STATOR_PROGRAM")
    or (_BUILT if _BUILT.exists() else shutil.which("stator") or "stator")
)
DEEP = 100_000
_MARK = "\u0001deep "

Path_ = tuple[Any, ...]


# ---------------------------------------------------------------- digests


def _rotl(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & (2**64 - 1)


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0, which engine files are checked with."""
    p1, p2, p3, p4, p5 = (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
        0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
    )  # fmt: skip
    mask = 2**64 - 1

    def lane(value: int, word: int) -> int:
        return _rotl((value + word * p2) & mask, 31) * p1 & mask

    at, size = 0, len(data)
    hash = p5
    if size >= 32:
        lanes = [(p1 + p2) & mask, p2, 0, -p1 & mask]
        for words in struct.iter_unpack("<4Q", data[: size // 32 * 32]):
            lanes = [lane(value, word) for value, word in zip(lanes, words, strict=True)]
        at = size // 32 * 32
        hash = sum(_rotl(v, b) for v, b in zip(lanes, (1, 7, 12, 18), strict=True)) & mask
        for value in lanes:
            hash = ((hash ^ lane(0, value)) * p1 + p4) & mask
    hash = (hash + size) & mask
    while size - at >= 8:
        (word,) = struct.unpack_from("<Q", data, at)
        hash = (_rotl(hash ^ lane(0, word), 27) * p1 + p4) & mask
        at += 8
    if size - at >= 4:
        (word,) = struct.unpack_from("<I", data, at)
        hash = (_rotl(hash ^ (word * p1 & mask), 23) * p2 + p3) & mask
        at += 4
    for byte in data[at:]:
        hash = _rotl(hash ^ (byte * p5 & mask), 11) * p1 & mask
    hash = (hash ^ (hash >> 33)) * p2 & mask
    hash = (hash ^ (hash >> 29)) * p3 & mask
    return hash ^ (hash >> 32)


# ---------------------------------------------------------------- formats


def _aligned(size: int) -> int:
    return (size + 63) // 64 * 64


def dump_json(value: Any) -> bytes:
    """As text; a string that begins with the mark becomes a list of that depth."""
    text = json.dumps(value)
    for depth in {DEEP}:
        text = text.replace(json.dumps(f"{_MARK}{depth}"), "[" * depth + "]" * depth)
    return text.encode()


class EngineFile:
    """An engine file as its header and the bytes behind it."""

    def __init__(self, data: bytes) -> None:
        """Parse the file."""
        (length,) = struct.unpack_from("<q", data, 8)
        self.magic = data[:8]
        self.tree = json.loads(data[24 : 24 + length])
        self.blobs = data[_aligned(24 + length) :]

    def join(self, tree: Any) -> bytes:
        """The file with another header, its length and digest right."""
        header = dump_json(tree)
        head = self.magic + struct.pack("<qQ", len(header), xxh64(header)) + header
        return head.ljust(_aligned(len(head)), b"\0") + self.blobs


class Archive:
    """A .pt2 archive: its JSON entries are damaged, the others stay."""

    def __init__(self, data: bytes) -> None:
        """Parse the zip (stored entries alone)."""
        import io
        import zipfile

        with zipfile.ZipFile(io.BytesIO(data)) as zip_file:
            self.entries = {n: zip_file.read(n) for n in zip_file.namelist()}
        texts = {n: b for n, b in self.entries.items() if n.endswith(".json") and b[:1] == b"{"}
        self.tree = {n: json.loads(b) for n, b in texts.items()}

    def join(self, tree: Any) -> bytes:
        """The archive with other JSON entries, stored, the CRCs right."""
        import io
        import zipfile

        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as zip_file:
            for name, data in self.entries.items():
                if name in self.tree and name not in tree:
                    continue
                zip_file.writestr(name, dump_json(tree[name]) if name in tree else data)
        return buffer.getvalue()


# ---------------------------------------------------------------- damage


def paths_of(tree: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The way to every value in a tree."""
    if path:
        yield path
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from paths_of(value, (*path, key))


def value_at(tree: Any, path: Path_) -> Any:
    """The value at the end of a way."""
    for key in path:
        tree = tree[key]
    return tree


def kind_of(path: Path_) -> Path_:
    """The way with the numbers of lists left out: a kind of field."""
    return tuple("*" if isinstance(key, int) else key for key in path)


_INTEGERS: list[Callable[[int], Any]] = [
    lambda n: 0, lambda n: 1, lambda n: -1, lambda n: n + 1, lambda n: n - 1, lambda n: -n - 2,
    lambda n: 2 * n + 1, lambda n: n + 64, lambda n: 2**31 - 1, lambda n: 2**31,
    lambda n: -(2**31), lambda n: 2**40, lambda n: 2**62, lambda n: 2**63 - 1,
    lambda n: -(2**63), lambda n: 2**64, lambda n: n + 0.5, lambda n: 1e300, lambda n: str(n),
]  # fmt: skip
_STRINGS: list[Callable[[str], Any]] = [
    lambda s: "", lambda s: s[: len(s) // 10], lambda s: s[:-1], lambda s: s + s,
    lambda s: s + "x", lambda s: "\ud800"[:0] + "ü" + s, lambda s: "0", lambda s: "-1",
    lambda s: "99999999999999999999", lambda s: "x" * 100_000, lambda s: "(" * 5000 + s,
]  # fmt: skip
_OTHERS: list[Any] = [None, True, [], {}, [[]], {"": 0}, f"{_MARK}{DEEP}"]


@dataclass
class Damage:
    """One change of a tree."""

    text: str
    tree: Any


def _changed(tree: Any, path: Path_, change: Callable[[Any, Any], None], text: str) -> Damage:
    other = copy.deepcopy(tree)
    change(value_at(other, path[:-1]), path[-1])
    where = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path).lstrip(".")
    return Damage(f"{where}: {text}", other)


def set_value(tree: Any, path: Path_, value: Any) -> Damage:
    """The tree with another value at the end of a way."""

    def change(parent: Any, key: Any) -> None:
        parent[key] = value

    shown = repr(value)
    shown = "a deep list" if _MARK in shown or "\\x01" in shown else shown[:60]
    return _changed(tree, path, change, f"{str(value_at(tree, path))[:40]!r} -> {shown}")


def damage_of(tree: Any, chosen: random.Random, paths: dict[Path_, list[Path_]]) -> Damage:
    """A random change: first the kind of field, so that rare ones get their share."""
    path = chosen.choice(paths[chosen.choice(sorted(paths, key=str))])
    value = value_at(tree, path)
    parent = value_at(tree, path[:-1])
    what = chosen.randrange(10)
    if what == 0:

        def drop(parent: Any, key: Any) -> None:
            del parent[key]

        return _changed(tree, path, drop, "deleted")
    if what == 1 and isinstance(parent, list):

        def double(parent: Any, key: Any) -> None:
            parent.insert(key, copy.deepcopy(parent[key]))

        return _changed(tree, path, double, "doubled")
    if what == 2 and isinstance(parent, list) and len(parent) > 1:
        other = chosen.randrange(len(parent))

        def swap(parent: Any, key: Any) -> None:
            parent[key], parent[other] = parent[other], parent[key]

        return _changed(tree, path, swap, f"swapped with {other}")
    if what == 3:
        return set_value(tree, path, chosen.choice(_OTHERS))
    if what == 4:  # what stands elsewhere in such a field
        return set_value(tree, path, value_at(tree, chosen.choice(paths[kind_of(path)])))
    if isinstance(value, bool) or value is None:
        return set_value(tree, path, chosen.choice([0, 1, "x", not value]))
    if isinstance(value, int | float):
        return set_value(tree, path, chosen.choice(_INTEGERS)(int(value)))
    if isinstance(value, str):
        return set_value(tree, path, chosen.choice(_STRINGS)(value))
    return set_value(tree, path, chosen.choice(_OTHERS))


# ---------------------------------------------------------------- the program


@dataclass
class Outcome:
    """What became of one file."""

    kind: str  # "runs", "refused", "crash", "hang", "internal error", "memory"
    message: str


DEVICE = "cpu"  # that damaged archives are compiled for
MEMORY = 6 << 30  # bytes of a process; 0: no limit (CUDA reserves more addresses than any)


def _limit() -> None:
    if MEMORY > 0:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def call(arguments: list[str], seconds: float) -> Outcome:
    """Run the program within limits."""
    environment = {**os.environ, "STATOR_NUM_THREADS": "2"}
    try:
        done = subprocess.run(
            [str(PROGRAM), *arguments], capture_output=True, timeout=seconds, check=False,
            preexec_fn=_limit, env=environment, errors="replace", text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome("hang", f"more than {seconds:g} s")
    message = done.stderr.strip()
    if done.returncode < 0:
        return Outcome("crash", f"signal {-done.returncode} {message[-200:]}")
    if "internal error" in message or "defect of Stator" in message or "bad_alloc" in message:
        return Outcome("internal error", message[-400:])
    if done.returncode not in (0, 1):
        return Outcome("crash", f"exit code {done.returncode} {message[-200:]}")
    return Outcome("runs" if done.returncode == 0 else "refused", message[-400:])


def run_engine(path: Path, seconds: float = 20) -> Outcome:
    """Load and run an engine file."""
    return call(["run", str(path)], seconds)


def run_archive(path: Path, seconds: float = 120) -> Outcome:
    """Compile an archive, and run what came of it."""
    engine = path.with_suffix(".engine")
    compiled = call(
        ["compile", str(path), "-o", str(engine), "--device", DEVICE,
         "--set", "optimization_level=0"],
        seconds,
    )  # fmt: skip
    if compiled.kind != "runs":
        return compiled
    outcome = run_engine(engine)
    engine.unlink(missing_ok=True)
    # What it computes is its model's affair: a run may fail for indices out of range.
    return outcome


# ---------------------------------------------------------------- samples


def sample_models() -> dict[str, Any]:
    """Small models that use every kind of kernel: name → (module, inputs, dynamic shapes)."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Dynamic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 4)

        def forward(self, x: Any) -> Any:
            y = torch.softmax(self.b(torch.relu(self.a(x))), -1)
            return y, y.sum(0), torch.cat([x, x * 2], 1)

    class Images(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c, self.d = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8)
            self.n = nn.BatchNorm2d(8)

        def forward(self, x: Any) -> Any:
            y = F.max_pool2d(torch.relu(self.n(self.c(x))), 2)
            return self.d(y).mean((2, 3))

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e = nn.Embedding(16, 8)
            self.n = nn.LayerNorm(8)

        def forward(self, ids: Any, mask: Any) -> Any:
            x = self.n(self.e(ids)).unsqueeze(1)
            y = F.scaled_dot_product_attention(x, x, x, attn_mask=mask)
            values, order = torch.topk(y.squeeze(1), 2, -1)
            return y, values, order, torch.cumsum(y, 2)

    batch = torch.export.Dim("batch", min=1, max=64)
    return {
        "dynamic": (Dynamic(), (torch.randn(4, 8),), ({0: batch},)),
        "images": (Images(), (torch.randn(2, 3, 12, 12),), None),
        "tokens": (
            Tokens(), (torch.randint(0, 16, (2, 6)), torch.zeros(6, 6)), ({0: batch}, None),
        ),
    }  # fmt: skip


def make_samples(folder: Path, devices: Sequence[str] = ("cpu", "reference")) -> list[Path]:
    """Archives and engines of the sample models."""
    import torch

    files = []
    for name, (module, inputs, shapes) in sample_models().items():
        torch.manual_seed(0)
        archive = folder / f"{name}.pt2"
        program = torch.export.export(module.eval(), inputs, dynamic_shapes=shapes)
        torch.export.save(program, archive)
        files.append(archive)
        for device in devices:
            engine = folder / f"{name}-{device}.engine"
            done = call(["compile", str(archive), "-o", str(engine), "--device", device,
                         "--set", "optimization_level=0"], 300)  # fmt: skip
            if done.kind != "runs":
                raise SystemExit(f"{name} does not compile for {device}: {done.message}")
            files.append(engine)
    return files


def damage_file(
    path: Path, count: int, seed: int, folder: Path, jobs: int
) -> Iterator[tuple[Damage, Outcome]]:
    """Damage one file `count` times."""
    engine = path.suffix == ".engine"
    form = (EngineFile if engine else Archive)(path.read_bytes())
    chosen = random.Random(f"{seed} {path.name}")
    paths: dict[Path_, list[Path_]] = {}
    for way in paths_of(form.tree):
        paths.setdefault(kind_of(way), []).append(way)
    damages = [damage_of(form.tree, chosen, paths) for _ in range(count)]

    def try_one(item: tuple[int, Damage]) -> tuple[Damage, Outcome]:
        number, damage = item
        damaged = folder / f"{path.stem}-{number}{path.suffix}"
        damaged.write_bytes(form.join(damage.tree))
        outcome = (run_engine if engine else run_archive)(damaged)
        damaged.unlink()
        return damage, outcome

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(try_one, enumerate(damages))


FINDS = ("crash", "hang", "internal error")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="damaged files of each sample")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", type=Path, action="append", help="samples (else: made anew)")
    parser.add_argument("--kind", choices=["engine", "pt2"], help="samples of this kind alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--devices", default="cpu,reference", help="that samples are built for")
    parser.add_argument("--memory", type=float, default=6, help="GB of a process; 0: no limit")
    parser.add_argument("--verbose", action="store_true", help="print every outcome")
    options = parser.parse_args()
    global DEVICE, MEMORY
    DEVICE, MEMORY = options.devices.split(",")[0], int(options.memory * 2**30)
    finds = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = options.file or make_samples(folder, options.devices.split(","))
        for path in files:
            if options.kind and path.suffix != "." + options.kind:
                continue
            counts: dict[str, int] = {}
            for damage, outcome in damage_file(
                path, options.count, options.seed, folder, options.jobs
            ):
                counts[outcome.kind] = counts.get(outcome.kind, 0) + 1
                if options.verbose or outcome.kind in FINDS:
                    print(f"{path.name}: {damage.text}\n  {outcome.kind}: {outcome.message}")
                    sys.stdout.flush()
            finds += sum(counts.get(kind, 0) for kind in FINDS)
            print(f"{path.name}: " + ", ".join(f"{n} {k}" for k, n in sorted(counts.items())))
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
