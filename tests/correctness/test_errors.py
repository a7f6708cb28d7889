# SPDX-License-Identifier: Apache-2.0
"""Wrong data is the error that eager PyTorch raises, never another number, through both doors."""

import threading

import pytest
import stator
import torch
import torch.nn.functional as F
from torch import nn, tensor
from torch._dynamo.exc import TorchRuntimeError

SETTINGS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0}
X = torch.arange(20.0).view(5, 4) / 7
P = torch.tensor([0.1, 0.9, 0.5])


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def whole(*values, dtype=torch.int64):
    return tensor(values, dtype=dtype)


# name: function, good arguments, lists of bad arguments.
INDICES = {
    "embedding": (lambda i, w: F.embedding(i, w) * 2, (whole(1, 2), X),
                  [(whole(1, 5), X), (whole(-1, 0), X)]),
    "embedding_of_int32": (lambda i, w: F.embedding(i, w) * 2, (whole(1, 2).int(), X),
                           [(whole(1, 5).int(), X), (whole(-1, 0).int(), X)]),
    "index_select": (lambda x, i: torch.index_select(x, 1, i) * 2, (X, whole(1, 2)),
                     [(X, whole(1, 4)), (X, whole(-1, 0))]),
    "gather": (lambda x, i: torch.gather(x, 1, i) * 2, (X, whole(1, 2).view(1, 2)),
               [(X, whole(1, 4).view(1, 2)), (X, whole(-1, 0).view(1, 2))]),
    "take": (lambda x, i: torch.take(x, i) * 2, (X, whole(1, -20)),
             [(X, whole(1, 20)), (X, whole(-21, 0))]),
    "index": (lambda x, i: x[i] * 2, (X, whole(1, -5)), [(X, whole(1, 5)), (X, whole(-6, 0))]),
    "index_of_two": (lambda x, i, j: x[i, j] * 2, (X, whole(1, -5), whole(0, -4)),
                     [(X, whole(1, 2), whole(0, 4)), (X, whole(5, 2), whole(0, 1)),
                      (X, whole(1, 2), whole(-5, 0))]),
    "index_of_later_axis": (lambda x, i: x[:, i] * 2, (X, whole(1, -4)),
                            [(X, whole(1, 4)), (X, whole(-5, 0))]),
    "index_put": (lambda x, i, v: x.index_put((i,), v) * 2, (X, whole(1, -5), X[:2]),
                  [(X, whole(1, 5), X[:2]), (X, whole(-6, 0), X[:2])]),
    # What is too much for the second axis is an element of the next row.
    "index_put_of_two": (lambda x, i, j, v: x.index_put((i, j), v) * 2,
                         (X, whole(1, -5), whole(0, -4), X[0, :2]),
                         [(X, whole(1, 2), whole(0, 4), X[0, :2]),
                          (X, whole(1, 2), whole(-5, 0), X[0, :2])]),
    "index_put_added": (lambda x, i, v: x.index_put((i,), v, accumulate=True) * 2,
                        (X, whole(1, 1), X[:2]),
                        [(X, whole(1, 5), X[:2]), (X, whole(-6, 0), X[:2])]),
    "scatter": (lambda x, i, v: x.scatter(1, i, v) * 2, (X, whole(1, 2).view(1, 2), X[:1, :2]),
                [(X, whole(1, 4).view(1, 2), X[:1, :2]),
                 (X, whole(-1, 0).view(1, 2), X[:1, :2])]),
    "scatter_of_number": (lambda x, i: x.scatter(1, i, 3.0) * 2, (X, whole(1, 2).view(1, 2)),
                          [(X, whole(1, 4).view(1, 2)), (X, whole(-1, 0).view(1, 2))]),
    "scatter_add": (lambda x, i, v: x.scatter_add(0, i, v) * 2,
                    (X, whole(1, 2).view(1, 2), X[:1, :2]),
                    [(X, whole(1, 5).view(1, 2), X[:1, :2]),
                     (X, whole(-1, 0).view(1, 2), X[:1, :2])]),
    "index_add": (lambda x, i, v: x.index_add(0, i, v) * 2, (X, whole(1, 2), X[:2]),
                  [(X, whole(1, 5), X[:2]), (X, whole(-1, 0), X[:2])]),
    "index_add_later_axis": (lambda x, i, v: x.index_add(1, i, v) * 2, (X, whole(1, 2), X[:, :2]),
                             [(X, whole(1, 4), X[:, :2]), (X, whole(-1, 0), X[:, :2])]),
    "scatter_reduce": (lambda x, i, v: x.scatter_reduce(0, i, v, "amax", include_self=False) * 2,
                       (X, whole(1, 2).view(1, 2), X[:1, :2]),
                       [(X, whole(1, 5).view(1, 2), X[:1, :2]),
                        (X, whole(-1, 0).view(1, 2), X[:1, :2])]),
    "index_reduce": (lambda x, i, v: x.index_reduce(0, i, v, "mean") * 2, (X, whole(1, 2), X[:2]),
                     [(X, whole(1, 5), X[:2]), (X, whole(-1, 0), X[:2])]),
    "index_reduce_alone": (lambda x, i, v: x.index_reduce(1, i, v, "prod", include_self=False) * 2,
                           (X, whole(1, 2), X[:, :2]),
                           [(X, whole(1, 4), X[:, :2]), (X, whole(-1, 0), X[:, :2])]),
    "index_copy": (lambda x, i, v: x.index_copy(0, i, v) * 2, (X, whole(1, 2), X[:2]),
                   [(X, whole(1, 5), X[:2]), (X, whole(-1, 0), X[:2])]),
    "index_fill": (lambda x, i: x.index_fill(0, i, 1.0) * 2, (X, whole(1, -5)),
                   [(X, whole(1, 5)), (X, whole(-6, 0))]),
    "one_hot": (lambda i: F.one_hot(i, 5) * 2, (whole(1, 4),), [(whole(1, 5),), (whole(-1, 0),)]),
    "embedding_bag": (lambda i, o, w: F.embedding_bag(i, w, o) * 2,
                      (whole(1, 2, 3), whole(0, 2), X),
                      [(whole(1, 2, 5), whole(0, 2), X), (whole(1, 2, -1), whole(0, 2), X),
                       (whole(1, 2, 3), whole(1, 2), X), (whole(1, 2, 3), whole(0, 4), X)]),
}  # fmt: skip
LOSSES = {
    "nll_loss": (lambda x, t: F.nll_loss(x, t) * 2, (X, whole(1, -100, 0, 1, 3)),
                 [(X, whole(1, 2, 0, 1, 4)), (X, whole(1, 2, 0, 1, -1))]),
    "nll_loss_of_each": (lambda x, t: F.nll_loss(x, t, reduction="none", ignore_index=2) * 2,
                         (X, whole(1, 2, 0, 1, 3)),
                         [(X, whole(1, 2, 0, 1, 4)), (X, whole(1, 2, 0, 1, -100))]),
    "nll_loss_with_weights": (lambda x, t, w: F.nll_loss(x, t, w), (X, whole(1, 2, 0, 1, 3), X[1]),
                              [(X, whole(1, 2, 0, 1, 4), X[1])]),
    "nll_loss_of_images": (lambda x, t: F.nll_loss(x, t, reduction="sum") * 2,
                           (X[:4].view(2, 2, 2, 2), whole(0, 1, 1, 0, 0, 0, 1, 1).view(2, 2, 2)),
                           [(X[:4].view(2, 2, 2, 2),
                             whole(0, 1, 1, 0, 0, 2, 1, 1).view(2, 2, 2))]),
    "cross_entropy": (lambda x, t: F.cross_entropy(x, t) * 2, (X, whole(1, 2, 0, 1, 3)),
                      [(X, whole(1, 2, 0, 1, 4)), (X, whole(1, 2, 0, 1, -1))]),
    "cross_entropy_smoothed": (lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1) * 2,
                               (X, whole(1, 2, 0, 1, 3)), [(X, whole(1, 2, 0, 1, 4))]),
    "multi_margin_loss": (lambda x, t: F.multi_margin_loss(x, t) * 2, (X, whole(1, 2, 0, 1, 3)),
                          [(X, whole(1, 2, 0, 1, 4))]),
    "binary_cross_entropy": (lambda p, t: F.binary_cross_entropy(p, t) * 2,
                             (P, tensor([0, 1, 1.0])),
                             [(P + 0.5, tensor([0, 1, 1.0])), (P * torch.nan, P), (-P, P)]),
}  # fmt: skip
DIVISIONS = {
    f"{name}_{dtype}".replace("torch.", ""): (
        function, (whole(7, -7, dtype=dtype), whole(2, 3, dtype=dtype)),
        [(whole(7, -7, dtype=dtype), whole(2, 0, dtype=dtype))],
    )
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8)
    for name, function in {
        "floor": lambda a, b: a // b + 1,
        "trunc": lambda a, b: torch.div(a, b, rounding_mode="trunc") + 1,
        "remainder": lambda a, b: a % b + 1,
        "fmod": lambda a, b: torch.fmod(a, b) + 1,
    }.items()
}  # fmt: skip
DIVISIONS["number_by_tensor"] = (lambda b: 5 // b, (whole(2, 3),), [(whole(2, 0),)])
DIVISIONS["number_remainder"] = (lambda b: torch.remainder(5, b), (whole(2, 3),), [(whole(0, 3),)])
VALUES = {**INDICES, **LOSSES, **DIVISIONS}
EMPTY = torch.zeros(0, 3)
REDUCTIONS = {
    "max_dim": lambda x: x.max(0)[0] * 2,
    "max_dim_place": lambda x: x.max(0)[1] * 2,
    "min_dim": lambda x: x.min(0, keepdim=True)[0] * 2,
    "max": lambda x: x.max() * 2,
    "min": lambda x: x.min() * 2,
    "amax": lambda x: x.amax(0) * 2,
    "amin_of_two": lambda x: x.amin((0, 1)) * 2,
    "amax_of_all": lambda x: x.amax() * 2,
    "aminmax": lambda x: x.aminmax(dim=0)[0] * 2,
    "argmax": lambda x: x.argmax(0) * 2,
    "argmin_of_all": lambda x: x.argmin() * 2,
    "kthvalue": lambda x: x.kthvalue(1, 0)[0] * 2,
    "topk": lambda x: x.topk(1, 0)[0] * 2,
    "median": lambda x: x.median(0)[0] * 2,
    "mode": lambda x: x.mode(0)[0] * 2,
    "infinite_norm": lambda x: torch.linalg.vector_norm(x, float("inf"), dim=0) * 2,
    "max_of_int": lambda x: x.long().amax(0) * 2,
    "max_of_bool": lambda x: (x > 0).amax(0),
    "max_of_half": lambda x: x.half().amax(0) * 2,
}


def outcome(function, args):
    try:
        return function(*args)
    except Exception as error:
        return error


def assert_like_eager(compiled, module, args):
    expected, got = outcome(module, args), outcome(compiled, args)
    if isinstance(expected, Exception):
        assert isinstance(got, Exception), f"eager raises {expected!r}, got {got}"
        # Dynamo has a class of its own for what its tracing meets.
        same = type(got) is type(expected) or isinstance(got, TorchRuntimeError)
        assert same, f"eager raises {expected!r}, got {got!r}"
    else:
        assert not isinstance(got, Exception), repr(got)
        torch.testing.assert_close(got, expected, equal_nan=True, check_stride=False)


def check(function, good, bad, door, device="cpu"):
    module = Call(function).eval()
    if door == "torch.compile":
        compiled = torch.compile(module, backend="stator", options=SETTINGS)
    else:
        inputs = [dynamic(t) for t in good] if door == "dynamic" else list(good)
        compiled = stator.compile(module, inputs=inputs, device=device, **SETTINGS)
    for args in [good, *bad, good]:  # the engine runs on correctly after an error
        assert_like_eager(compiled, module, args)
    return compiled


def dynamic(example):
    rest = list(example.shape[1:])
    return stator.Input(
        min_shape=[0, *rest], opt_shape=list(example.shape), max_shape=[20, *rest],
        dtype=example.dtype,
    )  # fmt: skip


# Their index or weights have as many elements as an axis that is fixed.
STATIC_ONLY = ("index_add_later_axis", "nll_loss_with_weights")


@pytest.mark.parametrize("door", ["static", "dynamic", "torch.compile"])
@pytest.mark.parametrize("name", VALUES)
def test_wrong_values(name, door):
    if door == "dynamic" and name in STATIC_ONLY:
        pytest.skip("its sizes are fixed")
    function, good, bad = VALUES[name]
    assert all(isinstance(outcome(function, args), Exception) for args in bad)
    check(function, good, bad, door)


@pytest.mark.parametrize("name", [*INDICES, *LOSSES])
def test_wrong_values_on_the_reference_backend(name):
    function, good, bad = VALUES[name]
    check(function, good, bad, "static", "reference")


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_over_nothing(name):
    check(REDUCTIONS[name], (X,), [(torch.zeros(0, 4),)], "dynamic")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum(0), lambda x: x.prod(0), lambda x: x.mean(0), lambda x: x.logsumexp(0),
        lambda x: (x > 0).any(0), lambda x: (x > 0).all(0), lambda x: x.cumsum(0),
        lambda x: x.sort(0)[0], lambda x: x.amax(1), lambda x: x.argmax(1), lambda x: x.median(),
        lambda x: torch.linalg.vector_norm(x, 2, dim=0), lambda x: x.softmax(0),
    ],
)  # fmt: skip
def test_nothing_has_a_sum(function):
    check(function, (X,), [(torch.zeros(0, 4),)], "dynamic")


