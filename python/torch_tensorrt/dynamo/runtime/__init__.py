"""Engines as modules, under Torch-TensorRT's names."""

from stator import EngineModule

TorchTensorRTModule = TorchTRTModule = PythonTorchTensorRTModule = EngineModule

__all__ = ["PythonTorchTensorRTModule", "TorchTRTModule", "TorchTensorRTModule"]
