"""Networks by name: ``build("vnet", in_channels=2, out_channels=3, forwarding="add")``.

Every network takes (batch, in_channels, z, y, x) and returns logits (batch, out_channels, z, y, x); ``divisor`` says by
what each spatial size must be divisible.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from gbmlib.models.vnet import VNet

MODELS: dict[str, Callable[..., nn.Module]] = {"vnet": VNet}


def build(name: str, in_channels: int, out_channels: int, **options: Any) -> nn.Module:
    """Build a network; its weights are drawn from torch's global generator.

    Raises:
        ValueError: an unknown network or option, or an option with an impossible value; every one is named.
    """
    check(name, options)
    return MODELS[name](in_channels, out_channels, **options)


def options_of(name: str) -> dict[str, Any]:
    """The options of a network and their defaults."""
    parameters = inspect.signature(MODELS[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def check(name: str, options: dict[str, Any]) -> None:
    """Refuse an unknown network or unknown options before anything is built; see :func:`build`."""
    if name not in MODELS:
        raise ValueError(f"model {name!r}: unknown; use one of {sorted(MODELS)}")
    unknown = sorted(set(options) - set(options_of(name)))
    if unknown:
        raise ValueError(f"model {name!r} has no option {unknown}; it has {sorted(options_of(name))}")


def parameters(network: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
