# SPDX-License-Identifier: Apache-2.0
"""Arguments and results in nests; results that are arguments, weights, or one another."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import torch
from torch import nn

from tests.correctness.forms.registry import form


class Pair(NamedTuple):
    left: torch.Tensor
    right: Any


@dataclasses.dataclass
class Batch:
    values: torch.Tensor
    mask: torch.Tensor
    scale: float = 2.0


@dataclasses.dataclass
class Answer:
    logits: torch.Tensor
    states: tuple[torch.Tensor, ...]


class Box:
    """A pytree that a user registered."""

    def __init__(self, x, y):
        self.x, self.y = x, y


torch.export.register_dataclass(Batch, serialized_type_name="stator_forms.Batch")
torch.export.register_dataclass(Answer, serialized_type_name="stator_forms.Answer")
torch.utils._pytree.register_pytree_node(
    Box,
    lambda b: ([b.x, b.y], None),
    lambda items, _: Box(*items),
    serialized_type_name="stator_forms.Box",
    flatten_with_keys_fn=lambda b: (
        [(torch.utils._pytree.GetAttrKey(k), getattr(b, k)) for k in ("x", "y")],
        None,
    ),
)


@form(others=lambda: [torch.randn(3, 4), torch.randn(3, 4)])
def one_tensor_given_twice():
    x = torch.randn(3, 4)
    return lambda p, q: p - q * 2, [x, x]


@form(others=lambda: [{"a": torch.randn(3, 4), "b": [torch.randn(3, 4)]}, torch.randn(3, 4)])
def one_tensor_given_twice_in_a_nest():
    x = torch.randn(3, 4)
    return lambda d, q: (d["a"] * 3 - d["b"][0]).relu() + q, [{"a": x, "b": [x]}, x]


@form()
def one_tensor_given_twice_by_keyword():
    x = torch.randn(3, 4)
    return lambda p, *, q: p - q * 2, [x], {"q": x}


@form(others=lambda: [torch.randn(2, 4), torch.randn(2, 4)])
def two_views_of_one_tensor():
    x = torch.randn(4, 4)
    return lambda p, q: p - q * 2, [x[:2], x[2:]]


@form(saved=False)
def lists_dictionaries_and_named_tuples():
    def f(batch, pair):
        a, (b, c) = batch["a"], batch["rest"]
        return {"sum": a + b, "pair": Pair(b * c, [pair.left.relu(), {"deep": pair.right}]), 1: a}

    batch = {"a": torch.randn(2, 3), "rest": (torch.randn(2, 3), [torch.randn(3)][0])}
    return f, [batch, Pair(torch.randn(3), torch.randn(2))]


@form()
def an_ordered_dictionary():
    def f(d):
        return collections.OrderedDict((k, v.relu() + 1) for k, v in reversed(d.items()))

    return f, [collections.OrderedDict(b=torch.randn(3), a=torch.randn(2))]


@form()
def keywords_alone():
    def f(*, left, right, scale=2.0):
        return (left - right * scale).relu()

    return f, [], {"right": torch.randn(3, 4), "left": torch.randn(3, 4)}


@form()
def any_number_of_arguments():
    def f(*args, **kwargs):
        return sum(args).relu() - kwargs["b"] * kwargs["a"]

    return f, [torch.randn(3), torch.randn(3)], {"b": torch.randn(3), "a": torch.randn(3)}


@form()
def a_dataclass_in_and_out():
    def f(batch):
        y = (batch.values * batch.scale).relu() + batch.mask
        return Answer(y, (y + 1, y * 2))

    return f, [Batch(torch.randn(3, 4), torch.ones(3, 4))]


@form()
def a_registered_class_in_and_out():
    return lambda box: Box(box.y.relu() + 1, box.x * 2), [Box(torch.randn(3), torch.randn(4))]


@form()
def a_result_that_is_an_argument():
    return lambda x: (x, x.relu() + 1, x), [torch.randn(3, 4)]


@form()
def a_result_given_twice():
    def f(x):
        y = x.relu() + 1
        return y, {"again": y}, [y * 2]

    return f, [torch.randn(3, 4)]


@form(engines=False)
def nothing_but_arguments():
    return lambda x, y: (y, x), [torch.randn(3), torch.randn(4)]


@form(engines=False)
def no_tensor_in_the_result():
    return lambda x: 3, [torch.randn(3)]


@form()
def a_result_that_is_a_view_of_an_argument():
    return lambda x: (x.t(), x[1:].relu() + 1), [torch.randn(3, 4)]


@form()
def a_result_that_is_a_weight():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.register_buffer("table", torch.randn(3))

        def forward(self, x):
            return self.layer(x).relu(), self.layer.weight, self.table, self.layer.bias.view(1, 3)

    return Model(), [torch.randn(2, 4)]


@form(engines=False)
def no_arguments_of_tensors():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4))

        def forward(self, n):
            return self.weight.relu() * 2 + n

    return Model(), [3]


@form()
def constants_in_a_closure():
    table, factor = torch.randn(3, 4), 2.5
    return lambda x: (x * table).relu() * factor + torch.tensor([1.0, 2.0, 3.0, 4.0]), [
        torch.randn(3, 4)
    ]


@form()
def a_cache_of_transformers():
    from transformers import DynamicCache

    def f(x, cache):
        keys, values = cache.update(x.relu(), x * 2, 0)
        return (keys @ values.transpose(-1, -2)).tanh() + 1, cache

    cache = DynamicCache()
    cache.update(torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4), 0)
    return f, [torch.randn(1, 2, 1, 4), cache]


@form()
def a_language_model_with_its_cache():
    from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        cache = model(torch.arange(5)[None], past_key_values=DynamicCache(config=config))
    return model, [], {
        "input_ids": torch.tensor([[7]]), "past_key_values": cache.past_key_values,
        "attention_mask": torch.ones(1, 6, dtype=torch.int64), "use_cache": True,
    }  # fmt: skip


@form()
def a_list_that_grows():
    def f(x, seen):
        seen.append(x.relu() + 1)
        seen[0] = seen[0] * 2
        return sum(seen).tanh()

    return f, [torch.randn(3), [torch.randn(3)]]


@form()
def a_dictionary_that_changes():
    def f(x, store):
        store["new"] = x.relu() + 1
        store["deep"]["old"] = store["deep"]["old"] + x
        return store.pop("gone") * 2

    return f, [torch.randn(3), {"gone": torch.randn(3), "deep": {"old": torch.randn(3)}}]
