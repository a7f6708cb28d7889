# SPDX-License-Identifier: Apache-2.0
"""What a model changes: its state is passed to the program, and what became of it written back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind

from stator.lowering.examples import memory

__all__ = ["Finisher", "finisher", "held_object", "mutated_targets", "tensor_of"]

_OF_STATE = (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION)


def tensor_of(program: ExportedProgram, target: str) -> torch.Tensor:
    """A parameter, a buffer or a constant by its name."""
    tensor = program.state_dict.get(target)
    return program.constants[target] if tensor is None else tensor


def held_object(program: ExportedProgram, spec: Any) -> Any:
    """The object that an input of the program is and that is no tensor; else None."""
    return program.constants[spec.target] if spec.kind is InputKind.CUSTOM_OBJ else None


def mutated_targets(program: ExportedProgram) -> set[str]:
    """Names of the buffers and parameters that the model changes."""
    specs = program.graph_signature.output_specs
    return {spec.target for spec in specs if spec.kind in _OF_STATE}


@dataclass
class Finisher:
    """Writes mutations back and keeps the user's outputs; pickled and copied with the module."""

    kinds: list[OutputKind]  # of each output of the program; none: all are the user's
    targets: list[str | None]
    state: dict[str, torch.Tensor]  # what the model changes of its own, by name
    names: list[str]  # of the user's inputs, in order

    @property
    def changes(self) -> bool:
        """Whether the model changes anything: its state, or an argument."""
        return bool(self.kinds)

    def __call__(self, inputs: list[Any], outputs: list[Any]) -> list[Any]:
        """The flat user outputs of the program's.

        Raises:
            ValueError: arguments share memory that the model writes; nothing is written then.
        """
        if not self.changes:
            return outputs
        pairs = list(zip(self.kinds, self.targets, strict=True))
        written = [
            self.names.index(t) for kind, t in pairs if kind is OutputKind.USER_INPUT_MUTATION
        ]
        if not torch.compiler.is_compiling():  # as when the module is saved
            _check_apart(inputs, self.names, written)
        kept = []
        with torch.no_grad():
            for (kind, target), value in zip(pairs, outputs, strict=True):
                if kind in _OF_STATE:
                    self.state[target].copy_(value)
                elif kind is OutputKind.USER_INPUT_MUTATION:
                    inputs[self.names.index(target)].copy_(value)
                else:
                    kept.append(value)
        return kept


def finisher(
    program: ExportedProgram, state: list[torch.Tensor], constants: dict[int, Any]
) -> Finisher:
    """What is done with flat inputs and outputs of a program behind each call.

    Args:
        program: as it was exported.
        state: buffers and parameters that the model changes, in the order of its inputs.
        constants: flat inputs that are fixed, by position.
    """
    specs = program.graph_signature.output_specs
    if all(spec.kind is OutputKind.USER_OUTPUT for spec in specs):
        return Finisher([], [], {}, [])
    names = [
        spec.arg.name
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.USER_INPUT and not isinstance(spec.arg, ConstantArgument)
    ]
    assert len(set(constants)) + len(names) == len(program.graph_signature.user_inputs)
    by_name = dict(zip(_mutated_in_order(program), state, strict=True))
    return Finisher([s.kind for s in specs], [s.target for s in specs], by_name, names)


def _check_apart(inputs: Sequence[Any], names: Sequence[str], written: Sequence[int]) -> None:
    """Refuse a call whose arguments share memory that the model writes; nothing is written yet."""
    for position in written:
        place = memory(inputs[position])
        for other, value in enumerate(inputs if place else ()):
            there = memory(value) if other != position else None
            if there and there[0] == place[0] and there[1] < place[2] and place[1] < there[2]:
                raise ValueError(
                    f"the model writes into argument {names[position]!r}, and the tensor given "
                    f"there shares memory with argument {names[other]!r}: it was compiled for "
                    "arguments that share none. Give a clone of one of them, or compile with "
                    "torch.compile(model, backend='stator'), which compiles for each sharing"
                )


def _mutated_in_order(program: ExportedProgram) -> list[str]:
    mutated = mutated_targets(program)
    return [
        s.target
        for s in program.graph_signature.input_specs
        if s.kind is not InputKind.USER_INPUT and s.target in mutated
    ]
