# SPDX-License-Identifier: Apache-2.0
import pytest
import torch


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)
    torch._dynamo.reset()


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
