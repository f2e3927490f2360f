"""The estimated memory of a training step beside the measured one."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest
import torch

from gbmlib.planner import Fingerprint, Network, memory, plan
from gbmlib.study import provenance


def measured_mb(network: Network, channels: int, labels: int) -> float:
    """What two training steps of a planned network need on this machine's CPU, in MB.

    A process of its own runs them, on one thread, and tells by how much its memory grew at most, after a tiny step that
    loads what any step needs. That includes the working space of convolutions, which the estimate leaves out.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_grown_mb, network, channels, labels).result()


def _grown_mb(network: Network, channels: int, labels: int) -> float:
    torch.set_num_threads(1)
    device = torch.device("cpu")
    tiny = tuple(2 ** (pools + 1) for pools in network.pools)
    _train(replace(network, batch_size=1, patch_size=tiny), channels, labels)
    provenance.forget_peak_memory(device)
    before = provenance.peak_memory_mb(device)
    _train(network, channels, labels)
    return (provenance.peak_memory_mb(device) - before) * 2**20 / 1e6


def _train(planned: Network, channels: int, labels: int) -> None:
    """Two steps on noise."""
    network = memory.build(planned, channels, labels).train()
    optimiser = torch.optim.Adam(network.parameters())
    images = torch.randn(planned.batch_size, channels, *planned.training_patch)
    truth = torch.randint(labels + 1, (planned.batch_size, *planned.training_patch))
    for _ in range(2):
        torch.nn.functional.cross_entropy(network(images), truth).backward()
        optimiser.step()
        optimiser.zero_grad()


@pytest.mark.slow
def test_the_estimate_is_near_what_a_step_takes():
    """The estimate leaves out the working space of convolutions, and gradients of activations."""
    hippocampus = Fingerprint([(36, 50, 35)], [(1, 1, 1)], cases=260, labels=2)
    network = replace(plan(hippocampus).three_d, batch_size=2)
    ratio = measured_mb(network, 1, 2) / memory.memory_mb(network, 1, 2)
    assert 0.9 < ratio < 2
