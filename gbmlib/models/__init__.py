"""Networks by name: ``build("vnet", in_channels=2, out_channels=3, forwarding="add")``.

Every network takes (batch, in_channels, z, y, x) and returns logits (batch, out_channels, z, y, x). Each spatial size
must be divisible by its ``divisor``. In training a network may return a named tuple whose first element is the logits
(``models.segvae.Outputs``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from gbmlib.models.segvae import SegVAE
from gbmlib.models.unet import UNet
from gbmlib.models.vnet import VNet

#: How the names of weights begin that a network has for training alone.
TRAINED_ALONE = ("vae.",)

_FILLING = {getattr(torch.Tensor, name) for name in ("normal_", "uniform_", "fill_", "zero_", "mul_")}

MODELS: dict[str, Callable[..., nn.Module]] = {"segvae": SegVAE, "unet": UNet, "vnet": VNet}


def build(
    name: str, in_channels: int, out_channels: int, patch_size: Sequence[int] | None = None, **options: Any
) -> nn.Module:
    """Build a network; its weights are drawn from torch's global generator.

    Args:
        patch_size: of training (z, y, x); only networks whose layers depend on it are given it.

    Raises:
        ValueError: an unknown network or option, or an option with an impossible value; every one is named.
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r}: unknown; use one of {sorted(MODELS)}")
    unknown = sorted(set(options) - set(options_of(name)))
    if unknown:
        raise ValueError(f"model {name!r} has no option {unknown}; it has {sorted(options_of(name))}")
    if patch_size is not None and "patch_size" in inspect.signature(MODELS[name]).parameters:
        options["patch_size"] = tuple(patch_size)
    return MODELS[name](in_channels, out_channels, **options)


class _LeftEmpty(TorchFunctionMode):
    """Skips the operations that fill a tensor."""

    def __torch_function__(self, function: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in _FILLING:
            return args[0]
        return function(*args, **(kwargs or {}))


@contextmanager
def shapes_only() -> Iterator[None]:
    """Networks built in it have shapes and no memory: they lie on torch's meta device, and no weights are drawn, which
    would take nine tenths of the time and be lost."""
    with torch.device("meta"), _LeftEmpty():
        yield


def options_of(name: str) -> dict[str, Any]:
    """The options of a network and their defaults."""
    parameters = inspect.signature(MODELS[name]).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return {option: default for option, default in defaults.items() if option != "patch_size"}


def parameters(network: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
