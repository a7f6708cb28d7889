# SPDX-License-Identifier: Apache-2.0
"""Compiles one case and compares it with eager PyTorch."""

from __future__ import annotations

import contextlib
import copy
import re
import traceback
import warnings
from typing import Any

import stator
import torch
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from .compare import difference
from .exceptions import eager_is_odd, places_as_values, sizes_may_vary
from .samples import Case, fresh, seed

__all__ = ["OUTCOMES", "check"]

# What can become of a case. The last five are faults; `not_exportable` is counted apart.
OUTCOMES = (
    "whole",  # at most one engine, nothing in PyTorch
    "partly",  # engines and PyTorch
    "pytorch",  # nothing compiled
    "not_exportable",  # torch.export refuses, or the case has no tensor
    "wrong",  # other values, types or shapes than eager's, or no error where eager has one
    "error",  # an error where eager has none
    "abort",  # the compilation itself fails, and nothing takes its place
    "crash",  # the process ended
    "hang",  # the time limit passed
)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def _where(error: BaseException) -> str:
    """The last frame of ours."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "stator" in f.filename]
    return f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""


def _export(case: Case, dynamic: bool) -> ExportedProgram:
    tensors = fresh(case.tensors)
    shapes = None
    if dynamic:
        each = tuple({k: Dim.AUTO for k, s in enumerate(t.shape) if s > 1} for t in tensors)
        shapes = {"tensors": each}
    return torch.export.export(case.module, tuple(tensors), dynamic_shapes=shapes, strict=False)


def _targets(program: ExportedProgram) -> list[Any]:
    graphs = [m.graph for m in program.graph_module.modules() if hasattr(m, "graph")]
    nodes = [n for g in graphs for n in g.nodes if n.op == "call_function"]
    return [n.target for n in nodes if isinstance(n.target, torch._ops.OpOverload)]


def _has_defined_values(program: ExportedProgram, tensors: list[torch.Tensor]) -> bool:
    """No random numbers, no memory that nobody wrote, no NaN or infinity made an integer."""
    targets = _targets(program)
    if any(
        torch.Tag.nondeterministic_seeded in t.tags or re.search(r"(^|[._])empty", str(t))
        for t in targets
    ):
        return False
    casts = any(re.match(r"aten\.(to|_to_copy|type_as)\.", str(t)) for t in targets)
    floats = [t for t in tensors if t.is_floating_point() and t.layout == torch.strided]
    return not casts or all(bool(t.isfinite().all()) for t in floats)


def _is_dynamic(program: ExportedProgram) -> bool:
    return any(
        isinstance(size, torch.SymInt)
        for node in program.graph.nodes
        if node.op == "placeholder" and isinstance(node.meta.get("val"), torch.Tensor)
        for size in node.meta["val"].shape
    )


def _in_double(case: Case) -> Any:
    """Eager's result with every float in float64; None where the operator refuses that."""
    module = copy.copy(case.module)

    def wide(value: Any) -> Any:
        if isinstance(value, torch.dtype) and value.is_floating_point:
            return torch.float64
        if isinstance(value, torch.Tensor) and value.is_complex():
            return value.to(torch.complex128)
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value.double()
        return value

    with contextlib.suppress(Exception):
        module.constants = [wide(v) for v in case.module.constants]
        return module(*[wide(t) for t in fresh(case.tensors)])
    return None


def _run(function: Any, tensors: list[torch.Tensor]) -> tuple[Any, list[torch.Tensor], str]:
    """The result, the inputs afterwards, and the error if there was one."""
    given = fresh(tensors)
    seed("run")
    try:
        with torch.no_grad():
            result = function(*given)
        if any(t.device.type == "cuda" for t in given):
            torch.cuda.synchronize()
    except Exception as error:
        return None, given, _first_line(error) + _where(error)
    return result, given, ""


def _compile(program: ExportedProgram, device: str) -> Any:
    """The compiled program.

    What fails as a whole is compiled again as users compile: it then runs in PyTorch, and the
    report has the reason. Defects of the compiler are no reason, they are raised.
    """
    settings = {
        "device": device,
        "min_block_size": 1,
        "optimization_level": 0,
        "timing_cache_path": "",
        "disable_tf32": True,  # float32 is compared as float32
    }
    try:
        return stator.compile(program, pass_through_build_failures=True, **settings)
    except stator.InternalError:
        raise
    except Exception:
        return stator.compile(program, **settings)


def _share(report: Any) -> str:
    if not report.fallbacks:
        return "whole" if len(report.engines) <= 1 else "partly"
    return "partly" if report.engines else "pytorch"


def _resized(
    tensors: list[torch.Tensor], program: ExportedProgram, size: int | None
) -> list[torch.Tensor] | None:
    """The tensors with other sizes wherever a dimension varies; None where that cannot be told.

    None: twice the size, with each slice twice, so that what is sorted stays so; else that size.
    """
    nodes = [n for n in program.graph.nodes if n.op == "placeholder"]
    wanted = set(program.graph_signature.user_inputs)
    fakes = [n.meta["val"] for n in nodes if n.name in wanted]
    if len(fakes) != len(tensors) or any(t.layout != torch.strided for t in tensors):
        return None
    results = []
    for tensor, fake in zip(tensors, fakes, strict=True):
        for k, extent in enumerate(fake.shape):
            if isinstance(extent, torch.SymInt):
                twice = size is None
                tensor = tensor.repeat_interleave(2, k) if twice else tensor.narrow(k, 0, size)
        results.append(tensor)
    return results


