"""What a training step minimises, and which crops it sees."""

import math
from dataclasses import replace

import pytest
import torch

from gbmlib import models
from gbmlib.models.segvae import Outputs
from gbmlib.study import scales
from gbmlib.training import batches, loop, losses, patches
from gbmlib.training.validation import Sample

PATCH = (16, 16, 16)


def configured(**changes):
    return scales.paper_a("test", patch_size=PATCH, **changes)[0]


def a_sample(name="a", size=(20, 24, 17)):
    torch.manual_seed(1)
    images = torch.randn(2, *size)
    return Sample(name, images, torch.stack([images[0] > 0.5, images[0] > 1, images[0] > 1.5]))


def test_the_terms_are_equation_2_weighted_and_apart():
    images, target = torch.zeros(1, 2, 2, 2, 2), torch.zeros(1, 3, 2, 2, 2, dtype=torch.bool)
    logits = torch.full((1, 3, 2, 2, 2), -50.0)
    mean, log_variance = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, math.log(2)]])
    outputs = Outputs(logits, torch.full_like(images, 3.0), mean, log_variance)
    network = torch.nn.Conv3d(1, 1, 1)
    network.weight.data.fill_(4.0)
    terms = loop.loss_terms(configured(kl_voxels=8), network, outputs, logits, images, target)
    # Empty and predicted empty: Dice 1. Mean of 3^2. (1 + 4 + 1 + 2 - 0 - log 2 - 2) / 8. 1e-5 times 4^2.
    by_hand = {"loss": 0, "reconstruction": 0.1 * 9, "kl": 0.1 * (6 - math.log(2)) / 8, "l2": 1e-5 * 16}
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(by_hand, abs=1e-6)


def test_without_a_number_of_voxels_the_patch_has_it():
    experiment = configured().changed(kl_voxels=None)
    images, target = torch.zeros(1, 2, *PATCH), torch.zeros(1, 3, *PATCH, dtype=torch.bool)
    outputs = Outputs(torch.zeros(1, 3, *PATCH), images, torch.ones(1, 4), torch.zeros(1, 4))
    terms = loop.loss_terms(experiment, torch.nn.Identity(), outputs, outputs.logits, images, target)
    assert float(terms["kl"]) == pytest.approx(0.1 * 4 / 16**3)


def test_a_network_without_a_branch_has_the_segmentations_loss_alone():
    experiment = scales.vnet("test")[0]
    images, target = torch.zeros(1, 2, *PATCH), torch.zeros(1, 3, *PATCH, dtype=torch.bool)
    logits = torch.randn(1, 3, *PATCH)
    terms = loop.loss_terms(experiment, torch.nn.Identity(), logits, logits, images, target)
    assert list(terms) == ["loss"]
    assert terms["loss"] == losses.dice_loss(logits, target)


def test_what_a_step_gives_back_holds_on_to_no_graph():
    """An epoch keeps it for every step: with its graph it would keep all activations too."""
    experiment = configured()
    state, one = loop._start(experiment, 3, torch.device("cpu")), a_sample(size=PATCH)
    logits, terms = loop.step(state, experiment, one.images[None], one.target[None])
    assert not any(value.requires_grad for value in (logits, *terms.values()))


@pytest.mark.parametrize(("weight", "reached"), [(0.0, False), (0.1, True)])
def test_the_branch_teaches_the_encoder_by_its_weight(weight, reached):
    experiment = configured(l2=0.0).changed(reconstruction_weight=weight, kl_weight=weight)
    torch.manual_seed(0)
    network = models.build("segvae", 2, 3, PATCH, filters=8).train()
    images = torch.randn(1, 2, *PATCH)
    outputs = network(images)
    terms = loop.loss_terms(
        experiment, network, outputs, outputs.logits, images, torch.zeros(1, 3, *PATCH, dtype=torch.bool)
    )
    (terms["reconstruction"] + terms["kl"]).backward()
    sizes = [float(p.grad.abs().max()) for p in (*network.encoder.parameters(), *network.vae.parameters())]
    assert (max(sizes) > 0) == reached
    assert all(p.grad is None for p in network.decoder.parameters())


