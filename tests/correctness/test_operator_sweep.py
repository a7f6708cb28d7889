# SPDX-License-Identifier: Apache-2.0
"""A small part of scripts/sweep_operators.py: PyTorch's own samples against eager."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
from operator_sweep import tables  # noqa: E402
from operator_sweep.check import check  # noqa: E402
from operator_sweep.compare import difference  # noqa: E402
from operator_sweep.samples import cases  # noqa: E402

# One or two operators of each family, and the types whose rules differ.
SUBSET = [
    (op, dtype, dynamic)
    for ops, dtypes in [
        (["add", "div.no_rounding_mode", "pow", "where", "clamp", "remainder"],
         ["float32", "bfloat16", "int32", "uint8"]),
        (["sum", "amax", "var", "argmax", "cumsum", "softmax", "std_mean"], ["float32", "int64"]),
        (["eq", "logical_and", "any", "bitwise_xor"], ["bool", "int8"]),
        (["cat", "index_select", "gather", "roll", "tril", "flip"], ["float32", "bool"]),
        (["matmul", "nn.functional.linear", "nn.functional.layer_norm", "einsum"], ["float32"]),
        (["exp", "sin", "rsqrt", "nn.functional.gelu"], ["float32", "float16"]),
        (["msort", "nn.functional.max_pool2d"], ["float32"]),
    ]
    for op in ops
    for dtype in dtypes
    for dynamic in (False, True)
]  # fmt: skip


@pytest.mark.parametrize(("op", "dtype", "dynamic"), SUBSET)
def test_samples_are_as_in_eager(device, op, dtype, dynamic):
    where = "cuda" if device == "cuda" else "cpu"
    for case in cases(op, dtype, where, wanted=1, reference=False):
        result = check(case, device, dynamic)
        if result is not None:
            assert result["outcome"] not in tables.FAULTS, f"[{case.name}] {result['detail']}"


def test_differences_are_found():
    def told(got, expected):
        return difference(got, expected, True, lambda: None)

    nan = float("nan")
    x = torch.tensor([1.0, nan, float("inf")])
    assert told(x.clone(), x) == ""
    assert told(x.nan_to_num(0.0), x).startswith("2 of 3 elements differ, at (1,)")
    assert told(x.double(), x) == "torch.float64 instead of torch.float32"
    assert told(x[:2], x) == "shape (2,) instead of (3,)"
    assert told([x, torch.tensor([1])], [x, torch.tensor([2])]).startswith("result 1: 1 of 1")
    assert told(3, 3.0) == "int instead of float"


def test_halves_may_be_better_than_eager():
    eager, ours, exact = (torch.tensor([v]) for v in (1.5, 1.0, 1.0))
    half = torch.bfloat16
    assert difference(ours.to(half), eager.to(half), True, lambda: exact.double()) == ""
    worse = difference(eager.to(half), ours.to(half), True, lambda: exact.double())
    assert worse.startswith("1 of 1 elements differ")


def test_the_command_goes_on_where_it_was(tmp_path):
    out = tmp_path / "sweep.jsonl"
    command = [sys.executable, SCRIPTS / "sweep_operators.py", "--device", "reference"]
    command += ["--op", "neg", "--dtype", "int32", "--samples", "1", "--jobs", "1", "--out", out]
    first = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["outcome"] for line in lines if "outcome" in line].count("whole") == len(
        [line for line in lines if "outcome" in line]
    )
    again = subprocess.run([*command, "--report"], capture_output=True, text=True, check=True)
    assert first.splitlines()[-1] == again.stdout.splitlines()[-1]
    results, done = tables.load(out)
    assert done == {("neg", "int32", False), ("neg", "int32", True)} and results
