"""Distances of surfaces by hand, against MONAI and surface-distance, on phantoms and real labels."""

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import surface_distance
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from gbmlib.cohorts import open_cohort
from gbmlib.evaluation import metrics, surfaces

ONE = (1.0, 1.0, 1.0)
ANISOTROPIC = (3.0, 0.9, 1.7)


def box(shape, begin, end):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(begin, end, strict=True))] = True
    return mask


def ball(centre, radius=30, edge=80):
    grid = np.mgrid[:edge, :edge, :edge]
    return sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) <= radius**2


def blobs(seed, shape=(24, 40, 32), share=0.3):
    """Lumps of noise: many components, holes, and some at the image's border."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return noise > np.quantile(noise, 1 - share)


def by_monai(prediction, truth, spacing, tolerance):
    p, t = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth))
    options = {"include_background": True, "spacing": tuple(map(float, spacing))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = (
            compute_hausdorff_distance(p, t, percentile=95, **options),
            compute_surface_dice(p, t, [tolerance], **options),
            compute_average_surface_distance(p, t, symmetric=True, **options),
        )
    return dict(zip(metrics.DISTANCES, map(float, found), strict=True))


# ---------------------------------------------------------------------------------------------------------- by hand


def test_two_voxels_apart():
    a, b = (box((3, 5, 9), corner, np.add(corner, 1)) for corner in ((1, 1, 1), (2, 1, 4)))
    assert surfaces.hausdorff95(a, b, (2, 1, 0.5)) == pytest.approx(np.hypot(2, 1.5))
    assert surfaces.between(a, b, (2, 1, 0.5)).mean() == pytest.approx(2.5)
    assert surfaces.surface_dice(a, b, (2, 1, 0.5), 2.4) == 0
    assert surfaces.surface_dice(a, b, (2, 1, 0.5), 2.5) == 1


def test_a_row_and_a_longer_one():
    """Borders at 0, 1 and at 0 to 9 (1 mm): the longer one's voxels lie 0, 0, 1, …, 8 mm away."""
    short, long = box((1, 1, 12), (0, 0, 0), (1, 1, 2)), box((1, 1, 12), (0, 0, 0), (1, 1, 10))
    found = surfaces.between(short, long, ONE)
    assert sorted(found.to_truth) == [0, 0]
    assert sorted(found.to_prediction) == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert found.hausdorff() == pytest.approx(8 - 0.05 * 9)  # rank 0.95 x 9 = 8.55 of 0 to 9: between 7 and 8
    assert found.hausdorff(100) == 8
    assert found.mean() == pytest.approx(36 / 12)
    assert found.surface_dice(1) == pytest.approx(5 / 12)


def test_a_box_within_a_box():
    """Cubes of 3 and 5 about one centre: face centres are 1 mm apart, corners the root of 3."""
    inner, outer = box((9,) * 3, (3,) * 3, (6,) * 3), box((9,) * 3, (2,) * 3, (7,) * 3)
    found = surfaces.between(inner, outer, ONE)
    assert sorted(found.to_truth) == [1] * 26
    expected = [1] * 6 * 9 + [np.sqrt(2)] * 12 * 3 + [np.sqrt(3)] * 8
    np.testing.assert_allclose(np.sort(found.to_prediction), expected)
    assert found.hausdorff() == pytest.approx(np.sqrt(3))
    assert found.surface_dice(1) == pytest.approx((26 + 54) / (26 + 98))


def test_shifted_balls():
    a, b = ball((40, 40, 38)), ball((40, 40, 43))
    assert surfaces.hausdorff95(a, b, ONE) == pytest.approx(4.583, abs=5e-4)
    # On the whole surface the distance is about 5 |cos|, whose mean is 2.5.
    assert surfaces.between(a, b, ONE).mean() == pytest.approx(2.5, abs=0.2)
    assert surfaces.hausdorff95(a, b, (2, 2, 2)) == pytest.approx(2 * surfaces.hausdorff95(a, b, ONE))


