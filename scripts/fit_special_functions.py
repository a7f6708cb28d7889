#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/conversion/aten/special_polynomials.inc: what the special functions are made of.

.venv/bin/python scripts/fit_special_functions.py

Each row is a polynomial in t on [-1, 1], the highest power first, that interpolates a smooth part
of a special function (computed to 40 digits) at Chebyshev's points. Its degree is the least with a
relative error below the limit, far below half a unit in the last place of float32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mpmath as mp

mp.mp.dps = 40
OUT = Path(__file__).resolve().parent.parent / "src" / "conversion" / "aten"
LIMIT = mp.mpf("2e-11")
Function = Callable[[mp.mpf], mp.mpf]


def erfcx(x: mp.mpf) -> mp.mpf:
    return mp.erfc(x) * mp.exp(x * x)


def erfcinv(z: mp.mpf) -> mp.mpf:
    """By Newton's steps on log(erfc), from the asymptotic form."""
    y = mp.sqrt(-mp.log(z * mp.sqrt(mp.pi) * mp.sqrt(-mp.log(z)))) if z < 0.1 else mp.erfinv(1 - z)
    for _ in range(60):
        step = (mp.log(mp.erfc(y)) - mp.log(z)) * erfcx(y) * mp.sqrt(mp.pi) / 2
        y += step
        if abs(step) < mp.mpf("1e-36"):
            break
    return y


def of_w(w: mp.mpf) -> mp.mpf:
    """1 - |x| for w = -log(1 - x²)."""
    return mp.exp(-w) / (1 + mp.sqrt(1 - mp.exp(-w)))


