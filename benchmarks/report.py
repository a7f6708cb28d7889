# SPDX-License-Identifier: Apache-2.0
"""Turns measured blocks into figures, and figures into tables (terminal and markdown)."""

from __future__ import annotations

import math
import statistics
from typing import Any

from benchmarks.models import ZOO
from benchmarks.runners import PEERS, RUNNERS

Record = dict[str, Any]


def summarize(blocks: list[Record]) -> Record:
    """Min and median of the quiet half: the blocks during which others took the least."""
    quiet = sorted(blocks, key=lambda block: block["others"])[: max(1, (len(blocks) + 1) // 2)]
    return {
        "min_us": min(block["min_ns"] for block in quiet) / 1e3,
        "median_us": statistics.median(block["median_ns"] for block in quiet) / 1e3,
        "others": statistics.mean(block["others"] for block in quiet),
        "calls": sum(block["calls"] for block in quiet),
    }


def _time(record: Record | None) -> float | None:
    return record["median_us"] if record and "median_us" in record else None


def ratio(records: dict[str, Record], runner: str, against: str) -> float | None:
    """How many times faster `runner` is than `against` on one model (medians)."""
    ours, theirs = _time(records.get(runner)), _time(records.get(against))
    return theirs / ours if ours and theirs else None


def best_peer(records: dict[str, Record]) -> str | None:
    """The fastest runner other than Stator, on one model."""
    timed = {name: _time(records.get(name)) for name in PEERS}
    known = {name: time for name, time in timed.items() if time}
    return min(known, key=known.__getitem__) if known else None


def against_best(records: dict[str, Record]) -> float | None:
    """How many times faster Stator is than the best peer on one model."""
    peer = best_peer(records)
    return ratio(records, "stator", peer) if peer else None


def geometric_mean(values: list[float]) -> float:
    """The geometric mean of positive numbers."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _cell(record: Record | None, value: float | None) -> str:
    if record and "error" in record:
        return "missing" if record.get("missing") else "failed"
    return "" if value is None else f"{value:.2f}"


def _time_text(us: float | None) -> str:
    if us is None:
        return ""
    return f"{us:.1f} µs" if us < 1000 else f"{us / 1000:.2f} ms"


Table = tuple[str, list[str], list[list[str]]]


def speed_table(results: dict[str, dict[str, Record]], runners: list[str]) -> Table:
    """Times faster than eager for each model and runner, and against the best peer."""
    shown = [name for name in runners if name != "eager"]
    header = ["model", "eager", *(RUNNERS[name].title for name in shown), "Stator / best peer"]
    rows = []
    columns: dict[str, list[float]] = {name: [] for name in [*shown, "best"]}
    for model, records in results.items():
        row = [ZOO[model].title, _time_text(_time(records.get("eager")))]
        for name in shown:
            value = ratio(records, name, "eager")
            columns[name] += [value] if value else []
            row.append(_cell(records.get(name), value))
        best = against_best(records)
        columns["best"] += [best] if best else []
        row.append(f"{best:.2f} ({RUNNERS[best_peer(records)].title})" if best else "")
        rows.append(row)
    if len(rows) > 1:
        means = [f"{geometric_mean(column):.2f}" if column else "" for column in columns.values()]
        rows.append(["geometric mean", "", *means])
    return "Times faster than eager (medians of the quiet half)", header, rows


def time_table(results: dict[str, dict[str, Record]], runners: list[str]) -> Table:
    """Median and least time of a call, with the share of the machine that others took."""
    header = ["model", *(RUNNERS[name].title for name in runners)]
    rows = []
    for model, records in results.items():
        row = [ZOO[model].title]
        for name in runners:
            record = records.get(name)
            if _time(record):
                least, others = _time_text(record["min_us"]), record["others"]
                row.append(f"{_time_text(record['median_us'])} (min {least}, others {others:.0%})")
            else:
                row.append(_cell(record, None))
        rows.append(row)
    return "Time of a call: median, least, share of the machine that others took", header, rows


def build_table(results: dict[str, dict[str, Record]], runners: list[str]) -> Table:
    """Seconds from the module to the first result, and peak memory of the process."""
    shown = [name for name in runners if name != "eager"]
    header = ["model", "weights", *(RUNNERS[name].title for name in shown)]
    rows = []
    for model, records in results.items():
        weights = next((r["weights_mb"] for r in records.values() if "weights_mb" in r), 0.0)
        row = [ZOO[model].title, f"{weights:.0f} MB"]
        for name in shown:
            record = records.get(name)
            if record and "build_s" in record:
                again = record.get("second_build_s")
                second = f", again {again:.1f} s" if again else ""
                peak = max(record["peak_mb"], record["children_peak_mb"])
                row.append(f"{record['build_s']:.1f} s{second}, {peak:.0f} MB")
            else:
                row.append(_cell(record, None))
        rows.append(row)
    title = "Build: seconds from the module to the first result (again: with the timing cache), "
    return title + "peak memory of the process", header, rows


def accuracy_table(results: dict[str, dict[str, Record]], runners: list[str]) -> Table:
    """The largest difference from eager, absolute and as a share of what is allowed."""
    shown = [name for name in runners if name != "eager"]
    header = ["model", *(RUNNERS[name].title for name in shown)]
    rows = []
    for model, records in results.items():
        row = [ZOO[model].title]
        for name in shown:
            record = records.get(name)
            if record and "max_abs" in record:
                row.append(f"{record['max_abs']:.1e} ({record['tolerance']:.2f})")
            else:
                row.append(_cell(record, None))
        rows.append(row)
    title = "Largest difference from eager (in brackets: times rtol 1e-4, atol 1e-5)"
    return title, header, rows


def tables(results: dict[str, dict[str, Record]], runners: list[str]) -> list[Table]:
    """All tables, in the order in which a reader wants them."""
    makers = (speed_table, time_table, build_table, accuracy_table)
    return [make(results, runners) for make in makers]


def failures(results: dict[str, dict[str, Record]]) -> list[str]:
    """One line for each runner that is missing or failed, with its reason."""
    lines = []
    for model, records in results.items():
        for name, record in records.items():
            if "error" in record:
                lines.append(f"{ZOO[model].title}, {RUNNERS[name].title}: {record['error']}")
    return lines


def markdown(
    results: dict[str, dict[str, Record]], runners: list[str], about: dict[str, Any]
) -> str:
    """The report as markdown, for docs/performance.md."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"Measured on {about['processor']} ({about['extensions']}), {about['cores']} cores, "
        f"{about['threads']} threads, float32, {about['date']}; {versions}.",
        f"Command: `{about['command']}`.",
        "",
    ]
    for title, header, rows in tables(results, runners):
        lines += [f"### {title}", "", "| " + " | ".join(header) + " |"]
        lines.append("|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|")
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
    missing = failures(results)
    if missing:
        lines += ["### Missing or failed", ""] + [f"- {line}" for line in missing] + [""]
    return "\n".join(lines)
