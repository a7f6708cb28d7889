# SPDX-License-Identifier: Apache-2.0
"""Reductions, normalizations, scans, sorting and losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch.nn.functional as F

from benchmarks.operator_cases.case import Case, aten, booleans, floats, images, integers, places

_TAKE_LISTS = ("sum", "mean", "amax", "amin", "nansum", "logsumexp")


def _reductions() -> Iterator[Case]:
    rows, image = floats(512, 1024), images(8, 64, 56, 56)
    for name in ("sum", "mean", "amax", "amin", "argmax", "argmin", "prod", "nansum", "logsumexp"):
        for label, dim in (("rows", -1), ("columns", 0)):
            yield Case(name, label, _with(name, [dim] if name in _TAKE_LISTS else dim), (rows,))
    for name in ("sum", "mean", "amax", "argmax", "min", "max"):
        yield Case(name, "all", getattr(aten, name), (rows,))
    for name in ("mean", "sum", "amax"):
        yield Case(name, "image", _with(name, [2, 3]), (image,))
    for name in ("max", "min"):
        yield Case(name, "with places", _with(name, 1), (rows,))
    for name in ("var", "std", "var_mean", "std_mean"):
        yield Case(name, "rows", _with(name, [-1]), (rows,))
    yield Case("aminmax", "rows", lambda x: aten.aminmax(x, dim=1), (rows,))
    yield Case("all", "rows", lambda x: aten.all(x, 1), (booleans(512, 1024),), True)
    yield Case("any", "rows", lambda x: aten.any(x, 1), (booleans(512, 1024),), True)
    yield Case("count_nonzero", "rows", lambda x: aten.count_nonzero(x, [1]), (rows,))
    yield Case("sum", "int64 rows", lambda x: aten.sum(x, [1]), (integers(512, 1024),), True)
    yield Case("linalg_vector_norm", "rows", lambda x: aten.linalg_vector_norm(x, 2, [-1]), (rows,))
    yield Case("nanmean", "rows", lambda x: aten.nanmean(x, [1]), (rows,))
    yield Case("trace", "512", aten.trace, (floats(512, 512),))


def _with(name: str, dim: Any) -> Callable[..., Any]:
    packet = getattr(aten, name)
    return lambda x: packet(x, dim)


def _normalizations() -> Iterator[Case]:
    rows, image = floats(512, 768), images(8, 64, 56, 56)
    scale, shift = floats(768, varies=False), floats(768, varies=False)
    for name in ("softmax", "log_softmax"):
        call = getattr(F, name)
        yield Case(name, "rows", lambda x, f=call: f(x, -1), (rows,))
        yield Case(name, "scores", lambda x, f=call: f(x, -1), (floats(8, 12, 128, 128),))
        yield Case(name, "channels", lambda x, f=call: f(x, 1), (images(2, 19, 128, 128),))
    yield Case("layer_norm", "rows", lambda x, w, b: F.layer_norm(x, (768,), w, b),
               (rows, scale, shift))  # fmt: skip
    yield Case("rms_norm", "rows", lambda x, w: F.rms_norm(x, (768,), w), (rows, scale))
    yield Case("group_norm", "image", lambda x, w, b: F.group_norm(x, 32, w, b),
               (image, floats(64, varies=False), floats(64, varies=False)))  # fmt: skip
    yield Case("instance_norm", "image", lambda x: F.instance_norm(x), (image,))
    four = [floats(64, low=0.5, varies=False) for _ in range(4)]
    yield Case("batch_norm", "image", lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b),
               (image, *four))  # fmt: skip
    yield Case("native_batch_norm", "training",
               lambda x: F.batch_norm(x, None, None, training=True), (image,))  # fmt: skip
    yield Case("cosine_similarity", "rows", lambda x, y: F.cosine_similarity(x, y, -1),
               (rows, floats(512, 768, low=0.1)))  # fmt: skip
    yield Case("pairwise_distance", "rows", F.pairwise_distance, (rows, floats(512, 768, low=0.1)))


def _scans_and_orders() -> Iterator[Case]:
    rows = floats(128, 2048)
    for name in ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"):
        call = getattr(aten, name)
        yield Case(name, "rows", lambda x, f=call: f(x, -1), (rows,))
        yield Case(name, "columns", lambda x, f=call: f(x, 0), (floats(2048, 128),))
    for label, of in (("rows", floats(128, 1024)), ("one row", floats(1, 50000, varies=False))):
        yield Case("sort", label, lambda x: aten.sort(x, dim=-1, stable=True), (of,))
        yield Case("argsort", label, lambda x: aten.argsort(x, -1), (of,))
        yield Case("topk", label, lambda x: aten.topk(x, 8), (of,))
    yield Case("topk", "small", lambda x: aten.topk(x, 5), (floats(1, 1000, varies=False),))
    yield Case("topk", "64 of 1024", lambda x: aten.topk(x, 64), (floats(128, 1024),))
    yield Case("kthvalue", "rows", lambda x: aten.kthvalue(x, 100)[0], (floats(128, 1024),))
    yield Case("median", "rows", lambda x: aten.median(x, 1)[0], (floats(128, 1024),))
    yield Case("mode", "int64 rows", lambda x: aten.mode(x, 1),
               (integers(128, 1024, low=0, high=50),), True)  # fmt: skip
    yield Case("msort", "rows", aten.msort, (floats(1024, 128),))
    edges = floats(64, low=0.0, high=1.0, varies=False)
    yield Case("bucketize", "64 edges", lambda x, e: aten.bucketize(x, e.sort().values),
               (rows, edges), True)  # fmt: skip
    yield Case("searchsorted", "rows", lambda e, x: aten.searchsorted(e.sort().values, x),
               (floats(128, 64), floats(128, 512)), True)  # fmt: skip
    yield Case("isin", "64 values", lambda x, y: aten.isin(x, y),
               (integers(128, 2048), integers(64)), True)  # fmt: skip


def _losses() -> Iterator[Case]:
    logits, classes = floats(512, 1000), places(512, below=1000)
    yield Case("nll_loss_forward", "cross entropy", F.cross_entropy, (logits, classes))
    both = (floats(512, 768, low=0.05, high=0.95), floats(512, 768, low=0.05, high=0.95))
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss",
                 "binary_cross_entropy", "kl_div"):  # fmt: skip
        yield Case(name, "mean", getattr(F, name), both)
    yield Case("margin_ranking_loss", "mean", lambda x, y: F.margin_ranking_loss(x, y, y), both)


def cases() -> Iterator[Case]:
    """Those that sum up or put in order."""
    yield from _reductions()
    yield from _normalizations()
    yield from _scans_and_orders()
    yield from _losses()
