# SPDX-License-Identifier: Apache-2.0
"""Forms of models that torch.compile and stator.compile take, by kind."""

from tests.correctness.forms import higher_order, kinds, nests, numbers, state
from tests.correctness.forms.registry import FORMS, Form

__all__ = ["FORMS", "Form", "higher_order", "kinds", "nests", "numbers", "state"]
