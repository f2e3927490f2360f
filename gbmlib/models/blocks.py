"""Building blocks that more than one network uses; tensors are (batch, channel, z, y, x)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial, wraps
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveInt, ValidationError, validate_call
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

#: Types of options that several networks share.
OutputGain = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Levels = Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
OddSize = Literal[1, 3, 5, 7]


def validated(name: str) -> Callable[[Callable], Callable]:
    """Decorate the ``__init__`` of the network ``name``: a ValueError names every argument that its type rules out."""

    def decorate(init: Callable) -> Callable:
        checked = validate_call(init)

        @wraps(init)
        def wrapper(*args: Any, **options: Any) -> None:
            try:
                checked(*args, **options)
            except ValidationError as error:
                faults = [f"{fault['loc'][0]} is {fault['input']!r}: {fault['msg']}" for fault in error.errors()]
                raise ValueError(f"{name}: {'; '.join(faults)}") from None

        return wrapper

    return decorate


class _SafeConvolution:
    """A convolution that is also right in mixed precision on a CPU.

    With torch 2.13 on processors with AVX512-bf16, the gradient of a bfloat16 convolution's weights reads memory that
    nobody wrote when the input's depth is smaller than the kernel (5 x 5 x 5 on 4 x 4 x 4, at the bottom of a V-Net on
    a patch of 64): values of 1e30 appear, or plausible wrong ones. There the convolution runs in float32; on so small
    an input that costs next to nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        small = any(size < kernel for size, kernel in zip(x.shape[2:], self.kernel_size, strict=True))
        if small and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


class Conv3d(_SafeConvolution, nn.Conv3d):
    __doc__ = _SafeConvolution.__doc__


class Conv2d(_SafeConvolution, nn.Conv2d):
    __doc__ = _SafeConvolution.__doc__


def small_output(layer: nn.Module, gain: float) -> None:
    """Multiply the weights of a network's output by ``gain``, so that its first logits are near zero.

    With He's or Glorot's weights a sigmoid channel may begin with |logit| > 5 at every voxel. It then marks everything
    or nothing, its gradient is hundreds of times smaller than the other channels', and it never recovers.
    """
    if gain != 1:
        with torch.no_grad():
            layer.weight.mul_(gain)


class PReLU(nn.PReLU):
    """A PReLU whose gradients a CPU computes several times faster, bit for bit the same.

    Torch has no vectorised CPU kernel for PReLU's gradients: 80 ms for 32 channels of 64 x 64 x 64 on one core, where
    the few vectorised operations of :class:`_PReLUGradient` take 20.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):  # as autocast does for torch.prelu
            x = x.to(torch.get_autocast_dtype("cpu"))
        return _PReLUGradient.apply(x, self.weight.to(x.dtype))


class _PReLUGradient(torch.autograd.Function):
    """``torch.prelu`` with a gradient of its own; ``slope`` has a value for each channel."""

    @staticmethod
    def forward(ctx, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return torch.prelu(x, slope)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        x_gradient = torch.ops.aten.threshold_backward(gradient, x, 0)  # the gradient where x > 0, else 0
        below = gradient - x_gradient
        x_gradient.addcmul_(below, slope.view(-1, *(1,) * (x.ndim - 2)))
        return x_gradient, below.mul_(x).sum([axis for axis in range(x.ndim) if axis != 1])


def convolution(channels_in: int, channels: int, kernel_size: int, stride: int = 1) -> Conv3d:
    """A convolution that keeps the spatial size (or halves it with stride 2), without bias: a normalisation follows."""
    return Conv3d(channels_in, channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


def normalisation(kind: str, channels: int) -> nn.Module:
    """A normalisation by name.

    ``"group"`` has 8 groups whatever the number of channels (Myronenko's and the first paper's code), ``"groups_of_8"``
    groups of 8 channels ("a group size of 8", Adeniji and Liu, section 5.1.2): with 16 channels the one has groups of
    2, the other two groups. The code's reading is the default, as its results are the paper's. ``"slab"`` is what the
    first paper's code computed (:class:`SlabNorm`).
    """
    if kind == "group":
        return nn.GroupNorm(8, channels)
    if kind == "groups_of_8":
        return nn.GroupNorm(channels // 8, channels)
    if kind == "batch":
        return nn.BatchNorm3d(channels)
    if kind == "instance":
        return nn.GroupNorm(channels, channels)
    if kind == "slab":
        return SlabNorm(8, channels)
    return nn.Identity()


class SlabNorm(nn.Module):
    """The group normalisation of the first paper's code, which normalises slabs of space instead of channels.

    The code (vliu15/3d-brain-tumor-segmentation, 23d955b) holds tensors as (x, y, z, channel) and reshapes them to
    (groups, channel / groups, …) without moving the channel axis first. A "group" is then an eighth of the memory, a
    slab of the first spatial axis with all its channels; the learnt scale and shift of a "channel" apply to a thinner
    slab. Here the same is computed on (batch, channel, z, y, x).
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        as_stored = x.permute(0, 4, 3, 2, 1)  # (batch, x, y, z, channel)
        slabs = as_stored.reshape(len(x), len(self.weight), -1)
        normalised = functional.group_norm(slabs, self.groups, self.weight, self.bias, self.eps)
        return normalised.view(as_stored.shape).permute(0, 4, 3, 2, 1).contiguous()


