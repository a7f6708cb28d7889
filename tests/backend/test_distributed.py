# SPDX-License-Identifier: Apache-2.0
"""A tensor-parallel model on two ranks: distributed tensors through torch.compile."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="PyTorch was built without torch.distributed"
)

RANK = """
    import logging
    import sys

    import stator
    import torch
    import torch.distributed as dist
    import torch_tensorrt
    from torch import nn
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import (
        ColwiseParallel, RowwiseParallel, parallelize_module,
    )

    class MLP(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

        def forward(self, x):
            return self.down(nn.functional.gelu(self.up(x)))

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model, x = MLP().eval(), torch.randn(4, 16)
    with torch.no_grad():
        expected = model(x)
        mesh = init_device_mesh("cpu", (2,))
        plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
        model = parallelize_module(model, mesh, plan)
        way, rank = sys.argv[1], dist.get_rank()
        if way == "ahead":
            try:
                stator.compile(model, inputs=[x], min_block_size=1)
            except ValueError as error:
                print(f"rank {rank}: {error}", flush=True)
        else:
            logging.getLogger("torch_tensorrt").setLevel(logging.INFO)
            compiled = torch.compile(model, backend="torch_tensorrt", options={
                "use_distributed_mode_trace": way == "traced", "min_block_size": 1,
                "pass_through_build_failures": True,
            })
            torch.testing.assert_close(compiled(x), expected)
            model.up.weight.mul_(2)  # a weight that changes is seen
            torch.testing.assert_close(compiled(x), model(x))
            print(f"rank {rank}: right", flush=True)
    dist.destroy_process_group()
"""


def run(way):
    """What both ranks print."""
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29617"}
    command = [sys.executable, "-c", textwrap.dedent(RANK), way]
    ranks = [
        subprocess.Popen(
            command, env={**environment, "RANK": str(rank), "WORLD_SIZE": "2"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]  # fmt: skip
    texts = [rank.communicate(timeout=240)[0] for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), "\n".join(texts)
    return texts


@pytest.mark.parametrize("way", ["traced", "plain"])
def test_tensor_parallel_layers(way):
    for rank, text in enumerate(run(way)):
        assert f"rank {rank}: right" in text
        assert "6 operators" in text, "the local part is an engine"
        assert "use_distributed_mode_trace" not in text, "it has an effect"


def test_ahead_of_time_names_the_setting():
    for rank, text in enumerate(run("ahead")):
        assert f"rank {rank}: " in text
        assert "use_distributed_mode_trace" in text
        assert "torch.compile" in text
