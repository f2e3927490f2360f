"""Learning rates at the epochs where they can be worked out by hand, and plateaus against torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.training.schedules import PLATEAUS, averaged, learning_rate, plateau_over, plateau_rate


def test_polynomial_decay_is_equation_1():
    assert learning_rate(0, 1e-4, 300) == 1e-4
    assert learning_rate(150, 1e-4, 300) == pytest.approx(1e-4 * 0.5**0.9)
    assert learning_rate(299, 1e-4, 300) == pytest.approx(1e-4 * (1 / 300) ** 0.9)


def test_warm_up_is_the_papers_line_and_meets_the_decay():
    rates = [learning_rate(epoch, 1e-5, 300, warmup=10) for epoch in range(300)]
    assert rates[0] == pytest.approx(1e-6)
    assert rates[5] == pytest.approx(1e-6 + 5 * 0.9e-6)
    assert rates[10] == pytest.approx(1e-5 * (1 - 10 / 300) ** 0.9)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_the_two_readings_differ_by_at_most_4_percent_of_the_peak():
    above = [learning_rate(e, 1, 1000) - (1 - e / 1000) for e in range(1000)]
    assert min(above) == 0
    assert max(above) == pytest.approx(0.9**9 - 0.9**10, abs=1e-6)
    assert above.index(max(above)) == pytest.approx(1000 * (1 - 0.9**10), abs=1)


# ------------------------------------------------------------------------------------------------------------ plateaus


def history_of(rule, losses, peak=3e-4, watched=None):
    """The history that training keeps: each epoch's rate follows from the epochs before it."""
    history = []
    for loss, held_out in zip(losses, losses if watched is None else watched, strict=True):
        rate = plateau_rate(rule, history, peak)
        history.append({"learning_rate": rate, "train_loss": float(loss), "val_loss": float(held_out)})
    return history


def random_losses(seed, epochs, fall, noise):
    """A loss that falls towards a floor, with noise: so fast, so long and so noisy as drawn."""
    generator = np.random.default_rng(seed)
    return np.exp(-fall * np.arange(epochs) / 100) + noise * generator.standard_normal(epochs)


LOSSES = {
    "seed": st.integers(0, 9999),
    "epochs": st.integers(1, 300),
    "fall": st.floats(0, 20),
    "noise": st.sampled_from([0, 1e-3, 0.02, 0.2]),
}


def test_an_average_begins_at_the_first_value_and_keeps_its_share():
    assert averaged([4, 2, 0], 0.5) == [4, 3, 1.5]
    assert averaged([1, 0], 0.93) == pytest.approx([1, 0.93])
    assert averaged([], 0.93) == []


def test_where_nothing_moves_the_rate_falls_every_31_epochs():
    # The first epoch is the best. The 31st without progress after it is more than 30; then they are counted anew.
    rule = PLATEAUS["plateau_paper"]
    rates = [plateau_rate(rule, history_of(rule, [1.0] * n), 3e-4) for n in (0, 1, 31, 32, 62, 63, 94, 125)]
    assert rates == pytest.approx([3e-4] * 3 + [6e-5] * 2 + [1.2e-5, 2.4e-6, 4.8e-7])


def test_progress_adds_up_over_the_epochs_of_patience():
    rule = PLATEAUS["plateau_paper"]
    for slope, holds in ((5e-3 / 15, True), (5e-3 / 45, False)):
        losses = 1 - slope * np.arange(200)
        assert (plateau_rate(rule, history_of(rule, losses), 3e-4) == 3e-4) == holds


def test_the_papers_training_ends_when_the_rate_has_fallen_four_times():
    rule = PLATEAUS["plateau_paper"]
    history = history_of(rule, [1.0] * 130)
    # 61 epochs without progress are more than 60, but only the 125th brings the rate to 4.8e-7, below 1e-6.
    assert [n for n in range(130) if plateau_over(rule, history[:n])] == list(range(125, 130))
    # It goes on as long as the held-out loss falls, whatever the rate.
    history = history_of(rule, [1.0] * 300, watched=1 - 5e-3 / 30 * np.arange(300))
    assert not plateau_over(rule, history)


def test_before_the_first_epoch_nothing_has_ended():
    rule = PLATEAUS["plateau_paper"]
    assert not plateau_over(rule, [])
    assert plateau_rate(rule, [], 0.1) == 0.1


@settings(deadline=None, max_examples=20)
@given(**LOSSES)
def test_the_rate_is_torchs_on_the_average(seed, epochs, fall, noise):
    rule = PLATEAUS["plateau_paper"]
    losses = random_losses(seed, epochs, fall, noise)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 3e-4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, "min", 0.2, 30, 5e-3, "abs", eps=0)
    average, expected = None, [3e-4]
    for loss in losses:
        average = loss if average is None else 0.93 * average + (1 - 0.93) * loss
        scheduler.step(average)
        expected.append(optimiser.param_groups[0]["lr"])
    history = history_of(rule, losses)
    assert [*(row["learning_rate"] for row in history), plateau_rate(rule, history, 3e-4)] == expected
