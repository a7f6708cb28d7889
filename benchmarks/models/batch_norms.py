# SPDX-License-Identifier: Apache-2.0
"""Gives randomly initialized batch norms the statistics that a trained network would have.

A fresh batch norm is the identity in eval mode: activations of a deep network with random weights
then grow or vanish, and folding it into a convolution proves nothing. Here one batch of random
images sets every running mean and variance, and the affine parameters are drawn around 1 and 0.
"""

from __future__ import annotations

import torch
from torch import nn


def settle_batch_norms(network: nn.Module, image_size: int) -> nn.Module:
    """Set the statistics of every `BatchNorm2d` of `network`, and return it in eval mode."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.1)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # the running statistics become those of this one batch
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, image_size, image_size))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.num_batches_tracked.zero_()
    return network.eval()
