"""What this build has, by Torch-TensorRT's names."""

from typing import NamedTuple


class FeatureSet(NamedTuple):
    """Which front ends and runtimes there are."""

    torchscript_frontend: bool = False
    torch_tensorrt_runtime: bool = True
    dynamo_frontend: bool = True
    fx_frontend: bool = False
    refit: bool = False
    qdp_plugin: bool = False
    windows_cross_compile: bool = False
    tensorrt_rtx: bool = False


ENABLED_FEATURES = FeatureSet()
