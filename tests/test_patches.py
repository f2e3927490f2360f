"""Patches and augmentation: exact properties of the deterministic part, fair draws of the random one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gbmlib import augment, patches

SIZES = st.tuples(*[st.integers(1, 9)] * 3)


@given(SIZES, SIZES, st.integers(0, 999))
def test_a_drawn_patch_is_full_where_it_can_be_and_holds_all_of_a_small_volume(shape, patch, seed):
    volume = torch.arange(1, 1 + int(np.prod(shape))).view(1, *shape)
    corner = patches.draw_corner(shape, patch, torch.Generator().manual_seed(seed))
    out = patches.crop(volume, corner, patch)
    assert out.shape == (1, *patch)
    assert int((out > 0).sum()) == np.prod(np.minimum(shape, patch))
    if all(p <= s for p, s in zip(patch, shape, strict=True)):
        window = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
        assert torch.equal(out[0], volume[0][window])


def test_every_position_is_drawn():
    generator = torch.Generator().manual_seed(0)
    corners = {patches.draw_corner((5, 2, 3), (3, 4, 3), generator) for _ in range(300)}
    assert corners == {(z, y, 0) for z in (0, 1, 2) for y in (0, -1, -2)}


@given(st.sets(st.integers(0, 2)), SIZES)
def test_mirrored_twice_is_the_identity(axes, shape):
    volume = torch.randn(2, *shape)
    once = augment.flip(volume, sorted(axes))
    assert torch.equal(augment.flip(once, sorted(axes)), volume)
    expected = np.flip(volume.numpy(), [axis + 1 for axis in axes]) if axes else volume.numpy()
    np.testing.assert_array_equal(once.numpy(), expected)


def test_flips_come_as_often_as_asked():
    generator = torch.Generator().manual_seed(0)
    drawn = [augment.draw_flips(0.75, generator) for _ in range(4000)]
    for axis in range(3):
        assert np.mean([axis in axes for axes in drawn]) == pytest.approx(0.75, abs=0.03)
    assert augment.draw_flips(0, generator) == ()
    assert augment.draw_flips(1, generator) == (0, 1, 2)


def test_intensity_moves_the_brain_alone_channel_by_channel():
    images = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).view(2, 1, 1, 2)
    out = augment.intensity(images, [0.5, -1.0], [2.0, 3.0])
    assert out.flatten().tolist() == [0, 2.5, 5, 0]
    shifts, factors = augment.draw_intensity(2000, 0.1, 0.2, torch.Generator().manual_seed(0))
    assert min(shifts) >= -0.1
    assert max(shifts) == pytest.approx(0.1, abs=1e-3)
    assert (min(factors), max(factors)) == pytest.approx((0.8, 1.2), abs=1e-3)
