"""Memory of planned networks: the estimate's properties, the estimate against a measured step, plans for a budget."""

import dataclasses

import pytest
import torch

from gbmlib.planner import Fingerprint, memory, plan

BRAIN = Fingerprint([(138, 169, 138)], [(1, 1, 1)], kinds=("MR",) * 4, cases=484, labels=3)
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


@pytest.mark.slow
def test_the_estimate_is_near_what_a_step_takes():
    """The estimate leaves out what convolutions work with, and gradients on their way."""
    of = dataclasses.replace(plan(HIPPOCAMPUS).three_d, batch_size=2)
    ratio = memory.measured_mb(of, 1, 2) / memory.memory_mb(of, 1, 2)
    assert 0.9 < ratio < 2


def test_a_large_card_leaves_the_papers_plan_as_it_is():
    assert memory.plan_within(BRAIN, 1000) == plan(BRAIN)


def test_a_smaller_card_gives_a_smaller_plan_that_fits():
    before = plan(BRAIN)
    for gb in (3, 1, 0.4):
        of = memory.plan_within(BRAIN, gb)
        assert of.voxels < before.voxels
        assert of.three_d.step_voxels < before.three_d.step_voxels
        assert all(memory.memory_mb(network, 4, 3) <= 1000 * gb for network in of.networks)
        before = of


def test_mixed_precision_has_room_for_more():
    whole, half = (memory.plan_within(BRAIN, 2, precision=of) for of in ("float32", "bfloat16"))
    assert half.voxels > whole.voxels


def test_what_fits_nowhere_is_refused_with_what_it_would_take():
    with pytest.raises(ValueError, match=r"memory_gb is 0\.001, but .* still needs 0\.\d+ GB in float32.*bfloat16"):
        memory.plan_within(BRAIN, 0.001)


@pytest.mark.parametrize("gb", [0, -1, float("nan"), float("inf")])
def test_an_impossible_memory_is_refused(gb):
    with pytest.raises(ValueError, match="memory_gb is"):
        memory.plan_within(BRAIN, gb)
