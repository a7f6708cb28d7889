# SPDX-License-Identifier: Apache-2.0
"""Values that are no tensors, sizes that data decides, and element types."""

from __future__ import annotations

import torch
from torch import nn

from tests.correctness.forms.registry import form


@form()
def a_number_out_of_a_float_tensor():
    return lambda x: ((x * 2).relu(), x.sum().item()), [torch.ones(3, 4)]


@form()
def a_number_out_of_an_integer_tensor():
    return lambda x: ((x * 2).float().relu(), x.sum().item()), [torch.arange(12).view(3, 4)]


@form(saved=False)
def a_truth_out_of_a_tensor():
    return lambda x: ((x * 2).relu(), (x.sum() > 0).item()), [torch.ones(3, 4)]


@form()
def arithmetic_on_a_number_out_of_a_tensor():
    def f(x):
        s = x.sum().item()
        return x.relu() * (s * 2 + 1), s / 3

    return f, [torch.ones(3, 4)]


@form()
def sizes_as_results():
    def f(x):
        return x.relu() + 1, x.shape[0], x.shape[1] * 2, x.numel() / 3, x.shape[0] > 2

    return f, [torch.randn(3, 4)]


@form()
def constants_as_results():
    return lambda x: (x.relu() + 1, None, 3, 2.5, True), [torch.randn(3, 4)]


@form(saved=False)
def text_as_result():
    return lambda x: (x.relu() + 1, "text"), [torch.randn(3, 4)]


@form()
def numbers_as_arguments():
    return lambda x, n, s, b: (x * n + s).relu() if b else x, [torch.randn(3, 4), 3, 0.5, True]


@form()
def none_and_text_as_arguments():
    def f(x, mask, mode):
        y = x.relu() if mode == "relu" else x.tanh()
        return y + 1 if mask is None else y * mask

    return f, [torch.randn(3, 4), None, "relu"]


@form(left="nonzero")
def rows_that_data_chooses():
    def f(x):
        rows = torch.nonzero(x[:, 0] > 0).squeeze(-1)
        return x[rows].relu() * 2 + 1

    return f, [torch.randn(6, 4)]


@form()
def elements_that_a_mask_chooses():
    return lambda x: (x[x > 0] * 2).tanh() + 1, [torch.randn(6, 4)]


@form()
def a_detector():
    class Model(nn.Module):
        """Scores and boxes, those over a threshold, and a suppression that loops over them."""

        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(3, 8, 3, padding=1)
            self.scores, self.boxes = nn.Linear(8, 1), nn.Linear(8, 4)

        def forward(self, x):
            cells = self.body(x).relu().flatten(2).transpose(1, 2)[0]
            scores, boxes = self.scores(cells).sigmoid()[:, 0], self.boxes(cells)
            keep = scores > scores.mean()
            scores, boxes = scores[keep], boxes[keep]
            order = scores.argsort(descending=True)
            boxes, scores = boxes[order], scores[order]
            overlap = (boxes[:, None] - boxes[None]).abs().sum(-1) < 0.1
            alone = overlap.triu(1).sum(0) == 0
            return boxes[alone] * 2, scores[alone]

    return Model(), [torch.randn(1, 3, 8, 8)]


@form(exported=False)
def a_branch_on_data():
    def f(x):
        y = x.relu() + 1
        if y.sum() > 3:
            return y * 2
        return y - 1

    return f, [torch.randn(3, 4)]


@form(exported=False)
def a_loop_as_long_as_data_says():
    def f(x, n):
        y = x.relu()
        for _ in range(int(n)):
            y = y * 2 + 1
        return y.tanh()

    return f, [torch.randn(3, 4), torch.tensor(3)]


@form(exported=False)
def suppression_of_boxes_in_a_loop():
    def f(boxes, scores):
        order = (scores * 2).argsort(descending=True)
        kept = []
        while order.numel() > 0:
            first = order[0]
            kept.append(first)
            far = (boxes[order] - boxes[first]).abs().sum(-1) > 1.5
            order = order[far]
        return boxes[torch.stack(kept)].relu() + 1

    return f, [torch.randn(7, 4), torch.randn(7)]


@form(left="item")
def pieces_that_a_tensor_names():
    def f(x, at):
        a, b, c = torch.tensor_split(x, at)
        return a.relu() + 1, b * 2, c.tanh()

    return f, [torch.randn(9, 4), torch.tensor([2, 5])]


@form()
def repeats_that_a_tensor_names():
    return (
        lambda x, n: torch.repeat_interleave(x.relu(), n, dim=0).tanh() + 1,
        [torch.randn(3, 4), torch.tensor([2, 1, 3])],
    )


@form()
def sizes_out_of_a_list():
    def f(x, n):
        a, b = (x.relu() + 1).split(n.tolist())
        return a * 2, b.tanh()

    return f, [torch.randn(7, 4), torch.tensor([3, 4])]


@form()
def a_complex_half_inside():
    def f(x):
        y = torch.view_as_complex((x * 2).half().contiguous())
        return torch.view_as_real(y).float().relu() + 1

    return f, [torch.randn(3, 2)]


@form()
def complex_numbers_inside():
    return lambda x: (torch.fft.fft(x.relu()) * 1j).real.tanh() + 1, [torch.randn(3, 8)]


@form()
def complex_numbers_as_argument_and_result():
    return (
        lambda z: (z * (2 + 1j), z.abs().relu() + 1),
        [torch.randn(3, 4, dtype=torch.complex64)],
    )


@form()
def wide_unsigned_integers():
    def f(x):
        y = (x.relu() * 3).to(torch.uint32)
        z = (x.abs() * 5).to(torch.uint16)
        return y.float() + 1, z.to(torch.int64) * 2, (x.abs() * 9).to(torch.uint64)

    return f, [torch.randn(3, 4)]


@form()
def an_argument_of_wide_unsigned_integers():
    return lambda x: x.float().relu() * 2, [torch.arange(6).to(torch.uint64)]


@form()
def a_weight_of_wide_unsigned_integers():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", torch.arange(12, dtype=torch.int64).to(torch.uint16))

        def forward(self, x):
            return self.table.to(torch.float32).view(3, 4) * x.relu() + 1

    return Model(), [torch.randn(3, 4)]


@form()
def bytes_of_floats():
    def f(x):
        y = x.relu().to(torch.float8_e4m3fn)
        z = x.tanh().to(torch.float8_e5m2)
        return y.float() + 1, z.float() * 2

    return f, [torch.randn(3, 4)]


@form()
def bytes_of_floats_of_the_other_makers():
    def f(x):
        y = x.relu().to(torch.float8_e4m3fnuz)
        z = x.abs().to(torch.float8_e8m0fnu)
        return y.float() + 1, z.float() * 2

    return f, [torch.randn(3, 4)]


@form()
def bits_seen_as_another_type():
    return (
        lambda x: ((x * 2).view(torch.int32) & 0x7FFFFFFF).view(torch.float32).sqrt() + 1,
        [torch.randn(3, 4)],
    )


@form()
def nothing_in_it():
    return lambda x: (x.relu() + 1, x[:0] * 2, torch.zeros(0, 4) + 1), [torch.randn(3, 4)]


@form()
def an_argument_with_nothing_in_it():
    return lambda x, y: torch.cat([x.relu(), y]) + 1, [torch.randn(3, 4), torch.randn(0, 4)]
