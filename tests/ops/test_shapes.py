# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from tests.ops.check import check

VIEWS = {
    "transpose": lambda x: x.transpose(0, 1) + 1,
    "negative_transpose": lambda x: x.transpose(-1, -2) * 2,
    "permute": lambda x: x.permute(2, 0, 1) + 1,
    "reshape": lambda x: x.reshape(6, -1) + 1,
    "flatten": lambda x: x.flatten(1) + 1,
    "unflatten": lambda x: x.unflatten(2, (2, 2)) + 1,
    "unsqueeze": lambda x: x.unsqueeze(-1) * x.unsqueeze(-2),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1) + 1,
    "expand": lambda x: x[:, :1].expand(-1, 3, -1) + 1,
    "select": lambda x: x[:, 1] + x[:, -1],
    "slice": lambda x: x[:, 1:] + x[:, :-1],
    "slice_step": lambda x: x[..., ::2] * 2,
    "narrow": lambda x: x.narrow(1, 1, 2) + 0.5,
    "flip": lambda x: x.flip(0, 2) + 1,
    "roll": lambda x: x.roll(1, 2),
    "repeat": lambda x: x.repeat(2, 1, 3),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "cat": lambda x: torch.cat([x, x * 2, x[:, :1]], 1),
    "cat_last": lambda x: torch.cat([x, x + 1], -1),
    "stack": lambda x: torch.stack([x, x + 1], 1),
    "split": lambda x: [t + 1 for t in x.split(1, 1)],
    "chunk": lambda x: [t * 2 for t in x.chunk(2, -1)],
    "unbind": lambda x: [t + 1 for t in x.unbind(1)],
    "pad": lambda x: F.pad(x, (1, 2, 0, 1), value=3.0),
    "pad_negative": lambda x: F.pad(x, (-1, 1)),
    "pad_reflect": lambda x: F.pad(x, (1, 1), mode="reflect"),
    "pad_replicate": lambda x: F.pad(x, (1, 1), mode="replicate"),
    "tril": lambda x: x.tril(),
    "triu": lambda x: x.triu(1),
    "movedim": lambda x: x.movedim(0, -1) + 1,
    "swapaxes": lambda x: x.swapaxes(0, 2) + 1,
    "view_of_view": lambda x: x.transpose(1, 2).reshape(2, -1).view(2, 4, 3)[..., 1:] + 1,
    "rotate_half": lambda x: torch.cat([-x[..., 2:], x[..., :2]], -1),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x.reshape(1, 4, 2, 3), 2),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name, device):
    check(VIEWS[name], torch.randn(2, 3, 4), device=device)


@pytest.mark.parametrize("name", ["transpose", "slice", "cat", "flatten", "unsqueeze", "tril"])
def test_views_with_dynamic_batch(name, device):
    others = [[torch.randn(n, 3, 4)] for n in (1, 5)]
    check(VIEWS[name], torch.randn(2, 3, 4), device=device, dynamic=(0,), others=others)


def test_view_that_is_an_output_of_an_input(device):
    check(lambda x: (x.view(6), x, x + 1), torch.randn(2, 3), device=device, compiled_whole=False)


def test_splitting_heads_with_dynamic_sizes(device):
    def heads(x):
        b, s, _ = x.shape
        return x.view(b, s, 4, 6).transpose(1, 2) * 2

    others = [[torch.randn(n, m, 24)] for n, m in [(1, 1), (3, 5)]]
    check(heads, torch.randn(2, 7, 24), device=device, dynamic=(0, 1), others=others)


def test_creation(device):
    def make(x):
        n, m = x.shape
        return (
            x + torch.arange(m),
            x * torch.ones(n, 1),
            torch.zeros_like(x) + torch.full((n, m), 2.5),
            x + torch.arange(0, 2 * m, 2, dtype=torch.float32),
        )

    others = [[torch.randn(n, m)] for n, m in [(1, 1), (5, 2)]]
    check(make, torch.randn(3, 4), device=device, dynamic=(0, 1), others=others)


def test_sizes_as_values(device):
    check(
        lambda x: x.sum() / x.shape[0],
        torch.randn(4, 3),
        device=device,
        dynamic=(0,),
        others=[[torch.randn(1, 3)], [torch.randn(9, 3)]],
    )


def test_resize(device):
    x = torch.randn(1, 3, 5, 6)
    check(lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), x, device=device)
    check(lambda x: F.interpolate(x, size=(7, 9), mode="bilinear"), x, device=device)
    check(
        lambda x: F.interpolate(x, size=(9, 4), mode="bilinear", align_corners=True),
        x,
        device=device,
    )


@pytest.mark.parametrize(
    "sizes",
    [(32, 16, 16, 8, 8), (5, 9, 7, 0, 6, 5), (1, 40, 2, 3, 90, 7), (200, 1, 3, 300, 1, 100, 90)],
)
@pytest.mark.parametrize("dim", [1, 2])
def test_joins_of_many_parts(sizes, dim, device):
    """In chunks of one size, which overlap where there is no common one."""
    parts = [torch.randn([2, n, 6] if dim == 1 else [2, 6, n]) for n in sizes]
    scale = torch.randn([sum(sizes), 1] if dim == 1 else [sum(sizes)])
    check(lambda *p: torch.cat(p, dim), *parts, device=device)
    check(lambda *p: torch.relu(torch.cat([t + 1 for t in p], dim) * scale), *parts, device=device)
    check(lambda *p: torch.cat(p, dim).sum(dim), *parts, device=device)
    check(
        lambda *p: torch.cat(p, dim), *parts, device=device, dynamic=(0,),
        others=[[torch.randn(5, *p.shape[1:]) for p in parts]],
    )  # fmt: skip
    check(lambda x: torch.stack([x, x * 2, x[0:1].expand_as(x), x, x, x], dim), parts[0],
          device=device)  # fmt: skip
    check(
        lambda *p: torch.cat(p, dim), *parts, device=device, dynamic=(dim,),
        others=[[torch.cat([p, p], dim) for p in parts]],
    )  # fmt: skip
