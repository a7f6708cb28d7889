# SPDX-License-Identifier: Apache-2.0
"""Functions element by element."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.operator_cases.case import Case, Of, aten, booleans, floats, images, integers

ROWS, IMAGE = (64, 4096), (8, 64, 56, 56)

_ANY = """abs acos acosh angle asin asinh atan atanh ceil celu cos cosh deg2rad digamma elu erf erfc
erfinv exp exp2 expm1 floor frac gelu hardshrink hardsigmoid hardswish hardtanh isfinite isinf isnan
isneginf isposinf leaky_relu lgamma log log10 log1p log2 log_sigmoid logical_not logit mish
nan_to_num neg positive rad2deg reciprocal relu relu6 round rsqrt selu sgn sigmoid sign signbit silu
sin sinc sinh softplus softshrink sqrt square tan tanh trunc i0"""
_SPECIAL = """special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1 special_entr
special_erfcx special_i0e special_i1 special_i1e special_log_ndtr special_modified_bessel_i0
special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1 special_ndtri
special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1 special_spherical_bessel_j0"""
_RANGES = {
    **dict.fromkeys(("acos", "asin", "atanh", "erfinv"), (-0.99, 0.99)),
    **dict.fromkeys(("log", "log10", "log2", "rsqrt", "sqrt", "digamma", "lgamma"), (0.01, 4.0)),
    **dict.fromkeys(("special_bessel_y0", "special_bessel_y1", "special_entr"), (0.01, 4.0)),
    **dict.fromkeys(("logit", "special_ndtri"), (0.01, 0.99)),
    "acosh": (1.01, 4.0),
    "log1p": (-0.9, 4.0),
    "reciprocal": (0.5, 2.0),
}
_BINARY = """add atan2 copysign div eq fmax fmin fmod ge gt hypot le logaddexp logaddexp2 lt maximum
minimum mul ne nextafter pow remainder sub xlogy special_xlog1py floor_divide heaviside isclose"""
_BETWEEN_INTEGERS = """bitwise_and bitwise_or bitwise_xor floor_divide remainder fmod add mul eq lt
maximum"""
_FLOAT32_ALONE = {"nextafter"}


def _range_of(name: str) -> tuple[float, float]:
    whole = _RANGES.get(name, (-2.0, 2.0))
    return (0.01, 4.0) if "bessel_k" in name else whole


def cases() -> Iterator[Case]:
    """Those of functions of one, two and three tensors."""
    for name in (*_ANY.split(), *_SPECIAL.split()):
        low, high = _range_of(name)
        special = name.startswith("special")
        for shape in (ROWS,) if special else (ROWS, IMAGE):
            of = Of(shape, low=low, high=high, is_image=shape == IMAGE)
            yield Case(name, "x".join(map(str, shape)), getattr(aten, name), (of,), special)
    for name in _BINARY.split():
        call = getattr(aten, name)
        alone = name in _FLOAT32_ALONE
        sides = (floats(*ROWS, low=0.1), floats(*ROWS, low=0.1))
        yield Case(name, "64x4096", call, sides, alone)
        yield Case(name, "a row", call, (sides[0], floats(4096, low=0.1, varies=False)), alone)
    for name in _BETWEEN_INTEGERS.split():
        both = (integers(*ROWS, low=1, high=1000), integers(*ROWS, low=1, high=100))
        yield Case(name, "int64 64x4096", getattr(aten, name), both, True)
    for name in ("bitwise_left_shift", "bitwise_right_shift"):
        both = (integers(*ROWS, low=1, high=1000), integers(*ROWS, low=0, high=8))
        yield Case(name, "int64 64x4096", getattr(aten, name), both, True)
    for name in ("logical_and", "logical_or", "logical_xor", "bitwise_and"):
        both = (booleans(*ROWS), booleans(*ROWS))
        yield Case(name, "bool 64x4096", getattr(aten, name), both, True)
    yield from _others()


def _others() -> Iterator[Case]:
    x, y, z = (floats(*ROWS, low=0.1) for _ in range(3))
    image = images(*IMAGE)
    yield Case("add", "image and bias", aten.add, (image, floats(1, 64, 1, 1, varies=False)))
    yield Case("pow", "x^3", lambda a: aten.pow(a, 3), (x,))
    yield Case("pow", "x^0.3", lambda a: aten.pow(a, 0.3), (x,))
    yield Case("pow", "2^x", lambda a: aten.pow(2.0, a), (x,))
    yield Case("gelu", "tanh", lambda a: aten.gelu(a, approximate="tanh"), (x,))
    yield Case("clamp", "numbers", lambda a: aten.clamp(a, 0.5, 1.5), (x,))
    yield Case("clamp", "tensors", aten.clamp, (x, y, z))
    yield Case("addcmul", "64x4096", aten.addcmul, (x, y, z))
    yield Case("addcdiv", "64x4096", aten.addcdiv, (x, y, z))
    yield Case("lerp", "number", lambda a, b: aten.lerp(a, b, 0.3), (x, y))
    yield Case("lerp", "tensors", aten.lerp, (x, y, z))
    yield Case("where", "64x4096", aten.where, (booleans(*ROWS), x, y))
    yield Case("masked_fill", "64x4096", lambda a, m: aten.masked_fill(a, m, -1.0),
               (x, booleans(*ROWS)))  # fmt: skip
    yield Case("prelu", "image", aten.prelu, (image, floats(64, varies=False)))
    yield Case("threshold", "64x4096", lambda a: aten.threshold(a, 1.0, 0.0), (x,))
    yield Case("glu", "64x4096", lambda a: aten.glu(a, -1), (x,))
    yield Case("polygamma", "1", lambda a: aten.polygamma(1, a), (x,), True)
    yield Case("mvlgamma", "2", lambda a: aten.mvlgamma(a, 2), (floats(*ROWS, low=1.0),), True)
    yield Case("frexp", "64x4096", aten.frexp, (x,), True)
    yield Case("ldexp", "64x4096", aten.ldexp, (x, integers(*ROWS, low=0, high=5)), True)
    yield Case("special_chebyshev_polynomial_t", "5",
               lambda a: aten.special_chebyshev_polynomial_t(a, 5.0), (x,), True)  # fmt: skip
    yield Case("to", "int64", lambda a: a.to(torch.int64), (x,))
    yield Case("to", "from int64", lambda a: a.to(torch.float32), (integers(*ROWS),), True)
    yield Case("to", "from bool", lambda a: a.to(torch.float32), (booleans(*ROWS),), True)
    yield Case("to", "to half", lambda a: a.to(torch.float16), (x,), True)
    yield Case("dropout", "evaluation", lambda a: aten.dropout(a, 0.5, False) + 1, (x,))
    yield Case("fake_quantize_per_tensor_affine", "64x4096",
               lambda a: aten.fake_quantize_per_tensor_affine(a, 0.1, 0, -128, 127), (x,),
               True)  # fmt: skip
