# SPDX-License-Identifier: Apache-2.0
"""verify=True: every engine is compared with PyTorch on the example inputs when it is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from stator import _native
from stator._log import logger
from stator.engines.program import EngineModule, build_program
from stator.graphs.hand_over import HandedOver
from stator.settings.compilation_settings import CompilationSettings
from stator.settings.types import dtype

__all__ = ["verify_engines"]

# Largest difference allowed, relative to the largest value of the output.
_TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-4,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
}
_TF32_TOLERANCE = 1e-2  # products on NVIDIA GPUs, unless disable_tf32


def _float32_tolerance(settings: CompilationSettings, device: str) -> float:
    """How close float32 must be: products on GPUs may run in TF32, or in an enabled half."""
    allowed = [_TOLERANCE[torch.float32]]
    if device.startswith("cuda"):
        if not settings.disable_tf32:
            allowed.append(_TF32_TOLERANCE)
        if not settings.use_explicit_typing:
            halves = settings.enabled_precisions & {dtype.f16, dtype.bf16}
            allowed += [_TOLERANCE[half.to_torch()] for half in halves]
    return max(allowed)


def verify_engines(
    handed: HandedOver,
    compilation: _native.Compilation,
    engines: dict[str, EngineModule],
    inputs: Sequence[Any],
    settings: CompilationSettings,
) -> dict[str, EngineModule]:
    """Compare engines with their parts of the graph in PyTorch, on the same tensors.

    Args:
        handed, compilation: of the graph.
        engines: built engines by segment name.
        inputs: flat example inputs of the graph.
        settings: of the compilation; precisions say how close float32 must be on a GPU.

    Returns:
        The engines within tolerance; the others are warned of, and run in PyTorch.
    """
    tolerances = _TOLERANCE | {torch.float32: _float32_tolerance(settings, handed.device)}
    program = build_program(handed, compilation, {})
    seen: dict[str, tuple[Any, Any]] = {}

    def note(name: str) -> Any:
        return lambda _module, args, result: seen.__setitem__(name, (args, result))

    for name, child in program.named_children():
        child.register_forward_hook(note(name))
    with torch.no_grad():
        program(*inputs)
        good = {}
        for name, module in engines.items():
            args, expected = seen[name]
            reason = _difference(module(*args), expected, tolerances)
            if reason:
                logger.warning("%s is not right and runs in PyTorch: %s", name, reason)
            else:
                good[name] = module
    return good


def _difference(
    got: Sequence[Any], expected: Sequence[Any], tolerances: dict[torch.dtype, float]
) -> str:
    """What is wrong with an engine's outputs; "" for nothing."""
    for i, (a, b) in enumerate(zip(got, expected, strict=False)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {i} is {a.dtype}{tuple(a.shape)}, not {b.dtype}{tuple(b.shape)}"
        if not a.is_floating_point():
            if not torch.equal(a, b):
                return f"output {i} differs in {int((a != b).sum())} of {a.numel()} elements"
            continue
        if not torch.equal(torch.isnan(a), torch.isnan(b)):
            return f"output {i} has NaN where PyTorch has none, or the reverse"
        finite = torch.isfinite(b)
        if not torch.equal(a[~finite].nan_to_num(0.0), b[~finite].nan_to_num(0.0)):
            return f"output {i} differs where PyTorch has infinities"
        a, b = a[finite].double(), b[finite].double()
        if a.numel() == 0:
            continue
        largest, scale = (a - b).abs().max().item(), b.abs().max().item()
        allowed = tolerances.get(got[i].dtype, 1e-4)
        if largest > allowed * max(scale, 1e-30) and largest > 1e-12:
            return (
                f"output {i} differs by {largest:.3g} from values up to {scale:.3g}; "
                f"allowed are {allowed:.0e} of these"
            )
    return ""
