"""Building blocks that more than one network uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
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
