# SPDX-License-Identifier: Apache-2.0
"""An operator that engines do not know, three ways: in PyTorch, generated, and written by hand.

The operator is registered with PyTorch as any extension's is. By itself it runs in PyTorch between
two engines. `auto_generate_converter` follows its implementation, so that one engine holds it; a
converter of one's own says it in the layers of TensorRT's API.

  python examples/custom_converters.py
"""

from __future__ import annotations

from typing import Any

import torch
import torch_tensorrt
from torch import nn
from torch_tensorrt.dynamo.conversion import DYNAMO_CONVERTERS, dynamo_tensorrt_converter
from torch_tensorrt.dynamo.conversion.converter_utils import auto_generate_converter

import tensorrt as trt  # isort: skip  (torch_tensorrt provides it where no TensorRT is installed)


@torch.library.custom_op("example::gated", mutates_args=())
def gated(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """What a library's own kernel would do."""
    return x * torch.sigmoid(gate)


@gated.register_fake
def _(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Network(nn.Module):
    """Two linear layers with the operator between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.last = (nn.Linear(64, 64) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 64) → (batch, 64)."""
        return self.last(torch.ops.example.gated(self.first(x), self.gate(x)))


def compile_and_compare(title: str, network: nn.Module, x: torch.Tensor) -> None:
    """Say how many engines there are, and how far the result is from PyTorch's."""
    compiled = torch_tensorrt.compile(
        network, arg_inputs=[x], min_block_size=1, timing_cache_path=""
    )
    with torch.no_grad():
        difference = (compiled(x) - network(x)).abs().max().item()
    report = compiled.stator_report
    print(
        f"{title}: {len(report.engines)} engines hold {report.supported_operators} of "
        f"{report.total_operators} operators, off by {difference:.1e}"
    )


def main() -> None:
    """Compile one network three times."""
    torch.manual_seed(0)
    network, x = Network().eval(), torch.randn(8, 64)
    operator = torch.ops.example.gated.default
    compile_and_compare("no converter", network, x)

    auto_generate_converter(operator)
    compile_and_compare("generated converter", network, x)
    DYNAMO_CONVERTERS.remove(operator)

    @dynamo_tensorrt_converter(operator, supports_dynamic_shapes=True)
    def converter(ctx: Any, target: Any, args: Any, kwargs: Any, name: str) -> Any:
        sigmoid = ctx.net.add_activation(args[1], trt.ActivationType.SIGMOID)
        product = ctx.net.add_elementwise(
            args[0], sigmoid.get_output(0), trt.ElementWiseOperation.PROD
        )
        product.name = name
        return product.get_output(0)

    compile_and_compare("own converter", network, x)


if __name__ == "__main__":
    main()
