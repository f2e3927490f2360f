"""Losses against values worked out by hand, against MONAI, nnU-Net and torch.distributions, and in their limits."""

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceCELoss, DiceLoss, FocalLoss
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from gbmlib import models
from gbmlib.evaluation import metrics
from gbmlib.training import losses


def test_soft_dice_by_hand():
    # 2 (0.5 + 0.2) + 1 over 0.25 + 0.04 + 0.64 + 2 + 1
    probabilities = torch.tensor([0.5, 0.2, 0.8]).view(1, 1, 1, 1, 3)
    target = torch.tensor([1.0, 1.0, 0.0]).view(1, 1, 1, 1, 3)
    assert losses.soft_dice(probabilities, target).item() == pytest.approx(2.4 / 3.93)


def test_the_loss_sums_channels_and_averages_the_batch():
    logits, target = torch.randn(4, 3, 2, 3, 4), torch.rand(4, 3, 2, 3, 4) > 0.5
    each = [
        losses.dice_loss(logits[i : i + 1, c : c + 1], target[i : i + 1, c : c + 1]) for i in range(4) for c in range(3)
    ]
    assert losses.dice_loss(logits, target).item() == pytest.approx(sum(each).item() / 4, rel=1e-6)


def test_agrees_with_monai_in_value_and_gradient():
    target = (torch.rand(2, 3, 5, 6, 7) > 0.7).float()
    ours, theirs = (torch.randn(2, 3, 5, 6, 7, generator=torch.manual_seed(1)).requires_grad_() for _ in range(2))
    monai = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=1, smooth_dr=1, reduction="none")
    value = losses.dice_loss(ours, target)
    expected = monai(theirs, target).flatten(1).sum(1).mean()
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_on_certain_predictions_it_is_one_minus_the_metric():
    predicted, target = torch.rand(1, 1, 4, 4, 4) > 0.5, torch.rand(1, 1, 4, 4, 4) > 0.5
    logits = torch.where(predicted, 60.0, -60.0)
    expected = 1 - metrics.dice(predicted, target, metrics.PAPER_EPS)
    assert losses.dice_loss(logits, target).item() == pytest.approx(expected, abs=1e-6)


def test_nothing_to_find_and_nothing_found_costs_nothing():
    assert losses.dice_loss(torch.full((1, 1, 2, 2, 2), -60.0), torch.zeros(1, 1, 2, 2, 2)).item() == pytest.approx(0)


def test_a_large_volume_in_low_precision_is_summed_in_full():
    # In bfloat16 a running sum of ones stops at 256.
    logits = torch.full((1, 1, 20, 20, 20), 60.0, dtype=torch.bfloat16)
    assert losses.dice_loss(logits, torch.ones(1, 1, 20, 20, 20)).item() == pytest.approx(0, abs=1e-6)


# ------------------------------------------------------------------------------------------------------------- focal


def test_focal_by_hand():
    # Probabilities 1/2 and 3/4, each once where the target is 1 and once where it is 0.
    line = torch.tensor([0, log(3), 0, log(3)]).view(1, 1, 1, 1, 4)
    target = torch.tensor([1, 1, 0, 0]).view(1, 1, 1, 1, 4)
    each = [0.25 / 4 * log(2), 0.25 / 16 * -log(3 / 4), 0.75 / 4 * log(2), 0.75 * 9 / 16 * -log(1 / 4)]
    assert losses.focal_loss(line, target).item() == pytest.approx(sum(each) / 4)
    # Channels are summed, samples averaged.
    three, both = (torch.cat([part] * 3, 1).repeat(2, 1, 1, 1, 1) for part in (line, target))
    assert losses.focal_loss(three, both).item() == pytest.approx(3 * sum(each) / 4)


