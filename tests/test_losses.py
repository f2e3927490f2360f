"""Losses against values worked out by hand, against MONAI, and in their limits."""

import pytest
import torch
from monai.losses import DiceLoss

from gbmlib import losses, metrics


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
