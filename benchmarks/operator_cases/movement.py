# SPDX-License-Identifier: Apache-2.0
"""What moves elements: copies in another order, joins, pads, gathers, scatters, resizing."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from benchmarks.operator_cases.case import Case, aten, booleans, floats, images, places


def _copies() -> Iterator[Case]:
    x, image = floats(64, 128, 256), images(8, 64, 56, 56)
    yield Case("clone", "channels_last", lambda a: a.clone(memory_format=torch.channels_last),
               (floats(8, 64, 56, 56),))  # fmt: skip
    yield Case("permute_copy", "0213", lambda a: aten.permute_copy(a, [0, 2, 1, 3]),
               (floats(8, 128, 12, 64),))  # fmt: skip
    yield Case("transpose_copy", "rows", lambda a: aten.transpose_copy(a, 1, 2), (x,))
    yield Case("flip", "image", lambda a: aten.flip(a, [3]), (image,))
    yield Case("roll", "image", lambda a: aten.roll(a, [3, 3], [2, 3]), (image,))
    yield Case("rot90", "image", lambda a: aten.rot90(a, 1, [2, 3]), (image,))
    yield Case("repeat", "x2", lambda a: aten.repeat(a, [1, 2, 1]), (x,))
    yield Case("tile", "x2", lambda a: aten.tile(a, [2, 1]), (x,))
    yield Case("repeat_interleave", "x2", lambda a: aten.repeat_interleave(a, 2, 1), (x,))
    yield Case("expand_copy", "x4", lambda a: aten.expand_copy(a, [4, -1, -1, -1]),
               (floats(64, 64, 64, varies=False),))  # fmt: skip
    yield Case("slice_copy", "half", lambda a: aten.slice_copy(a, 1, 0, 64), (x,))
    yield Case("slice_copy", "step 2", lambda a: aten.slice_copy(a, 2, 0, 256, 2), (x,))
    yield Case("select_copy", "column", lambda a: aten.select_copy(a, 2, 5), (x,))
    yield Case("unfold_copy", "windows", lambda a: aten.unfold_copy(a, 2, 16, 8), (x,))
    yield Case("pixel_shuffle", "2", lambda a: aten.pixel_shuffle(a, 2), (image,))
    yield Case("pixel_unshuffle", "2", lambda a: aten.pixel_unshuffle(a, 2), (image,))
    yield Case("channel_shuffle", "4", lambda a: aten.channel_shuffle(a, 4), (image,))
    yield Case("im2col", "3x3", lambda a: F.unfold(a, 3, padding=1), (images(4, 32, 56, 56),))
    yield Case("col2im", "3x3", lambda a: F.fold(a, (56, 56), 3, padding=1),
               (floats(4, 288, 3136),))  # fmt: skip
    yield Case("tril", "256", aten.tril, (floats(16, 256, 256),))
    yield Case("triu", "256", aten.triu, (floats(16, 256, 256),))
    yield Case("diagonal_copy", "256", lambda a: aten.diagonal_copy(a, 0, 1, 2),
               (floats(64, 256, 256),))  # fmt: skip
    yield Case("diag_embed", "256", aten.diag_embed, (floats(32, 256),))
    yield Case("one_hot", "1000", lambda a: F.one_hot(a, 1000), (places(256, below=1000),), True)
    yield Case("diff", "rows", aten.diff, (floats(256, 4096),))
    for count in (2, 12, 60):
        parts = tuple(floats(64, 4096 // count) for _ in range(count))
        yield Case("cat", f"{count} parts", lambda *a: aten.cat(list(a), 1), parts)
    yield Case("cat", "images", lambda a, b: aten.cat([a, b], 1), (image, image))
    yield Case("stack", "4", lambda *a: aten.stack(list(a), 1), (x,) * 4)


def _pads() -> Iterator[Case]:
    image, line = images(8, 64, 56, 56), floats(32, 64, 1024)
    for mode in ("constant", "reflect", "replicate", "circular"):
        names = {"reflect": "reflection_pad", "replicate": "replication_pad",
                 "constant": "constant_pad_nd", "circular": "_pad_circular"}  # fmt: skip
        of = {1: names[mode], 2: names[mode]}
        if mode in ("reflect", "replicate"):
            of = {k: f"{name}{k}d" for k, name in of.items()}
        yield Case(of[2], "image", lambda a, m=mode: F.pad(a, (1, 1, 1, 1), mode=m), (image,))
        yield Case(of[1], "line", lambda a, m=mode: F.pad(a, (3, 3), mode=m), (line,))


def _gathers() -> Iterator[Case]:
    rows, table = floats(512, 1024), floats(30000, 768, varies=False)
    at = places(512, 1024, below=1024)
    yield Case("embedding", "30000x768", lambda t, i: F.embedding(i, t),
               (table, places(8, 128, below=30000)))  # fmt: skip
    yield Case("embedding_bag", "mean", lambda t, i: F.embedding_bag(i, t),
               (table, places(64, 16, below=30000)), True)  # fmt: skip
    yield Case("index_select", "rows", lambda a, i: aten.index_select(a, 0, i),
               (table, places(512, below=30000)))  # fmt: skip
    yield Case("index", "rows", lambda a, i: a[i], (table, places(512, below=30000)))
    yield Case("index", "two axes", lambda a, i, j: a[i, j],
               (rows, places(4096, below=512), places(4096, below=1024)))  # fmt: skip
    yield Case("gather", "rows", lambda a, i: aten.gather(a, 1, i), (rows, at))
    yield Case("take_along_dim", "rows", lambda a, i: aten.take_along_dim(a, i, 1), (rows, at))
    yield Case("take", "all", aten.take, (rows, places(512, 256, below=512 * 1024)))
    yield Case("scatter", "rows", lambda a, i, s: aten.scatter(a, 1, i, s), (rows, at, rows))
    yield Case("scatter_add", "rows", lambda a, i, s: aten.scatter_add(a, 1, i, s),
               (rows, at, rows))  # fmt: skip
    for reduce in ("sum", "mean", "amax", "prod"):
        yield Case("scatter_reduce", reduce,
                   lambda a, i, s, r=reduce: aten.scatter_reduce(a, 1, i, s, r),
                   (rows, at, rows))  # fmt: skip
    few, some = places(512, below=1024), floats(512, 256)
    nodes = floats(1024, 256, varies=False)
    yield Case("index_add", "rows", lambda a, i, s: aten.index_add(a, 0, i, s), (nodes, few, some))
    yield Case("index_copy", "rows", lambda a, i, s: aten.index_copy(a, 0, i, s),
               (nodes, few, some), True)  # fmt: skip
    yield Case("index_fill", "rows", lambda a, i: aten.index_fill(a, 0, i, 1.0), (nodes, few))
    yield Case("index_put", "rows", lambda a, i, s: aten.index_put(a, [i], s), (nodes, few, some))
    yield Case("index_put", "accumulate", lambda a, i, s: aten.index_put(a, [i], s, True),
               (nodes, few, some))  # fmt: skip
    yield Case("masked_scatter", "rows", aten.masked_scatter,
               (rows, booleans(512, 1024), rows))  # fmt: skip
    yield Case("slice_scatter", "half", lambda a, b: aten.slice_scatter(a, b, 1, 0, 512),
               (rows, floats(512, 512)))  # fmt: skip
    yield Case("select_scatter", "row", lambda a, b: aten.select_scatter(a, b, 1, 5),
               (rows, floats(512)))  # fmt: skip


def _resizing() -> Iterator[Case]:
    image, line = images(4, 64, 56, 56), floats(16, 64, 512)
    for mode, name in (("nearest", "nearest"), ("bilinear", "bilinear"), ("bicubic", "bicubic")):
        call = lambda a, m=mode: F.interpolate(a, scale_factor=2.0, mode=m)  # noqa: E731
        yield Case(f"upsample_{name}2d", "x2", call, (image,))
    yield Case("upsample_bilinear2d", "to 100, corners", lambda a: F.interpolate(
        a, (100, 100), mode="bilinear", align_corners=True), (image,))  # fmt: skip
    yield Case("_upsample_bilinear2d_aa", "to 28", lambda a: F.interpolate(
        a, (28, 28), mode="bilinear", antialias=True), (image,))  # fmt: skip
    yield Case("upsample_nearest1d", "x2", lambda a: F.interpolate(a, scale_factor=2.0), (line,))
    yield Case("upsample_linear1d", "x2", lambda a: F.interpolate(
        a, scale_factor=2.0, mode="linear"), (line,))  # fmt: skip
    yield Case("upsample_trilinear3d", "x2", lambda a: F.interpolate(
        a, scale_factor=2.0, mode="trilinear"), (images(1, 16, 16, 28, 28),))  # fmt: skip
    grid = floats(4, 56, 56, 2, low=-1.1, high=1.1)
    for mode in ("bilinear", "nearest"):
        yield Case("grid_sampler_2d", mode, lambda a, g, m=mode: F.grid_sample(
            a, g, mode=m, align_corners=False), (image, grid))  # fmt: skip


def _made() -> Iterator[Case]:
    yield Case("arange", "100000", lambda a: torch.arange(100000, device=a.device) + a[0],
               (floats(1, varies=False),), True)  # fmt: skip
    yield Case("full", "64x4096", lambda a: torch.full((64, 4096), 2.0, device=a.device) * a[0],
               (floats(1, varies=False),), True)  # fmt: skip
    yield Case("linspace", "100000", lambda a: torch.linspace(0, 1, 100000, device=a.device) * a[0],
               (floats(1, varies=False),), True)  # fmt: skip


def cases() -> Iterator[Case]:
    """Those whose work is memory."""
    yield from _copies()
    yield from _pads()
    yield from _gathers()
    yield from _resizing()
    yield from _made()
