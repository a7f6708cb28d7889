# SPDX-License-Identifier: Apache-2.0
"""Makes the mutations of an exported graph explicit where that is plain to see.

torch.export's own way to it (run_decompositions) traces the model again, which takes as long as
exporting it. Most graphs mutate nothing, or have activations in place behind convolutions.
"""

from __future__ import annotations

import copy
import operator

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from stator import _native
from stator._log import logger
from stator.graphs.known_sizes import KnownSizes

__all__ = ["decomposed", "make_functional", "without_dropout"]

# Composite operators that give memory of their own; others may give their argument itself.
_FRESH_COMPOSITES = frozenset(
    [*(f"{kind}{d}d" for kind in ("conv", "conv_transpose", "max_pool") for d in (1, 2, 3))]
    + [f"adaptive_avg_pool{d}d" for d in (1, 2, 3)]
    + ["batch_norm", "group_norm", "instance_norm", "layer_norm", "linear"]
)


def make_functional(graph: fx.Graph) -> bool:
    """Replace operators that work in place by those that do not.

    Returns:
        Whether the graph now mutates nothing and has operators with converters alone. Otherwise
        the graph is half done, and of no use.
    """
    for node in list(graph.nodes):
        if node.op in ("placeholder", "output"):
            continue
        if not isinstance(node.target, torch._ops.OpOverload):
            known = node.target in (operator.getitem, torch.sym_min, torch.sym_max)
            if not known and getattr(node.target, "__module__", "") not in ("_operator", "math"):
                return False
        elif node.target._schema.is_mutable:
            if not _replace(graph, node):
                return False
        elif not _is_converted(node):
            return False
    return True


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """The program in core operators, with mutations made explicit.

    That traces it again, which may fail inside a composite operator, or fix a size that the export
    left open. Where nothing is mutated, the program itself is then what is wanted: its composite
    operators without a converter run in PyTorch.
    """
    plain = without_dropout(program)
    if _mutates(program):
        return plain.run_decompositions({})
    environment, before = _shape_environment(program), _open_sizes(program)
    known = KnownSizes(environment) if environment is not None else None
    try:
        result = plain.run_decompositions({})
    except Exception as error:
        logger.info("composite operators stay whole, PyTorch cannot decompose them: %s", error)
        return program
    if _open_sizes(result) == before:
        return result
    if known is not None:  # both programs share it, and with it the fixed sizes
        known.restore()
    return program


def _shape_environment(program: ExportedProgram) -> ShapeEnv | None:
    """Where the symbols of a program's sizes have their meaning."""
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, FakeTensor):
            return value.fake_mode.shape_env
    return None


def _mutates(program: ExportedProgram) -> bool:
    signature = program.graph_signature
    return bool(signature.buffers_to_mutate or signature.user_inputs_to_mutate) or any(
        isinstance(n.target, torch._ops.OpOverload)
        and (n.target._schema.is_mutable or not _keeps_statistics(n))
        for module in program.graph_module.modules()
        if isinstance(module, fx.GraphModule)
        for n in module.graph.nodes
    )


