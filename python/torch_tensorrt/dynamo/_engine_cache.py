"""BaseEngineCache under Torch-TensorRT's path."""

from stator import BaseEngineCache

__all__ = ["BaseEngineCache"]
