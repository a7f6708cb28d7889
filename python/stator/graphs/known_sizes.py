# SPDX-License-Identifier: Apache-2.0
"""What PyTorch knows of a program's sizes, to be taken back where tracing again has fixed one."""

from __future__ import annotations

from torch.fx.experimental.symbolic_shapes import ShapeEnv

__all__ = ["KnownSizes"]


class KnownSizes:
    """The state of a shape environment, which all programs of one export share."""

    def __init__(self, environment: ShapeEnv) -> None:
        self.environment = environment
        self.replacements = dict(environment.replacements)
        self.ranges = dict(environment.var_to_range)
        self.guards = len(environment.guards)

    def has_changed(self) -> bool:
        """Whether something holds now that did not then: a guard, or a number for a symbol."""
        environment = self.environment
        return len(environment.guards) > self.guards or (
            environment.replacements != self.replacements
        )

    def restore(self) -> None:
        """Forget what was found out since."""
        environment = self.environment
        environment.replacements, environment.var_to_range = self.replacements, self.ranges
        del environment.guards[self.guards :]
        environment._update_version_counter()
        if hasattr(environment, "_replacements_version_counter"):  # as of PyTorch 2.13
            environment._replacements_version_counter += 1
