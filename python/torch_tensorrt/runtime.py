"""The names of torch_tensorrt.runtime."""

from torch_tensorrt.dynamo.runtime import (
    PythonTorchTensorRTModule,
    TorchTensorRTModule,
    TorchTRTModule,
)

__all__ = ["PythonTorchTensorRTModule", "TorchTRTModule", "TorchTensorRTModule"]
