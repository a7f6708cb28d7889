# SPDX-License-Identifier: Apache-2.0
import logging

import pytest
import torch
from document_helpers import MyModel, place


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)
    torch._dynamo.reset()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return place(MyModel().eval())


@pytest.fixture
def inputs():
    return [place(torch.randn(4, 16))]


@pytest.fixture
def exp_program(model, inputs):
    return torch.export.export(model, tuple(inputs))


@pytest.fixture(autouse=True)
def quiet_logger():
    logger = logging.getLogger("torch_tensorrt")
    level = logger.level
    yield
    logger.setLevel(level)
