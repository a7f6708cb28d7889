"""Levels of the one logger, by Torch-TensorRT's names."""

from __future__ import annotations

import enum
import functools
import logging as _logging

from stator._log import at_level, logger

__all__ = ["Level", "debug", "errors", "graphs", "info", "internal_errors", "warnings"]

TRT_LOGGER = logger


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


# Each gives a with-block its level: ``with torch_tensorrt.logging.debug(): …``
internal_errors = functools.partial(at_level, Level.InternalError)
errors = functools.partial(at_level, Level.Error)
warnings = functools.partial(at_level, Level.Warning)
info = functools.partial(at_level, Level.Info)
debug = functools.partial(at_level, Level.Debug)
graphs = functools.partial(at_level, Level.Graph)
