# SPDX-License-Identifier: Apache-2.0
"""Keeps built engines on disk, just in time and ahead of time.

The second compilation of a model takes its engine from the cache: nothing is built. A model with
other weights, another shape or another setting that matters is built anew.

  python examples/engine_caching.py [folder]
"""

from __future__ import annotations

import sys
import tempfile
import time

import torch
import torch_tensorrt
from torch import nn


def network(seed: int = 0) -> nn.Module:
    """A perceptron of four layers."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(4):
        layers += [nn.Linear(1024, 1024), nn.GELU(), nn.LayerNorm(1024)]
    return nn.Sequential(*layers).eval()


def main() -> None:
    """Compile three times through each door, and say what was built."""
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="engines-")
    options = {
        "cache_built_engines": True,
        "reuse_cached_engines": True,
        "immutable_weights": False,
        "engine_cache_dir": folder,
        "engine_cache_size": 1 << 30,
        "timing_cache_path": "",
    }
    x = torch.randn(8, 1024)
    for title, module in (("first", network()), ("again", network()), ("other", network(1))):
        begin = time.perf_counter()
        compiled = torch_tensorrt.compile(module, arg_inputs=[x], **options)
        seconds = time.perf_counter() - begin
        stats = compiled.stator_report.engines[0].build_stats
        cached = "from the cache" if stats.get("cached") else "built"
        with torch.no_grad():
            difference = (compiled(x) - module(x)).abs().max().item()
        print(f"ahead of time, {title}: {cached} in {seconds:.2f} s, off by {difference:.1e}")
    for title in ("first", "again"):
        torch._dynamo.reset()
        module = network()
        begin = time.perf_counter()
        with torch.no_grad():
            compiled = torch.compile(module, backend="torch_tensorrt", options=options)
            difference = (compiled(x) - module(x)).abs().max().item()
        seconds = time.perf_counter() - begin
        print(f"just in time, {title}: {seconds:.2f} s, off by {difference:.1e}")


if __name__ == "__main__":
    main()
