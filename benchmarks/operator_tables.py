# SPDX-License-Identifier: Apache-2.0
"""What the operators' times come to: lines, a summary, a page with a picture."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine

__all__ = ["line", "summary", "write_docs"]

DOCS = Path(__file__).resolve().parent.parent / "docs"
SMALL_US = 20  # below, a call's own cost is what is measured
SLOWER = 1.1
COLORS = {"pointwise": "#4477aa", "reduction": "#228833", "movement": "#ee7733",
          "product": "#aa3377"}  # fmt: skip
Row = dict[str, Any]


def _name(row: Row) -> str:
    parts = [row["operator"], f"({row['case']})", row["dtype"]]
    parts += ["channels_last"] if row["layout"] == "channels_last" else []
    return " ".join(parts + (["dynamic"] if row["sizes"] == "dynamic" else []))


def line(row: Row) -> str:
    """One row as text."""
    if row["status"] != "timed":
        return f"{_name(row):72s} {row['status']} {row.get('reason', '')}"[:160]
    return f"{_name(row):72s} {row['eager_us']:10.1f} us  x {row['ratio']:.2f}"


def _timed(rows: list[Row]) -> list[Row]:
    return [r for r in rows if r["status"] == "timed"]


def _mean(rows: list[Row]) -> float:
    """Geometric mean of eager's time over ours."""
    logs = [-math.log(r["ratio"]) for r in rows]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def _slow(rows: list[Row]) -> list[Row]:
    """Worst first."""
    slow = [r for r in _timed(rows) if r["ratio"] > SLOWER and r["eager_us"] > SMALL_US]
    return sorted(slow, key=lambda r: -r["ratio"])


def _counts(rows: list[Row]) -> str:
    rows = [r for r in rows if r["status"] != "not in eager"]
    timed, left = _timed(rows), [r for r in rows if r["status"] == "in PyTorch"]
    failed = len(rows) - len(timed) - len(left)
    large = [r for r in timed if r["eager_us"] > SMALL_US]
    return (
        f"{len(rows)} cases: {len(timed)} compiled, {len(left)} left to PyTorch, {failed} failed. "
        f"Geometric mean of eager's time over Stator's: {_mean(timed):.2f}; of the {len(large)} "
        f"that take eager more than {SMALL_US} us, {_mean(large):.2f}. Slower than {SLOWER} times "
        f"eager among those: {len(_slow(rows))}"
    )


def summary(rows: list[Row]) -> str:
    """What all rows come to."""
    return "\n".join(["", _counts(rows), *(line(r) for r in _slow(rows))])


def _picture(rows: list[Row]) -> str:
    """Every case as a bar from 1, sorted: up is faster than eager, on a logarithmic scale."""
    timed = sorted(_timed(rows), key=lambda r: r["ratio"])
    width, height, middle = 1000, 420, 220
    step = (width - 80) / max(1, len(timed))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for times in (0.25, 0.5, 1, 2, 4, 8, 16):
        y = middle - 45 * math.log2(times)
        parts.append(f'<line x1="60" x2="{width - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="54" y="{y + 4:.1f}" text-anchor="end">{times:g} x</text>')
    for k, row in enumerate(timed):
        tall = 45 * max(-4.0, min(4.4, -math.log2(row["ratio"])))
        top = middle - max(tall, 0)
        parts.append(
            f'<rect x="{60 + k * step:.2f}" y="{top:.1f}" width="{max(step, 0.4):.2f}" '
            f'height="{max(abs(tall), 0.5):.1f}" fill="{COLORS[row["family"]]}">'
            f"<title>{_name(row)}: {1 / row['ratio']:.2f}</title></rect>"
        )
    for k, (family, color) in enumerate(COLORS.items()):
        parts.append(f'<rect x="{70 + 130 * k}" y="{height - 24}" width="12" height="12" '
                     f'fill="{color}"/>')  # fmt: skip
        parts.append(f'<text x="{88 + 130 * k}" y="{height - 14}">{family}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _machine(device: str, threads: int) -> str:
    if device == "cuda":
        return f"one {torch.cuda.get_device_name()}"
    about = machine.describe()
    return f"{about['processor']} ({about['extensions']}), {threads} threads"


def _by_operator(rows: list[Row]) -> list[str]:
    """A table: of each operator eager's time over Stator's, the mean, worst and best case."""
    table = ["| operator | cases | mean | worst | best |", "| --- | ---: | ---: | ---: | ---: |"]
    names = sorted({r["operator"] for r in rows})
    for name in names:
        of = [r for r in rows if r["operator"] == name]
        timed = sorted(_timed(of), key=lambda r: r["ratio"])
        if not timed:
            table.append(f"| `{name}` | {len(of)} | in PyTorch | | |")
            continue
        best, worst = 1 / timed[0]["ratio"], 1 / timed[-1]["ratio"]
        table.append(f"| `{name}` | {len(of)} | {_mean(timed):.2f} | {worst:.2f} | {best:.2f} |")
    return table


def write_docs(rows: list[Row], device: str, threads: int) -> None:
    """The device's part of docs/operator_speed.md, and its picture."""
    image = DOCS / "images" / f"operators-{device}.svg"
    image.write_text(_picture(rows))
    page = DOCS / "operator_speed.md"
    begin, end = f"<!-- operators {device} -->", f"<!-- end {device} -->"
    text = page.read_text()
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    slow = [f"- {_name(r)}: {r['ratio']:.2f} ({r['eager_us']:.0f} us)" for r in _slow(rows)]
    part = [
        begin, "", f"{datetime.date.today()}, {_machine(device, threads)}, PyTorch "
        f"{torch.__version__.split('+')[0]}.", "", _counts(rows) + ".", "",
        f"![each case as a bar](images/{image.name})", "", *_by_operator(rows), "",
        f"Slower than {SLOWER} times eager (Stator / eager):", "", *(slow or ["- none"]), "", end,
    ]  # fmt: skip
    page.write_text(head + "\n".join(part) + tail)
