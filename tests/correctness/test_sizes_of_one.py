# SPDX-License-Identifier: Apache-2.0
"""A range that begins at 1: calls with that size are taken where the program is right for them."""

import functools
import logging

import pytest
import stator
import torch
import torch.nn.functional as F
from stator import Input
from torch import nn

SETTINGS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0}


def ranged(least, opt, most):
    return Input(min_shape=least, opt_shape=opt, max_shape=most)


IMAGES = ranged((1, 3, 8, 8), (2, 3, 32, 32), (4, 3, 64, 64))


class Rows(nn.Module):
    """Pixels as rows, and back."""

    def forward(self, x):
        rows = x.permute(0, 2, 3, 1).reshape(-1, 3) * 2
        return rows.view(x.shape[0], x.shape[2], x.shape[3], 3)


class UpSampled(nn.Module):
    """The end of a U-Net's decoder."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.GroupNorm(4, 8)

    def forward(self, x):
        return F.interpolate(self.norm(self.convolution(x)), size=x.shape[-2:], mode="nearest")


class HyperNetwork(nn.Module):
    """Weights of their own for each image, as groups of one convolution."""

    def forward(self, x, w):
        b, _, rows, columns = x.shape
        y = F.conv2d(
            x.reshape(1, b * 3, rows, columns), w.reshape(b * 4, 3, 3, 3), padding=1, groups=b
        )
        return y.view(b, 4, rows, columns) * 2


class Counting(nn.Module):
    """Changes a buffer, and so is traced a second time, in core operators."""

    def __init__(self, model):
        super().__init__()
        self.model = model()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, *args):
        self.calls.add_(1)
        return self.model(*args) + self.calls


class StateSpace(nn.Module):
    """The recurrence of Mamba over a few steps."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 6)
        self.step = nn.Linear(6, 6)
        self.a = nn.Parameter(-torch.rand(6, 4))

    def forward(self, x):
        x = F.silu(self.inner(x))
        decay = torch.exp(F.softplus(self.step(x)).unsqueeze(-1) * self.a)
        state, states = torch.zeros_like(decay[:, 0]), []
        for k in range(3):
            state = decay[:, k] * state + x[:, k].unsqueeze(-1)
            states.append(state.sum(-1))
        return torch.stack(states, 1)


class Branches(nn.Module):
    """Is another model for a batch of one, and tells it from others in two ways."""

    def forward(self, x):
        return x.sum(0) if x.shape[0] == 1 else x.reshape(x.shape[0], -1).softmax(-1)


def sized(*shapes):
    return tuple(torch.randn(shape) for shape in shapes)


# (model, Inputs, calls)
MODELS = {
    "rows": (Rows, [IMAGES], [sized((b, 3, s, s)) for b in (1, 3) for s in (8, 17, 64)]),
    "upsampled": (UpSampled, [IMAGES], [sized((b, 3, s, 16)) for b in (1, 4) for s in (8, 30)]),
    "hypernetwork": (
        HyperNetwork,
        [ranged((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8)),
         ranged((1, 4, 3, 3, 3), (2, 4, 3, 3, 3), (4, 4, 3, 3, 3))],
        [sized((b, 3, 8, 8), (b, 4, 3, 3, 3)) for b in (1, 2, 4)],
    ),
    "state space": (
        StateSpace, [ranged((1, 3, 3), (2, 3, 3), (8, 3, 3))], [sized((b, 3, 3)) for b in (1, 5)]
    ),
    "two sizes": (
        Rows,
        [ranged((1, 3, 1, 1), (2, 3, 8, 8), (4, 3, 16, 16))],
        [sized((b, 3, s, t)) for b in (1, 2) for s in (1, 5) for t in (1, 6)],
    ),
}  # fmt: skip
MODELS |= {
    f"counting {name}": (functools.partial(Counting, model), inputs, calls)
    for name, (model, inputs, calls) in MODELS.items()
}


@pytest.mark.parametrize("name", MODELS)
def test_taken(name, caplog):
    model, inputs, calls = MODELS[name]
    eager, model = model().eval(), model().eval()
    model.load_state_dict(eager.state_dict())
    with caplog.at_level(logging.WARNING):
        compiled = stator.compile(model, inputs, **SETTINGS)
    assert "valid only where" not in caplog.text
    for call in calls:
        torch.testing.assert_close(compiled(*call), eager(*call), rtol=1e-4, atol=1e-5)


def test_real_branch():
    """The program for larger batches is never taken for one."""
    compiled = stator.compile(Branches(), [IMAGES], **SETTINGS)
    (x,) = sized((3, 3, 8, 8))
    torch.testing.assert_close(compiled(x), Branches()(x))
    with pytest.raises(ValueError, match=r"x.shape\[0\]"):
        compiled(x[:1])


def test_implied_conditions_are_not_told(caplog):
    """A range implies what the model needs: no word about it."""

    class Windows(nn.Module):
        def forward(self, x):
            a, b = x.shape
            assert a >= 2 and b >= 3
            y = x.unfold(1, 3, 2).sum(-1) + (a if a <= 25 and b < 100 else 0)
            return y * 2 if min(512, b) == b and 1 + (a // 8) * (b // 8) >= a // 9 else y

    with caplog.at_level(logging.WARNING):
        compiled = stator.compile(Windows(), [ranged((2, 8), (4, 16), (9, 64))], **SETTINGS)
    assert "valid only where" not in caplog.text
    (x,) = sized((9, 8))
    torch.testing.assert_close(compiled(x), Windows()(x))