def _compare(
    case: Case, compiled: Any, tensors: list[torch.Tensor], values: bool
) -> tuple[str, str]:
    """(outcome, detail) of one call: "" where it is as eager's."""
    outcome, detail = _difference(case, compiled, tensors, values)
    return ("", "") if outcome and eager_is_odd(case, tensors, detail) else (outcome, detail)


def _difference(
    case: Case, compiled: Any, tensors: list[torch.Tensor], values: bool
) -> tuple[str, str]:
    oracle = case.module
    expected, inputs, eager_error = _run(oracle, tensors)
    wants_dense = bool(eager_error)
    if wants_dense:  # some of eager's kernels want contiguous tensors; we may take the others too
        dense = [t.contiguous() if t.layout == torch.strided else t for t in tensors]
        expected, inputs, eager_error = _run(oracle, dense)
    got, given, our_error = _run(compiled, tensors)
    if eager_error:
        return ("", "") if our_error else ("wrong", f"eager raises {eager_error}, we do not")
    if our_error:
        return ("", "") if wants_dense else ("error", our_error)
    exact = Case(case.op, case.name, case.module, tensors)
    device = next((t.device.type for t in tensors), "cpu")
    got, expected = (places_as_values(case, device, tensors, v) for v in (got, expected))
    text = difference(got, expected, values, lambda: _in_double(exact))
    if not text:
        text = difference(given, inputs, values, lambda: None)
        text = text and f"the inputs afterwards: {text}"
    return ("wrong", text) if text else ("", "")


def check(case: Case, device: str, dynamic: bool) -> dict[str, Any] | None:
    """Compile a case and compare it.

    Returns:
        outcome, detail (what is wrong) and reasons (of each operator in PyTorch); None where the
        case has no size that varies, so that it says nothing new.
    """
    warnings.simplefilter("ignore")
    if dynamic and not any(s > 1 for t in case.tensors for s in t.shape):
        return None
    torch._dynamo.reset()
    try:
        if not case.tensors:
            raise ValueError("the case has no tensor")
        with torch.no_grad():
            program = _export(case, dynamic)
    except Exception as error:
        return {"outcome": "not_exportable", "detail": _first_line(error)}
    if dynamic and not _is_dynamic(program):
        return None
    try:
        compiled = _compile(program, device)
    except Exception as error:
        return {"outcome": "abort", "detail": _first_line(error) + _where(error)}
    values = _has_defined_values(program, case.tensors)
    outcome, detail = _compare(case, compiled, case.tensors, values)
    if outcome == "error" and (refused := _run(program.module(), case.tensors)[2]):
        return {"outcome": "not_exportable", "detail": f"the exported program fails: {refused}"}
    for size in (None, 1, 0) if dynamic else ():
        if not outcome and (tensors := _resized(case.tensors, program, size)) is not None:
            outcome, detail = _compare_resized(case, compiled, tensors, values, program)
    reasons = [f"{f['target']}: {_general(f['reason'])}" for f in compiled.stator_report.fallbacks]
    return {
        "outcome": outcome or _share(compiled.stator_report),
        "detail": detail,
        "reasons": sorted(set(reasons)),
    }


def _compare_resized(
    case: Case, compiled: Any, tensors: list[torch.Tensor], values: bool, program: ExportedProgram
) -> tuple[str, str]:
    """The same with other sizes, where the exported program and eager agree to take them."""
    if not sizes_may_vary(case) or not _is_taken_on_the_host(case, tensors):
        return "", ""
    accepted, _, refused = _run(program.module(), tensors)
    eager, _, failed = _run(case.module, tensors)
    if (
        refused
        or failed
        or [_form(v) for v in pytree.tree_leaves(accepted)]
        != [_form(v) for v in pytree.tree_leaves(eager)]
    ):
        return "", ""
    outcome, detail = _compare(case, compiled, tensors, values)
    return outcome, detail and f"with shapes {[tuple(t.shape) for t in tensors]}: {detail}"


def _is_taken_on_the_host(case: Case, tensors: list[torch.Tensor]) -> bool:
    """Whether eager takes the tensors; asked on the CPU, since a fault of a GPU's ends its work."""
    if all(t.device.type == "cpu" for t in tensors):
        return True
    return not _run(case.module, [t.cpu() for t in tensors])[2]


def _form(value: Any) -> Any:
    return (value.shape, value.dtype) if isinstance(value, torch.Tensor) else type(value)


def _general(reason: str) -> str:
    """A reason without what differs from node to node."""
    reason = re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason.splitlines()[0] if reason else "")
    return re.sub(r"\d+", "N", reason)[:160]
