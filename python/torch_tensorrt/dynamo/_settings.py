"""CompilationSettings under the path that Torch-TensorRT's documents import it from."""

from stator import CompilationSettings

__all__ = ["CompilationSettings"]
