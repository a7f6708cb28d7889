# SPDX-License-Identifier: Apache-2.0
"""Partitioning by itself: how much of a graph engines can hold, and the graph cut into parts."""

from __future__ import annotations

import copy
import operator
from collections.abc import Collection
from typing import Any

from torch import fx

from stator._log import logger
from stator.compile import plan_compilation
from stator.conversion.converters import DYNAMO_CONVERTERS
from stator.engines.program import build_program
from stator.graphs.fx_graphs import returned
from stator.graphs.hand_over import HandedOver, Placeholder, hand_over
from stator.lowering.passes import lower
from stator.settings.compilation_settings import CompilationSettings
from stator.settings.values import operator_names

__all__ = ["fast_partition", "get_graph_converter_support", "global_partition", "handed_over"]


def handed_over(gm: fx.GraphModule, settings: CompilationSettings) -> HandedOver | None:
    """The graph in C++; None where it lacks the shapes and types that torch.export notes."""
    graph = copy.deepcopy(gm.graph)
    for node in reversed(list(graph.nodes)):
        if node.op == "call_module" and not node.users:  # torch.export's guards
            graph.erase_node(node)
    plain = fx.GraphModule(gm, graph)
    nodes = list(plain.graph.nodes)
    computed = [n for n in nodes if n.op in ("placeholder", "call_function")]
    if any("val" not in n.meta for n in computed) or any(n.op == "call_module" for n in nodes):
        return None
    plain = lower(plain, settings)
    placeholders = [Placeholder() for n in plain.graph.nodes if n.op == "placeholder"]
    return hand_over(plain, placeholders, [("user_output", v, "") for v in returned(plain)])


def _compilation(gm: fx.GraphModule, settings: CompilationSettings) -> Any:
    handed = handed_over(gm, settings)
    if handed is None:
        return None, None
    return handed, plan_compilation(handed, settings)


def get_graph_converter_support(
    gm: fx.GraphModule, torch_executed_ops: Collection[Any] = (), verbose: bool = False
) -> tuple[int, int]:
    """Count the operators of a graph that engines can hold.

    Args:
        gm: a graph of ATen operators. With torch.export's notes of shapes and types it is lowered
            and the converters' validators are asked; without, the registry alone answers.
        torch_executed_ops: operators that shall run in PyTorch, as in the setting.
        verbose: log the report at INFO.

    Returns:
        (supported, total).
    """
    settings = CompilationSettings(min_block_size=1, torch_executed_ops=set(torch_executed_ops))
    _, compilation = _compilation(gm, settings)
    if compilation is not None:
        if verbose:
            logger.info("%s", compilation.report())
        return compilation.supported_operators, compilation.total_operators
    excluded = operator_names(torch_executed_ops)
    targets = [
        n.target
        for n in gm.graph.nodes
        if n.op == "call_function" and n.target is not operator.getitem
    ]
    supported = [
        t for t in targets if t in DYNAMO_CONVERTERS and not operator_names([t]) & excluded
    ]
    return len(supported), len(targets)


def _partition(gm: fx.GraphModule, fast: bool, **settings: Any) -> tuple[fx.GraphModule, set[str]]:
    chosen = CompilationSettings(use_fast_partitioner=fast, **settings)
    handed, compilation = _compilation(gm, chosen)
    if compilation is None:
        raise ValueError(
            "the graph has no shapes and types (node.meta['val']); give what torch.export makes"
        )
    supported = {
        node["target"]
        for segment in compilation.segments()
        if segment["engine"]
        for node in segment["nodes"]
    }
    return build_program(handed, compilation, {}), supported


def fast_partition(
    gm: fx.GraphModule,
    verbose: bool = False,
    min_block_size: int | float = 5,
    torch_executed_ops: Collection[Any] = (),
    require_full_compilation: bool = False,
) -> tuple[fx.GraphModule, set[str]]:
    """Cut a graph in one walk over it; nothing is built.

    Returns:
        The graph whose parts are submodules (``_run_on_acc_k`` could be engines, ``_run_on_gpu_k``
        stay in PyTorch; all of them run in PyTorch here), and the operators of the former.
    """
    return _partition(
        gm, True, min_block_size=min_block_size, torch_executed_ops=set(torch_executed_ops),
        require_full_compilation=require_full_compilation,
    )  # fmt: skip


def global_partition(
    gm: fx.GraphModule,
    verbose: bool = False,
    min_block_size: int | float = 5,
    torch_executed_ops: Collection[Any] = (),
    require_full_compilation: bool = False,
) -> tuple[fx.GraphModule, set[str]]:
    """The same with as few and as large engines as possible."""
    return _partition(
        gm, False, min_block_size=min_block_size, torch_executed_ops=set(torch_executed_ops),
        require_full_compilation=require_full_compilation,
    )  # fmt: skip
