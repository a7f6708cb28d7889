"""Registering lowering passes under Torch-TensorRT's path."""

from stator.lowering.passes import add_pass as _aten_lowering_pass
from stator.lowering.passes import passes as dump_lowering_passes
from stator.lowering.passes import remove_pass as _remove_lowering_pass

__all__ = ["_aten_lowering_pass", "_remove_lowering_pass", "dump_lowering_passes"]
