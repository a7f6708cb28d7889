# SPDX-License-Identifier: Apache-2.0
"""What a model changes: weights, buffers, arguments, random numbers; models in training."""

from __future__ import annotations

import torch
from torch import nn

from tests.correctness.forms.registry import form


@form()
def a_weight_changed():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            with torch.no_grad():
                self.weight.add_(1)
            return (x * self.weight).relu() + 1

    return Model(), [torch.randn(2, 3)]


@form()
def a_weight_changed_and_another_not():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.count = nn.Linear(3, 3), nn.Parameter(torch.zeros(3))
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            y = self.layer(x).relu()
            with torch.no_grad():
                self.count.copy_(self.count + y.sum(0))
                self.seen += 1
            return y * self.count + self.seen

    return Model(), [torch.randn(2, 3)]


@form()
def a_buffer_changed():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(3))
            self.register_buffer("hidden", torch.zeros(3), persistent=False)

        def forward(self, x):
            self.count.add_(x.sum(0))
            self.hidden[1:] = self.count[:2]
            return (x * self.count).relu() + self.hidden

    return Model(), [torch.randn(2, 3)]


@form()
def a_buffer_replaced():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(3))

        def forward(self, x):
            self.count = self.count * 0.5 + x.mean(0)
            return x.relu() + self.count

    return Model(), [torch.randn(2, 3)]


@form()
def an_argument_changed():
    def f(x, y):
        x.add_(1).relu_()
        y[1:].mul_(2)
        return x + y

    return f, [torch.randn(3, 4), torch.randn(3, 4)]


@form()
def an_argument_changed_through_views():
    def f(x):
        x.view(-1)[::2].add_(3)
        x.t()[1] = 0.5
        x[0].unsqueeze(0).relu_()
        return x.tanh() + 1

    return f, [torch.randn(3, 4)]


@form()
def an_argument_changed_and_returned():
    def f(x):
        x.mul_(2)
        return x, x.relu() + 1

    return f, [torch.randn(3, 4)]


@form()
def an_argument_in_a_nest_changed():
    def f(batch):
        batch["cache"][:, 1:2].copy_(batch["x"].relu()[:, None])
        return batch["cache"].tanh() + 1

    return f, [{"cache": torch.zeros(2, 3, 4), "x": torch.randn(2, 4)}]


@form()
def changed_by_index_put_and_scatter():
    def f(x, i):
        y = x.relu()
        y[i] = 1.5
        y[:, i] += 2
        y.scatter_(1, i[None].expand(3, -1), 7.0)
        y.masked_fill_(y > 6, 0.25)
        return y.tanh() * 2

    return f, [torch.randn(3, 4), torch.tensor([0, 2])]


@form(left="rand")
def random_numbers():
    return lambda x: torch.rand_like(x.relu()) + torch.randn(3, 4) * 2 + 1, [torch.randn(3, 4)]


@form(left="bernoulli")
def a_random_choice():
    return lambda x: torch.bernoulli(x.sigmoid()) * 2 + x.relu(), [torch.randn(3, 4)]


@form(training=True)
def dropout_in_training():
    return (
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)),
        [torch.randn(3, 4)],
    )


def _norms(dtype):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).to(dtype)


@form(training=True)
def batch_norm_in_training():
    return _norms(torch.float32), [torch.randn(2, 3, 6, 6)]


@form(training=True)
def batch_norm_in_training_in_bfloat16():
    return _norms(torch.bfloat16), [torch.randn(2, 3, 6, 6, dtype=torch.bfloat16)]


@form(training=True)
def batch_norm_in_training_in_float16():
    return _norms(torch.float16), [torch.randn(2, 3, 6, 6, dtype=torch.float16)]


@form(training=True)
def batch_norm_without_statistics():
    return (
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.ReLU()),
        [torch.randn(5, 4)],
    )


@form()
def layer_norm_of_a_weight_alone():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.norm = nn.Embedding(6, 8), nn.LayerNorm(8)

        def forward(self, x):
            return torch.softmax(torch.tanh(x) @ self.norm(self.table.weight).t(), -1) * 2 + 1

    return Model(), [torch.randn(2, 8)]


@form(left="linalg_inv")
def a_weight_alone_through_an_operator_without_converter():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(6, 6))

        def forward(self, x):
            inverse = torch.linalg.inv(self.table.tanh() + 3 * torch.eye(6))
            return (x.relu() @ inverse).tanh() + self.table.sum(0).sigmoid()

    return Model(), [torch.randn(2, 6)]


@form()
def shared_weights():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(8, 4), nn.Linear(4, 8, bias=False)
            self.head.weight = self.table.weight

        def forward(self, i):
            return self.head(self.table(i).relu()) + 1

    return Model(), [torch.tensor([[1, 3, 5]])]


@form()
def weights_of_a_parametrization():
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    return nn.Sequential(layer, nn.ReLU()), [torch.randn(2, 4)]


@form()
def hooks_on_a_module():
    layer = nn.Linear(4, 3)
    layer.register_forward_hook(lambda _m, _i, out: out * 2)
    layer.register_forward_pre_hook(lambda _m, args: (args[0] + 1,))
    return nn.Sequential(layer, nn.ReLU()), [torch.randn(2, 4)]


@form()
def recurrent_layers():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.gru = nn.LSTM(4, 6, batch_first=True), nn.GRU(6, 3, batch_first=True)

        def forward(self, x, state):
            y, state = self.lstm(x.relu(), state)
            z, last = self.gru(y)
            return z.tanh() + 1, state, last

    state = (torch.zeros(1, 2, 6), torch.zeros(1, 2, 6))
    return Model(), [torch.randn(2, 5, 4), state]
