# SPDX-License-Identifier: Apache-2.0
"""Times operators by themselves under Stator and eager PyTorch, and prints who is faster.

Each operator at everyday sizes (`operator_cases/`), in float32 and bfloat16, images in two layouts,
with fixed and with varying sizes. The two take turns in one process; the ratio is the median over
the turns of Stator's time to eager's in the same turn, so what else the machine does counts for
both. An operator that Stator leaves to PyTorch is listed as such and has no ratio.

  python benchmarks/operators.py --device cpu                    all of them
  python benchmarks/operators.py --only 'topk|sort' --dtypes float32 --sizes static
  python benchmarks/operators.py --device cuda --write-docs      also docs/operator_speed.md
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import stator  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

from benchmarks import operator_tables  # noqa: E402
from benchmarks.operator_cases import FAMILIES  # noqa: E402
from benchmarks.operator_cases.case import Case  # noqa: E402

TURNS = 9
Row = dict[str, Any]


class Operator(nn.Module):
    """A case as a model; its weights are constants of it."""

    def __init__(self, case: Case, weights: list[torch.Tensor]) -> None:
        """Hold the weights as parameters."""
        super().__init__()
        self.call = case.call
        self.weights = nn.ParameterList(nn.Parameter(w, requires_grad=False) for w in weights)

    def forward(self, *args: Any) -> Any:
        """Call the operator."""
        return self.call(*args, *self.weights)


def _inputs(case: Case, tensors: list[Any], sizes: str) -> list[Any]:
    """What the model is compiled for: the tensors, or a range of their first size."""
    inputs = []
    for of, tensor in zip(case.args, tensors, strict=True):
        first, *rest = tensor.shape
        if sizes == "static" or not of.varies or first < 4:
            inputs.append(tensor)
        else:
            shapes = {"min": first // 2, "opt": first, "max": first * 2}
            ranges = {f"{name}_shape": (size, *rest) for name, size in shapes.items()}
            inputs.append(stator.Input(**ranges, dtype=tensor.dtype))
    return inputs


def _seconds(call: Callable[[], Any], count: int, on_gpu: bool) -> float:
    if on_gpu:
        torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(count):
        call()
    if on_gpu:
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / count


def _times(
    eager: Callable[[], Any], compiled: Callable[[], Any], args: argparse.Namespace
) -> tuple[float, float]:
    """Eager's least microseconds, and the median ratio of the compiled call's to eager's."""
    on_gpu = args.device == "cuda"
    counts = []
    for call in (eager, compiled):
        for _ in range(3):
            call()
        once = min(_seconds(call, 2, on_gpu) for _ in range(3))
        counts.append(max(2, int(args.seconds / TURNS / 2 / once)))
    turns = [
        (_seconds(eager, counts[0], on_gpu), _seconds(compiled, counts[1], on_gpu))
        for _ in range(TURNS)
    ]
    ratio = statistics.median(ours / theirs for theirs, ours in turns)
    return 1e6 * min(theirs for theirs, _ in turns), ratio


def measure(case: Case, dtype: torch.dtype, layout: str, sizes: str, args: Any) -> Row:
    """One line of the table; its `status` is "timed", "in PyTorch" or what went wrong."""
    row: Row = {
        "operator": case.operator, "case": case.label, "dtype": str(dtype)[6:], "layout": layout,
        "sizes": sizes,
    }  # fmt: skip
    make = [of.make(dtype, layout == "channels_last", args.device) for of in case.args]
    weights = [of.make(dtype, layout == "channels_last", args.device) for of in case.weights]
    model = Operator(case, weights).eval()
    try:
        begin = time.perf_counter()
        compiled = stator.compile(model, inputs=_inputs(case, make, sizes), device=args.device)
        row["build_s"] = time.perf_counter() - begin
    except Exception as error:  # one operator's fault is a line of the table
        return {**row, "status": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    report = compiled.stator_report
    if report.fallbacks or not report.engines:
        reasons = {f["reason"] for f in report.fallbacks}
        return {**row, "status": "in PyTorch", "reason": "; ".join(sorted(reasons))}
    try:
        model(*make)
    except NotImplementedError as error:
        return {**row, "status": "not in eager", "reason": str(error)}
    eager_us, ratio = _times(lambda: model(*make), lambda: compiled(*make), args)
    return {**row, "status": "timed", "eager_us": eager_us, "ratio": ratio}


def _chosen(args: argparse.Namespace) -> Iterator[tuple[str, Case, torch.dtype, str, str]]:
    for family in args.families:
        for case in FAMILIES[family]():
            if not re.search(args.only, case.operator):
                continue
            for name in args.dtypes:
                if case.only_float32 and name != "float32":
                    continue
                for sizes in args.sizes:
                    # A range is given without a layout, so it is timed in the usual one.
                    both = case.has_image and sizes == "static"
                    for layout in ("contiguous", "channels_last") if both else ("contiguous",):
                        yield family, case, getattr(torch, name), layout, sizes


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--only", default="", help="a regular expression that operators match")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--sizes", nargs="+", default=["static", "dynamic"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=0.3, help="of timing, for each line")
    parser.add_argument("--json", type=Path, help="a file for the lines, as they come")
    parser.add_argument("--write-docs", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Time, print, and write what was asked for."""
    args = _parse()
    # What is left to PyTorch is told by the table.
    logging.getLogger("stator").addFilter(lambda record: record.levelno >= logging.ERROR)
    torch.set_num_threads(args.threads)
    rows = []
    with torch.no_grad():
        for family, case, dtype, layout, sizes in _chosen(args):
            row = {"family": family, **measure(case, dtype, layout, sizes, args)}
            rows.append(row)
            print(operator_tables.line(row), flush=True)
            if args.json:
                with args.json.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print(operator_tables.summary(rows))
    if args.write_docs:
        operator_tables.write_docs(rows, args.device, args.threads)


if __name__ == "__main__":
    main()