def checkpointed(
    tensor: Tensor, norm: nn.Module, recompute: Callable[[], Tensor], uses: int = 1
) -> AbstractContextManager:
    """Activation checkpointing: recompute this tensor in the backward pass instead of storing it.

    What a normalisation returns follows in one cheap pass from its input, which it stores anyway, so of every two
    tensors at full resolution one is spared. Results are the same bit for bit: autocast, which does not reach the
    backward pass, is as it was. Nothing is recomputed behind a batch norm, which would count each pass in its running
    statistics.

    Args:
        tensor: what operations inside the context would store.
        norm: the normalisation before it.
        recompute: returns the tensor as it is after the context, whatever was done to it in place.
        uses: how many operations inside the context would store it; it is recomputed once for all of them.
    """
    if isinstance(norm, nn.BatchNorm3d) or not torch.is_grad_enabled():
        return nullcontext()
    address = tensor.data_ptr()  # a reference to the tensor itself would keep it alive
    recomputed: list[Tensor] = []
    precision, kind = nullcontext, tensor.device.type
    if torch.amp.is_autocast_available(kind):  # not where shapes alone are computed
        now = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        precision = partial(torch.autocast, kind, *now, cache_enabled=False)

    @torch.no_grad()
    def unpack(stored: Tensor | Callable[[], Tensor]) -> Tensor:
        if isinstance(stored, Tensor):
            return stored
        if not recomputed:
            with precision():
                recomputed.extend([stored()] * uses)
        return recomputed.pop()

    return torch.autograd.graph.saved_tensors_hooks(
        lambda stored: recompute if stored.data_ptr() == address else stored, unpack
    )


class SqueezeExcitation(nn.Module):
    """The weight of each channel, between 0 and 1: (batch, channel, 1, 1, 1) from (batch, channel, z, y, x).

    The mean over space, a dense layer to ``channels // reduction`` with ReLU, and one back with a sigmoid (Hu et al.
    2018; Adeniji and Liu, section 3.2.2).
    """

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.squeeze = nn.Linear(channels, max(1, channels // reduction))
        self.excite = nn.Linear(self.squeeze.out_features, channels)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3, 4))))))
        return weight[..., None, None, None]


def downsample(kind: str, channels_in: int, channels: int, kernel_size: int) -> nn.Module:
    """Half the size on each axis. A strided convolution changes the channels too; a pooling keeps them."""
    if kind == "stride":
        return convolution(channels_in, channels, kernel_size, stride=2)
    return MaxPool3d(2) if kind == "max_pool" else nn.AvgPool3d(2)


class MaxPool3d(nn.MaxPool3d):
    """A max-pooling that takes bfloat16 as it is.

    In mixed precision on a CPU, torch first copies the features to float32, at full resolution, and keeps the copy for
    the backward pass; a maximum needs no more digits than its input has. The result is float32, as it would have been,
    and so the gradients that meet there are added in float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x).float()


class Upsample(nn.Module):
    """Twice the size on each axis, by ``"linear"`` or ``"nearest"`` interpolation, in the precision of its input."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        return upsample_linear(x) if self.kind == "linear" else functional.interpolate(x, scale_factor=2)


def upsample_linear(x: Tensor) -> Tensor:
    """Linear interpolation of (batch, channel, z, y, x) to twice the size on each axis.

    It is ``interpolate(mode="trilinear", align_corners=False)`` as three matrix products, which on a CPU take a third
    of its time in mixed precision, forward and backward.
    """
    batch, channels, *size = x.shape
    planes = batch * channels
    z, y, x_size = size
    matrices = [_doubling(n, x.dtype, x.device) for n in size]
    out = x.reshape(planes, z * y, x_size) @ matrices[2].T
    out = matrices[1] @ out.view(planes * z, y, 2 * x_size)
    out = matrices[0] @ out.view(planes, z, 4 * y * x_size)
    return out.view(batch, channels, 2 * z, 2 * y, 2 * x_size)


@lru_cache(maxsize=64)
def _doubling(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The linear map (2 size, size) along one axis: three quarters of the voxel itself, a quarter of its neighbour."""
    with torch.inference_mode(False):  # kept for training, even if a prediction asks for it first
        new = torch.arange(2 * size, device=device)
        near = new // 2
        neighbour = (near + 2 * (new % 2) - 1).clamp(0, size - 1)
        matrix = torch.zeros(2 * size, size, device=device)
        matrix[new, near] += 0.75
        matrix[new, neighbour] += 0.25
        return matrix.to(dtype)
