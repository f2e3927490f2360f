"""Memory of planned networks: the properties of the estimate."""

import dataclasses

import pytest
import torch

from gbmlib.planner import Fingerprint, memory, plan

HIPPOCAMPUS = Fingerprint([(36, 50, 35)], [(1, 1, 1)], cases=260, labels=2)


def test_a_plan_names_the_options_of_its_network():
    of = plan(Fingerprint([(20, 320, 319)], [(3.6, 0.625, 0.625)], cases=32))
    wanted = {"dimensions": 3, "filters": 30, "pools": (2, 5, 5)}
    assert memory.options(of.three_d) == wanted
    wanted = {"dimensions": 2, "filters": 30, "pools": (0, 6, 6)}
    assert memory.options(of.two_d) == wanted


@pytest.mark.parametrize("name", ["two_d", "three_d"])
def test_the_network_of_a_plan_takes_its_patch(name):
    network = getattr(plan(HIPPOCAMPUS), name)
    built = memory.build(network, 1, 2)
    assert built.divisor == ((8, 8, 8) if name == "three_d" else (1, 8, 8))
    assert built(torch.zeros(1, 1, *network.training_patch)).shape == (1, 3, *network.training_patch)


@pytest.mark.parametrize("name", ["two_d", "three_d"])
def test_activations_grow_with_the_batch_and_weights_do_not(name):
    of = getattr(plan(HIPPOCAMPUS), name)
    one, two, three = (memory.memory_mb(dataclasses.replace(of, batch_size=count), 1, 2) for count in (2, 4, 6))
    assert three - two == pytest.approx(two - one, rel=1e-3)
    assert one > two - one  # what is left at a batch of nothing: weights, gradients, two averages
    assert memory.memory_mb(of, 1, 2, "bfloat16") < memory.memory_mb(of, 1, 2)
