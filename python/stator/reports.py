# SPDX-License-Identifier: Apache-2.0
"""Where dry-run reports go: stdout, a file, the log."""

from __future__ import annotations

import logging
from typing import Any

from stator import _native
from stator._log import logger
from stator.settings.compilation_settings import CompilationSettings

__all__ = ["log_report", "print_report"]

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