@pytest.mark.parametrize(("gamma", "alpha"), [(2, 0.25), (0, 0.5), (3.5, 0.9)])
def test_focal_agrees_with_monai_in_value_and_gradient(gamma, alpha):
    generator = torch.manual_seed(0)
    target = (torch.rand(2, 3, 5, 6, 7, generator=generator) > 0.7).float()
    ours = (5 * torch.randn(target.shape, generator=generator)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    value = losses.focal_loss(ours, target, gamma, alpha)
    expected = FocalLoss(gamma=gamma, alpha=alpha, reduction="none")(theirs, target).mean((0, 2, 3, 4)).sum()
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_focal_without_its_focus_is_half_the_cross_entropy():
    logits, target = torch.randn(2, 1, 3, 4, 5), torch.rand(2, 1, 3, 4, 5) > 0.5
    expected = functional.binary_cross_entropy_with_logits(logits, target.float()) / 2
    torch.testing.assert_close(losses.focal_loss(logits, target, gamma=0, alpha=0.5), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_focal_of_a_certain_error_is_finite_and_still_pulls(dtype):
    logits = torch.tensor([-200.0, 200.0, 200.0, -200.0], dtype=dtype).view(1, 1, 1, 1, 4).requires_grad_()
    value = losses.focal_loss(logits, torch.tensor([True, False, True, False]).view(1, 1, 1, 1, 4))
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx((0.25 * 200 + 0.75 * 200) / 4)
    torch.testing.assert_close(logits.grad.flatten().float(), torch.tensor([-0.25, 0.75, 0, 0]) / 4)


def test_dice_and_focal_add_up_under_their_name():
    logits, target = torch.randn(1, 3, 4, 4, 4), torch.rand(1, 3, 4, 4, 4) > 0.5
    expected = losses.dice_loss(logits, target) + losses.focal_loss(logits, target, 2, 0.25)
    assert losses.LOSSES["dice_focal"](logits, target) == expected
    assert losses.LOSSES["dice"](logits, target) == losses.dice_loss(logits, target)


# --------------------------------------------------------------------------------------------- Dice and cross entropy


def exclusive(numbers, classes):
    """Class numbers (batch, z, y, x) as channels without the background."""
    return torch.stack([numbers == number for number in range(1, classes)], 1)


def two_voxels():
    """Two samples of two voxels, three classes; the probabilities are (1/4, 1/2, 1/4), (1/2, 1/4, 1/4) and so on."""
    probabilities = torch.tensor(
        [
            [[0.25, 0.5], [0.5, 0.25], [0.25, 0.25]],
            [[0.5, 0.5], [0.25, 0.25], [0.25, 0.25]],
        ]
    )
    logits = probabilities.log().view(2, 3, 1, 1, 2) + 7  # a constant changes no softmax
    return logits, exclusive(torch.tensor([[1, 0], [1, 2]]).view(2, 1, 1, 2), 3)


def test_softmax_dice_by_hand():
    logits, target = two_voxels()
    # Class 1: 2 x 1/2 over 3/4 + 1, then 2 x 1/4 over 1/2 + 1. Class 2: 0 over 1/2 + 0, then 2 x 1/4 over 1/2 + 1.
    of_samples = [1 / 1.75, 0, 0.5 / 1.5, 0.5 / 1.5]
    assert losses.softmax_dice_loss(logits, target).item() == pytest.approx(1 - sum(of_samples) / 4, abs=1e-4)
    # As one volume: 2 (1/2 + 1/4) over 5/4 + 2, and 2 x 1/4 over 1 + 1.
    as_one = [1.5 / 3.25, 0.5 / 2]
    assert losses.softmax_dice_loss(logits, target, batch=True).item() == pytest.approx(1 - sum(as_one) / 2, abs=1e-4)


def test_cross_entropy_by_hand():
    logits, target = two_voxels()
    each = [log(2), log(2), log(4), log(4)]  # given to the truth: 1/2, 1/2, 1/4, 1/4
    assert losses.cross_entropy(logits, target).item() == pytest.approx(sum(each) / 4)
    for name, batch in (("dice_ce", False), ("dice_ce_batch", True)):
        total = losses.softmax_dice_loss(logits, target, batch) + losses.cross_entropy(logits, target)
        assert losses.LOSSES[name](logits, target) == total
    assert losses.LOSSES["cross_entropy"](logits, target) == losses.cross_entropy(logits, target)
    assert losses.LOSSES["softmax_dice"](logits, target) == losses.softmax_dice_loss(logits, target)


def test_dice_of_a_softmax_is_that_of_sigmoids_but_for_the_probabilities():
    logits, target = two_voxels()
    # Of the same probabilities the two losses are the same: a softmax of logs, sigmoids of log odds.
    probabilities = torch.softmax(logits, 1)[:, 1:]
    as_sigmoids = losses.dice_loss(torch.logit(probabilities), target)
    torch.testing.assert_close(losses.LOSSES["softmax_dice_squared"](logits, target), as_sigmoids)
    assert losses.LOSSES["softmax_dice_squared"](30 * logits_of_truth(target), target).item() == pytest.approx(
        0, abs=1e-6
    )


def logits_of_truth(target):
    """Logits that are 1 for the true class, the background among them, and 0 for all others."""
    background = ~target.any(1, keepdim=True)
    return torch.cat([background, target], 1).float()


def random_pair(classes=4, seed=0):
    """Logits that require a gradient, their copy, and class numbers; the last class is missing in the first sample."""
    generator = torch.manual_seed(seed)
    ours = (2 * torch.randn(3, classes, 4, 5, 6, generator=generator)).requires_grad_()
    numbers = torch.randint(classes, (3, 4, 5, 6), generator=generator)
    numbers[0][numbers[0] == classes - 1] = 0
    return ours, ours.detach().clone().requires_grad_(), numbers


@pytest.mark.parametrize("peer", ["SoftDiceLoss", "MemoryEfficientSoftDiceLoss"])
@pytest.mark.parametrize("batch", [False, True])
def test_dice_and_cross_entropy_are_nnunets_in_value_and_gradient(batch, peer):
    reason = "nnU-Net v2 comes with the extra 'peers'"
    compound = pytest.importorskip("nnunetv2.training.loss.compound_losses", reason=reason)
    kind = getattr(pytest.importorskip("nnunetv2.training.loss.dice", reason=reason), peer)
    options = {"batch_dice": batch, "do_bg": False, "smooth": 1e-5, "ddp": False}
    ours, theirs, numbers = random_pair()
    value = losses.LOSSES["dice_ce_batch" if batch else "dice_ce"](ours, exclusive(numbers, 4))
    expected = compound.DC_and_CE_loss(options, {}, dice_class=kind)(theirs, numbers[:, None].float())
    torch.testing.assert_close(value, expected + 1, rtol=1e-5, atol=1e-5)  # theirs is the negative Dice
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("batch", [False, True])
def test_dice_and_cross_entropy_are_monais_in_value_and_gradient(batch):
    ours, theirs, numbers = random_pair(seed=1)
    value = losses.LOSSES["dice_ce_batch" if batch else "dice_ce"](ours, exclusive(numbers, 4))
    monai = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=batch)
    expected = monai(theirs, numbers[:, None])
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-8)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 9999))
def test_a_batch_of_one_is_one_volume(seed):
    logits, _, numbers = random_pair(3, seed)
    one, target = logits[:1], exclusive(numbers[:1], 3)
    torch.testing.assert_close(losses.dice_ce_loss(one, target), losses.dice_ce_batch_loss(one, target))
    # For samples apart the value is the mean of each alone; for the batch as one it is not.
    each = [losses.dice_ce_loss(logits[i : i + 1], exclusive(numbers[i : i + 1], 3)) for i in range(3)]
    torch.testing.assert_close(losses.dice_ce_loss(logits, exclusive(numbers, 3)), torch.stack(each).mean())


