"""Gamma correction: what it keeps, what it spares, and batchgenerators' own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.augment import gamma


def images(samples=2, channels=3, shape=(6, 7, 8), seed=0):
    return torch.randn((samples, channels, *shape), generator=torch.manual_seed(seed))


def by_hand(channel, exponent):
    """One channel in float64, step by step."""
    channel = channel.double().numpy()
    low, extent = channel.min(), np.ptp(channel)
    new = ((channel - low) / extent) ** exponent
    return (new - new.mean()) / new.std() * channel.std() + channel.mean()


@settings(deadline=None, max_examples=30)
@given(st.floats(0.7, 1.5), st.floats(-50, 50), st.floats(0.01, 100), st.integers(0, 1000))
def test_mean_and_deviation_are_kept(exponent, mean, deviation, seed):
    before = images(1, 2, seed=seed) * deviation + mean
    after = gamma.apply(before, torch.tensor([[exponent, 2.2 - exponent]]))
    for channel in range(2):
        old, new = before[0, channel].double(), after[0, channel].double()
        assert float(new.mean()) == pytest.approx(float(old.mean()), abs=1e-4 * (deviation + abs(mean)))
        assert float(new.std()) == pytest.approx(float(old.std()), rel=1e-3)


def test_every_channel_has_its_own_exponent():
    before, exponents = images(), torch.tensor([[0.7, 1.5, 1.1], [1.2, 1.0, 0.8]])
    after = gamma.apply(before, exponents)
    for sample in range(2):
        for channel in range(3):
            expected = by_hand(before[sample, channel], float(exponents[sample, channel]))
            np.testing.assert_allclose(after[sample, channel], expected, atol=2e-5)


def test_samples_that_draw_none_stay_bit_for_bit():
    before = images(3)
    after = gamma.apply(before, torch.tensor([[1.0, 1, 1], [0.8, 1.2, 0.9], [1, 1, 1]]))
    assert torch.equal(after[::2], before[::2])
    assert not torch.isclose(after[1], before[1]).all()
    same = gamma.apply(before, torch.ones(3, 3))
    assert torch.equal(same, before)
    assert same.data_ptr() != before.data_ptr()


def test_the_order_of_intensities_is_kept():
    before = images(1, 1)
    after = gamma.apply(before, torch.tensor([[1.5]]))
    assert torch.equal(before.flatten().argsort(), after.flatten().argsort())


def test_above_one_the_middle_gets_darker():
    """0, 1/2, 1 squared is 0, 1/4, 1: mean 5/12, deviation as before."""
    before = torch.tensor([0.0, 1, 2]).view(1, 1, 1, 1, 3)
    after = gamma.apply(before, torch.tensor([[2.0]])).flatten()
    new = torch.tensor([0, 0.25, 1])
    expected = (new - new.mean()) / new.std() * 1 + 1
    torch.testing.assert_close(after, expected)


def test_a_channel_of_one_value_stays():
    before = torch.full((1, 1, 4, 4, 4), -3.5)
    torch.testing.assert_close(gamma.apply(before, torch.tensor([[0.7]])), before)


def test_background_is_spared_where_asked():
    before = images(1, 2)
    before[..., :3] = 0
    before[0, 0, 2, 2, 5] = 0  # within the brain, zero in one channel only
    exponents = torch.tensor([[0.7, 1.4]])
    plain, spared = gamma.apply(before, exponents), gamma.apply(before, exponents, spare_zeros=True)
    assert plain[..., :3].all()
    assert not spared[..., :3].any()
    assert torch.equal(spared[..., 3:], plain[..., 3:])


def test_the_input_is_not_written_to():
    before = images()
    kept = before.clone()
    gamma.apply(before, torch.full((2, 3), 0.8), spare_zeros=True)
    assert torch.equal(before, kept)


def test_draws_are_one_decision_a_sample_and_an_exponent_a_channel():
    drawn = gamma.draw(4000, 2, 0.3, (0.7, 1.5), torch.manual_seed(0))
    on = drawn != 1
    assert torch.equal(on[:, 0], on[:, 1])
    assert float(on[:, 0].double().mean()) == pytest.approx(0.3, abs=0.025)
    chosen = drawn[on[:, 0]]
    assert 0.7 <= float(chosen.min()) < 0.705
    assert 1.495 < float(chosen.max()) <= 1.5
    assert float((chosen < 1).double().mean()) == pytest.approx(0.5, abs=0.03)
    assert abs(np.corrcoef(chosen.T)[0, 1]) < 0.08


def test_draws_can_be_repeated_and_take_as_much_whatever_the_probability():
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    drawn = [gamma.draw(5, 2, p, (0.7, 1.5), g) for p, g in zip((1, 0, 1), generators, strict=True)]
    assert torch.equal(drawn[1], torch.ones(5, 2))
    assert torch.equal(generators[0].get_state(), generators[1].get_state())
    assert not torch.equal(drawn[0], drawn[2])


def test_as_batchgenerators_does_it():
    theirs = pytest.importorskip("batchgeneratorsv2.transforms.intensity.gamma", reason="comes with the extra peers")
    before, exponents = images(1) * 40 + 7, torch.tensor([[0.75, 1.0, 1.45]])
    transform = theirs.GammaTransform((0.7, 1.5), 0, False, 1, 1)
    expected = transform._apply_to_image(
        before[0].clone(),
        apply_to_channel=torch.arange(3),
        retain_stats=torch.ones(3, dtype=torch.bool),
        invert_image=torch.zeros(3, dtype=torch.bool),
        gamma=exponents[0],
    )
    torch.testing.assert_close(gamma.apply(before, exponents)[0], expected, atol=2e-3, rtol=0)  # of a range of 280


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
def test_a_graphics_card_gives_the_same_and_is_not_waited_for():
    before, exponents = images(), torch.tensor([[0.7, 1.5, 1.1], [1.0, 1.0, 1.0]])
    there = before.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        after = gamma.apply(there, exponents, spare_zeros=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(after.cpu(), gamma.apply(before, exponents, spare_zeros=True))
