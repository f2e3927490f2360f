"""The memory that a planned network needs for training, estimated without running anything."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from gbmlib import models
from gbmlib.models.summary import step_mb
from gbmlib.planner.planning import Network
from gbmlib.planner.rule import FEATURES


def options(network: Network) -> dict[str, Any]:
    """The options of ``gbmlib.models.build("unet", …)`` for a planned network."""
    pools = (0,) * (3 - network.dimensions) + network.pools
    return {"dimensions": network.dimensions, "filters": FEATURES, "pools": pools}


def build(network: Network, channels: int, labels: int) -> torch.nn.Module:
    """The U-Net of a plan; ``labels`` counts the classes without the background."""
    return models.build("unet", channels, labels + 1, patch_size=network.training_patch, **options(network))


@lru_cache(maxsize=512)
def memory_mb(network: Network, channels: int, labels: int, precision: str = "float32") -> float:
    """The memory of a training step in MB, as ``models.summary.step_mb`` counts it.

    The count leaves out the working space of convolutions, and gradients of activations.
    """
    with models.shapes_only():
        built = build(network, channels, labels)
    return step_mb(built, channels, network.training_patch, precision, network.batch_size)
