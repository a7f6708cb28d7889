# SPDX-License-Identifier: Apache-2.0
"""TensorRT's layer API for converters written in Python, its layers being ATen operators.

``ctx.net.add_activation(x, ActivationType.RELU)`` gives a layer; its attributes may be set until
``get_output(i)`` is read. Names, arguments and meaning are those of TensorRT's Python API
(docs.nvidia.com/deeplearning/tensorrt, INetworkDefinition). A method that is not here raises an
error that lists those that are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from stator.conversion.layer_enums import (
    ActivationType,
    CumulativeOperation,
    DataType,
    ElementWiseOperation,
    GatherMode,
    MatrixOperation,
    PaddingMode,
    PoolingType,
    ReduceOperation,
    SampleMode,
    ScaleMode,
    ScatterMode,
    TopKOperation,
    UnaryOperation,
    axes_of,
)
from stator.settings.compilation_settings import CompilationSettings

__all__ = [
    "ConversionContext",
    "ILayer",
    "INetworkDefinition",
    "ITensor",
    "as_tensor",
    "from_graph",
]


class ITensor:
    """A tensor of the network: a graph's value, or an output of a layer."""

    def __init__(self, value: Callable[[], torch.Tensor], name: str = "") -> None:
        self._value = value
        self.name = name

    @property
    def value(self) -> torch.Tensor:
        """The tensor that stands for it while the graph is lowered."""
        return self._value()

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes; -1 for one that is dynamic."""
        return tuple(s if isinstance(s, int) else -1 for s in self.value.shape)

    @property
    def dtype(self) -> DataType:
        """Its element type."""
        return DataType.of(self.value.dtype)

    def __repr__(self) -> str:
        return f"ITensor({self.name!r}, {self.shape}, {self.dtype})"


class ILayer:
    """One layer. What the network's method was given are its attributes, which may be changed."""

    def __init__(
        self, kind: str, compute: Callable[..., Any], inputs: list[Any], attributes: dict[str, Any]
    ) -> None:
        self.__dict__.update(attributes)
        self.name, self._kind, self._compute = "", kind, compute
        self._inputs, self._attributes = inputs, list(attributes)
        self._outputs: tuple[torch.Tensor, ...] | None = None
        self.metadata = ""

    def __setattr__(self, key: str, value: Any) -> None:
        own = ("name", "metadata", "precision", *self.__dict__.get("_attributes", ()))
        if not key.startswith("_") and "_attributes" in self.__dict__ and key not in own:
            known = ", ".join(self._attributes) or "none"
            raise AttributeError(f"{self._kind} has no attribute {key!r}; it has: {known}")
        if key in self.__dict__.get("_attributes", ()) and self._outputs is not None:
            raise RuntimeError(f"{self._kind}.{key} is set after its output was used")
        self.__dict__[key] = value

    @property
    def num_inputs(self) -> int:
        """How many inputs it has."""
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        """How many outputs it has."""
        return len(self._run())

    def set_input(self, index: int, tensor: Any) -> None:
        """Give it another input, or a further one."""
        while len(self._inputs) <= index:
            self._inputs.append(None)
        self._inputs[index] = tensor

    def get_input(self, index: int) -> Any:
        """An input."""
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        """An output; the layer is computed when it is first used."""
        return ITensor(lambda: self._run()[index], f"{self.name}_{index}" if self.name else "")

    def _run(self) -> tuple[torch.Tensor, ...]:
        if self._outputs is None:
            attributes = {name: getattr(self, name) for name in self._attributes}
            inputs = [None if i is None else as_tensor(i) for i in self._inputs]
            try:
                results = self._compute(*inputs, **attributes)
            except Exception as error:
                where = f"{self._kind} {self.name!r}" if self.name else self._kind
                raise ValueError(f"layer {where}: {error}") from error
            self._outputs = results if isinstance(results, tuple) else (results,)
        return self._outputs


def from_graph(value: Any) -> Any:
    """An argument as converters get it: values of the graph as ITensors, all else as it is."""
    return ITensor(lambda: value) if isinstance(value, FakeTensor) else value


def as_tensor(value: Any) -> Any:
    """What a layer computes with: the tensor of an ITensor or of an array; others as they are."""
    if isinstance(value, ITensor):
        return value.value
    if isinstance(value, ILayer):
        raise TypeError("a layer was given where a tensor is expected; use layer.get_output(0)")
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    return value