def test_the_border_by_hand():
    mask = np.ones((3, 4, 5), bool)
    assert surfaces.border(mask).sum() == 60 - 1 * 2 * 3  # at the image's edge it is a border too
    mask[1, 1, 1] = False
    inside = ~surfaces.border(mask) & mask
    assert np.argwhere(inside).tolist() == [[1, 1, 3], [1, 2, 2], [1, 2, 3]]


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=1, max_dims=4, max_side=6)))
def test_the_border_is_what_an_erosion_takes(mask):
    assert np.array_equal(surfaces.border(mask), mask & ~ndimage.binary_erosion(mask))


def test_volume():
    assert surfaces.volume_ml(box((9, 9, 20), (0, 0, 0), (5, 4, 10)), (2.5, 1, 2)) == 1
    assert surfaces.volume_ml(torch.zeros(3, 3, 3, dtype=torch.bool), ONE) == 0


# ------------------------------------------------------------------------------------------------------ empty masks


def test_empty_masks_as_documented():
    empty, mask = np.zeros((155, 240, 240), bool), box((155, 240, 240), (0, 0, 0), (3, 3, 3))
    perfect = {"hausdorff95": 0, "surface_dice": 1, "mean_surface_distance": 0}
    assert metrics.distances(empty, empty, ONE) == perfect
    assert metrics.distances(mask, mask, ONE) == perfect
    for pair in ((empty, mask), (mask, empty)):
        found = metrics.distances(*pair, ONE)
        assert found["hausdorff95"] == found["mean_surface_distance"] == pytest.approx(373.1287)  # as BraTS has it
        assert found["surface_dice"] == 0
        assert surfaces.between(*pair, ONE).hausdorff(100) == pytest.approx(373.1287)
    assert surfaces.hausdorff95(empty, mask, (2, 3, 4)) == pytest.approx(np.linalg.norm([310, 720, 960]))


@given(st.data())
@settings(deadline=None)
def test_always_a_number_never_beyond_the_worst(data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=6))
    prediction, truth = (data.draw(hnp.arrays(bool, shape)) for _ in range(2))
    spacing = data.draw(st.tuples(*[st.floats(0.3, 5)] * len(shape)))
    found = metrics.distances(prediction, truth, spacing)
    worst = np.linalg.norm(np.multiply(shape, spacing))
    assert 0 <= found["mean_surface_distance"] <= worst
    assert 0 <= found["hausdorff95"] <= worst
    assert 0 <= found["surface_dice"] <= 1
    assert (found["hausdorff95"] == worst) == (prediction.any() != truth.any())
    assert metrics.distances(truth, prediction, spacing) == pytest.approx(found)
    if np.array_equal(prediction, truth):
        assert found == {"hausdorff95": 0, "surface_dice": 1, "mean_surface_distance": 0}


# ------------------------------------------------------------------------------------------------- other libraries


@pytest.mark.parametrize("spacing", [ONE, ANISOTROPIC, (0.7, 0.7, 0.7)])
@pytest.mark.parametrize("tolerance", [0.7, 2.1, 3.0])
def test_shifted_balls_agree_with_monai(spacing, tolerance):
    a, b = ball((30, 32, 30), 20, 60), ball((31, 29, 34), 18, 60)
    found = metrics.distances(a, b, spacing, tolerance)
    assert found == pytest.approx(by_monai(a, b, spacing, tolerance), abs=1e-5, rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_blobs_agree_with_monai(seed):
    spacing = (ONE, ANISOTROPIC)[seed % 2]
    prediction, truth = blobs(seed), blobs(seed + 100, share=0.1)
    found = metrics.distances(prediction, truth, spacing, 1.8)
    assert found == pytest.approx(by_monai(prediction, truth, spacing, 1.8), abs=1e-5, rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_any_masks_agree_with_monai(data):
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=7))
    prediction, truth = (data.draw(hnp.arrays(bool, shape)) for _ in range(2))
    prediction[0, 0, 0] = truth[1, 1, 1] = True
    found = metrics.distances(prediction, truth, ANISOTROPIC, 1.7)
    assert found == pytest.approx(by_monai(prediction, truth, ANISOTROPIC, 1.7), abs=1e-5, rel=1e-6)


