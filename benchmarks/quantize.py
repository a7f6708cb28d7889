# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization of a network to int8, by torchao's quantizer for x86 CPUs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def quantized(network: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
    """Quantize activations by tensor and weights by channel; `inputs` are the calibration data.

    The result is the exported network with quantize and dequantize operators
    (``torch.ops.quantized_decomposed``), which every runner takes as it takes the network itself.
    """
    import torchao.quantization.pt2e as pt2e
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    with torch.no_grad():
        prepared = prepare_pt2e(torch.export.export(network, inputs).module(), quantizer)
        prepared(*inputs)
        converted = convert_pt2e(prepared)
        pt2e.move_exported_model_to_eval(converted)
    return converted
