"""How much memory a planned network needs to be trained, estimated and measured; and plans for a budget in GB.

The estimate runs nothing: the network of the plan is built where tensors have shapes alone, and what a training step
keeps is counted (``models.summary.explain``).
"""

from __future__ import annotations

import bisect
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from gbmlib import models
from gbmlib.models.summary import explain
from gbmlib.planner import LEAST_VOXELS, PATCH_VOXELS, Fingerprint, Network, Plan, plan
from gbmlib.planner.rule import FEATURES
from gbmlib.study import provenance

#: Between two budgets that are tried, a quarter of a doubling.
_SHRINK = 2**-0.25


def options(of: Network) -> dict[str, Any]:
    """A planned network as options of ``gbmlib.models.build("unet", …)``."""
    return {
        "dimensions": of.dimensions,
        "filters": FEATURES,
        "pools": (0,) * (3 - of.dimensions) + of.pools,
    }


def build(of: Network, channels: int, labels: int) -> torch.nn.Module:
    """The network of a plan, for so many channels and so many classes, background not counted."""
    return models.build("unet", channels, labels + 1, patch_size=of.training_patch, **options(of))


@lru_cache(maxsize=512)
def memory_mb(of: Network, channels: int, labels: int, precision: str = "float32") -> float:
    """What a training step of a planned network needs, in MB, as ``models.summary.Summary`` counts it."""
    with torch.device("meta"):
        network = build(of, channels, labels)
    return explain(network, channels, of.training_patch, precision, of.batch_size).memory_mb


def plan_within(
    of: Fingerprint, memory_gb: float, voxels: int = PATCH_VOXELS, precision: str = "float32", aspect: str = "mm"
) -> Plan:
    """The plan of the largest budget, ``voxels`` at most, of which every network trains within so many GB (1e9 bytes).

    Budgets are tried by bisection, in steps of a quarter of a doubling. The estimate leaves out gradients on their way
    and what convolutions work with: :func:`measured_mb` says how much that is here, so leave room for it.

    Raises:
        ValueError: a network needs more than that even at the smallest budget that a plan can have.
    """
    if not (math.isfinite(memory_gb) and memory_gb > 0):
        raise ValueError(f"memory_gb is {memory_gb!r}; it takes the GB that a training step may need, such as 8")
    tried = [voxels]
    while tried[-1] > LEAST_VOXELS:
        tried.append(max(LEAST_VOXELS, int(tried[-1] * _SHRINK)))

    def needs(budget: int) -> dict[str, float]:
        networks = plan(of, voxels=budget, aspect=aspect).networks
        return {network.name: memory_mb(network, len(of.kinds), of.labels, precision) for network in networks}

    first = bisect.bisect_left(tried, True, key=lambda budget: max(needs(budget).values()) <= 1000 * memory_gb)
    if first == len(tried):
        least = needs(LEAST_VOXELS)
        name = max(least, key=least.get)
        raise ValueError(
            f"memory_gb is {memory_gb:g}, but with patches of {LEAST_VOXELS:,} voxels, the smallest, the {name} "
            f"network still needs {least[name] / 1000:.2f} GB in {precision}; allow that much"
            + (", or train in bfloat16" if precision == "float32" else "")
        )
    return plan(of, voxels=tried[first], aspect=aspect)


def measured_mb(of: Network, channels: int, labels: int, precision: str = "float32") -> float:
    """What two training steps of a planned network do need on this machine's CPU, in MB.

    A process of its own runs them, on one thread, and says by how much its memory grew at most, after a tiny step that
    loads what any step needs. That holds what the convolutions work with too, which the estimate leaves out.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_grown_mb, of, channels, labels, precision).result()


def _grown_mb(of: Network, channels: int, labels: int, precision: str) -> float:
    torch.set_num_threads(1)
    device = torch.device("cpu")
    tiny = tuple(2 ** (pools + 1) for pools in of.pools)
    _steps(replace(of, batch_size=1, patch_size=tiny), channels, labels, precision)
    provenance.forget_peak_memory(device)
    before = provenance.peak_memory_mb(device)
    _steps(of, channels, labels, precision)
    return (provenance.peak_memory_mb(device) - before) * 2**20 / 1e6


def _steps(of: Network, channels: int, labels: int, precision: str, count: int = 2) -> None:
    """Train a planned network for some steps on noise."""
    network = build(of, channels, labels).train()
    optimiser = torch.optim.Adam(network.parameters())
    images = torch.randn(of.batch_size, channels, *of.training_patch)
    truth = torch.randint(labels + 1, (of.batch_size, *of.training_patch))
    for _ in range(count):
        with torch.autocast("cpu", enabled=precision == "bfloat16"):
            logits = network(images)
        logits = logits if isinstance(logits, torch.Tensor) else logits[0]
        torch.nn.functional.cross_entropy(logits.float(), truth).backward()
        optimiser.step()
        optimiser.zero_grad()
        del logits