def test_real_labels_agree_with_monai(brats_folder):
    first, second = (case.label() for case in list(open_cohort(f"brats:{brats_folder}"))[:2])
    pairs = [
        (np.roll(first > 0, (2, -3, 4), (0, 1, 2)), first > 0),
        (ndimage.binary_erosion(second == 3), np.isin(second, (1, 3))),
        (first > 0, second > 0),  # the tumours of two patients
    ]
    for prediction, truth in pairs:
        found = metrics.distances(prediction, truth, ONE, 2)
        assert found == pytest.approx(by_monai(prediction, truth, ONE, 2), abs=1e-5, rel=1e-6)
        assert found["hausdorff95"] > 0


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_the_other_definition_is_what_we_say_it_is():
    """Surface-distance weights by area and sits on corners of voxels: close, and the same only at the ends."""
    truth, spacing = ball((40, 40, 38)), (2.0, 2.0, 2.0)
    for moved, furthest in (((0, 0, 0), 0), ((1, 0, 0), 2), ((0, 0, 5), 10)):
        prediction = np.roll(truth, moved, (0, 1, 2))
        ours = surfaces.between(prediction, truth, spacing)
        theirs = surface_distance.compute_surface_distances(truth, prediction, spacing)
        assert ours.hausdorff(100) == surface_distance.compute_robust_hausdorff(theirs, 100) == furthest
        for tolerance in (2, 3, 5, 9.9, 10):
            expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
            assert ours.surface_dice(tolerance) == pytest.approx(expected, abs=0.1)
            assert (ours.surface_dice(tolerance) == 1) == (expected == 1)
    # HD95 at twice the spacing, by voxels and by area.
    assert ours.hausdorff() / 2 == pytest.approx(4.583, abs=5e-4)
    assert surface_distance.compute_robust_hausdorff(theirs, 95) / 2 == pytest.approx(4.359, abs=5e-4)


def test_what_the_benchmark_compares_agrees(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    for pair in importlib.import_module("benchmarks.surfaces").pairs((32, 40, 48)):
        found = pair.ours()()
        assert found == pytest.approx(pair.theirs()(), abs=1e-5)
        assert 0.5 < found["dice"] < 1


# -------------------------------------------------------------------------------------------------------- refusals


def test_torch_and_numpy_agree_and_nothing_is_changed():
    prediction, truth = blobs(1), blobs(2)
    kept = prediction.copy(), truth.copy()
    found = metrics.distances(prediction, truth, ANISOTROPIC)
    assert metrics.distances(torch.from_numpy(prediction), torch.from_numpy(truth), ANISOTROPIC) == found
    assert np.array_equal(prediction, kept[0])
    assert np.array_equal(truth, kept[1])
    assert surfaces.hausdorff95(prediction[:, ::-1, ::2], truth[:, ::-1, ::2], ANISOTROPIC) > 0  # any strides


def test_refusals():
    mask = np.zeros((3, 3, 3), bool)
    with pytest.raises(ValueError, match="differ in shape"):
        surfaces.hausdorff95(mask, mask[:2], ONE)
    with pytest.raises(ValueError, match="truth is uint8, not boolean"):
        surfaces.between(mask, mask.astype(np.uint8), ONE)
    for spacing in ((1, 1), (1, 0, 1), (1, 1, float("nan"))):
        with pytest.raises(ValueError, match="needs 3 distances in mm above zero"):
            surfaces.surface_dice(mask, mask, spacing)
        with pytest.raises(ValueError, match="needs 3 distances in mm above zero"):
            surfaces.volume_ml(mask, spacing)
    for tolerance in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="the tolerance is"):
            metrics.distances(mask, mask, ONE, tolerance)
