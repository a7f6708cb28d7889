# SPDX-License-Identifier: Apache-2.0
"""What the tests of the documents' snippets share: running a text, the models."""

import textwrap

import torch
import torch_tensorrt
from torch import nn

CUDA = torch.cuda.is_available()


class MyModel(nn.Module):
    """Embedding, convolution-free: linear layers, a subtraction, normalizations, softmax."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(16, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU(),
            nn.Linear(32, 8),
        )  # fmt: skip

    def forward(self, x):
        y = self.layers(x)
        return torch.softmax(y - y.mean(-1, keepdim=True), -1)


class ImageModel(nn.Module):
    """A small convolutional network for images of 224 by 224."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 7, 4, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.features(x))


def run(snippet, **names):
    """Execute a document's text with the reader's names in place; give the names after it."""
    text = textwrap.dedent(snippet).replace("    ...\n", "").replace("...\n", "")
    if not CUDA:
        text = text.replace(".cuda()", "")
    scope = {"torch": torch, "torch_tensorrt": torch_tensorrt, **names}
    exec(compile(text, "<document>", "exec"), scope)
    return scope


def place(value):
    return value.cuda() if CUDA else value


def close(a, b):
    tolerance = {"rtol": 5e-3, "atol": 5e-3} if CUDA else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(a, b, **tolerance)


TITLE = "++++++++++++++++++++++++++ Dry-Run Results for Graph ++++++++++++++++++++++++++"
