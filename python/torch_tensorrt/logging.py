"""Levels of the one logger, by Torch-TensorRT's names."""

from __future__ import annotations

import enum
import logging as _logging
from types import TracebackType

__all__ = ["Level", "debug", "errors", "graphs", "info", "internal_errors", "warnings"]

TRT_LOGGER = _logging.getLogger("torch_tensorrt")


class Level(enum.IntEnum):
    """How much is logged."""

    InternalError = _logging.CRITICAL
    Error = _logging.ERROR
    Warning = _logging.WARNING
    Info = _logging.INFO
    Debug = _logging.DEBUG
    Graph = _logging.DEBUG - 5


def set_reportable_log_level(level: Level) -> None:
    """Set the logger's level."""
    TRT_LOGGER.setLevel(int(level))


def get_reportable_log_level() -> Level:
    """Give the logger's level."""
    return min(Level, key=lambda known: abs(int(known) - TRT_LOGGER.getEffectiveLevel()))


class _LogContext:
    """A level for a with-block; the level before comes back."""

    level = Level.Warning

    def __enter__(self) -> None:
        self._before = TRT_LOGGER.level
        set_reportable_log_level(self.level)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        TRT_LOGGER.setLevel(self._before)


class internal_errors(_LogContext):
    """Internal errors alone."""

    level = Level.InternalError


class errors(_LogContext):
    """Errors."""

    level = Level.Error


class warnings(_LogContext):
    """Warnings and errors."""

    level = Level.Warning


class info(_LogContext):
    """What is done, too."""

    level = Level.Info


class debug(_LogContext):
    """Everything."""

    level = Level.Debug


class graphs(_LogContext):
    """Everything, graphs included."""

    level = Level.Graph