class ConversionContext:
    """What a converter gets as `ctx`: the network definition and the settings."""

    def __init__(self, settings: CompilationSettings, name: str) -> None:
        self.net = INetworkDefinition(name)
        self.compilation_settings = settings

    def clear_cpu_weights_reference_holder(self) -> None:
        """Nothing is held."""


def _channels(parameter: Any, x: torch.Tensor, axis: int) -> Any:
    """Weights of one channel each, or of each element, so that they broadcast against x."""
    if parameter is None:
        return None
    tensor = as_tensor(parameter)
    if tensor.numel() in (0, 1):
        return tensor.reshape(()) if tensor.numel() else None
    return tensor.reshape([-1 if d == axis else 1 for d in range(x.ndim)])


def _scale(x: Any, mode: Any, shift: Any, scale: Any, power: Any, channel_axis: int) -> Any:
    def fitted(parameter: Any) -> Any:
        if mode is ScaleMode.ELEMENTWISE and parameter is not None:
            return as_tensor(parameter).reshape(x.shape)
        return _channels(parameter, x, channel_axis)

    for parameter, apply in ((scale, torch.mul), (shift, torch.add), (power, torch.pow)):
        value = fitted(parameter)
        if value is not None:
            x = apply(x, value.to(x.dtype))
    return x


def _slice(x: Any, *more: Any, start: Any, shape: Any, stride: Any, mode: Any) -> Any:
    given = [as_tensor(m) for m in more]
    start, shape, stride = (
        given[i].tolist() if i < len(given) and given[i] is not None else old
        for i, old in enumerate((start, shape, stride))
    )
    if mode is not SampleMode.STRICT_BOUNDS:
        raise NotImplementedError(f"mode {mode} is not available; STRICT_BOUNDS is")
    for axis, (first, count, step) in enumerate(zip(start, shape, stride, strict=True)):
        if step <= 0:
            index = torch.arange(count) * step + first
            x = torch.index_select(x, axis, index.to(x.device))
        else:
            x = torch.ops.aten.slice.Tensor(x, axis, first, first + (count - 1) * step + 1, step)
    return x


def _shuffle(
    x: Any, shape: Any = None, *, first_transpose: Any, reshape_dims: Any, second_transpose: Any,
    zero_is_placeholder: bool,
) -> Any:  # fmt: skip
    if first_transpose is not None:
        x = x.permute(list(first_transpose))
    dims = shape.tolist() if shape is not None else reshape_dims
    if dims is not None:
        dims = list(dims)
        if zero_is_placeholder:
            dims = [x.shape[i] if d == 0 else d for i, d in enumerate(dims)]
        x = x.reshape(dims)
    return x if second_transpose is None else x.permute(list(second_transpose))


def _reduce(x: Any, op: Any, axes: int, keep_dims: bool) -> Any:
    dims = axes_of(axes)
    if op is ReduceOperation.PROD:
        for dim in sorted(dims, reverse=True):
            x = torch.prod(x, dim, keepdim=keep_dims)
        return x
    return op.function(x, dims, keepdim=keep_dims)


def _matmul(a: Any, b: Any, op0: Any, op1: Any) -> Any:
    def arranged(x: Any, op: Any, first: bool) -> Any:
        if op is MatrixOperation.TRANSPOSE:
            return x.transpose(-1, -2)
        if op is MatrixOperation.VECTOR:
            return x.unsqueeze(-2 if first else -1)
        return x

    result = torch.matmul(arranged(a, op0, True), arranged(b, op1, False))
    if op0 is MatrixOperation.VECTOR:
        result = result.squeeze(-2)
    return result.squeeze(-1) if op1 is MatrixOperation.VECTOR else result


