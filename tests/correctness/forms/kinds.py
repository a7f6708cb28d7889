# SPDX-License-Identifier: Apache-2.0
"""Tensors and modules of other kinds: nested, sparse, quantized, subclasses, scripted."""

from __future__ import annotations

import torch
from torch import nn

from tests.correctness.forms.registry import form


@form(exported=False, engines=False)
def a_jagged_argument():
    x = torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(3, 4)], layout=torch.jagged)
    return lambda n: (n * 2).relu() + 1, [x]


@form(exported=False)
def jagged_inside():
    def f(values, offsets):
        n = torch.nested.nested_tensor_from_jagged(values.relu(), offsets)
        return (n * 2).values().tanh() + 1

    return f, [torch.randn(5, 4), torch.tensor([0, 2, 5])]


@form(exported=False)
def padded_out_of_jagged():
    layer = nn.Linear(4, 3)

    def f(values, offsets):
        n = torch.nested.nested_tensor_from_jagged(values.relu(), offsets)
        return layer(n).to_padded_tensor(0.0).tanh() + 1

    return f, [torch.randn(5, 4), torch.tensor([0, 2, 5])]


@form()
def a_sparse_argument():
    x = torch.randn(4, 4).relu().to_sparse()
    return lambda s, y: torch.sparse.mm(s, y.relu()).tanh() + 1, [x, torch.randn(4, 3)]


@form(saved=False)
def a_sparse_weight():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.randn(4, 4).relu().to_sparse())

        def forward(self, x):
            return torch.sparse.mm(self.weight, x.relu()).tanh() + 1

    return Model(), [torch.randn(4, 3)]


@form()
def sparse_inside():
    return (
        lambda x, y: torch.sparse.mm(x.relu().to_sparse(), y).tanh() + 1,
        [torch.randn(4, 4), torch.randn(4, 3)],
    )


@form(saved=False)
def a_compressed_sparse_argument():
    x = torch.randn(4, 4).relu().to_sparse_csr()
    return lambda s, y: (s @ y.relu()).tanh() + 1, [x, torch.randn(4, 3)]


class Scaled(torch.Tensor):
    """A tensor with a scale: a subclass that wraps another."""

    @staticmethod
    def __new__(cls, inner, scale):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner, scale):
        self.inner, self.scale = inner, scale

    def __tensor_flatten__(self):
        return ["inner", "scale"], None

    @staticmethod
    def __tensor_unflatten__(tensors, _meta, _size, _stride):
        return Scaled(tensors["inner"], tensors["scale"])

    def plain(self):
        return self.inner * self.scale

    @classmethod
    def __torch_dispatch__(cls, function, _types, args=(), kwargs=None):
        if function in (torch.ops.aten.detach.default, torch.ops.aten.clone.default):
            return Scaled(function(args[0].inner), args[0].scale)
        args, kwargs = torch.utils._pytree.tree_map_only(Scaled, Scaled.plain, (args, kwargs or {}))
        return function(*args, **kwargs)


@form()
def a_subclass_as_argument():
    x = Scaled(torch.randn(3, 4), torch.tensor(2.0))
    return lambda s, y: (s + y).relu() * 2, [x, torch.randn(3, 4)]


@form()
def a_subclass_as_weight():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(Scaled(torch.randn(4, 4), torch.tensor(0.5)), False)

        def forward(self, x):
            return (x.relu() @ self.weight).tanh() + 1

    return Model(), [torch.randn(3, 4)]


@form()
def quantized_weights_of_torchao():
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8)).eval()
    quantize_(model, Int8WeightOnlyConfig())
    return model, [torch.randn(3, 32)]


@form()
def a_scripted_part():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.part(x * 2)).tanh() + 1

    return Model(), [torch.randn(3, 4)]


@form()
def a_traced_part():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = torch.jit.trace(nn.Linear(4, 4), torch.randn(2, 4))

        def forward(self, x):
            return self.part(x.relu()).tanh() + 1

    return Model(), [torch.randn(3, 4)]


@form()
def a_scripted_function():
    @torch.jit.script
    def part(x: torch.Tensor, n: int) -> torch.Tensor:
        for _ in range(n):
            x = x * 2 + 1
        return x

    return lambda x: part(x.relu(), 3).tanh(), [torch.randn(3, 4)]


@form()
def another_compiled_function_inside():
    inner = torch.compile(lambda t: t.sin() + 1, backend="eager")
    return lambda x: inner(x.relu()) * 2, [torch.randn(3, 4)]


@form()
def conjugated_and_negated_views():
    def f(z):
        w = z.conj() * 2
        return w.imag.relu() + 1, torch.view_as_real(w.resolve_conj()).tanh()

    return f, [torch.randn(3, 4, dtype=torch.complex64)]


@form()
def an_expanded_argument():
    return lambda x: x.relu() * 2 + 1, [torch.randn(1, 4).expand(3, 4)]


@form()
def an_argument_that_is_a_weight():
    return lambda x: x.relu() * 2 + 1, [nn.Parameter(torch.randn(3, 4))]


@form()
def a_meta_tensor_inside():
    def f(x):
        like = torch.empty_like(x, device="meta")
        return x.relu() + like.shape[0]

    return f, [torch.randn(3, 4)]


@form(just_in_time=False)
def scripted_as_a_whole():
    return torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()), [torch.randn(3, 4)]
