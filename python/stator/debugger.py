# SPDX-License-Identifier: Apache-2.0
"""Debugger: a with-block in which compilations write down what they do."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from stator._log import logger
from stator.engines.program import EngineModule

__all__ = ["Debugger", "active_debugger"]

_active: ContextVar[Debugger | None] = ContextVar("stator_debugger", default=None)

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "internal_errors": logging.CRITICAL,
    "graphs": logging.DEBUG,
}


def active_debugger() -> Debugger | None:
    """The debugger of the innermost with-block."""
    return _active.get()


class Debugger:
    """Log level, graphs before and after each pass, engines' layers and profiles, as files.

    Args:
        log_level: "debug", "info", "warning", "error", "internal_errors" or "graphs", inside the
            block.
        capture_fx_graph_before, capture_fx_graph_after: names of passes (``stator opt --help``
            lists them); the graph before and after each of them is kept. Either of them non-empty
            keeps every form that the model takes, as ``<segment>/NNN_<pass>.<form>``.
        save_engine_profile: run each engine once on random inputs after it is built, and write the
            time of each step as ``<engine>_profile.json``, for Perfetto or chrome://tracing.
        save_layer_info: write each engine's inputs, outputs and metadata as
            ``<engine>_layers.json``.
        logging_dir: the folder for all of it; a temporary one by default.

    Raises:
        ValueError: an unknown level.
    """

    def __init__(
        self,
        log_level: str = "debug",
        capture_fx_graph_before: Sequence[str] | None = None,
        capture_fx_graph_after: Sequence[str] | None = None,
        save_engine_profile: bool = False,
        profile_format: str = "perfetto",
        engine_builder_monitor: bool = True,
        logging_dir: str | None = None,
        save_layer_info: bool = False,
    ) -> None:
        if log_level not in _LEVELS:
            raise ValueError(
                f"log_level={log_level!r} is not allowed; it is one of " + ", ".join(_LEVELS)
            )
        if profile_format not in ("perfetto", "trex"):
            raise ValueError(
                f"profile_format={profile_format!r} is not allowed; it is 'perfetto' or 'trex'"
            )
        self.level = _LEVELS[log_level]
        self.passes = [*(capture_fx_graph_before or ()), *(capture_fx_graph_after or ())]
        self.save_engine_profile = save_engine_profile
        self.save_layer_info = save_layer_info
        self.folder = Path(logging_dir or tempfile.mkdtemp(prefix="torch_tensorrt_debug_"))
        self._tokens: list[Any] = []

    def __enter__(self) -> Debugger:
        self._tokens.append((_active.set(self), logger.level))
        logger.setLevel(self.level)
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        token, level = self._tokens.pop()
        _active.reset(token)
        logger.setLevel(level)

    @property
    def dump_directory(self) -> str:
        """Where graphs go; "" when none were asked for."""
        return str(self.folder / "graphs") if self.passes else ""

    def note(self, module: EngineModule) -> None:
        """Write down what is known of an engine that was just built."""
        engine = module.engine
        if self.save_layer_info:
            layers = {
                "inputs": engine.inputs,
                "outputs": engine.outputs,
                "metadata": engine.native.metadata,
                "build": module.build_stats,
            }
            self._write(f"{module.name}_layers.json", layers)
        if self.save_engine_profile:
            self._write(f"{module.name}_profile.json", {"traceEvents": self._trace(module)})

    def _write(self, name: str, content: Any) -> None:
        path = self.folder / name
        path.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
        logger.debug("wrote %s", path)

    @staticmethod
    def _trace(module: EngineModule) -> list[dict[str, Any]]:
        """One call's steps as events of the Trace Event Format, in microseconds."""
        engine = module.engine
        if engine.native.scalar_input_count:
            logger.warning("%s takes sizes besides tensors and is not profiled", module.name)
            return []
        inputs = [_random(info) for info in engine.inputs]
        events, at = [], 0.0
        for step, kernel, ns in engine.profile(*inputs):
            events.append(
                {"name": step, "cat": kernel, "ph": "X", "ts": at, "dur": ns / 1e3, "pid": 0,
                 "tid": 0}
            )  # fmt: skip
            at += ns / 1e3
        return events


def _random(info: dict[str, Any]) -> torch.Tensor:
    """An input of an engine: where its shape varies, as large as allowed, but at most 16."""
    ranges = zip(info["shape"], info["least"], info["greatest"], strict=True)
    shape = [s if s >= 0 else max(low, min(high, 16)) for s, low, high in ranges]
    dtype = getattr(torch, info["dtype"])
    return torch.rand(shape).to(dtype) if dtype.is_floating_point else torch.zeros(shape).to(dtype)
