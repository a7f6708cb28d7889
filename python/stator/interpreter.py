# SPDX-License-Identifier: Apache-2.0
"""One graph → the bytes of one engine: the interpreter of Torch-TensorRT's interface."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from stator.compile import plan_compilation
from stator.engines.engine import Engine
from stator.partitioning import handed_over
from stator.settings.compilation_settings import CompilationSettings

__all__ = ["TRTInterpreter", "TRTInterpreterResult"]


@dataclass(frozen=True)
class TRTInterpreterResult:
    """An engine file's bytes and the names of its inputs and outputs."""

    serialized_engine: bytes
    input_names: Sequence[str]
    output_names: Sequence[str]
    weight_name_map: dict[str, Any] | None = None
    requires_output_allocator: bool = False

    @property
    def engine(self) -> Engine:
        """The engine, ready to be called."""
        return Engine.from_bytes(self.serialized_engine)


@dataclass
class TRTInterpreter:
    """Builds the engine of a graph that engines can hold whole.

    Args:
        module: a graph of ATen operators with torch.export's notes.
        input_specs: kept for compatibility; sizes and types are the graph's.
        compilation_settings: of the build.

    Raises:
        UnsupportedError: from run(), where an operator would need PyTorch.
    """

    module: fx.GraphModule
    input_specs: Sequence[Any] = ()
    compilation_settings: CompilationSettings = field(default_factory=CompilationSettings)

    def run(self, *_args: Any, **_kwargs: Any) -> TRTInterpreterResult:
        """Build the engine."""
        settings = dataclasses.replace(
            self.compilation_settings, require_full_compilation=True, min_block_size=1
        )
        handed = handed_over(self.module, settings)
        if handed is None:
            raise ValueError("the graph lacks the shapes and types that torch.export notes")
        compilation = plan_compilation(handed, settings)
        index = next(i for i, s in enumerate(compilation.segments()) if s["engine"])
        native, _ = compilation.build(index, None)
        engine = Engine(native)
        return TRTInterpreterResult(
            engine.bytes(), [i["name"] for i in engine.inputs], [o["name"] for o in engine.outputs]
        )
