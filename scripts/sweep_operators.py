#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares every operator with eager PyTorch, on PyTorch's own sample inputs.

    scripts/sweep_operators.py --device cpu                    up to four samples of each type
    scripts/sweep_operators.py --op 'fft.*' --dtype float32    some of them
    scripts/sweep_operators.py --samples 0 --reference         all there are
    scripts/sweep_operators.py --write-docs                    the shares into docs/operators.md

Each case is exported, compiled and compared in a process of its own kind, with fixed sizes and with
dynamic ones; what becomes of it is a line of JSON in a file. A sweep that was stopped goes on where
it was, from the same file.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from operator_sweep import tables
from operator_sweep.workers import Options, Task, run_tasks, serve

ROOT = Path(__file__).resolve().parent.parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "reference"))
    parser.add_argument("--op", nargs="+", default=[], help="names of operators, with * and ?")
    parser.add_argument("--dtype", nargs="+", default=[], help="element types (default: all)")
    parser.add_argument("--samples", type=int, default=4, help="at most, of each type; 0: all")
    parser.add_argument("--reference", action="store_true", help="PyTorch's larger set of samples")
    parser.add_argument("--inplace", action="store_true", help="the variants that work in place")
    parser.add_argument("--sizes", default="both", choices=("static", "dynamic", "both"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--time-limit", type=float, default=60, help="seconds of work")
    parser.add_argument("--out", type=Path, help="default: build/sweep-DEVICE.jsonl")
    parser.add_argument("--restart", action="store_true", help="begin anew")
    parser.add_argument("--report", action="store_true", help="only show what the file holds")
    parser.add_argument("--faults", action="store_true", help="list every fault")
    parser.add_argument("--reasons", type=int, default=20, help="lines of reasons to show")
    parser.add_argument("--write-docs", action="store_true", help="shares to docs/operators.md")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    chosen.out = chosen.out or ROOT / "build" / f"sweep-{chosen.device}.jsonl"
    return chosen


def wanted_tasks(chosen: argparse.Namespace, dtypes: tuple[str, ...]) -> list[Task]:
    from operator_sweep.samples import op_names

    ops = [n for n in op_names() if matches(n, chosen.op)]
    sizes = {"static": (False,), "dynamic": (True,), "both": (False, True)}[chosen.sizes]
    return [Task(op, dtype, dynamic) for op in ops for dtype in dtypes for dynamic in sizes]


def matches(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatch.fnmatch(name, p) for p in patterns)


def sweep(chosen: argparse.Namespace, dtypes: tuple[str, ...]) -> None:
    """Run what the file lacks."""
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    if chosen.restart:
        chosen.out.unlink(missing_ok=True)
    _, done = tables.load(chosen.out)
    tasks = [t for t in wanted_tasks(chosen, dtypes) if (t.op, t.dtype, t.dynamic) not in done]
    begin, count = time.monotonic(), 0
    with open(chosen.out, "a", encoding="utf-8") as file:

        def record(line: dict[str, Any]) -> None:
            nonlocal count
            file.write(json.dumps(line) + "\n")
            file.flush()
            if line.get("outcome") in tables.FAULTS:
                print(fault(line), flush=True)
            count += bool(line.get("done"))
            if line.get("done") and count % 100 == 0:
                seconds = time.monotonic() - begin
                print(f"{count} of {len(tasks)} tasks, {seconds:.0f} s", flush=True)

        options = Options(
            chosen.device, chosen.samples, chosen.reference, chosen.time_limit, chosen.inplace
        )
        run_tasks(tasks, options, max(1, min(chosen.jobs, len(tasks))), record)


def fault(line: dict[str, Any]) -> str:
    sizes = " dynamic" if line["dynamic"] else ""
    detail = line["detail"].strip().replace("\n", "\n    ")
    return f"{line['outcome']}: {line['op']} {line['dtype']}{sizes} [{line['case']}]: {detail}"


def write_docs(chosen: argparse.Namespace, entries: list[Any], dtypes: tuple[str, ...]) -> None:
    import torch
    from list_operators import write_section

    what = {"cpu": "the CPU", "cuda": "an NVIDIA GPU", "reference": "the reference backend"}
    text = (
        f"On {what[chosen.device]}, with PyTorch {torch.__version__.partition('+')[0]}, "
        + ("all samples" if chosen.samples == 0 else f"up to {chosen.samples} samples")
        + " of each operator and type:\n\n"
        + tables.markdown(entries, dtypes)
        + "\n\nWhat keeps most cases out of engines:\n\n"
        + "\n".join(f"- {n} cases: {text}" for n, text in tables.reasons(entries)[:15])
    )
    write_section(chosen.device, text)


def main() -> int:
    chosen = arguments()
    if chosen.worker:
        serve()
        return 0
    from operator_sweep.samples import DTYPES

    dtypes = tuple(d for d in DTYPES if matches(d, chosen.dtype))
    if not chosen.report:
        sweep(chosen, dtypes)
    results, _ = tables.load(chosen.out)
    entries = [e for e in results.values() if matches(e["op"], chosen.op) and e["dtype"] in dtypes]
    if chosen.faults:
        print("\n".join(fault(e) for e in entries if e["outcome"] in tables.FAULTS))
    for number, reason in tables.reasons(entries)[: chosen.reasons]:
        print(f"{number:6} {reason}")
    print(tables.summary(entries, dtypes))
    if chosen.write_docs:
        write_docs(chosen, entries, dtypes)
    return 1 if any(e["outcome"] in tables.FAULTS for e in entries) else 0


if __name__ == "__main__":
    sys.exit(main())
