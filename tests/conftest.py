# SPDX-License-Identifier: Apache-2.0
import pytest
import torch


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def _needs_the_cpu_backend(request):
    """Tests that choose no device run on the CPU, which a build for GPUs alone may lack."""
    chosen = "device" in request.fixturenames or "cuda" in request.path.parts
    if not chosen and "cpu" not in request.config.getoption("--devices").split(","):
        pytest.skip("runs on the CPU backend, which --devices leaves out")


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
