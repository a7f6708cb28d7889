"""One logger, ``torch_tensorrt``, for Python and the C++ part alike."""

import logging

from stator import _native

logger = logging.getLogger("torch_tensorrt")


def sync_level() -> None:
    """Tell the C++ part which lines the logger wants; called at the start of every compilation."""
    _native.set_log_level(logger.getEffectiveLevel())


def install() -> None:
    """Route the C++ part's lines to the logger."""
    _native.set_log_callback(lambda level, message: logger.log(level, message))
    sync_level()