def test_each_term_is_logged_as_it_enters_the_sum(tmp_path):
    sample = a_sample()
    state = loop.train(
        configured(epochs=2), [sample], [sample], ("a", "b", "c"), tmp_path, torch.device("cpu"), progress=False
    )
    row = state.history[-1]
    parts = ("train_loss", "train_reconstruction", "train_kl", "train_l2")
    assert row["train_total"] == pytest.approx(sum(row[name] for name in parts))
    assert row["train_l2"] == pytest.approx(1e-5 * losses.l2_penalty(state.network).item(), rel=0.05)
    assert {"crops_loss", "crops_dice", "crops_precision", "crops_recall", "crops_accuracy", "val_dice_a"} <= set(row)


def test_a_step_minimises_the_penalty_too():
    """Two steps with the penalty's gradient in the optimiser are those with it in the loss."""
    experiment = configured(l2=0.1, weight_decay=0.02)
    one, device = a_sample(size=PATCH), torch.device("cpu")
    images, target = one.images[None], one.target[None]
    state = loop._start(experiment, 3, device)
    torch.manual_seed(1)
    for _ in range(2):
        loop.step(state, experiment, images, target)
    network = loop._start(experiment, 3, device).network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=experiment.learning_rate, weight_decay=0.02)
    torch.manual_seed(1)
    for _ in range(2):
        outputs = network(images)
        terms = loop.loss_terms(experiment, network, outputs, outputs.logits.float(), images, target)
        terms["l2"] = experiment.l2 * losses.l2_penalty(network)
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
    for (name, ours), theirs in zip(state.network.named_parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=name)


def test_fixed_crops_stay_and_others_move():
    sample = a_sample(size=(40, 40, 40))
    for fixed in (True, False):
        experiment = configured(fixed_crops=fixed, flips=0.0, crops=2)
        generator = torch.Generator().manual_seed(0)
        drawn = [batches.draw(experiment, [sample], [(number, 0)], generator)[0] for number in (0, 1, 0, 1)]
        assert torch.equal(drawn[0], drawn[2]) == fixed
        assert torch.equal(drawn[1], drawn[3]) == fixed
        assert not torch.equal(drawn[0], drawn[1])


def test_fixed_corners_depend_on_the_seed_and_the_case_alone():
    shape, patch = (60, 60, 60), (16, 16, 16)
    torch.manual_seed(0)
    first = patches.fixed_corners(shape, patch, 3, 0, "a")
    torch.manual_seed(1)
    assert patches.fixed_corners(shape, patch, 3, 0, "a") == first
    assert patches.fixed_corners(shape, patch, 2, 0, "a") == first[:2]
    assert patches.fixed_corners(shape, patch, 3, 1, "a") != first
    assert patches.fixed_corners(shape, patch, 3, 0, "b") != first


def test_the_codes_copy_exchanges_the_channels_three_times_in_seven():
    sample = a_sample(size=PATCH)
    experiment = configured(mirroring="copy")
    generator = torch.Generator().manual_seed(0)
    images, _ = batches.draw(experiment, [sample], [(0, 0)] * 400, generator)
    copies = [image for image in images if not torch.equal(image, sample.images)]
    assert len(copies) / 400 == pytest.approx(3 / 7, abs=0.07)
    assert all(torch.equal(image, sample.images.flip(0).flip(1, 2)) for image in copies)


@pytest.mark.parametrize("mirroring", ["axes", "copy"])
def test_mirroring_takes_the_target_along(mirroring):
    """Channels that are the target itself stay with it."""
    sample = a_sample(size=PATCH)
    sample = replace(sample, images=sample.target[[0, 0]].float())
    experiment = configured(mirroring=mirroring)
    images, target = batches.draw(experiment, [sample], [(0, 0)] * 20, torch.Generator().manual_seed(0))
    assert torch.equal(images, target[:, [0, 0]].float())
    assert any(not torch.equal(one, target[0]) for one in target)
