"""One logger, ``torch_tensorrt``, for Python and the C++ part alike."""

import contextlib
import logging
from collections.abc import Iterator

from stator import _native

logger = logging.getLogger("torch_tensorrt")


def sync_level() -> None:
    """Tell the C++ part which lines the logger wants; called at the start of every compilation."""
    _native.set_log_level(logger.getEffectiveLevel())


@contextlib.contextmanager
def debugging(on: bool) -> Iterator[None]:
    """The logger at DEBUG for a with-block, where `on`; the user's level comes back."""
    level = logger.level
    if on:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        if on:
            logger.setLevel(level)


class _WhenNobodyListens(logging.StreamHandler):
    """Lines to stderr, as long as the user has set up no handler that would print them too."""

    def emit(self, record: logging.LogRecord) -> None:
        others = [h for h in logger.handlers if h is not self]
        if not others and not logging.getLogger().handlers:
            super().emit(record)


def install() -> None:
    """Route the C++ part's lines to the logger, and the logger's somewhere."""
    if not any(isinstance(h, _WhenNobodyListens) for h in logger.handlers):
        handler = _WhenNobodyListens()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        logger.addHandler(handler)
    _native.set_log_callback(lambda level, message: logger.log(level, message))
    sync_level()
