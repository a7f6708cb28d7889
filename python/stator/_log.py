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
def at_level(level: int | None) -> Iterator[None]:
    """The logger at a level for a with-block, None for the one it has; the user's comes back."""
    before = logger.level
    if level is not None:
        logger.setLevel(level)
    try:
        yield
    finally:
        if level is not None:
            logger.setLevel(before)


def debugging(on: bool) -> contextlib.AbstractContextManager[None]:
    """The logger at DEBUG for a with-block, where `on`."""
    return at_level(logging.DEBUG if on else None)


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
