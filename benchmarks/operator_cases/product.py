# SPDX-License-Identifier: Apache-2.0
"""Products, convolutions, attention and pooling."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F

from benchmarks.operator_cases.case import Case, Of, aten, floats, images


def _weight(*shape: int) -> Of:
    return floats(*shape, low=-0.1, high=0.1, varies=False)


def _products() -> Iterator[Case]:
    x = floats(128, 768)
    yield Case("linear", "768x3072", F.linear, (x,), weights=(_weight(3072, 768), _weight(3072)))
    yield Case("linear", "one row", F.linear, (floats(1, 2048, varies=False),),
               weights=(_weight(2048, 2048),))  # fmt: skip
    yield Case("mm", "512", aten.mm, (floats(512, 512), floats(512, 512, varies=False)))
    yield Case("addmm", "512", aten.addmm,
               (floats(512, varies=False), floats(512, 512), floats(512, 512, varies=False)),
               )  # fmt: skip
    yield Case("bmm", "scores", aten.bmm, (floats(96, 128, 64), floats(96, 64, 128)))
    yield Case("baddbmm", "scores", aten.baddbmm,
               (floats(96, 128, 128), floats(96, 128, 64), floats(96, 64, 128)))  # fmt: skip
    yield Case(
        "matmul", "batched", aten.matmul, (floats(16, 128, 256), floats(256, 256, varies=False))
    )
    yield Case("mv", "2048", aten.mv, (floats(2048, 2048), floats(2048, varies=False)))
    yield Case("dot", "65536", aten.dot, (floats(65536), floats(65536)))
    yield Case("outer", "1024", aten.outer, (floats(1024), floats(1024, varies=False)))
    yield Case("einsum", "bhqd,bhkd", lambda a, b: aten.einsum("bhqd,bhkd->bhqk", [a, b]),
               (floats(8, 12, 128, 64), floats(8, 12, 128, 64)))  # fmt: skip
    yield Case("bilinear", "128", F.bilinear, (floats(256, 128), floats(256, 128)),
               weights=(_weight(32, 128, 128),))  # fmt: skip
    yield Case("cdist", "512", aten.cdist, (floats(512, 64), floats(512, 64)))
    yield Case("kron", "32", aten.kron, (floats(32, 32), floats(32, 32, varies=False)))
    yield Case("linalg_cross", "rows", lambda a, b: aten.linalg_cross(a, b),
               (floats(65536, 3), floats(65536, 3)))  # fmt: skip


def _convolutions() -> Iterator[Case]:
    image = images(8, 64, 56, 56)
    for label, out, kernel, groups, stride in (
        ("3x3", 64, 3, 1, 1), ("1x1", 256, 1, 1, 1), ("3x3 stride 2", 128, 3, 1, 2),
        ("depthwise 3x3", 64, 3, 64, 1), ("depthwise 7x7", 64, 7, 64, 1), ("8 groups", 64, 3, 8, 1),
    ):  # fmt: skip
        call = lambda x, w, b, p=kernel // 2, g=groups, s=stride: F.conv2d(  # noqa: E731
            x, w, b, padding=p, groups=g, stride=s
        )
        yield Case("conv2d", label, call, (image,),
                   weights=(_weight(out, 64 // groups, kernel, kernel), _weight(out)))  # fmt: skip
    yield Case("conv2d", "first 7x7", lambda x, w: F.conv2d(x, w, padding=3, stride=2),
               (images(4, 3, 224, 224),), weights=(_weight(64, 3, 7, 7),))  # fmt: skip
    yield Case("conv1d", "3", lambda x, w: F.conv1d(x, w, padding=1), (floats(8, 64, 2048),),
               weights=(_weight(128, 64, 3),))  # fmt: skip
    yield Case("conv3d", "3x3x3", lambda x, w: F.conv3d(x, w, padding=1),
               (images(1, 32, 16, 28, 28),), weights=(_weight(32, 32, 3, 3, 3),))  # fmt: skip
    yield Case("conv_transpose2d", "x2", lambda x, w: F.conv_transpose2d(x, w, stride=2),
               (images(4, 64, 28, 28),), weights=(_weight(64, 64, 2, 2),))  # fmt: skip
    yield Case("conv_transpose1d", "x4", lambda x, w: F.conv_transpose1d(x, w, stride=4),
               (floats(4, 64, 512),), weights=(_weight(64, 32, 8),))  # fmt: skip


def _attention() -> Iterator[Case]:
    call = F.scaled_dot_product_attention
    heads = floats(4, 12, 256, 64)
    yield Case("scaled_dot_product_attention", "256", call, (heads,) * 3)
    yield Case("scaled_dot_product_attention", "causal",
               lambda q, k, v: call(q, k, v, is_causal=True), (heads,) * 3)  # fmt: skip
    cache = floats(1, 32, 1024, 64)
    yield Case("scaled_dot_product_attention", "one token", call,
               (floats(1, 32, 1, 64), cache, cache))  # fmt: skip


def _pooling() -> Iterator[Case]:
    image, line = images(8, 64, 56, 56), floats(16, 64, 1024)
    yield Case("max_pool2d", "3 stride 2", lambda x: F.max_pool2d(x, 3, 2, 1), (image,))
    yield Case("max_pool2d_with_indices", "2", lambda x: F.max_pool2d(x, 2, return_indices=True),
               (image,))  # fmt: skip
    yield Case("avg_pool2d", "3", lambda x: F.avg_pool2d(x, 3, 1, 1), (image,))
    yield Case("avg_pool2d", "2", lambda x: F.avg_pool2d(x, 2), (image,))
    yield Case("adaptive_avg_pool2d", "1", lambda x: F.adaptive_avg_pool2d(x, 1), (image,))
    yield Case("adaptive_avg_pool2d", "6", lambda x: F.adaptive_avg_pool2d(x, 6), (image,))
    yield Case("adaptive_max_pool2d", "7", lambda x: F.adaptive_max_pool2d(x, 7), (image,))
    yield Case("max_pool1d", "2", lambda x: F.max_pool1d(x, 2), (line,))
    yield Case("avg_pool1d", "4", lambda x: F.avg_pool1d(x, 4), (line,))
    yield Case("max_pool3d", "2", lambda x: F.max_pool3d(x, 2), (images(1, 32, 16, 28, 28),))


def cases() -> Iterator[Case]:
    """Those whose work is arithmetic, and pooling."""
    yield from _products()
    yield from _convolutions()
    yield from _attention()
    yield from _pooling()
