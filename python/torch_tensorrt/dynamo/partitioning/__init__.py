"""Partitioning by itself under Torch-TensorRT's path."""

from stator import fast_partition, get_graph_converter_support, global_partition

__all__ = ["fast_partition", "get_graph_converter_support", "global_partition"]
