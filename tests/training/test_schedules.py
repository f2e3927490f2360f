"""Learning rates at the epochs where they can be worked out by hand, and plateaus against torch and nnU-Net's rule."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gbmlib.training.schedules import PLATEAUS, averaged, learning_rate, plateau_over, plateau_rate


def test_polynomial_decay_is_equation_1():
    assert learning_rate("polynomial", 0, 1e-4, 300) == 1e-4
    assert learning_rate("polynomial", 150, 1e-4, 300) == pytest.approx(1e-4 * 0.5**0.9)
    assert learning_rate("polynomial", 299, 1e-4, 300) == pytest.approx(1e-4 * (1 / 300) ** 0.9)


def test_warm_up_is_the_papers_line_and_meets_the_decay():
    rates = [learning_rate("polynomial", epoch, 1e-5, 300, warmup=10) for epoch in range(300)]
    assert rates[0] == pytest.approx(1e-6)
    assert rates[5] == pytest.approx(1e-6 + 5 * 0.9e-6)
    assert rates[10] == pytest.approx(1e-5 * (1 - 10 / 300) ** 0.9)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_constant():
    assert [learning_rate("constant", epoch, 0.1, 5) for epoch in (0, 4)] == [0.1, 0.1]


def test_linear_annealing_by_hand():
    assert [learning_rate("linear", epoch, 4e-5, 4) for epoch in range(4)] == pytest.approx([4e-5, 3e-5, 2e-5, 1e-5])


def test_linear_annealing_warms_up_along_the_same_line():
    rates = [learning_rate("linear", epoch, 1e-5, 300, warmup=10) for epoch in range(300)]
    assert rates[:10] == [learning_rate("polynomial", epoch, 1e-5, 300, warmup=10) for epoch in range(10)]
    assert rates[10] == pytest.approx(1e-5 * (1 - 10 / 300))


def test_the_two_readings_differ_by_at_most_4_percent_of_the_peak():
    above = [learning_rate("polynomial", e, 1, 1000) - learning_rate("linear", e, 1, 1000) for e in range(1000)]
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


@pytest.mark.parametrize("name", PLATEAUS)
def test_where_nothing_moves_the_rate_falls_every_31_epochs(name):
    # The first epoch is the best. The 31st without progress after it is more than 30; then they are counted anew.
    rule = PLATEAUS[name]
    rates = [plateau_rate(rule, history_of(rule, [1.0] * n), 3e-4) for n in (0, 1, 31, 32, 62, 63, 94, 125)]
    assert rates == pytest.approx([3e-4] * 3 + [6e-5] * 2 + [1.2e-5, 2.4e-6, 4.8e-7])


@pytest.mark.parametrize(("name", "step"), [("plateau_paper", 5e-3), ("plateau_code", 1e-3)])
def test_progress_adds_up_over_the_epochs_of_patience(name, step):
    rule = PLATEAUS[name]
    for slope, holds in ((step / 15, True), (step / 45, False)):
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


def test_the_codes_training_waits_for_half_its_patience_more():
    rule = PLATEAUS["plateau_code"]
    history = history_of(rule, [1.0] * 140)
    # Its patience of 50 ends with 52, 78 and 104 epochs, at too high a rate; 130 is the next time.
    assert [n for n in range(140) if plateau_over(rule, history[:n])] == list(range(130, 140))
    # What is held out has no say.
    history = history_of(rule, [1.0] * 130, watched=1 - np.arange(130))
    assert plateau_over(rule, history)


def test_the_rate_may_fall_in_the_epoch_that_ends_the_training():
    """The public code changes the rate and then asks whether it is low enough."""
    rule = PLATEAUS["plateau_code"]
    losses = [1.0] * 130
    # One better epoch lowers the average by 0.07 x 0.01, which is progress for the end (5e-4) and not for the rate
    # (1e-3): the patience that begins there ends with the 125th epoch, as does the fourth for the rate.
    losses[73] = 0.99
    history = history_of(rule, losses)
    assert [row["learning_rate"] for row in history[124:126]] == pytest.approx([2.4e-6, 4.8e-7])
    assert not plateau_over(rule, history[:124])
    assert plateau_over(rule, history[:125])


def test_before_the_first_epoch_nothing_has_ended():
    for rule in PLATEAUS.values():
        assert not plateau_over(rule, [])
        assert plateau_rate(rule, [], 0.1) == 0.1


@settings(deadline=None, max_examples=20)
@given(name=st.sampled_from(sorted(PLATEAUS)), **LOSSES)
def test_the_rate_is_torchs_on_the_average(name, seed, epochs, fall, noise):
    rule = PLATEAUS[name]
    losses = random_losses(seed, epochs, fall, noise)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 3e-4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, "min", 0.2, 30, {"plateau_paper": 5e-3, "plateau_code": 1e-3}[name], "abs", eps=0
    )
    average, expected = None, [3e-4]
    for loss in losses:
        average = loss if average is None else 0.93 * average + (1 - 0.93) * loss
        scheduler.step(average)
        expected.append(optimiser.param_groups[0]["lr"])
    history = history_of(rule, losses)
    assert [*(row["learning_rate"] for row in history), plateau_rate(rule, history, 3e-4)] == expected


def over_in_the_code(rule, history):
    """After how many epochs the trainer of nnU-Net v1 ends, if it does: what it keeps, and in which order."""
    kept = SimpleNamespace(average=None, best=None, best_epoch=None)
    for epoch in range(len(history)):
        loss = history[epoch]["train_loss"]
        kept.average = loss if kept.average is None else 0.93 * kept.average + 0.07 * loss
        rate = plateau_rate(rule, history[: epoch + 1], 3e-4)  # its scheduler comes first
        if kept.best is None:
            kept.best, kept.best_epoch = kept.average, epoch
        if kept.average + 5e-4 < kept.best:
            kept.best, kept.best_epoch = kept.average, epoch
        if epoch - kept.best_epoch > 50:
            if rate > 1e-6:
                kept.best_epoch = epoch - 50 // 2
            else:
                return [epoch + 1]
    return []


@settings(deadline=None, max_examples=40)
@given(**LOSSES)
@example(seed=0, epochs=400, fall=0.0, noise=0.2)
@example(seed=1, epochs=400, fall=20.0, noise=0)
def test_the_end_is_that_of_nnunets_trainer(seed, epochs, fall, noise):
    rule = PLATEAUS["plateau_code"]
    history = history_of(rule, random_losses(seed, epochs, fall, noise))
    expected = over_in_the_code(rule, history)
    assert plateau_over(rule, history) == bool(expected)
    if expected:
        assert plateau_over(rule, history[: expected[0]])
        assert not plateau_over(rule, history[: expected[0] - 1])
