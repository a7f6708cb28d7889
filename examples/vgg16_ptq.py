# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization of VGG16: observe, quantize, export, compile, compare.

Weights are quantized by channel, the inputs of convolutions and linear layers by tensor, with the
ranges that a few batches of calibration data have. The compiled model multiplies the integers where
the machine has instructions for it, and gives the values of the quantized model in eager PyTorch.

  python examples/vgg16_ptq.py
"""

from __future__ import annotations

import torch
import torch.ao.quantization.fx._decomposed
import torch_tensorrt
from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTIONS = (
    64,
    64,
    "M",
    128,
    128,
    "M",
    256,
    256,
    256,
    "M",
    512,
    512,
    512,
    "M",
    512,
    512,
    512,
    "M",
)
quantize, dequantize = (
    getattr(torch.ops.quantized_decomposed, f"{name}_per_tensor").default
    for name in ("quantize", "dequantize")
)
dequantize_by_channel = torch.ops.quantized_decomposed.dequantize_per_channel.default


def vgg16(classes: int = 10) -> nn.Sequential:
    """VGG16 for images of 32 x 32, with one linear layer at its end."""
    layers: list[nn.Module] = []
    channels = 3
    for width in CONVOLUTIONS:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [
            nn.Conv2d(channels, int(width), 3, padding=1),
            nn.BatchNorm2d(int(width)),
            nn.ReLU(),
        ]
        channels = int(width)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, classes))


class Quantized(nn.Module):
    """A convolution or linear layer with int8 weights, whose input is quantized too."""

    weight: Tensor
    scales: Tensor
    zeros: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, largest_input: float) -> None:
        super().__init__()
        weight = layer.weight.detach()
        scales = weight.flatten(1).abs().amax(1) / 127
        by_row = scales.view(-1, *[1] * (weight.dim() - 1))
        self.register_buffer("weight", torch.round(weight / by_row).to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("zeros", torch.zeros_like(scales, dtype=torch.int64))
        self.bias = layer.bias
        self.padding = layer.padding if isinstance(layer, nn.Conv2d) else None
        self.input_scale = largest_input / 127

    def forward(self, x: Tensor) -> Tensor:
        """The layer on x rounded to 255 steps."""
        q = quantize(x, self.input_scale, 0, -128, 127, torch.int8)
        x = dequantize(q, self.input_scale, 0, -128, 127, torch.int8)
        bounds = (0, -127, 127, torch.int8)
        weight = dequantize_by_channel(self.weight, self.scales, self.zeros, *bounds)
        if self.padding is None:
            return F.linear(x, weight, self.bias)
        return F.conv2d(x, weight, self.bias, padding=self.padding)


def quantized(model: nn.Sequential, batches: list[Tensor]) -> nn.Sequential:
    """The model with quantized layers, by the largest inputs that the batches lead to."""
    largest: dict[nn.Module, float] = {}
    kinds = (nn.Conv2d, nn.Linear)

    def observe(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        largest[layer] = max(largest.get(layer, 0.0), inputs[0].abs().max().item())

    hooks = [m.register_forward_pre_hook(observe) for m in model if isinstance(m, kinds)]
    for batch in batches:
        model(batch)
    for hook in hooks:
        hook.remove()
    return nn.Sequential(
        *(Quantized(m, largest[m]) if isinstance(m, kinds) else m for m in model)
    ).eval()


@torch.no_grad()
def main() -> None:
    """Quantize, compile, and say how close the three models are."""
    torch.manual_seed(0)
    model = vgg16().eval()
    images = torch.rand(8, 3, 32, 32)
    model.train()(torch.rand(64, 3, 32, 32))  # statistics for the batch norms
    model.eval()
    fake = quantized(model, [torch.rand(8, 3, 32, 32) for _ in range(4)])
    program = torch.export.export(fake, (images,))
    compiled = torch_tensorrt.dynamo.compile(program, inputs=[images], min_block_size=1)
    plain, eager, ours = model(images), fake(images), compiled(images)
    scale = plain.abs().max()
    print(f"{len(compiled.stator_report.engines)} engine, "
          f"{len(compiled.stator_report.fallbacks)} operators in PyTorch")  # fmt: skip
    print(f"quantized, off from float32 by {((eager - plain).abs().max() / scale).item():.3f}")
    print(f"compiled, off from quantized by {((ours - eager).abs().max() / scale).item():.3f}")
    same = (ours.argmax(1) == eager.argmax(1)).float().mean().item()
    print(f"the same class for {same:.0%} of the images")


if __name__ == "__main__":
    main()