def _open_sizes(program: ExportedProgram) -> list[list[bool]]:
    """Of each input the dimensions that may vary."""
    values = [n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"]
    return [[_is_open(s) for s in v.shape] if isinstance(v, torch.Tensor) else [] for v in values]


def _is_open(size: int | torch.SymInt) -> bool:
    """A symbol whose environment has come to know its number stays a SymInt."""
    return isinstance(size, torch.SymInt) and not size.node.expr.is_number


def without_dropout(program: ExportedProgram) -> ExportedProgram:
    """The program without dropouts that do nothing, where operators work in place.

    Such a dropout gives its argument itself; run_decompositions takes it for memory of its own, and
    what is then changed through one of the two would be lost for the other (as of PyTorch 2.13).
    """
    aten = torch.ops.aten
    kinds = (aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default)
    overloads = [n for n in program.graph.nodes if isinstance(n.target, torch._ops.OpOverload)]
    idle = [n for n in overloads if n.target in kinds and n.args[2:] == (False,)]
    if not idle or not any(n.target._schema.is_mutable for n in overloads):
        return program
    graph, signature = copy.deepcopy(program.graph), copy.deepcopy(program.graph_signature)
    for node in list(graph.nodes):
        if node.target in kinds and node.args[2:] == (False,):
            signature.replace_all_uses(node.name, node.args[0].name)
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return ExportedProgram(
        root=fx.GraphModule(program.graph_module, graph),
        graph=graph,
        graph_signature=signature,
        state_dict=program.state_dict,
        range_constraints=program.range_constraints,
        module_call_graph=copy.deepcopy(program.module_call_graph),
        example_inputs=program.example_inputs,
        constants=program.constants,
        verifiers=[program.verifier],
    )


def _is_converted(node: fx.Node) -> bool:
    target = node.target
    trains = target is torch.ops.aten.batch_norm.default and not _keeps_statistics(node)
    name = str(target)
    return (_native.has_converter(name) and not trains) or _native.is_bookkeeping(name)


def _keeps_statistics(node: fx.Node) -> bool:
    """Not a normalization in training, whose schema does not say that it updates statistics."""
    aten = torch.ops.aten
    normalizes = node.target in (aten.batch_norm.default, aten.instance_norm.default)
    return not normalizes or node.args[5:6] == (False,)


def _replace(graph: fx.Graph, node: fx.Node) -> bool:
    """relu_ by relu and the like; False where more than its own argument may change."""
    functional = _functional(node.target)
    if functional is None or not _native.has_converter(str(functional)):
        return False
    changed = node.args[0]
    if not isinstance(changed, fx.Node) or not _is_fresh(changed):
        return False
    tensors = [n.meta.get("val") for n in node.all_input_nodes]
    dtypes = {v.dtype for v in tensors if isinstance(v, torch.Tensor)}
    if len(dtypes) != 1 or any(_may_alias(user, changed) for user in changed.users if user != node):
        return False  # the result's type is its argument's, whatever the others are
    with graph.inserting_before(node):
        result = graph.call_function(functional, node.args, node.kwargs)
    result.meta = dict(node.meta)
    node.replace_all_uses_with(result)
    changed.replace_all_uses_with(result, lambda user: user > result)
    graph.erase_node(node)
    return True


def _functional(target: torch._ops.OpOverload) -> torch._ops.OpOverload | None:
    """aten.relu.default of aten.relu_.default: the same arguments, and nothing changed."""
    namespace, _, name = target._schema.name.partition("::")
    if not name.endswith("_") or name.startswith("_") or namespace != "aten":
        return None
    packet = getattr(torch.ops.aten, name[:-1], None)
    overload = target._overloadname
    if packet is None or overload not in packet.overloads():
        return None
    functional = getattr(packet, overload)
    ours, theirs = functional._schema.arguments, target._schema.arguments
    if functional._schema.is_mutable or [a.name for a in ours] != [a.name for a in theirs]:
        return None
    writes = [a.alias_info is not None and a.alias_info.is_write for a in theirs]
    return functional if writes[0] and not any(writes[1:]) else None


def _is_composite(target: torch._ops.OpOverload) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(
        target.name(), "CompositeImplicitAutograd"
    )


def _is_fresh(node: fx.Node) -> bool:
    """Whether a node's result is memory that nothing else refers to."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or len(target._schema.returns) != 1:
        return False
    if target._schema.returns[0].alias_info is not None:
        return False
    return not _is_composite(target) or target._schema.name.split("::")[1] in _FRESH_COMPOSITES


def _may_alias(user: fx.Node, argument: fx.Node) -> bool:
    """Whether a user's result may be the argument's memory, or a part of it."""
    if user.op == "output":
        return False
    changes_another = (
        isinstance(user.target, torch._ops.OpOverload)
        and user.args[0] is not argument
        and _functional(user.target) is not None
    )
    return not changes_another and not _is_fresh(user)
