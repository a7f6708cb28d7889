# SPDX-License-Identifier: Apache-2.0
"""Where a compilation fails, the model runs in PyTorch, and one warning says so and why.

Both doors catch what the stages raise once PyTorch has given them a graph, and ask here whether the
error is the user's own (a bad setting, a pass of theirs, require_full_compilation), which is
raised, or one of the compiler's, which becomes a :class:`Failure`.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch._dynamo.exc import TorchDynamoException

from stator import _native
from stator._log import logger

__all__ = ["Failure", "failure_of", "users_code"]


@contextlib.contextmanager
def users_code() -> Iterator[None]:
    """Around calls of the user's code (passes, dataloaders): what it raises is raised."""
    try:
        yield
    except Exception as error:
        error._of_the_user = True  # type: ignore[attr-defined]
        raise


def _is_raised(error: BaseException, settings: Any) -> bool:
    """Whether an error is the user's own, or the user wants to see it."""
    if settings.pass_through_build_failures or settings.require_full_compilation:
        return True
    if isinstance(error, TorchDynamoException):
        return True  # how Dynamo starts an analysis again
    return getattr(error, "_of_the_user", False)


@dataclass
class Failure:
    """Why a graph was not compiled."""

    reason: str
    node: str = ""
    target: str = ""
    source: str = ""  # the user's line

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.target, self.source) if part)
        where = f"at {self.node}{f' ({place})' if place else ''}: " if self.node else ""
        return where + self.reason

    def fallback(self) -> dict[str, str]:
        """A row of a report's fallbacks."""
        return {
            "node": self.node,
            "target": self.target,
            "kind": "failed",
            "reason": self.reason,
            "source": self.source,
        }


def failure_of(
    error: Exception,
    settings: Any,
    what: str,
    graph: Callable[[], str] | None = None,
    verb: str = "compiled",
) -> Failure:
    """Warn that `what` runs in PyTorch because of an error; or raise it, where it is to be raised.

    Args:
        error: being handled.
        settings: of the compilation; pass_through_build_failures and require_full_compilation
            raise the error.
        what: "the model", "the graph of forward (model.py:12)".
        graph: its text, for the log at DEBUG.
        verb: what could not be done to it.
    """
    if _is_raised(error, settings):
        raise error
    failure = _failure(error)
    advice = ""
    expected = (_native.StatorError, ValueError, MemoryError, OSError)
    if not isinstance(error, expected) or isinstance(error, _native.InternalError):
        advice = (
            f". This is a defect of Stator; a report needs this line ({_versions()}) and what the "
            "log has at DEBUG: the traceback and the graph (dump_directory=... writes its later "
            "forms)"
        )
    logger.warning(
        "%s was not %s and runs in PyTorch: %s%s. pass_through_build_failures=True raises the "
        "error instead", what, verb, failure, advice,
    )  # fmt: skip
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s", "".join(traceback.format_exception(error)).rstrip())
        if graph is not None:
            logger.debug("the graph that was not compiled:\n%s", graph())
    return failure


def _versions() -> str:
    return (
        f"stator {_native.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    )


def _failure(error: BaseException) -> Failure:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else "no message"
    if not isinstance(error, _native.StatorError | ValueError):
        text = f"{type(error).__name__}: {text}"
    node = _node_at(error)
    if node is None:
        return Failure(text)
    return Failure(text, node.name, _name_of(node.target), _source_of(node))


def _node_at(error: BaseException) -> fx.Node | None:
    """The node that was worked on: the innermost one that a function of the traceback held."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        local = frame.f_locals.get("node", frame.f_locals.get("n"))
        if isinstance(local, fx.Node):
            found = local
    return found


def _name_of(target: Any) -> str:
    if isinstance(target, str | torch._ops.OpOverload):
        return str(target)
    return getattr(target, "__name__", str(target))


_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')


def _source_of(node: fx.Node) -> str:
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [f for f in frames if "/torch/nn/" not in f[0]] or frames
    if not own:
        return ""
    file, line, function = own[-1]
    return f"{file}:{line} in {function}"
