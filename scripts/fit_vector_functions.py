#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/backends/cpu/codegen/vector_polynomials.h: parts of the CPU's float64 functions.

.venv/bin/python scripts/fit_vector_functions.py

Each row is a polynomial, the highest power first, that interpolates a smooth part of a function
(computed to 60 digits) at Chebyshev's points: once for results in float64 and once, with fewer
terms, for results that are rounded to float32. Its degree is the least with which the function's
own relative error stays below the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mpmath as mp

mp.mp.dps = 60
OUT = Path(__file__).resolve().parent.parent / "src" / "backends" / "cpu" / "codegen"
LIMITS = {"": mp.mpf(2) ** -58, "Single": mp.mpf(2) ** -31}
Function = Callable[[mp.mpf], mp.mpf]


class Fit(NamedTuple):
    """`part` of t in [low, high]; an error of 1 in it is one of `weight` in the function."""

    part: Function
    low: mp.mpf
    high: mp.mpf
    weight: Function
    limit: mp.mpf | None = None  # where one of LIMITS will not do


def odd(function: Function, most: mp.mpf) -> Fit:
    """(f(x)/x - 1)/z as a function of z = x², of an odd function."""

    def part(z: mp.mpf) -> mp.mpf:
        x = mp.sqrt(z)
        return (function(x) / x - 1) / z

    return Fit(part, mp.mpf(0), mp.mpf(most) ** 2, lambda z: z * mp.sqrt(z) / function(mp.sqrt(z)))


def logarithm(z: mp.mpf) -> mp.mpf:
    """R(s²)/s² of log(1 + f) = 2s + s R, s = f/(2 + f)."""
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) / s - 2) / z


def erfcx(x: mp.mpf) -> mp.mpf:
    return mp.exp(x * x) * mp.erfc(x)


EIGHTH, HALF_LN2 = mp.pi / 4, mp.log(2) / 2
FITS = {
    # (e^r - 1 - r)/r²
    "Exp": Fit(lambda r: (mp.exp(r) - 1 - r) / r**2, -HALF_LN2, HALF_LN2, lambda r: r**2),
    "Log": Fit(logarithm, mp.mpf(0), (mp.sqrt(2) - 1) ** 4, lambda z: z / 2),
    # L(s²) of log(1 + f) = 2/3 s (3 + s² + s⁴ L), for powers
    "Pow": Fit(
        lambda z: (3 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 3 - z) / z**2,
        mp.mpf(0),
        (mp.sqrt(2) - 1) ** 4,
        lambda z: z**2 / 3,
        mp.mpf(2) ** -67,
    ),
    "Sin": odd(mp.sin, EIGHTH),
    # (cos x - 1 + z/2)/z²
    "Cos": Fit(
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, mp.mpf(0), EIGHTH**2, lambda z: z**2
    ),
    "Tan": odd(mp.tan, EIGHTH),
    "Asin": odd(mp.asin, mp.mpf("0.5")),
    "Atan": odd(mp.atan, mp.mpf("0.5")),
    "Sinh": odd(mp.sinh, mp.mpf(1)),
    "Tanh": odd(mp.tanh, mp.mpf("0.625")),
    "Atanh": odd(mp.atanh, mp.mpf("0.5")),
    # erf(x)/x as a function of z = x²
    "ErfNear": Fit(
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1,
        mp.mpf(0),
        mp.mpf(1),
        lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
    ),
    # exp(x²) erfc(x) as a function of t = 1 - 8/(x + 4), x from 1 to 6
    "ErfFar": Fit(
        lambda t: erfcx(8 / (1 - t) - 4), mp.mpf(-3) / 5, mp.mpf(1) / 5, lambda _: mp.mpf("0.3")
    ),
}


def series(fit: Fit, t: mp.mpf) -> mp.mpf:
    """The part at t, also where it is a limit."""
    return fit.part(t if t != 0 else mp.mpf(10) ** -12)


def interpolated(fit: Fit, degree: int) -> list[mp.mpf]:
    """Coefficients of the polynomial through the values at Chebyshev's points, highest first."""
    n = degree + 1
    middle, half = (fit.high + fit.low) / 2, (fit.high - fit.low) / 2
    points = [middle + half * mp.cos(mp.pi * (2 * k + 1) / (2 * n)) for k in range(n)]
    divided = [series(fit, t) for t in points]
    for level in range(1, n):
        for i in range(n - 1, level - 1, -1):
            divided[i] = (divided[i] - divided[i - 1]) / (points[i] - points[i - level])
    coefficients = [divided[-1]]  # Newton's form multiplied out
    for i in range(n - 2, -1, -1):
        shifted = [*coefficients, mp.mpf(0)]
        for k, c in enumerate(coefficients):
            shifted[k + 1] -= c * points[i]
        shifted[-1] += divided[i]
        coefficients = shifted
    return coefficients


def error(fit: Fit, coefficients: list[mp.mpf]) -> mp.mpf:
    worst = mp.mpf(0)
    for k in range(1, 200):
        t = fit.low + (fit.high - fit.low) * k / 200
        if t != 0:
            got = mp.polyval(coefficients, t)
            worst = max(worst, abs((got - fit.part(t)) * fit.weight(t)))
    return worst


def row(name: str, fit: Fit) -> str:
    lines = []
    for suffix, limit in LIMITS.items() if fit.limit is None else [("", fit.limit)]:
        degree = 2
        best = interpolated(fit, degree)
        while error(fit, best) > limit and degree < 30:
            degree += 1
            best = interpolated(fit, degree)
        rounded = [float(c) for c in best]
        found = mp.log(error(fit, [mp.mpf(c) for c in rounded]), 2)
        print(f"{name}{suffix}: degree {degree}, error 2^{mp.nstr(found, 4)}")
        numbers = ", ".join(map(repr, rounded))
        lines.append(f"inline constexpr double k{name}{suffix}[] = {{{numbers}}};")
    return "\n".join(lines)


def digits(words: int) -> str:
    """2/pi in binary, behind a word of zeros."""
    with mp.workprec(64 * words + 64):
        number = int(mp.floor(mp.ldexp(2 / mp.pi, 64 * (words - 1))))
    all_words = [(number >> (64 * (words - 1 - k))) & (2**64 - 1) for k in range(words)]
    listed = ", ".join(f"0x{w:016x}" for w in all_words)
    return f"inline constexpr uint64_t kTwoOverPi[] = {{{listed}}};"


def main() -> None:
    text = "\n".join(
        [
            "// SPDX-License-Identifier: Apache-2.0",
            "// Generated by scripts/fit_vector_functions.py: polynomials, the highest power",
            "// first, for results in float64 and for those that are rounded to float32.",
            "#pragma once\n\n#include <cstdint>\n\nnamespace stator::cpu {\n",
            *(row(name, fit) for name, fit in FITS.items()),
            "/// 64 binary digits a word, the first of 2^63 to 2^0.",
            digits(20),
            "\n}  // namespace stator::cpu",
        ]
    )
    (OUT / "vector_polynomials.h").write_text(text + "\n")


if __name__ == "__main__":
    main()
