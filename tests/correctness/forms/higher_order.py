# SPDX-License-Identifier: Apache-2.0
"""Operators that call graphs: control flow, regions of a model, operators that write."""

from __future__ import annotations

import torch
import torch.utils.checkpoint
from torch import nn
from torch._higher_order_ops import associative_scan, map, scan, while_loop
from torch._higher_order_ops.out_dtype import out_dtype
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from tests.correctness.forms.registry import form


@form(left="cond")
def cond():
    def f(x):
        y = torch.relu(x) * 2
        z = torch.cond(y.sum() > 3, lambda t: t.sin() + 1, lambda t: t.cos(), (y,))
        return torch.tanh(z) + x

    return f, [torch.randn(3, 4)]


@form(left="cond")
def cond_with_weights_in_its_branches():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            z = torch.cond(
                x.sum() > 0, lambda t: self.left(t), lambda t: self.right(t).relu(), (x,)
            )
            return self.head(torch.tanh(z))

    return Model(), [torch.randn(3, 4)]


@form(left="cond", saved=False)
def cond_in_cond():
    def inner(t):
        return torch.cond(t.mean() > 0, lambda u: u * 2, lambda u: u - 1, (t,))

    def f(x):
        return torch.cond(x.sum() > 0, inner, lambda t: t.exp(), (x * 3,)).sigmoid() * 2

    return f, [torch.randn(2, 3)]


@form(left="cond")
def cond_with_two_results():
    def f(x):
        a, b = torch.cond(
            x.sum() > 0, lambda t: (t + 1, t[:1] * 2), lambda t: (t - 1, t[:1] * 3), (x,)
        )
        return (a * b).relu(), b + 1

    return f, [torch.randn(3, 4)]


@form(left="while_loop")
def while_loop_of_tensors():
    def f(x):
        count, y = while_loop(
            lambda i, t: i < 3, lambda i, t: (i + 1, t.sin() * 2), (torch.tensor(0), x.relu())
        )
        return y.tanh() + 1, count

    return f, [torch.randn(3, 4)]


@form(left="scan")
def scan_over_rows():
    def f(x):
        last, all_ = scan(lambda c, r: (c + r, (c * r).sin()), x[0] * 0, x * 2, dim=0)
        return last.relu() + 1, all_.tanh() * 2

    return f, [torch.randn(5, 4)]


@form(left="map")
def map_over_rows():
    def f(x, y):
        return map(lambda r, t: (r.sin() @ t).relu(), x * 2, y).tanh() + 1

    return f, [torch.randn(5, 3, 4), torch.randn(4, 4)]


@form()
def associative_scan_over_rows():
    def f(x):
        y = associative_scan(lambda a, b: a * b + 1, x.sigmoid(), dim=0, combine_mode="generic")
        return y * 2

    return f, [torch.randn(6, 4)]


@form(left="flex_attention", saved=False)
def flex_attention_with_a_bias():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.Linear(16, 48)

        def forward(self, x):
            q, k, v = self.heads(x).view(2, 32, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
            z = flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: s + (i - j) * 0.1)
            return z.transpose(1, 2).reshape(2, 32, 16).relu()

    return Model(), [torch.randn(2, 32, 16)]


@form(left="flex_attention", saved=False)
def flex_attention_with_a_block_mask():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.mask = create_block_mask(
                lambda b, h, i, j: i >= j, None, None, 128, 128, device="cpu"
            )

        def forward(self, q, k, v):
            return flex_attention(q * 2, k, v, block_mask=self.mask).relu() + 1

    return Model(), [torch.randn(1, 2, 128, 16) for _ in range(3)]


@torch.library.custom_op("stator_forms::scale_", mutates_args=("x",))
def _scale_(x: torch.Tensor, by: float) -> None:
    x.mul_(by)


@torch.library.custom_op("stator_forms::both_", mutates_args=("x", "y"))
def _both_(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x.add_(1)
    y.mul_(2)
    return x + y


@_both_.register_fake
def _(x, y):
    return torch.empty_like(x)


@form(left="auto_functionalized")
def an_operator_that_writes():
    def f(x):
        y = torch.relu(x) + 1
        torch.ops.stator_forms.scale_(y, 3.0)
        return y.tanh() * 2

    return f, [torch.randn(3, 4)]


@form(left="auto_functionalized")
def an_operator_that_writes_an_input():
    def f(x):
        torch.ops.stator_forms.scale_(x, 3.0)
        return x.tanh() * 2

    return f, [torch.randn(3, 4)]


@form(left="auto_functionalized")
def an_operator_that_writes_two_and_gives_one():
    def f(x):
        y, z = x.relu(), x.tanh()
        w = torch.ops.stator_forms.both_(y, z)
        return (y + z) * w

    return f, [torch.randn(3, 4)]


@form()
def gradients_switched_off_in_a_part():
    def f(x):
        y = x * 2
        with torch.no_grad():
            z = y.relu() + 1
        with torch.enable_grad():
            w = z.tanh() * 3
        return w + y

    return f, [torch.randn(3, 4)]


@form()
def autocast_in_a_part():
    layer = nn.Linear(8, 8)

    def f(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = layer(x).relu()
        return y.float() + 1

    return f, [torch.randn(3, 8)]


@form()
def checkpointed():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 4)

        def forward(self, x):
            y = torch.utils.checkpoint.checkpoint(
                lambda t: self.b(self.a(t).relu()), x, use_reentrant=False
            )
            return y.tanh() + 1

    return Model(), [torch.randn(3, 4)]


@form()
def a_region_compiled_once():
    @torch.compiler.nested_compile_region
    def region(t, w):
        return (t @ w).relu() + 1

    def f(x, w):
        return region(region(x * 2, w), w).tanh()

    return f, [torch.randn(4, 4), torch.randn(4, 4)]


@form(left="out_dtype")
def a_product_with_its_own_type():
    def f(x, w):
        y = out_dtype(torch.ops.aten.mm.default, torch.int32, x, w)
        return y.float() * 0.5 + 1

    return f, [
        torch.randint(-9, 9, (4, 8), dtype=torch.int8),
        torch.randint(-9, 9, (8, 4), dtype=torch.int8),
    ]


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin() * 2

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * x.cos() * 2


@form()
def an_autograd_function():
    return lambda x: _Double.apply(x.relu()) + 1, [torch.randn(3, 4)]


@form()
def mapped_by_vmap():
    return (
        lambda x, w: torch.vmap(lambda r: (w @ r).relu())(x) + 1,
        [torch.randn(5, 4), torch.randn(3, 4)],
    )


@form()
def a_gradient_inside():
    def f(x):
        return torch.func.grad(lambda t: (t.sin() * t).sum())(x).relu() + 1

    return f, [torch.randn(3, 4)]
