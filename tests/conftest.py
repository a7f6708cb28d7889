# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
import torch.fx.experimental._config

torch.manual_seed(0)  # for what test modules make when they are imported


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)
    torch._dynamo.reset()
    # On since the first mark_dynamic of a size of one (stator.backend), for the whole process.
    torch.fx.experimental._config.backed_size_oblivious = False


def pytest_addoption(parser):
    parser.addoption(
        "--devices",
        default="cpu,reference",
        help="backends that the operator tests run on: cpu,reference,cuda (default: %(default)s)",
    )


def pytest_generate_tests(metafunc):
    """Every operator test runs on the backend that ships and on its oracle."""
    if "device" in metafunc.fixturenames:
        devices = metafunc.config.getoption("--devices").split(",")
        metafunc.parametrize("device", devices)


def pytest_collection_modifyitems(config, items):
    """Tests that choose no device run on the CPU, which a build for GPUs alone may lack."""
    if "cpu" in config.getoption("--devices").split(","):
        return
    skip = pytest.mark.skip(reason="runs on the CPU backend, which --devices leaves out")
    for item in items:
        here = Path(__file__).parent in item.path.parents
        if here and "device" not in item.fixturenames and "cuda" not in item.path.parts:
            item.add_marker(skip)
