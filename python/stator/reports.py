# SPDX-License-Identifier: Apache-2.0
"""What is said of a compilation: dry-run reports, a summary, the warning that nothing was done."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from stator import _native
from stator._log import logger
from stator.settings.compilation_settings import CompilationSettings

__all__ = ["log_report", "print_report", "summarize", "warn_of_nothing", "why_nothing"]

# Files that compile calls of this process made: path → the call. Further graphs of the same call
# (graph breaks) are appended; a file that was there before is left alone.
_written: dict[str, Any] = {}


def print_report(
    compilation: _native.Compilation, settings: CompilationSettings, call: Any = None
) -> None:
    """Print the report, and save it where ``dryrun`` is a path.

    Args:
        compilation: what to report on.
        settings: of the compilation.
        call: identifies the compile call; its graphs share one file.
    """
    text = compilation.report()
    print(text)
    if not isinstance(settings.dryrun, str):
        return
    path = settings.dryrun
    append = call is not None and _written.get(path) is call
    try:
        with open(path, "a" if append else "x", encoding="utf-8") as file:
            file.write(("\n" if append else "") + text + "\n")
        _written[path] = call
    except FileExistsError:
        logger.warning(
            "the dry-run report was not saved: %r exists and is not overwritten; remove it first",
            path,
        )
    except OSError as error:
        logger.warning("the dry-run report was not saved to %r: %s", path, error)


def log_report(compilation: _native.Compilation) -> None:
    """The same report at DEBUG, for compilations that are no dry run."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s", compilation.report())


def summarize(
    what: str, compilation: _native.Compilation, engines: Mapping[str, Any], seconds: float
) -> None:
    """One line at INFO: engines, operators inside and left, seconds."""
    segments = [s for s in compilation.segments() if s["name"] in engines]
    inside = sum(s["operator_count"] for s in segments)
    total = compilation.total_operators
    logger.info(
        "%s: %d engine%s with %d of %d operators, %d in PyTorch; %.2f s",
        what, len(engines), "" if len(engines) == 1 else "s", inside, total, total - inside,
        seconds,
    )  # fmt: skip


def why_nothing(
    compilation: _native.Compilation, settings: CompilationSettings, engines: Mapping[str, Any]
) -> str:
    """Why a compilation has no engine, and the setting to change; "" where nobody need be told.

    That is where there are engines or no operators, where infinity was asked for, and where an
    engine failed, which has been warned of.
    """
    tried = any(s["engine"] for s in compilation.segments())
    asked = settings.min_block_size == float("inf")
    if engines or tried or asked or not compilation.total_operators:
        return ""
    if compilation.supported_operators:
        largest = max(compilation.block_sizes)
        return (
            f"its largest block of operators that engines can hold has {largest}, fewer than "
            f"min_block_size={compilation.min_block_size}; compile with min_block_size={largest}"
        )
    first = compilation.fallbacks()[0]
    name = first["target"] + (f" ({first['source']})" if first["source"] else "")
    count = compilation.total_operators
    return (
        f"engines can hold none of its {count} operator{'' if count == 1 else 's'}, {name} for "
        f"one: {first['reason']}{_elsewhere(settings)}; dryrun=True reports on all of them"
    )


def _elsewhere(settings: CompilationSettings) -> str:
    """What else to do where `device` names a GPU that PyTorch does not see."""
    if settings.backend("cpu") != "cuda" or torch.cuda.is_available():
        return ""
    return f"; device={str(settings.device)!r} is set, and PyTorch sees no GPU: leave it out"


def warn_of_nothing(what: str, why: str) -> None:
    """The one warning that a compilation compiled nothing."""
    logger.warning("%s runs in PyTorch, no engine was built: %s", what, why)
