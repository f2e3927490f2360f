"""Augmentation: what is drawn, and what is then done, exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gbmlib.augment import simple

AXES = st.lists(st.integers(0, 2), unique=True)
SHAPES = st.tuples(*[st.integers(1, 5)] * 4)


def numbered(*shape: int) -> torch.Tensor:
    """A volume in which no two voxels are alike."""
    return torch.arange(1.0, 1 + torch.Size(shape).numel()).view(shape)


@given(SHAPES, AXES)
def test_flipping_twice_is_the_identity(shape, axes):
    volume = numbered(*shape)
    assert torch.equal(simple.flip(simple.flip(volume, axes), axes), volume)


def test_axes_are_z_y_x():
    volume = numbered(2, 3, 4, 5)
    assert torch.equal(simple.flip(volume, (0,)), volume[:, [2, 1, 0]])
    assert torch.equal(simple.flip(volume, (1, 2)), volume[:, :, [3, 2, 1, 0]][..., [4, 3, 2, 1, 0]])
    assert simple.flip(volume, ()) is volume


def test_each_axis_is_drawn_on_its_own():
    generator = torch.manual_seed(0)
    drawn = [simple.draw_flips(0.75, generator) for _ in range(2000)]
    for axis in range(3):
        assert np.mean([axis in axes for axes in drawn]) == pytest.approx(0.75, abs=0.04)
    assert np.mean([len(axes) == 3 for axes in drawn]) == pytest.approx(0.75**3, abs=0.04)
    assert simple.draw_flips(0, generator) == ()
    assert simple.draw_flips(1, generator) == (0, 1, 2)


@pytest.mark.parametrize(("probability", "share"), [(0.75, 3 / 7), (1, 1 / 2), (0, 0)])
def test_copies_are_drawn_with_their_share_of_the_codes_training_set(probability, share):
    generator = torch.manual_seed(0)
    drawn = np.mean([simple.draw_copy(probability, generator) for _ in range(4000)])
    # The training set as the code builds it: every case, and for some of them a copy too.
    copies = np.random.default_rng(0).uniform(size=4000) < probability
    built = copies.sum() / (len(copies) + copies.sum())
    assert drawn == pytest.approx(share, abs=0.025 * (share > 0))
    assert built == pytest.approx(share, abs=0.025 * (share > 0))


def test_a_draw_can_be_replayed():
    drawn = [[simple.draw_copy(0.75, g) for _ in range(20)] for g in map(torch.Generator().manual_seed, (3, 3, 4))]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_copy_is_what_the_code_computes_on_its_layout():
    images, target = numbered(2, 3, 4, 5), numbered(3, 3, 4, 5) > 50
    new_images, new_target = simple.flip_copy(images, target)
    # The code's arrays are (x, y, z, channel); when it flips, the label map is still one channel.
    flipped = np.flip(images.numpy().transpose(3, 2, 1, 0), axis=(1, 2, 3))
    np.testing.assert_array_equal(new_images.numpy().transpose(3, 2, 1, 0), flipped)
    for region, new_region in zip(target, new_target, strict=True):
        flipped = np.flip(region.numpy().transpose(2, 1, 0)[..., None], axis=(1, 2, 3))[..., 0]
        np.testing.assert_array_equal(new_region.numpy().transpose(2, 1, 0), flipped)


def test_the_copy_by_hand():
    images, target = numbered(2, 2, 1, 2), torch.tensor([[[[1, 2]], [[3, 4]]], [[[5, 6]], [[7, 8]]]])
    new_images, new_target = simple.flip_copy(images, target)
    assert new_images.flatten().tolist() == [7, 8, 5, 6, 3, 4, 1, 2]
    assert new_target.flatten().tolist() == [3, 4, 1, 2, 7, 8, 5, 6]


@given(SHAPES)
def test_the_copy_of_the_copy_is_the_original(shape):
    images, target = numbered(*shape), numbered(3, *shape[1:])
    again = simple.flip_copy(*simple.flip_copy(images, target))
    assert torch.equal(again[0], images)
    assert torch.equal(again[1], target)


def test_intensity_by_hand_spares_the_background():
    images = torch.tensor([0.0, 1.0, 0.0, -2.0]).view(2, 1, 1, 2)
    moved = simple.intensity(images, [0.5, -1], [2, 3])
    assert moved.flatten().tolist() == [0, 2.5, 0, -7]


def test_intensities_are_drawn_within_their_bounds_for_each_channel():
    generator = torch.manual_seed(0)
    drawn = [simple.draw_intensity(2, 0.1, 0.2, generator) for _ in range(500)]
    shifts, factors = (np.array(part) for part in zip(*drawn, strict=True))
    assert shifts.shape == factors.shape == (500, 2)
    assert np.abs(shifts).max() == pytest.approx(0.1, abs=0.002)
    assert np.abs(factors - 1).max() == pytest.approx(0.2, abs=0.004)
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.15


@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=5))
def test_each_sample_is_mirrored_along_its_own_axes(axes):
    volume = numbered(len(axes), 2, 2, 3, 4)
    found = simple.mirror(volume, torch.tensor(axes))
    for sample, pattern in enumerate(axes):
        assert torch.equal(found[sample], simple.flip(volume[sample], [axis for axis in range(3) if pattern[axis]]))
    assert torch.equal(simple.mirror(found, torch.tensor(axes)), volume)
    assert torch.equal(simple.mirror(volume[:, 0], torch.tensor(axes)), found[:, 0])


def test_mirroring_gives_a_copy():
    volume = numbered(1, 2, 2, 2)
    simple.mirror(volume, torch.tensor([[False] * 3])).zero_()
    assert volume.all()


def test_mirrored_axes_are_drawn_on_their_own():
    drawn = simple.draw_mirror(4000, 0.5, torch.manual_seed(0)).double()
    assert drawn.mean(0).tolist() == pytest.approx([0.5] * 3, abs=0.03)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.06
    assert not simple.draw_mirror(9, 0, torch.manual_seed(0)).any()
    assert simple.draw_mirror(9, 1, torch.manual_seed(0)).all()


@pytest.mark.parametrize("bounds", [(0.85, 1.25), (1.1, 1.4), (0.5, 0.9), (0.5, 1.0), (1.0, 1.0)])
def test_factors_lie_on_both_sides_of_one_alike(bounds):
    side, part = torch.rand((2, 4000), generator=torch.manual_seed(0), dtype=torch.float64)
    drawn = simple.around_one(side, part, bounds)
    width = bounds[1] - bounds[0]
    assert bounds[0] <= float(drawn.min()) <= bounds[0] + 0.01 * width
    assert bounds[1] - 0.01 * width <= float(drawn.max()) <= bounds[1]
    if bounds[0] < 1 < bounds[1]:
        assert float((drawn < 1).double().mean()) == pytest.approx(0.5, abs=0.03)
        assert float(drawn[drawn < 1].mean()) == pytest.approx((1 + bounds[0]) / 2, abs=0.01)
        assert float(drawn[drawn > 1].mean()) == pytest.approx((1 + bounds[1]) / 2, abs=0.01)
