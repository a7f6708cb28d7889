"""Engines as modules, under Torch-TensorRT's names."""

from stator import EngineModule
from stator.engines.program import PythonEngineModule

TorchTensorRTModule = TorchTRTModule = EngineModule
PythonTorchTensorRTModule = PythonEngineModule

__all__ = ["PythonTorchTensorRTModule", "TorchTRTModule", "TorchTensorRTModule"]
