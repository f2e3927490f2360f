"""Cropping, resampling and normalising, against scikit-image and SciPy, and the exact way back."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from gbmlib import preprocess
from gbmlib.cohorts import CaseError, open_cohort

SHAPES = st.tuples(*[st.integers(1, 14)] * 3)


def case_of(images, label=None, spacing=(1, 1, 1), name="case"):
    return SimpleNamespace(
        id=name,
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


# ------------------------------------------------------------------------------- statistics of the training cases


def brains(count=4, shape=(2, 5, 4, 3), seed=0, background=0.3):
    """Cases whose channels have scales of their own, some of their voxels background."""
    rng = np.random.default_rng(seed)
    scale = np.array([1, 50], np.float32).reshape(-1, 1, 1, 1)[: shape[0]]
    volumes = [scale * rng.uniform(1, 3, shape) * (rng.uniform(size=shape) >= background) for _ in range(count)]
    return [case_of(volume.astype(np.float32), name=f"case-{n}") for n, volume in enumerate(volumes)]


def over_all(cases):
    """Mean and deviation of each channel over the non-zero voxels of all cases, by NumPy at once."""
    channels = np.stack([case.images() for case in cases]).astype(np.float64).swapaxes(0, 1)
    return np.array([(channel[channel != 0].mean(), channel[channel != 0].std()) for channel in channels]).T


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(0, 99))
def test_statistics_of_a_data_set_are_numpys_over_all_voxels_at_once(count, seed):
    cases = brains(count, seed=seed)
    found = preprocess.statistics(iter(cases), "dataset")
    assert found.mean.shape == found.deviation.shape == (2, 1, 1, 1)
    assert found.mean.dtype == found.deviation.dtype == np.float32
    np.testing.assert_allclose([found.mean.ravel(), found.deviation.ravel()], over_all(cases), rtol=1e-6)


@pytest.mark.parametrize("kind", ["dataset", "position"])
def test_statistics_keep_their_digits_far_from_zero(kind):
    # Their mean, a million and a thirty-second, is no float32.
    million = np.float32(1e6) + (np.arange(1024) % 32 == 0).astype(np.float32).reshape(1, 16, 8, 8)
    cases = [case_of(million + step) for step in np.float32([0, 1, 2])]
    found = preprocess.statistics(cases, kind)
    volumes = np.stack([case.images() for case in cases]).astype(np.float64)
    expected = volumes.std() if kind == "dataset" else volumes.std(0)
    np.testing.assert_allclose(found.deviation, np.broadcast_to(expected, found.deviation.shape), rtol=1e-6)


def test_what_never_varied_in_training_is_zero_in_a_case_that_differs():
    by = preprocess.statistics([case_of(np.full((1, 1, 1, 2), 5, np.float32))] * 2, "position")
    assert preprocess.standardise(np.array([5, 900], np.float32).reshape(1, 1, 1, 2), by).ravel().tolist() == [0, 0]


def test_statistics_read_each_case_once():
    read = []

    def cases():
        for case in brains():
            images = case.images()
            case.images = lambda name=case.id, images=images: read.append(name) or images
            yield case

    for kind in ("dataset", "position"):
        preprocess.statistics(cases(), kind)
        assert read == ["case-0", "case-1", "case-2", "case-3"]
        read.clear()


def test_statistics_of_real_cases_are_numpys(brats_folder):
    cases = open_cohort(f"brats:{brats_folder}", ("t1ce", "flair")).cases[:2]
    found = preprocess.statistics(cases, "dataset")
    np.testing.assert_allclose([found.mean.ravel(), found.deviation.ravel()], over_all(cases), rtol=1e-5)
    prepared = [preprocess.prepare(case, statistics=found) for case in cases]
    inside = np.concatenate([case.images[:, case.label > 0] for case in prepared], axis=1)
    assert (inside.mean(1) > 0).all()  # tumour is brighter than the brain around it in both
    for channel in range(2):
        values = np.concatenate([case.images[channel][case.images[channel] != 0] for case in prepared])
        assert values.mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
        assert values.std(dtype=np.float64) == pytest.approx(1, abs=1e-4)


def test_phantoms_can_be_normalised_by_position():
    cases = open_cohort("phantom:cases=3,spacing=6,seed=0", ("t1ce", "flair")).cases
    found = preprocess.statistics(cases, "position")
    volumes = np.stack([case.images() for case in cases]).astype(np.float64)
    np.testing.assert_allclose(found.mean, volumes.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.deviation, volumes.std(0), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 6), st.integers(0, 99))
def test_at_each_position_the_training_cases_get_mean_0_and_deviation_1(count, seed):
    cases = brains(count, seed=seed, background=0)
    by = preprocess.statistics(cases, "position")
    assert by.mean.shape == by.deviation.shape == (2, 5, 4, 3)
    normalised = np.stack([preprocess.prepare(case, statistics=by).images for case in cases])
    np.testing.assert_allclose(normalised.mean(0), 0, atol=2e-3)
    np.testing.assert_allclose(normalised.std(0), 1, atol=2e-3)


def test_normalising_by_position_by_hand():
    # Over the two cases: 2 and 4; a zero that counts, 0 and 6; alike, 5 and 5.
    cases = [case_of(np.array(line, np.float32).reshape(1, 1, 1, 3)) for line in ([2, 0, 5], [4, 6, 5])]
    by = preprocess.statistics(cases, "position")
    assert by.mean.ravel().tolist() == [3, 3, 5]
    assert by.deviation.ravel().tolist() == [1, 3, 0]
    lines = [preprocess.standardise(case.images(), by).ravel().tolist() for case in cases]
    assert lines == [[-1, 0, 0], [1, 1, 0]]


def test_normalising_by_the_data_set_by_hand():
    cases = [
        case_of(np.array(line, np.float32).reshape(2, 1, 1, 3)) for line in ([1, 0, 3, 0, 0, 0], [5, 7, 0, 0, 0, 0])
    ]
    by = preprocess.statistics(cases, "dataset")
    # 1, 3, 5, 7 without the zeros: mean 4, deviation sqrt(5). The second channel is empty and stays so.
    lines = [preprocess.standardise(case.images(), by).reshape(2, 3) for case in cases]
    np.testing.assert_allclose(lines[0] * np.sqrt(5), [[-3, 0, -1], [0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(lines[1] * np.sqrt(5), [[1, 3, 0], [0, 0, 0]], atol=1e-5)


def test_without_statistics_an_image_is_normalised_by_its_own_after_resampling():
    images = brains(1, (2, 8, 8, 8), background=0.1)[0].images()
    size = (4, 4, 4)
    brain = preprocess.resample_to((images != 0).astype(np.float32), size, "area") >= 0.5
    expected = preprocess.zscore(np.where(brain, preprocess.resample_to(images, size, "area"), 0))
    np.testing.assert_array_equal(preprocess.prepare(case_of(images), (2, 2, 2)).images, expected)


@pytest.mark.parametrize("kind", ["dataset", "position"])
@pytest.mark.parametrize("resampling", ["average", "spline"])
def test_statistics_act_on_the_native_grid_before_resampling(kind, resampling):
    cases = []
    for case in brains(3, (2, 8, 9, 10), background=0.05):
        images = np.zeros((2, 12, 13, 14), np.float32)
        images[:, 2:10, 1:10, 3:13] = case.images()
        cases.append(case_of(images, name=case.id))
    by = preprocess.statistics(cases, kind)
    images = cases[0].images()
    box = preprocess.nonzero_box(images)
    native = preprocess.standardise(images, by)[(slice(None), *box)]
    np.testing.assert_array_equal(preprocess.prepare(cases[0], statistics=by).images, native)
    size = preprocess.new_shape(native.shape[1:], (1, 1, 1), (2, 2, 2))
    brain = (images != 0)[(slice(None), *box)].astype(np.float32)
    orders = ("area", "area") if resampling == "average" else (3, 0)
    expected, inside = (
        preprocess.resample_to(v, size, order) for v, order in zip((native, brain), orders, strict=True)
    )
    prepared = preprocess.prepare(cases[0], (2, 2, 2), resampling, by)
    np.testing.assert_array_equal(prepared.images, np.where(inside >= 0.5, expected, 0))
    assert prepared.images.dtype == np.float32
    assert abs(prepared.images[1].std() - 1) > 0.1  # the image's own deviation is not taken out


def test_refusals_of_statistics():
    with pytest.raises(ValueError, match=r"statistics 'image': unknown.*dataset.*position"):
        preprocess.statistics(brains(), "image")
    for kind in ("dataset", "position"):
        with pytest.raises(CaseError, match=f"'{kind}' needs training cases.*none"):
            preprocess.statistics([], kind)
    with pytest.raises(CaseError, match="'position' needs two training cases or more; there is only case-0"):
        preprocess.statistics(brains(1), "position")
    with pytest.raises(CaseError, match=r"case-0 has the shape \(2, 5, 4, 3\) and case other \(2, 5, 4, 4\).*register"):
        preprocess.statistics([*brains(), case_of(np.ones((2, 5, 4, 4), np.float32), name="other")], "position")


@pytest.mark.parametrize(
    ("kind", "shape"), [("position", (2, 5, 4, 4)), ("position", (1, 5, 4, 3)), ("dataset", (1, 3, 3, 3))]
)
def test_statistics_of_another_grid_or_other_channels_are_refused(kind, shape):
    by = preprocess.statistics(brains(), kind)
    with pytest.raises(CaseError, match=r"case other: its images have the shape .*same channels and grid"):
        preprocess.prepare(case_of(np.ones(shape, np.float32), name="other"), statistics=by)