def test_a_certain_network_pays_nothing_and_a_wrong_one_all_of_it():
    _, _, numbers = random_pair()
    target = exclusive(numbers, 4)
    right = 60 * torch.nn.functional.one_hot(numbers, 4).permute(0, 4, 1, 2, 3).float()
    # Where a class is missing and not predicted, its Dice is 1: nothing to find and nothing found.
    for loss in (losses.dice_ce_loss, losses.dice_ce_batch_loss):
        assert loss(right, target).item() == pytest.approx(0, abs=1e-6)
        assert loss(right.roll(1, 1), target).item() == pytest.approx(60 + 1, abs=1e-3)


def test_dice_and_cross_entropy_of_low_precision_are_summed_in_full():
    logits = torch.zeros(1, 2, 20, 20, 20, dtype=torch.bfloat16)
    logits[:, 1] = 60
    value = losses.dice_ce_loss(logits, torch.ones(1, 1, 20, 20, 20, dtype=torch.bool))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(0, abs=1e-6)


def test_class_numbers_count_the_background_as_0():
    numbers = torch.randint(5, (2, 3, 4, 5))
    out = losses.class_numbers(exclusive(numbers, 5))
    assert out.dtype == torch.int64
    assert torch.equal(out, numbers)


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_probabilities_and_logits_are_there_and_back(loss):
    logits = (2 * torch.randn(2, 3, 2, 3, 4)).bfloat16()
    of = losses.probabilities(loss, logits)
    expected = logits.float().softmax(1) if loss in losses.SOFTMAX else logits.float().sigmoid()
    assert of.dtype == torch.float32
    torch.testing.assert_close(of, expected)
    torch.testing.assert_close(losses.probabilities(loss, losses.logits_of(loss, of)), of, rtol=1e-5, atol=1e-6)
    certain = losses.logits_of(loss, torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1, 1))
    assert torch.isfinite(certain).all()
    assert losses.probabilities(loss, certain).flatten().tolist() == pytest.approx([1, 0, 0], abs=1e-5)


@pytest.mark.parametrize("loss", ["dice", "dice_focal"])
def test_sigmoids_decide_each_by_its_threshold(loss):
    values = torch.tensor([0.2, 0.5, 0.9, 0.5]).view(1, 2, 1, 1, 2)
    assert losses.decisions(loss, values, 0.5).flatten().tolist() == [False, True, True, True]
    logits = torch.randn(2, 3, 4, 4, 4)
    expected = losses.decisions(loss, torch.sigmoid(logits), 0.5)
    assert torch.equal(losses.decisions(loss, logits, 0), expected)


