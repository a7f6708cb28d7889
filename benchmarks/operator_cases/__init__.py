# SPDX-License-Identifier: Apache-2.0
"""Operators by themselves, at everyday sizes, by family."""

from benchmarks.operator_cases import movement, pointwise, product, reduction

FAMILIES = {
    "pointwise": pointwise.cases,
    "reduction": reduction.cases,
    "movement": movement.cases,
    "product": product.cases,
}
