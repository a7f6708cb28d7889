# SPDX-License-Identifier: Apache-2.0
"""The outcomes of a sweep as tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["FAULTS", "Key", "load", "markdown", "reasons", "summary"]

FAULTS = ("wrong", "error", "abort", "crash", "hang")
_SHARES = ("whole", "partly", "pytorch")

Key = tuple[str, str, bool, str]  # operator, element type, dynamic, case


def load(path: Path) -> tuple[dict[Key, dict[str, Any]], set[tuple[str, str, bool]]]:
    """Results by case (the last of each), and the tasks that were finished."""
    results: dict[Key, dict[str, Any]] = {}
    done = set()
    if not path.exists():
        return results, done
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the last line of a sweep that was killed
            continue
        task = (entry["op"], entry["dtype"], entry["dynamic"])
        if entry.get("done"):
            done.add(task)
        else:
            results[(*task, entry["case"])] = entry
    return results, done


def _row(name: str, entries: list[dict[str, Any]]) -> list[str]:
    counts = Counter(e["outcome"] for e in entries)
    exported = sum(n for outcome, n in counts.items() if outcome != "not_exportable")

    def share(outcome: str) -> str:
        return f"{100 * counts[outcome] / exported:.1f} %" if exported else "-"

    return [
        name, str(exported), *(share(s) for s in _SHARES), *(str(counts[f]) for f in FAULTS),
        str(counts["not_exportable"]),
    ]  # fmt: skip


def _rows(entries: Iterable[dict[str, Any]], dtypes: Iterable[str]) -> list[list[str]]:
    entries = list(entries)
    rows = [["type", "cases", "whole", "partly", "in PyTorch", *FAULTS, "not exportable"]]
    for dynamic in (False, True):
        for dtype in dtypes:
            mine = [e for e in entries if e["dtype"] == dtype and e["dynamic"] == dynamic]
            if mine:
                rows.append(_row(f"{dtype}{', dynamic' if dynamic else ''}", mine))
    rows.append(_row("all", entries))
    return rows


def summary(entries: Iterable[dict[str, Any]], dtypes: Iterable[str]) -> str:
    """Aligned columns for a terminal."""
    rows = _rows(entries, dtypes)
    widths = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            c.ljust(w) if k == 0 else c.rjust(w)
            for k, (c, w) in enumerate(zip(r, widths, strict=False))
        )
        for r in rows
    )


def markdown(entries: Iterable[dict[str, Any]], dtypes: Iterable[str]) -> str:
    """The same as Markdown."""
    head, *rows = _rows(entries, dtypes)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def reasons(entries: Iterable[dict[str, Any]], least: int = 1) -> list[tuple[int, str]]:
    """What keeps cases out of engines, with how many cases each keeps out, most first."""
    counts = Counter(
        reason
        for e in entries
        if e["outcome"] in ("partly", "pytorch")
        for reason in e.get("reasons", ())
    )
    return [(n, reason) for reason, n in counts.most_common() if n >= least]