def test_take_along_dim_is_modular():
    for places in ([[1, 5]], [[-1, 0]], [[-5, 9]]):
        args = (X, tensor(places))
        check(lambda x, i: torch.take_along_dim(x, i, 1), (X, whole(1, 2).view(1, 2)), [args],
              "static")  # fmt: skip
    flat = lambda x, i: torch.take_along_dim(x, i)  # noqa: E731
    check(flat, (X, whole(1, 19)), [(X, whole(1, 20)), (X, whole(-1, 0))], "static")


@pytest.mark.parametrize("door", ["static", "dynamic", "torch.compile"])
@pytest.mark.parametrize(
    "function, args",
    [
        (lambda t, i, c: torch.cat([t[i + 5], c]) * 2, (X, whole(-5, -1), X[:3])),
        (lambda t, i, c: torch.cat([F.embedding(i - 7, t), c, c]) * 2, (X, whole(7, 11), X[:3])),
        (lambda t, i, c: F.pad(F.embedding(i - 7, t), (1, 1, 2, 3)) + c.sum(),
         (X, whole(7, 11), X[:3])),
        (lambda a, b, c: torch.cat([a // b, c]) * 2, (whole(4, 5), whole(1, 2), whole(1, 2, 3))),
        (lambda a, b, c: F.pad(a % b, (1, 1)) + c.sum(), (whole(4, 5), whole(1, 2), whole(1))),
        (lambda t, i, c: torch.cat([t[i], c]) * 2, (X, whole(1, 2), X[:3])),
    ],
)  # fmt: skip
def test_what_is_not_read_is_no_error(function, args, door):
    """Parts of a concatenation are computed under guards: elsewhere their index is not checked."""
    others = [tuple(torch.zeros_like(a)[:0] if a.dim() == 1 else a for a in args)]
    check(function, args, others if door == "dynamic" else [], door)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[whole(0, 7)] * 2,
        lambda x: x[:, whole(0, -5)] * 2,
        lambda x: F.embedding(whole(0, 7), x) * 2,
        lambda x: torch.gather(x, 1, whole(7).view(1, 1)) * 2,
        lambda x: x.index_put((whole(0, 7),), tensor(1.0)) * 2,
        lambda x: x.scatter(0, whole(7).view(1, 1), 1.0) * 2,
        lambda x: x // 1 + F.embedding(whole(0, 7), torch.ones(5, 4))[:1],
    ],
)
def test_constant_index_out_of_range(function):
    args = (X,)
    expected = outcome(function, args)
    assert isinstance(expected, Exception)
    try:
        compiled = stator.compile(Call(function), inputs=[X], **SETTINGS)
    except type(expected):
        return  # export ran the operator on its constants
    assert_like_eager(compiled, Call(function), args)
    reasons = [f["reason"] for f in compiled.stator_report.fallbacks]
    assert any("out of range" in reason for reason in reasons), reasons


def test_powers_of_integers():
    check(lambda a: a**-1 + 1, (whole(1, 2),), [(whole(1, 2),)], "static")
    check(lambda a, b: a**b, (whole(1, 2), whole(1, 2)), [(whole(1, 2), whole(-1, -2))], "static")


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
def test_shifts_and_least_numbers(dtype):
    bits = torch.iinfo(dtype).bits
    a = tensor([1, 3, torch.iinfo(dtype).min, torch.iinfo(dtype).max] * 5, dtype=dtype)
    by = torch.arange(20) % 4
    for shift in (by, by + bits - 2, by + bits):
        args = (a, shift.to(dtype))
        check(lambda a, b: a << b, args, [], "static")
        check(lambda a, b: a >> b, args, [], "static")
    if dtype.is_signed:  # eager's own kernels may end in SIGFPE here
        minus = torch.full_like(a, -1)
        for function, expected in [
            (lambda a, b: a // b, -a),
            (lambda a, b: torch.div(a, b, rounding_mode="trunc"), -a),
            (lambda a, b: a % b, a * 0),
            (lambda a, b: torch.fmod(a, b), a * 0),
        ]:
            compiled = stator.compile(Call(function), inputs=[a, minus], **SETTINGS)
            assert torch.equal(compiled(a, minus), expected)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
@pytest.mark.parametrize("source", [torch.float32, torch.float64])
def test_casts_of_what_does_not_fit(source, dtype):
    """Defined where C++ leaves them open; equal to eager's where eager's own kernels agree."""
    x = tensor([1.5, -1.5, 300, -300, 70000, 2.0**31, -(2.0**31), 1e10, 2.0**63, -(2.0**63), 3e38,
                torch.nan, torch.inf, -torch.inf], dtype=source)  # fmt: skip
    check(lambda x: x.to(dtype), (x,), [], "static")


# ------------------------------------------------------------------ messages


def test_message_says_what_and_where():
    def lookup(x, i):
        return x[i] * 2

    compiled = stator.compile(Call(lookup), inputs=[X, whole(1, 2)], **SETTINGS)
    with pytest.raises(IndexError) as error:
        compiled(X, whole(1, -6))
    lines = str(error.value).splitlines()
    assert lines[0] == "index -6 is out of bounds for dimension 0 with size 5"
    assert any("aten.index.Tensor" in line and "test_errors.py" in line for line in lines), lines
    with pytest.raises(IndexError, match="index 9 is out of bounds for dimension 0 with size 5"):
        compiled(X, whole(9, 1))


@pytest.mark.parametrize(
    "function, args, text",
    [
        (lambda x, i: F.embedding(i, x), (X, whole(7)), "index out of range in self"),
        (lambda x, i: torch.gather(x, 1, i.view(1, 1)), (X, whole(4)),
         "index 4 is out of bounds for dimension 1 with size 4"),
        (lambda x, i: torch.take(x, i), (X, whole(-21)),
         "out of range: tried to access index -21 on a tensor of 20 elements."),
        (lambda x, i: F.nll_loss(x, i.expand(5)), (X, whole(4)), "Target 4 is out of bounds."),
        (lambda x, i: F.one_hot(i, 3), (X, whole(3)),
         "Class values must be smaller than num_classes."),
        (lambda x, i: F.one_hot(i, 3), (X, whole(-1)), "Class values must be non-negative."),
        (lambda x, i: i // i, (X, whole(0)), "ZeroDivisionError"),
        (lambda x, i: F.binary_cross_entropy(x + i, x), (X, whole(2)),
         "all elements of input should be between 0 and 1"),
    ],
)  # fmt: skip
def test_messages_are_eagers(function, args, text):
    good = (X / 3, whole(1))
    compiled = stator.compile(Call(function), inputs=list(good), **SETTINGS)
    assert text in str(outcome(function, args))
    assert str(outcome(compiled, args)).startswith(text)


# ------------------------------------------------------------------ threads


def test_threads_have_their_own_errors():
    module = Call(lambda x, i: x[i] * 2)
    compiled = stator.compile(module, inputs=[X, whole(1, 2)], **SETTINGS)
    wrong = []

    def run(place):
        for _ in range(200):
            got = outcome(compiled, (X, whole(place, 2)))
            expected = outcome(module, (X, whole(place, 2)))
            if isinstance(expected, Exception):
                same = type(got) is IndexError and f"index {place} is" in str(got)
            else:
                same = isinstance(got, torch.Tensor) and torch.equal(got, expected)
            if not same:
                wrong.append((place, got))

    threads = [threading.Thread(target=run, args=(place,)) for place in (1, 9, 3, 77)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_large_table_is_checked_everywhere():
    """Vectors, their rests, and the tasks of all threads."""
    table = torch.arange(1000.0).view(100, 10)
    ids = torch.randint(0, 100, (3001,))
    module = Call(lambda i, w: F.embedding(i, w) + 1)
    compiled = stator.compile(module, inputs=[ids, table], **SETTINGS)
    for place in (0, 15, 16, 1500, 2999, 3000):
        bad = ids.clone()
        bad[place] = 100
        with pytest.raises(IndexError, match="index 100 of 100 rows"):
            compiled(bad, table)
        torch.testing.assert_close(compiled(ids, table), module(ids, table))


# ------------------------------------------------------------------ assertions


def _asserted(x):
    torch._assert_async((x > 0).all())
    return x * 2


def _asserted_with_message(x):
    torch._assert_async((x > 0).all(), "x must be positive")
    return x * 2


def _checked_number(x):
    torch._check(x.sum().item() > 0, lambda: "the sum must be positive")
    return x * 2


@pytest.mark.parametrize("door", ["static", "dynamic", "torch.compile"])
@pytest.mark.parametrize("function", [_asserted, _asserted_with_message, _checked_number])
def test_assertions_on_data(function, door):
    check(function, (tensor([1.0, 2.0]),), [(tensor([1.0, -2.0]),)], door)


def test_assertion_keeps_its_message():
    compiled = stator.compile(Call(_asserted_with_message), inputs=[tensor([1.0, 2.0])], **SETTINGS)
    with pytest.raises(RuntimeError, match="x must be positive"):
        compiled(tensor([1.0, -2.0]))
    (fallback,) = compiled.stator_report.fallbacks
    assert "asserts" in fallback["reason"]
