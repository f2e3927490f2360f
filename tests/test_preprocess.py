"""Cropping, resampling and normalising, against scikit-image and SciPy, and the exact way back."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from gbmlib import preprocess
from gbmlib.cohorts import open_cohort

SHAPES = st.tuples(*[st.integers(1, 14)] * 3)


def case_of(images, label=None, spacing=(1, 1, 1)):
    return SimpleNamespace(
        id="case",
        images=lambda: images,
        label=lambda: label,
        has_label=label is not None,
        shape=images.shape[1:],
        spacing=spacing,
    )


@settings(deadline=None, max_examples=60)
@given(SHAPES, SHAPES, st.sampled_from([0, 1, 3]), st.integers(0, 99))
def test_resampling_is_scikit_images(old, new, order, seed):
    volume = np.random.default_rng(seed).normal(size=old)
    ours = preprocess.resample_to(volume[None].astype(np.float32), new, order)[0]
    theirs = resize(volume, new, order=order, mode="edge", anti_aliasing=False, clip=False)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_cubic_resampling_is_scipys_zoom_as_nnunet_uses_it():
    volume = np.random.default_rng(0).normal(size=(30, 41, 25))
    theirs = ndimage.zoom(volume, np.array([20, 60, 25]) / volume.shape, order=3, mode="nearest", grid_mode=True)
    ours = preprocess.resample_to(volume[None].astype(np.float32), (20, 60, 25), 3)[0]
    np.testing.assert_allclose(ours, theirs, atol=5e-6)


@given(SHAPES, SHAPES)
@settings(deadline=None)
def test_resampling_keeps_a_constant(old, new):
    for order in (0, 1, 3, "area"):
        out = preprocess.resample_to(np.full((2, *old), 7, np.float32), new, order)
        np.testing.assert_allclose(out, np.full((2, *new), 7), rtol=1e-5)


def test_averaging_by_hand_and_it_keeps_the_mean():
    line = np.array([1, 2, 3, 4, 5, 6], np.float32).reshape(1, 1, 1, 6)
    assert preprocess.resample_to(line, (1, 1, 2), "area").ravel().tolist() == [2, 5]
    # Four voxels of 1.5 old ones each.
    thirds = preprocess.resample_to(line, (1, 1, 4), "area").ravel()
    np.testing.assert_allclose(thirds, [4 / 3, 8 / 3, 13 / 3, 17 / 3], rtol=1e-6)
    assert thirds.mean() == pytest.approx(line.mean())


def test_resampling_from_spacing_to_spacing():
    out = preprocess.resample(np.zeros((2, 10, 20, 31), np.float32), (3, 1, 1), (1.5, 2, 2))
    assert out.shape == (2, 20, 10, round(31 / 2))
    label = preprocess.resample(np.ones((1, 4, 4, 4), np.uint8), (1, 1, 1), (0.5, 0.5, 0.5), order=0)
    assert label.dtype == np.uint8


def test_majority_by_hand():
    label = np.array([1, 1, 0, 0, 2, 2, 2, 1, 1], np.uint8).reshape(1, 1, 9)
    assert preprocess.majority(label, (1, 1, 3)).ravel().tolist() == [1, 2, 1]


def test_zscore_by_hand():
    images = np.zeros((2, 1, 1, 4), np.float32)
    images[0, 0, 0] = [0, 1, 2, 3]
    out = preprocess.zscore(images)
    deviation = np.std([1, 2, 3])
    np.testing.assert_allclose(out[0, 0, 0], [0, -1 / deviation, 0, 1 / deviation], atol=1e-6)
    assert not out[1].any()


def test_zscore_of_a_constant_channel_is_finite():
    assert not preprocess.zscore(np.full((1, 2, 2, 2), 5, np.float32)).any()


def test_nonzero_box_is_tight_over_all_channels():
    images = np.zeros((2, 5, 6, 7), np.float32)
    images[0, 1, 2, 3] = 1
    images[1, 3, 2, 5] = -1
    assert preprocess.nonzero_box(images) == (slice(1, 4), slice(2, 3), slice(3, 6))
    with pytest.raises(ValueError, match="zero everywhere"):
        preprocess.nonzero_box(np.zeros((1, 2, 2, 2)))


def test_there_and_back_without_resampling_is_exact():
    rng = np.random.default_rng(0)
    images = np.zeros((2, 9, 8, 7), np.float32)
    images[:, 2:7, 1:8, 3:6] = rng.uniform(1, 2, (2, 5, 7, 3))
    label = np.zeros((9, 8, 7), np.uint8)
    label[3:5, 2:6, 3:5] = 2
    prepared = preprocess.prepare(case_of(images, label))
    assert prepared.images.shape == (2, 5, 7, 3)
    back = preprocess.restore((prepared.label[None] == 2).astype(np.float32), prepared)
    np.testing.assert_array_equal(back[0], label == 2)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 20), st.sampled_from(["average", "spline"]))
def test_there_and_back_through_a_coarser_grid_keeps_shape_and_most_of_a_ball(seed, resampling):
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(24, 34, 3))
    grid = np.indices(size) - np.array(size).reshape(3, 1, 1, 1) / 2
    ball = (grid**2).sum(0) < 64
    images = (1 + ball + rng.uniform(0, 0.1, size))[None].astype(np.float32)
    prepared = preprocess.prepare(case_of(images, ball.astype(np.uint8)), (2, 2, 1.5), resampling)
    back = preprocess.restore((prepared.label[None] == 1).astype(np.float32), prepared)[0] >= 0.5
    assert back.shape == size
    assert 2 * (back & ball).sum() / (back.sum() + ball.sum()) > 0.9


def test_a_phantom_keeps_its_background_zero_when_resampled():
    case = open_cohort("phantom:cases=1,spacing=4,seed=0", ("t1ce", "flair")).cases[0]
    prepared = preprocess.prepare(case, (8, 8, 8))
    assert prepared.images.shape[1:] == preprocess.new_shape(
        [part.stop - part.start for part in prepared.box], case.spacing, (8, 8, 8)
    )
    assert (prepared.images[0] == 0).mean() > 0.1
    inside = prepared.images[prepared.images != 0]
    assert abs(inside.mean()) < 0.05
    assert prepared.label.shape == prepared.images.shape[1:]


def test_refusals():
    volume = np.zeros((1, 2, 2, 2), np.float32)
    with pytest.raises(ValueError, match="order 2: unknown"):
        preprocess.resample_to(volume, (3, 3, 3), 2)
    with pytest.raises(ValueError, match="channel, z, y, x"):
        preprocess.resample_to(volume[0], (3, 3, 3))
    with pytest.raises(ValueError, match="resampling 'nearest': unknown"):
        preprocess.prepare(case_of(volume + 1), (2, 2, 2), "nearest")