@pytest.mark.parametrize("loss", losses.SOFTMAX)
def test_of_a_softmax_the_largest_decides_and_the_background_is_not_told(loss):
    # Voxel by voxel (background, 1, 2): the first largest, the second, the third; of equal ones the first.
    values = torch.tensor([[0.4, 0.3, 0.3], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4], [0.4, 0.4, 0.2]]).T.reshape(1, 3, 1, 1, 4)
    expected = [[False, True, False, False], [False, False, True, False]]
    assert losses.decisions(loss, values, 0.5).view(2, 4).tolist() == expected
    assert losses.decisions(loss, values.log(), 0).view(2, 4).tolist() == expected
    logits = torch.randn(2, 4, 3, 3, 3)
    decided = losses.decisions(loss, logits, 0)
    assert torch.equal(losses.class_numbers(decided), logits.argmax(1))


# ------------------------------------------------------------------------------------------------ the terms of the VAE


def test_reconstruction_by_hand():
    images = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 2, 1, 1, 2)
    reconstruction = torch.tensor([1.0, 0.0, 2.0, 4.0], requires_grad=True)
    value = losses.reconstruction_loss(reconstruction.view(images.shape), images)
    assert value.item() == pytest.approx((0 + 4 + 1 + 0) / 4)
    value.backward()
    assert reconstruction.grad.tolist() == [0, -1, -0.5, 0]


def test_reconstruction_of_nothing_costs_the_images_variance_at_any_size():
    # In bfloat16 the sum of 4096 ones would stop at 256.
    for size in (4, 16):
        ones = torch.ones(1, 2, size, size, size, dtype=torch.bfloat16)
        value = losses.reconstruction_loss(torch.zeros_like(ones), ones)
        assert value.dtype == torch.float32
        assert value.item() == 1


def test_kl_by_hand():
    mean = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    log_variance = torch.tensor([[0.0, 0.0], [0.0, log(2)]])
    # Nothing for the standard normal; 1 for the mean of the third, 4 + 2 - log 2 - 1 for the fourth.
    assert losses.kl_loss(mean, log_variance, 10).item() == pytest.approx((0 + 1 + 5 - log(2)) / 10 / 2)


def test_kl_is_twice_the_divergence_from_the_standard_normal_in_value_and_gradient():
    generator = torch.manual_seed(0)
    mean, log_variance = (torch.randn(3, 128, generator=generator, requires_grad=True) for _ in range(2))
    expected = 2 * kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0, 1)).sum(1).mean() / 1000
    value = losses.kl_loss(mean, log_variance, 1000)
    torch.testing.assert_close(value, expected)
    for ours, theirs in zip(
        *(torch.autograd.grad(term, (mean, log_variance)) for term in (value, expected)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_kl_near_the_standard_normal_keeps_its_digits():
    # exp(v) - v - 1 is v^2 / 2 + v^3 / 6 + …; taken literally in float32 it is off by a tenth here.
    value = losses.kl_loss(torch.zeros(1, 1), torch.full((1, 1), 1e-3), 1)
    assert value.item() == pytest.approx(1e-6 / 2 + 1e-9 / 6, rel=1e-3)


def test_a_small_patch_weighs_the_kl_more_unless_it_is_given_the_papers_voxels():
    assert losses.PAPER_VOXELS == 2_654_208
    mean, log_variance = torch.randn(2, 1, 8).unbind()
    small, paper = (losses.kl_loss(mean, log_variance, voxels) for voxels in (32**3, losses.PAPER_VOXELS))
    assert (small / paper).item() == pytest.approx(81)


# --------------------------------------------------------------------------------------------- the penalty on weights


def test_the_penalty_takes_the_kernels_alone_and_its_gradient_is_twice_the_weight():
    network = nn.Sequential(
        nn.Conv3d(2, 4, 3), nn.GroupNorm(2, 4), nn.ConvTranspose3d(4, 3, 2), nn.Flatten(), nn.Linear(5, 2)
    )
    kernels = {"0.weight": network[0].weight, "2.weight": network[2].weight}
    value = losses.l2_penalty(network)
    assert value.item() == pytest.approx(sum((k.detach().numpy() ** 2).sum() for k in kernels.values()), rel=1e-6)
    value.backward()
    for name, parameter in network.named_parameters():
        if name in kernels:
            torch.testing.assert_close(parameter.grad, 2 * parameter.detach())
        else:
            assert parameter.grad is None


def test_the_penalty_reaches_every_kernel_of_a_network():
    network = models.build("segvae", 2, 3, patch_size=(16, 16, 16), filters=8, up="transposed")
    kernels = [p.detach().double() for p in network.parameters() if p.ndim == 5]
    assert losses.l2_penalty(network).item() == pytest.approx(sum(k.square().sum() for k in kernels).item(), rel=1e-5)


def test_a_network_without_convolutions_has_no_penalty():
    assert losses.l2_penalty(nn.Linear(2, 2)).item() == 0