def phases(order: int, x: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
    """P and Q of J = sqrt(2/(pi x)) (P cos - Q sin), Y = sqrt(2/(pi x)) (P sin + Q cos)."""
    angle = x - (2 * order + 1) * mp.pi / 4
    scale = mp.sqrt(mp.pi * x / 2)
    j, y = mp.besselj(order, x), mp.bessely(order, x)
    return (
        scale * (j * mp.cos(angle) + y * mp.sin(angle)),
        scale * (y * mp.cos(angle) - j * mp.sin(angle)),
    )


def quarter(t: mp.mpf) -> mp.mpf:
    """x² on [0, 64] for t on [-1, 1], as x."""
    return mp.sqrt(32 * (t + 1))


def small(t: mp.mpf) -> mp.mpf:
    """X on [0, 2] for t = x²/2 - 1."""
    return mp.sqrt(2 * (t + 1))


def over(limit: int, t: mp.mpf) -> mp.mpf:
    """X beyond `limit` for t = 2 limit / x - 1."""
    return 2 * limit / (t + 1)


def far(t: mp.mpf) -> mp.mpf:
    """X beyond 8 for t = 128/x² - 1."""
    return mp.sqrt(128 / (t + 1))


def y0_rest(x: mp.mpf) -> mp.mpf:
    return mp.bessely(0, x) - 2 / mp.pi * mp.log(x) * mp.besselj(0, x)


def y1_rest(x: mp.mpf) -> mp.mpf:
    return x * (mp.bessely(1, x) - 2 / mp.pi * mp.log(x) * mp.besselj(1, x))


def scaled(function: Function, sign: int) -> Function:
    """function(x) exp(sign x) sqrt(x)."""
    return lambda x: function(x) * mp.exp(sign * x) * mp.sqrt(x)


def i(order: int) -> Function:
    return lambda x: mp.besseli(order, x)


def k(order: int) -> Function:
    return lambda x: mp.besselk(order, x)


#: name → the function of t
FITS: dict[str, Function] = {
    # erfc(x) exp(x²) (1 + 2x), t = (x - 3.75) / (x + 3.75)
    "Erfcx": lambda t: erfcx(x := mp.mpf("3.75") * (1 + t) / (1 - t)) * (1 + 2 * x),
    # erfinv(x) / x by w = -log(1 - x²): t = w / 3 - 1, then by its root: t = (sqrt(w) - 6.45) / 4
    "ErfinvInner": lambda t: erfcinv(z := of_w(3 * (t + 1))) / (1 - z),
    "ErfinvOuter": lambda t: erfcinv(of_w((4 * t + mp.mpf("6.45")) ** 2)),
    # modified Bessel functions, |x| <= 8 (t = x / 4 - 1) and beyond (t = 16 / x - 1)
    "I0eInner": lambda t: mp.besseli(0, x := 4 * (t + 1)) * mp.exp(-x),
    "I0eOuter": lambda t: scaled(i(0), -1)(over(8, t)),
    "I1eInner": lambda t: mp.besseli(1, x := 4 * (t + 1)) * mp.exp(-x) / x,
    "I1eOuter": lambda t: scaled(i(1), -1)(over(8, t)),
    # x <= 2 (t = x² / 2 - 1) and beyond (t = 4 / x - 1)
    "I0Small": lambda t: mp.besseli(0, small(t)),
    "I1Small": lambda t: mp.besseli(1, x := small(t)) / x,
    "K0Inner": lambda t: mp.besselk(0, x := small(t)) + mp.log(x / 2) * mp.besseli(0, x),
    "K0eOuter": lambda t: scaled(k(0), 1)(over(2, t)),
    "K1Inner": lambda t: (x := small(t)) * (mp.besselk(1, x) - mp.log(x / 2) * mp.besseli(1, x)),
    "K1eOuter": lambda t: scaled(k(1), 1)(over(2, t)),
    # Bessel functions, |x| <= 8 (t = x² / 32 - 1) and beyond (t = 128 / x² - 1)
    "J0Inner": lambda t: mp.besselj(0, quarter(t)),
    "J1Inner": lambda t: mp.besselj(1, x := quarter(t)) / x,
    "Y0Inner": lambda t: y0_rest(quarter(t)),
    "Y1Inner": lambda t: y1_rest(quarter(t)),
    "P0": lambda t: phases(0, far(t))[0],
    "Q0": lambda t: (x := far(t)) * phases(0, x)[1],
    "P1": lambda t: phases(1, far(t))[0],
    "Q1": lambda t: (x := far(t)) * phases(1, x)[1],
}
#: Functions with zeros are held to an error of the size of their greatest value.
WITH_ZEROS = {"J0Inner", "J1Inner", "Y0Inner", "Y1Inner", "K0Inner", "K1Inner"}


def fit(name: str, function: Function) -> list[mp.mpf]:
    points = [mp.cos(mp.pi * (2 * j + 1) / 122) for j in range(61)]
    exact = [function(t) for t in points]
    most = max(abs(v) for v in exact)
    limit = LIMIT / 50 if name in WITH_ZEROS else LIMIT
    for count in range(5, 40):
        nodes = [mp.cos(mp.pi * (2 * j + 1) / (2 * count)) for j in range(count)]
        values = [function(t) for t in nodes]
        # Chebyshev's coefficients, then their polynomials added up by powers.
        powers = [mp.mpf(0)] * count
        before, now = [mp.mpf(1)], [mp.mpf(0), mp.mpf(1)]
        for n in range(count):
            c = sum(v * mp.cos(n * mp.acos(t)) for v, t in zip(values, nodes, strict=True))
            c *= mp.mpf(1 if n == 0 else 2) / count
            for p, a in enumerate(before):
                powers[p] += c * a
            later = [mp.mpf(0), *(2 * a for a in now)]
            for p, a in enumerate(before):
                later[p] -= a
            before, now = now, later
        error = max(
            abs(mp.polyval(powers[::-1], t) - v) / (most if name in WITH_ZEROS else abs(v))
            for t, v in zip(points, exact, strict=True)
        )
        if error < limit:
            print(f"{name}: {count} coefficients, error {mp.nstr(error, 3)}")
            return powers[::-1]
    raise ValueError(f"{name} has no polynomial")


def main() -> None:
    lines = [
        "// SPDX-License-Identifier: Apache-2.0",
        "// Generated by scripts/fit_special_functions.py: polynomials in t on [-1, 1], the",
        "// highest power first.",
    ]
    for name, function in FITS.items():
        numbers = ", ".join(mp.nstr(c, 18) for c in fit(name, function))
        lines.append(f"inline constexpr double k{name}[] = {{{numbers}}};")
    (OUT / "special_polynomials.inc").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
