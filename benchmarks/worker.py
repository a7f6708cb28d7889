# SPDX-License-Identifier: Apache-2.0
"""The process of one runner: builds one model, then times blocks of calls when it is told to.

The parent (`run.py`) writes one JSON object a line to standard input and reads one a line from
standard output:

    {"do": "build"}                             → build seconds, memory, difference from eager
    {"do": "block", "seconds": 0.5}             → nanoseconds of a call: min, median; others' share
    {"do": "build_again"}                       → seconds of a build with a warm timing cache
    {"do": "stop"}

Everything that libraries print goes to standard error.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine
from benchmarks.models import ZOO
from benchmarks.quantize import quantized
from benchmarks.runners import RUNNERS, Built, Outputs, outputs_of

# float32 results have to agree with eager to rtol and atol.
RTOL, ATOL = 1e-4, 1e-5
# A sample is at least this long, so that the clock does not matter for calls of microseconds.
_SAMPLE_S = 50e-6


def _differences(outputs: Outputs, reference: list[np.ndarray]) -> dict[str, float]:
    """The largest differences from eager, absolute, relative, and as a share of what is allowed.

    The relative one is to the largest value of that output.
    """
    if len(outputs) != len(reference):
        raise RuntimeError(f"{len(outputs)} outputs, where eager gives {len(reference)}")
    absolute = relative = share = 0.0
    for output, expected in zip(outputs, reference, strict=True):
        actual = output.detach().numpy().astype(np.float64)
        if actual.shape != expected.shape:
            raise RuntimeError(f"output of shape {actual.shape}, eager's is {expected.shape}")
        difference = np.abs(actual - expected)
        if not np.isfinite(difference).all():
            return {"max_abs": float("inf"), "max_rel": float("inf"), "tolerance": float("inf")}
        absolute = max(absolute, float(difference.max(initial=0)))
        scale = float(np.abs(expected).max(initial=0)) or 1.0
        relative = max(relative, float(difference.max(initial=0)) / scale)
        allowed = ATOL + RTOL * np.abs(expected)
        share = max(share, float((difference / allowed).max(initial=0)))
    return {"max_abs": absolute, "max_rel": relative, "tolerance": share}


class Worker:
    """One model under one runner."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Make the network and its inputs."""
        torch.set_num_threads(args.threads)
        model = ZOO[args.model]
        self.runner = RUNNERS[args.runner]
        self.threads = args.threads
        self.reference = Path(args.reference)
        self.network = model.network(args.small)
        self.inputs = model.example_inputs(args.small)
        if args.int8:
            self.network = quantized(self.network, self.inputs)
        tensors = {
            tensor.data_ptr(): tensor.numel() * tensor.element_size()
            for tensor in (*self.network.parameters(), *self.network.buffers())
        }
        self.weights_mb = sum(tensors.values()) / (1 << 20)
        self.built: Built | None = None
        self.repeats = 1

    def build(self) -> dict[str, Any]:
        """Compile, run once, and compare with eager (or record eager's result)."""
        gc.collect()
        machine.reset_peak()
        before_mb = machine.resident_mb()
        start = time.perf_counter()
        with torch.no_grad():
            self.built = self.runner.build(self.network, self.inputs, self.threads)
            outputs = outputs_of(self.built.call())
        build_s = time.perf_counter() - start
        record: dict[str, Any] = {
            "build_s": build_s,
            "export_s": self.built.export_s,
            "peak_mb": machine.peak_mb(),
            "before_mb": before_mb,
            "resident_mb": machine.resident_mb(),
            "children_peak_mb": machine.children_peak_mb(),
            "weights_mb": self.weights_mb,
        }
        if self.runner.name == "eager":
            arrays = {str(i): output.numpy() for i, output in enumerate(outputs)}
            np.savez(self.reference, **arrays)
        else:
            with np.load(self.reference) as stored:
                record |= _differences(outputs, [stored[key] for key in stored.files])
        with torch.no_grad():
            start = time.perf_counter()
            self.built.call()
            once = time.perf_counter() - start
        self.repeats = max(1, int(_SAMPLE_S / once))
        return record

    def build_again(self) -> dict[str, Any]:
        """Build a second time with what the first one left in the timing cache, if it can."""
        assert self.built is not None
        again = self.built.notes.get("build_again")
        return {"second_build_s": again() if again else None}

    def block(self, seconds: float) -> dict[str, Any]:
        """Time calls for `seconds`; the first, which finds cold caches, does not count."""
        assert self.built is not None
        call, repeats = self.built.call, self.repeats
        samples: list[float] = []
        clock = time.perf_counter_ns
        with torch.no_grad():
            call()
            before = machine.CpuClock.now()
            end = clock() + int(seconds * 1e9)
            while True:
                start = clock()
                for _ in range(repeats):
                    call()
                stop = clock()
                samples.append((stop - start) / repeats)
                if stop >= end and len(samples) >= 3:
                    break
        others = machine.CpuClock.now().others_share(before)
        return {
            "min_ns": min(samples),
            "median_ns": statistics.median(samples),
            "calls": len(samples) * repeats,
            "others": others,
        }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, choices=list(ZOO))
    parser.add_argument("--runner", required=True, choices=list(RUNNERS))
    parser.add_argument("--reference", required=True, help="file for eager's outputs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--int8", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Answer messages until told to stop or until standard input ends."""
    # Libraries print to descriptor 1; the parent's pipe gets a descriptor of its own.
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    args = _parse()
    worker = Worker(args)
    for line in sys.stdin:
        message = json.loads(line)
        try:
            if message["do"] == "stop":
                break
            if message["do"] == "build":
                answer = worker.build()
            elif message["do"] == "build_again":
                answer = worker.build_again()
            else:
                answer = worker.block(message["seconds"])
        except Exception as error:  # the parent reports it as this runner's result
            traceback.print_exc()
            first = str(error).strip().split("\n")[0][:200]
            answer = {"error": f"{type(error).__name__}: {first}"}
        pipe.write(json.dumps(answer) + "\n")
    pipe.flush()
    os._exit(0)  # thread pools of some libraries do not end by themselves


if __name__ == "__main__":
    main()