def _given_padding(window: Sequence[int], layer: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Before and after, as the layer's attributes say."""
    before, after = layer["pre_padding"], layer["post_padding"]
    if layer["padding_nd"] is not None:
        before = after = layer["padding_nd"]
    return list(before or [0] * len(window)), list(after or [0] * len(window))


def _symmetric_padding(window: Sequence[int], layer: dict[str, Any]) -> list[int]:
    """Of layers that know no other."""
    before, after = _given_padding(window, layer)
    if layer["padding_mode"] is not PaddingMode.EXPLICIT_ROUND_DOWN or before != after:
        raise NotImplementedError(
            f"{layer['padding_mode']} with padding {before} before and {after} after is not "
            "available; EXPLICIT_ROUND_DOWN with the same on both sides is"
        )
    return before


def _spatial_padding(
    x: Any, window: Sequence[int], layer: dict[str, Any]
) -> tuple[torch.Tensor, list[int]]:
    """The input padded where before and after differ, and the symmetric rest."""
    before, after = _given_padding(window, layer)
    mode = layer["padding_mode"]
    if mode is PaddingMode.EXPLICIT_ROUND_UP:
        raise NotImplementedError(f"{mode} is not available; EXPLICIT_ROUND_DOWN is")
    if mode in (PaddingMode.SAME_UPPER, PaddingMode.SAME_LOWER):
        for i, kernel in enumerate(window):
            stride, dilation = layer["stride_nd"][i], layer.get("dilation_nd", [1] * 9)[i]
            size = x.shape[2 + i]
            total = max(
                0, (math.ceil(size / stride) - 1) * stride + dilation * (kernel - 1) + 1 - size
            )
            small, large = total // 2, total - total // 2
            upper = mode is PaddingMode.SAME_UPPER
            before[i], after[i] = (small, large) if upper else (large, small)
    if before == after:
        return x, before
    pads = [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
    return torch.nn.functional.pad(x, pads), [0] * len(window)


def _convolution(x: Any, kernel_in: Any = None, bias_in: Any = None, **layer: Any) -> Any:
    kernel = kernel_in if kernel_in is not None else as_tensor(layer["kernel"])
    bias = bias_in if bias_in is not None else as_tensor(layer["bias"])
    window, groups = list(layer["kernel_size"]), layer["num_groups"]
    maps = layer["num_output_maps"]
    if layer["transposed"]:
        kernel = kernel.reshape(x.shape[1], maps // groups, *window)
    else:
        kernel = kernel.reshape(maps, -1, *window)
    layer = {**layer, "stride_nd": list(layer["stride_nd"] or [1] * len(window)),
             "dilation_nd": list(layer["dilation_nd"] or [1] * len(window))}  # fmt: skip
    bias = None if bias is None or bias.numel() == 0 else bias.reshape(-1).to(x.dtype)
    if layer["transposed"]:
        padding = _symmetric_padding(window, layer)
    else:
        x, padding = _spatial_padding(x, window, layer)
    return torch.ops.aten.convolution.default(
        x, kernel.to(x.dtype), bias, layer["stride_nd"], padding, layer["dilation_nd"],
        layer["transposed"], [0] * len(window), groups,
    )  # fmt: skip


def _pooling(x: Any, **layer: Any) -> Any:
    window = list(layer["window_size"])
    layer = {**layer, "stride_nd": list(layer["stride_nd"] or window)}
    kind, functional = layer["type"], torch.nn.functional
    suffix = {1: "1d", 2: "2d", 3: "3d"}[len(window)]
    if kind is PoolingType.MAX:
        padding = _symmetric_padding(window, layer)
        return getattr(functional, "max_pool" + suffix)(x, window, layer["stride_nd"], padding)
    if kind is not PoolingType.AVERAGE:
        raise NotImplementedError(f"pooling of type {kind} is not available; MAX and AVERAGE are")
    excludes = layer["average_count_excludes_padding"]
    if excludes:  # zeros that are put in beforehand would be counted
        padding = _symmetric_padding(window, layer)
    else:
        x, padding = _spatial_padding(x, window, layer)
    return getattr(functional, "avg_pool" + suffix)(
        x, window, layer["stride_nd"], padding, count_include_pad=not excludes
    )


def _normalization(x: Any, scale: Any, bias: Any, **layer: Any) -> Any:
    groups, dims = layer["num_groups"], axes_of(layer["axes"])
    if groups > 1:
        return torch.nn.functional.group_norm(
            x, groups, scale.reshape(-1), bias.reshape(-1), layer["epsilon"]
        )
    mean = x.mean(dims, keepdim=True)
    variance = (x - mean).square().mean(dims, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + layer["epsilon"]) * scale + bias


def _gather(data: Any, indices: Any, axis: int, mode: Any, num_elementwise_dims: int) -> Any:
    if mode is GatherMode.ELEMENT:
        return torch.gather(data, axis, indices.long())
    if mode is not GatherMode.DEFAULT or num_elementwise_dims:
        raise NotImplementedError(f"gather with mode {mode} and elementwise dims is not available")
    picked = torch.index_select(data, axis, indices.reshape(-1).long())
    return picked.reshape(*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])


def _top_k(x: Any, op: Any, k: int, axes: int) -> Any:
    (dim,) = axes_of(axes)
    values, indices = torch.topk(x, k, dim, largest=op is TopKOperation.MAX)
    return values, indices.to(torch.int32)


def _resize(x: Any, size: Any = None, *, shape: Any, scales: Any, mode: str) -> Any:
    sizes = size.tolist() if size is not None else shape
    kind = {"nearest": "nearest", "linear": ("linear", "bilinear", "trilinear")[x.ndim - 3]}[mode]
    if sizes is None:
        return torch.nn.functional.interpolate(x, scale_factor=list(scales)[2:], mode=kind)
    return torch.nn.functional.interpolate(x, size=list(sizes)[2:], mode=kind)


def _cumulative(x: Any, axis: Any, op: Any, exclusive: bool, reverse: bool) -> Any:
    if op is not CumulativeOperation.SUM or exclusive:
        raise NotImplementedError("cumulative layers are sums, not exclusive")
    dim = int(as_tensor(axis)) if not isinstance(axis, int) else axis
    return x.flip(dim).cumsum(dim).flip(dim) if reverse else torch.cumsum(x, dim)


def _scatter(data: Any, indices: Any, updates: Any, mode: Any, axis: int) -> Any:
    if mode is not ScatterMode.ELEMENT:
        raise NotImplementedError(f"scatter with mode {mode} is not available; ELEMENT is")
    return torch.scatter(data, axis, indices.long(), updates)


class INetworkDefinition:
    """The network that a converter adds layers to."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.layers: list[ILayer] = []

    @property
    def num_layers(self) -> int:
        """How many layers were added."""
        return len(self.layers)

    def get_layer(self, index: int) -> ILayer:
        """A layer by its place."""
        return self.layers[index]

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(sorted(m for m in dir(type(self)) if m.startswith("add_")))
        raise AttributeError(f"the network definition has no {name}; it has: {known}")

    def _add(
        self, kind: str, compute: Callable[..., Any], *inputs: Any, **attributes: Any
    ) -> ILayer:
        layer = ILayer(kind, compute, list(inputs), attributes)
        self.layers.append(layer)
        return layer

    def add_activation(self, input: Any, type: ActivationType) -> ILayer:
        """A function of each element; `alpha` and `beta` where it has parameters."""
        return self._add(
            "Activation", lambda x, type, alpha, beta: type.function(x, alpha, beta), input,
            type=type, alpha=type.alpha, beta=type.beta,
        )  # fmt: skip

    def add_unary(self, input: Any, op: UnaryOperation) -> ILayer:
        """A function of each element."""
        return self._add("Unary", lambda x, op: op.function(x), input, op=op)

    def add_elementwise(self, input1: Any, input2: Any, op: ElementWiseOperation) -> ILayer:
        """A function of two tensors, broadcast."""
        return self._add("ElementWise", lambda a, b, op: op.function(a, b), input1, input2, op=op)

    def add_constant(self, shape: Any, weights: Any) -> ILayer:
        """A tensor that the engine holds."""
        return self._add(
            "Constant", lambda shape, weights: as_tensor(weights).reshape(list(shape)),
            shape=shape, weights=weights,
        )  # fmt: skip

    def add_identity(self, input: Any) -> ILayer:
        """Its input."""
        return self._add("Identity", lambda x: x.clone(), input)

    def add_cast(self, input: Any, to_type: DataType) -> ILayer:
        """Another element type."""
        return self._add("Cast", lambda x, to_type: x.to(to_type.torch), input, to_type=to_type)

    def add_select(self, condition: Any, then_input: Any, else_input: Any) -> ILayer:
        """One or the other by a condition."""
        return self._add("Select", torch.where, condition, then_input, else_input)

    def add_matrix_multiply(
        self, input0: Any, op0: MatrixOperation, input1: Any, op1: MatrixOperation
    ) -> ILayer:
        """A product, each operand as it is, transposed, or a vector."""
        return self._add("MatrixMultiply", _matmul, input0, input1, op0=op0, op1=op1)

    def add_einsum(self, inputs: Sequence[Any], equation: str) -> ILayer:
        """Einstein's sum."""
        return self._add(
            "Einsum", lambda *x, equation: torch.einsum(equation, *x), *inputs, equation=equation
        )

    def add_reduce(self, input: Any, op: ReduceOperation, axes: int, keep_dims: bool) -> ILayer:
        """A reduction over the axes whose bits are set."""
        return self._add("Reduce", _reduce, input, op=op, axes=axes, keep_dims=keep_dims)

    def add_softmax(self, input: Any) -> ILayer:
        """Softmax over the axis whose bit is set in `axes`."""
        return self._add(
            "SoftMax", lambda x, axes: torch.softmax(x, axes_of(axes)[0]), input,
            axes=1 << max(0, len(as_tensor(input).shape) - 3),
        )  # fmt: skip

    def add_shuffle(self, input: Any) -> ILayer:
        """A transposition, a reshape (0 keeps a size, -1 takes the rest), a transposition."""
        return self._add(
            "Shuffle", _shuffle, input, first_transpose=None, reshape_dims=None,
            second_transpose=None, zero_is_placeholder=True,
        )  # fmt: skip

    def add_squeeze(self, input: Any, axes: Any) -> ILayer:
        """Without axes of size 1."""
        return self._add("Squeeze", lambda x, axes: x.squeeze(_ints(axes)), input, axes=axes)

    def add_unsqueeze(self, input: Any, axes: Any) -> ILayer:
        """With more axes of size 1."""

        def compute(x: Any, axes: Any) -> Any:
            for axis in sorted(_ints(axes)):
                x = x.unsqueeze(axis)
            return x

        return self._add("Unsqueeze", compute, input, axes=axes)

    def add_concatenation(self, inputs: Sequence[Any]) -> ILayer:
        """Side by side along `axis`."""
        first = as_tensor(inputs[0])
        return self._add(
            "Concatenation", lambda *x, axis: torch.cat(x, axis), *inputs,
            axis=max(0, first.ndim - 3),
        )  # fmt: skip

    def add_slice(self, input: Any, start: Any, shape: Any, stride: Any) -> ILayer:
        """A part of every axis."""
        return self._add("Slice", _slice, input, start=start, shape=shape, stride=stride,
                         mode=SampleMode.STRICT_BOUNDS)  # fmt: skip

    def add_gather(self, input: Any, indices: Any, axis: int) -> ILayer:
        """Slices along an axis by their numbers."""
        return self.add_gather_v2(input, indices, GatherMode.DEFAULT, axis)

    def add_gather_v2(self, input: Any, indices: Any, mode: GatherMode, axis: int = 0) -> ILayer:
        """Slices (DEFAULT) or elements (ELEMENT) by their numbers."""
        return self._add("Gather", _gather, input, indices, axis=axis, mode=mode,
                         num_elementwise_dims=0)  # fmt: skip

    def add_scatter(self, data: Any, indices: Any, updates: Any, mode: ScatterMode) -> ILayer:
        """Elements replaced at places."""
        return self._add("Scatter", _scatter, data, indices, updates, mode=mode, axis=0)

    def add_topk(self, input: Any, op: TopKOperation, k: int, axes: int) -> ILayer:
        """The k greatest or least and their places (int32)."""
        return self._add("TopK", _top_k, input, op=op, k=k, axes=axes)

    def add_scale(self, input: Any, mode: ScaleMode, shift: Any = None, scale: Any = None,
                  power: Any = None) -> ILayer:  # fmt: skip
        """(x * scale + shift) ** power, by tensor, channel or element."""
        return self.add_scale_nd(input, mode, shift, scale, power, 1)

    def add_scale_nd(self, input: Any, mode: ScaleMode, shift: Any = None, scale: Any = None,
                     power: Any = None, channel_axis: int = 1) -> ILayer:  # fmt: skip
        """The same with the channels' axis."""
        return self._add("Scale", _scale, input, mode=mode, shift=shift, scale=scale, power=power,
                         channel_axis=channel_axis)  # fmt: skip

    def add_convolution_nd(self, input: Any, num_output_maps: int, kernel_shape: Any, kernel: Any,
                           bias: Any = None) -> ILayer:  # fmt: skip
        """A convolution; `stride_nd`, `padding_nd`, `dilation_nd`, `num_groups` and others."""
        return self._convolution(input, num_output_maps, kernel_shape, kernel, bias, False)

    def add_deconvolution_nd(self, input: Any, num_output_maps: int, kernel_shape: Any, kernel: Any,
                             bias: Any = None) -> ILayer:  # fmt: skip
        """A transposed convolution."""
        return self._convolution(input, num_output_maps, kernel_shape, kernel, bias, True)

    def _convolution(self, input: Any, maps: int, size: Any, kernel: Any, bias: Any,
                     transposed: bool) -> ILayer:  # fmt: skip
        return self._add(
            "Deconvolution" if transposed else "Convolution", _convolution, input,
            num_output_maps=maps, kernel_size=size, kernel=kernel, bias=bias, stride_nd=None,
            padding_nd=None, pre_padding=None, post_padding=None, dilation_nd=None, num_groups=1,
            padding_mode=PaddingMode.EXPLICIT_ROUND_DOWN, transposed=transposed,
        )  # fmt: skip

    def add_pooling_nd(self, input: Any, type: PoolingType, window_size: Any) -> ILayer:
        """The greatest or the mean of windows."""
        return self._add(
            "Pooling", _pooling, input, type=type, window_size=window_size, stride_nd=None,
            padding_nd=None, pre_padding=None, post_padding=None,
            padding_mode=PaddingMode.EXPLICIT_ROUND_DOWN, average_count_excludes_padding=True,
        )  # fmt: skip

    def add_padding_nd(self, input: Any, pre_padding: Any, post_padding: Any) -> ILayer:
        """Zeros around the last two axes."""

        def compute(x: Any, pre_padding: Any, post_padding: Any) -> Any:
            (top, left), (bottom, right) = pre_padding, post_padding
            return torch.nn.functional.pad(x, [left, right, top, bottom])

        return self._add("Padding", compute, input, pre_padding=pre_padding,
                         post_padding=post_padding)  # fmt: skip

    def add_normalization(self, input: Any, scale: Any, bias: Any, axesMask: int) -> ILayer:
        """(x - mean) / sqrt(variance + epsilon) * scale + bias over the axes of the mask."""
        return self._add("Normalization", _normalization, input, scale, bias, axes=axesMask,
                         epsilon=1e-5, num_groups=1)  # fmt: skip

    def add_shape(self, input: Any) -> ILayer:
        """The sizes, as int64."""
        return self._add(
            "Shape",
            lambda x: torch.stack([torch.full((), s, dtype=torch.int64) for s in x.shape]), input,
        )  # fmt: skip

    def add_resize(self, input: Any) -> ILayer:
        """Other spatial sizes: `shape` or `scales`, `mode` "nearest" or "linear"."""
        return self._add("Resize", _resize, input, shape=None, scales=None, mode="nearest")

    def add_parametric_relu(self, input: Any, slopes: Any) -> ILayer:
        """x, or slopes * x where it is negative."""
        return self._add(
            "ParametricReLU", lambda x, s: torch.where(x >= 0, x, s * x), input, slopes
        )

    def add_one_hot(self, indices: Any, values: Any, depth: Any, axis: int) -> ILayer:
        """Two values, the second at each index along a new axis."""

        def compute(indices: Any, values: Any, depth: int, axis: int) -> Any:
            places = torch.arange(depth, device=indices.device)
            dim = axis if axis >= 0 else axis + indices.ndim + 1
            hit = indices.unsqueeze(dim) == places.reshape(
                [-1 if d == dim else 1 for d in range(indices.ndim + 1)]
            )
            return torch.where(hit, values[1], values[0])  # fmt: skip

        return self._add("OneHot", compute, indices, values, depth=depth, axis=axis)

    def add_cumulative(self, input: Any, axis: Any, op: CumulativeOperation, exclusive: bool,
                       reverse: bool) -> ILayer:  # fmt: skip
        """Running sums along an axis."""
        return self._add("Cumulative", _cumulative, input, axis=axis, op=op, exclusive=exclusive,
                         reverse=reverse)  # fmt: skip


def _ints(axes: Any) -> list[int]:
    """Axes as Dims, a sequence, one number, or an array."""
    value = as_tensor(axes)
    if isinstance(value, torch.Tensor):
        return [int(v) for v in value.reshape(-1).tolist()]
    return [int(value)] if isinstance(value, int) else [int(v) for v in value]
