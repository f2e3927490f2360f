"""Patches and augmentation: exact properties of the deterministic part, fair draws of the random one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.augment import simple
from gbmlib.training import patches

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
    once = simple.flip(volume, sorted(axes))
    assert torch.equal(simple.flip(once, sorted(axes)), volume)
    expected = np.flip(volume.numpy(), [axis + 1 for axis in axes]) if axes else volume.numpy()
    np.testing.assert_array_equal(once.numpy(), expected)


def test_flips_come_as_often_as_asked():
    generator = torch.Generator().manual_seed(0)
    drawn = [simple.draw_flips(0.75, generator) for _ in range(4000)]
    for axis in range(3):
        assert np.mean([axis in axes for axes in drawn]) == pytest.approx(0.75, abs=0.03)
    assert simple.draw_flips(0, generator) == ()
    assert simple.draw_flips(1, generator) == (0, 1, 2)


def test_intensity_moves_the_brain_alone_channel_by_channel():
    images = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).view(2, 1, 1, 2)
    out = simple.intensity(images, [0.5, -1.0], [2.0, 3.0])
    assert out.flatten().tolist() == [0, 2.5, 5, 0]
    shifts, factors = simple.draw_intensity(2000, 0.1, 0.2, torch.Generator().manual_seed(0))
    assert min(shifts) >= -0.1
    assert max(shifts) == pytest.approx(0.1, abs=1e-3)
    assert (min(factors), max(factors)) == pytest.approx((0.8, 1.2), abs=1e-3)


# ---------------------------------------------------------------------------------------------------------- foreground


def test_how_many_patches_of_a_batch_must_hold_foreground():
    """More than a third of them."""
    sizes = (1, 2, 3, 4, 9, 10, 366)
    assert [patches.forced("paper", size) for size in sizes] == [1, 1, 2, 2, 4, 4, 123]
    assert all(patches.forced("none", size) == 0 for size in sizes)
    for size in range(1, 400):
        assert patches.forced("paper", size) * 3 > size >= (patches.forced("paper", size) - 1) * 3


@settings(deadline=None, max_examples=200)
@given(SIZES, SIZES, st.integers(0, 9999))
def test_a_forced_patch_holds_its_voxel_and_lies_inside_where_it_fits(shape, patch, seed):
    generator = torch.Generator().manual_seed(seed)
    voxel = [int(torch.randint(size, (), generator=generator)) for size in shape]
    corner = patches.draw_foreground_corner([torch.tensor([voxel])], shape, patch, generator)
    for at, start, size, extent in zip(voxel, corner, shape, patch, strict=True):
        assert start <= at < start + extent
        if extent <= size:
            assert 0 <= start <= size - extent
        else:  # the volume lies in the patch as a whole
            assert size - extent <= start <= 0


def test_the_voxel_lies_anywhere_in_the_middle_half():
    """Exact centring teaches a network that foreground lies in the middle."""
    patch, shape, voxel = (8, 20, 5), (100, 100, 100), (50, 40, 60)
    generator = torch.Generator().manual_seed(0)
    places = [
        tuple(at - start for at, start in zip(voxel, corner, strict=True))
        for corner in (
            patches.draw_foreground_corner([torch.tensor([voxel])], shape, patch, generator) for _ in range(1500)
        )
    ]
    for axis, expected in enumerate((range(2, 7), range(5, 16), range(1, 4))):
        found, counts = np.unique([place[axis] for place in places], return_counts=True)
        assert list(found) == list(expected)
        assert counts.min() > 0.7 * 1500 / len(expected)  # all alike
    assert np.mean([place == (4, 10, 2) for place in places]) < 0.05


def test_each_region_is_drawn_alike_however_small():
    large, small = torch.zeros(5000, 3, dtype=torch.int32), torch.full((1, 3), 30, dtype=torch.int32)
    generator = torch.Generator().manual_seed(0)
    corners = [
        patches.draw_foreground_corner([large, small], (40, 40, 40), (8, 8, 8), generator)[0] for _ in range(800)
    ]
    assert np.mean([corner > 10 for corner in corners]) == pytest.approx(0.5, abs=0.06)


def test_every_voxel_of_a_region_may_be_the_one():
    positions = torch.tensor([[0, 0, x] for x in (0, 3, 6, 9)])
    generator = torch.Generator().manual_seed(0)
    # A patch of one voxel lies on it.
    corners = {patches.draw_foreground_corner([positions], (1, 1, 10), (1, 1, 1), generator) for _ in range(100)}
    assert corners == {(0, 0, 0), (0, 0, 3), (0, 0, 6), (0, 0, 9)}
