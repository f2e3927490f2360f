"""From a case to what a network sees, and the exact way back."""

from functools import partial

import numpy as np
import pytest
import torch
from cases_in_memory import bodies, brains, case_of
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.cohorts import CaseError, open_cohort, regions
from gbmlib.preprocess import grids, normalise, pipeline
from gbmlib.study import provenance

CPU = torch.device("cpu")


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_nonzero_box_is_tight_over_all_channels():
    images = np.zeros((2, 5, 6, 7), np.float32)
    images[0, 1, 2, 3] = 1
    images[1, 3, 2, 5] = -1
    assert pipeline.nonzero_box(images, "a") == (slice(1, 4), slice(2, 3), slice(3, 6))
    with pytest.raises(CaseError, match="case a: the images are zero everywhere"):
        pipeline.nonzero_box(np.zeros((1, 2, 2, 2)), "a")


def test_there_and_back_without_resampling_is_exact():
    rng = np.random.default_rng(0)
    images = np.zeros((2, 9, 8, 7), np.float32)
    images[:, 2:7, 1:8, 3:6] = rng.uniform(1, 2, (2, 5, 7, 3))
    label = np.zeros((9, 8, 7), np.uint8)
    label[3:5, 2:6, 3:5] = 2
    prepared = pipeline.prepare(case_of(images, label))
    assert prepared.images.shape == (2, 5, 7, 3)
    back = grids.restore((prepared.label[None] == 2).astype(np.float32), prepared)
    np.testing.assert_array_equal(back[0], label == 2)


def test_an_uncropped_case_is_the_cropped_one_with_its_margins():
    rng = np.random.default_rng(0)
    images = np.zeros((2, 9, 8, 7), np.float32)
    images[:, 2:7, 1:8, 3:6] = rng.uniform(1, 2, (2, 5, 7, 3))
    case = case_of(images, np.zeros((9, 8, 7), np.uint8))
    whole, box = pipeline.prepare(case, cropping="none"), pipeline.prepare(case)
    assert whole.images.shape == images.shape
    np.testing.assert_array_equal(whole.images[(slice(None), *box.box)], box.images)
    assert not whole.images[images == 0].any()
    restored = grids.restore(whole.images, whole)
    np.testing.assert_array_equal(restored, whole.images)
    with pytest.raises(ValueError, match=r"cropping 'skull': unknown; use one of \('brain', 'none'\)"):
        pipeline.prepare(case, cropping="skull")


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 20), st.sampled_from(["average", "spline"]))
def test_there_and_back_through_a_coarser_grid_keeps_shape_and_most_of_a_ball(seed, resampling):
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(24, 34, 3))
    grid = np.indices(size) - np.array(size).reshape(3, 1, 1, 1) / 2
    ball = (grid**2).sum(0) < 64
    images = (1 + ball + rng.uniform(0, 0.1, size))[None].astype(np.float32)
    prepared = pipeline.prepare(case_of(images, ball.astype(np.uint8)), (2, 2, 1.5), resampling)
    back = grids.restore((prepared.label[None] == 1).astype(np.float32), prepared)[0] >= 0.5
    assert back.shape == size
    assert 2 * (back & ball).sum() / (back.sum() + ball.sum()) > 0.9


def test_a_phantom_keeps_its_background_zero_when_resampled():
    case = open_cohort("phantom:cases=1,spacing=4,seed=0", ("t1ce", "flair")).cases[0]
    prepared = pipeline.prepare(case, (8, 8, 8))
    assert prepared.images.shape[1:] == pipeline.new_shape(
        [part.stop - part.start for part in prepared.box], case.spacing, (8, 8, 8)
    )
    assert (prepared.images[0] == 0).mean() > 0.1
    inside = prepared.images[prepared.images != 0]
    assert abs(inside.mean()) < 0.05
    assert prepared.label.shape == prepared.images.shape[1:]


def test_refusals():
    volume = np.zeros((1, 2, 2, 2), np.float32)
    with pytest.raises(ValueError, match="order 2: unknown"):
        pipeline.resample_to(volume, (3, 3, 3), 2)
    with pytest.raises(ValueError, match="channel, z, y, x"):
        pipeline.resample_to(volume[0], (3, 3, 3))
    with pytest.raises(ValueError, match="resampling 'nearest': unknown"):
        pipeline.prepare(case_of(volume + 1), (2, 2, 2), "nearest")


# --------------------------------------------------------------------------------------------------- the order of axes

ORDERS = st.permutations([0, 1, 2])
STEPS = st.sampled_from([0.6, 1, 1.7, 4])
SPACINGS = st.tuples(STEPS, STEPS, STEPS)


@settings(deadline=None, max_examples=60)
@given(ORDERS, SPACINGS, SPACINGS, st.sampled_from(pipeline.RESAMPLING), st.integers(0, 99))
def test_another_order_of_axes_is_the_same_transposed_and_comes_back(axes, spacing, new, resampling, seed):
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(3, 12, 3))
    images = rng.uniform(1, 2, (2, *size)).astype(np.float32)
    images[:, 0] = images[:, :, -1] = 0
    case = case_of(images, rng.integers(0, 3, size).astype(np.uint8), spacing)
    plain = pipeline.prepare(case, new, resampling)
    turned = pipeline.prepare(case, new, resampling, axes=axes)
    assert (turned.axes, turned.box, turned.native_shape) == (tuple(axes), plain.box, size)
    np.testing.assert_array_equal(turned.images, plain.images.transpose(0, *(axis + 1 for axis in axes)))
    np.testing.assert_array_equal(turned.label, plain.label.transpose(axes))
    assert turned.images.flags.c_contiguous
    assert turned.label.flags.c_contiguous
    np.testing.assert_array_equal(grids.restore(turned.images, turned), grids.restore(plain.images, plain))
    labels = grids.restore_labels(turned.images, turned, lambda p: p.argmax(0))
    np.testing.assert_array_equal(labels, grids.restore_labels(plain.images, plain, lambda p: p.argmax(0)))


def test_slices_across_y_by_hand():
    images = np.arange(1, 25, dtype=np.float32).reshape(1, 2, 3, 4)
    prepared = pipeline.prepare(case_of(images), axes=(1, 0, 2))
    assert prepared.images.shape == (1, 3, 2, 4)
    np.testing.assert_array_equal(prepared.images[0, 1], pipeline.zscore(images)[0, :, 1])
    back = grids.restore(prepared.images, prepared)
    np.testing.assert_array_equal(back, pipeline.zscore(images))


# ------------------------------------------------------------------------------------------------- resampling of a case


def test_what_the_names_of_resampling_mean():
    rng = np.random.default_rng(0)
    images = rng.uniform(1, 2, (1, 5, 20, 22)).astype(np.float32)
    label = rng.integers(0, 4, (5, 20, 22)).astype(np.uint8)
    size = (10, 16, 18)
    for name, order in (("spline", 3), ("average", "area")):
        prepared = pipeline.prepare(case_of(images, label, (5, 1, 1)), (2.5, 1.25, 1.25), name, normalisation="whole")
        expected = pipeline.resample_to(images, size, order)
        np.testing.assert_array_equal(prepared.images, pipeline.zscore(expected, whole=True))
        np.testing.assert_array_equal(prepared.label, pipeline.resample_labels(label, size, name))
        assert len(np.unique(expected)) > 1000


def test_zero_stays_background_where_it_is_background_and_moves_where_it_is_a_value():
    images = np.zeros((1, 12, 12, 12), np.float32)
    images[0, 2:10, 2:10, 2:10] = np.random.default_rng(0).uniform(5, 9, (8, 8, 8))
    images[0, 0, 0, 0] = images[0, -1, -1, -1] = 1e-3  # so that nothing is cropped
    image, whole = (pipeline.prepare(case_of(images), (2, 2, 2), "spline", None, n).images for n in ("image", "whole"))
    assert (image == 0).mean() > 0.5
    assert not (whole == 0).any()
    np.testing.assert_array_equal(image, pipeline.prepare(case_of(images), (2, 2, 2), "spline").images)


def test_without_a_name_the_statistics_say_how_to_normalise():
    for kind, cases in (("dataset", brains()), ("position", brains()), ("ct", bodies())):
        by = normalise.statistics(cases, kind)
        named, unnamed = (pipeline.prepare(cases[0], None, "average", by, name).images for name in (kind, None))
        np.testing.assert_array_equal(named, unnamed)


# ----------------------------------------------------------------------------------------------- labels on the way back


def sure(volume):
    """Where the largest channel leads by more than rounding."""
    ordered = np.sort(volume, axis=0)
    return ordered[-1] - ordered[-2] > 1e-5


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 999), ORDERS, st.sampled_from([0.0001, 0.01, 100]), st.integers(2, 5))
def test_labels_come_back_slab_by_slab_as_at_once(seed, axes, memory_mb, classes):
    rng = np.random.default_rng(seed)
    native, small = (tuple(int(n) for n in rng.integers(1, high, 3)) for high in (20, 15))
    box = tuple(slice(start, start + size) for start, size in zip(rng.integers(0, 4, 3).tolist(), native, strict=True))
    frame = tuple(part.stop + int(more) for part, more in zip(box, rng.integers(0, 4, 3), strict=True))
    prepared = pipeline.Prepared("case", np.zeros((1, *(small[axis] for axis in axes))), None, box, frame, tuple(axes))
    probabilities = rng.random((classes, *prepared.images.shape[1:]), np.float32)
    largest = []

    def to_labels(slab):
        largest.append(slab.nbytes)
        return slab.argmax(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "SLAB_MB", memory_mb)
        out = grids.restore_labels(probabilities, prepared, to_labels)
    whole = grids.restore(probabilities, prepared)
    assert (out.dtype, out.shape) == (np.uint8, frame)
    inside = np.zeros(frame, bool)
    inside[box] = True
    assert not out[~inside].any()
    np.testing.assert_array_equal(out[sure(whole)], whole.argmax(0)[sure(whole)])
    assert max(largest) <= max(memory_mb * 2**20 / 4, classes * native[1] * native[2] * 4)
    assert len(largest) == {100: 1, 0.0001: native[0]}.get(memory_mb, len(largest))


def test_labels_of_nested_regions_and_of_half_precision_tensors_come_back(monkeypatch):
    monkeypatch.setattr(grids, "SLAB_MB", 0.01)
    rng = np.random.default_rng(0)
    images = np.pad(rng.uniform(1, 2, (1, 10, 12, 14)), ((0, 0), (1, 1), (2, 2), (0, 3))).astype(np.float32)
    prepared = pipeline.prepare(case_of(images), (2, 2, 2))
    probabilities = torch.rand(3, *prepared.images.shape[1:], generator=torch.Generator().manual_seed(0)).bfloat16()
    to_labels = partial(regions.to_labels, scheme="brats")
    whole = grids.restore(probabilities.float().numpy(), prepared)
    out = grids.restore_labels(probabilities, prepared, to_labels)
    clear = (np.abs(whole - 0.5) > 1e-5).all(0)
    np.testing.assert_array_equal(out[clear], to_labels(whole)[clear])
    assert clear.mean() > 0.99
    assert set(np.unique(out)) == {0, 1, 2, 3}


def test_many_classes_come_back_in_little_memory(monkeypatch):
    """Sixty classes of half a million voxels: 120 MB in native size, a fraction of it slab by slab."""
    prepared = pipeline.Prepared("case", np.zeros((1, 20, 20, 20)), None, (slice(0, 80),) * 3, (80, 80, 80))
    probabilities = torch.rand(60, 20, 20, 20)
    shapes = []
    monkeypatch.setattr(grids, "SLAB_MB", 16)
    grids.restore_labels(probabilities, prepared, lambda p: shapes.append(p.shape) or p.argmax(0))
    assert sum(shape[1] for shape in shapes) == 80
    assert max(np.prod(shape) * 4 for shape in shapes) <= 4 * 2**20


@settings(deadline=None, max_examples=40)
@given(SPACINGS, SPACINGS, ORDERS, st.sampled_from(pipeline.RESAMPLING), st.integers(0, 99))
def test_there_and_back_through_any_grid_an_ellipsoid_stays_where_it_is(spacing, new, axes, resampling, seed):
    """Of some 20 mm radius, in a box whose shape and spacing differ from axis to axis."""
    rng = np.random.default_rng(seed)
    size = tuple(int(length / step) for length, step in zip(rng.uniform(50, 60, 3), spacing, strict=True))
    place = [(np.arange(n) + 0.5 - n / 2) * step for n, step in zip(size, spacing, strict=True)]
    radii = rng.uniform(17, 22, 3)
    distance = sum((axis / radius) ** 2 for axis, radius in zip(np.meshgrid(*place, indexing="ij"), radii, strict=True))
    label = (distance < 1).astype(np.uint8)
    images = (1 + label + rng.uniform(0, 0.1, size))[None].astype(np.float32)
    padded = [np.pad(volume, [(0, 0)] * (volume.ndim - 3) + [(1, 2), (3, 0), (0, 1)]) for volume in (images, label)]
    prepared = pipeline.prepare(case_of(*padded, spacing), new, resampling, axes=axes)
    one_hot = np.stack([prepared.label == value for value in (0, 1)]).astype(np.float32)
    back = grids.restore_labels(one_hot, prepared, lambda p: p.argmax(0))
    assert dice(back == 1, padded[1] == 1) > (0.93 if max(new) < 4 and max(spacing) < 4 else 0.85)


def test_where_only_cropping_happened_labels_come_back_exactly():
    rng = np.random.default_rng(0)
    images = np.pad(rng.uniform(1, 2, (2, 5, 7, 6)), ((0, 0), (2, 1), (0, 3), (4, 0))).astype(np.float32)
    label = np.where(images[0] > 0, rng.integers(0, 4, images.shape[1:]), 0).astype(np.uint8)
    for axes in ((0, 1, 2), (2, 0, 1)):
        prepared = pipeline.prepare(case_of(images, label), axes=axes)
        one_hot = np.stack([prepared.label == value for value in range(4)]).astype(np.float32)
        back = grids.restore_labels(one_hot, prepared, lambda p: p.argmax(0))
        np.testing.assert_array_equal(back, label)


def test_refusals_of_preparing_and_restoring():
    case, ct = brains(1)[0], bodies(1)[0]
    with pytest.raises(ValueError, match=r"axes \(0, 0, 1\): they must be 0, 1 and 2"):
        pipeline.prepare(case, axes=(0, 0, 1))
    with pytest.raises(ValueError, match="normalisation 'pixel': unknown"):
        pipeline.prepare(case, normalisation="pixel")
    with pytest.raises(ValueError, match=r"'ct' needs statistics\(training cases, 'ct'\)"):
        pipeline.prepare(ct, normalisation="ct")
    with pytest.raises(ValueError, match="'whole' needs no statistics"):
        pipeline.prepare(case, statistics=normalise.statistics([case], "dataset"), normalisation="whole")
    with pytest.raises(ValueError, match="'dataset': the statistics given are those of CT"):
        pipeline.prepare(ct, statistics=normalise.statistics([ct], "ct"), normalisation="dataset")
    with pytest.raises(ValueError, match="'ct': the statistics given are those of 'dataset' or 'position'"):
        pipeline.prepare(ct, statistics=normalise.statistics([case], "dataset"), normalisation="ct")
    with pytest.raises(CaseError, match="case empty: the images are zero everywhere"):
        pipeline.prepare(case_of(np.zeros((1, 2, 2, 2), np.float32), name="empty"))
    prepared = pipeline.prepare(case)
    for restore in (grids.restore, partial(grids.restore_labels, to_labels=lambda p: p.argmax(0))):
        with pytest.raises(ValueError, match=r"case case-0: the volume to restore has shape \(2, 3, 3, 3\)"):
            restore(np.zeros((2, 3, 3, 3), np.float32), prepared)


# ----------------------------------------------------------------------------------------------------------- real cases


def one_hot(label, classes):
    return np.stack([label == value for value in range(classes)]).astype(np.float32)


@pytest.mark.parametrize("resampling", pipeline.RESAMPLING)
@pytest.mark.parametrize(("spacing", "axes"), [((0.8, 1.1, 0.9), (0, 1, 2)), ((1, 1.4, 0.7), (1, 0, 2))])
def test_a_hippocampus_there_and_back(hippocampus_folder, resampling, spacing, axes):
    case = open_cohort(f"msd:{hippocampus_folder}").cases[0]
    prepared = pipeline.prepare(case, spacing, resampling, normalisation="whole", axes=axes)
    native = [part.stop - part.start for part in prepared.box]
    expected = pipeline.new_shape(native, case.spacing, spacing)
    assert prepared.images.shape[1:] == tuple(expected[axis] for axis in axes)
    back = grids.restore_labels(one_hot(prepared.label, 3), prepared, lambda p: p.argmax(0))
    for value in (1, 2):
        assert dice(back == value, case.label() == value) > 0.93
    image = grids.restore(prepared.images, prepared)[0][prepared.box]
    own = pipeline.zscore(case.images(), whole=True)[0][prepared.box]
    assert np.corrcoef(image.ravel(), own.ravel())[0, 1] > 0.97


def test_a_glioma_at_full_resolution_there_and_back(brats_folder):
    """Voxel for voxel where only cropping happened; nearly so by way of another grid; in modest memory."""
    case = open_cohort(f"brats:{brats_folder}", ("t1ce", "flair")).cases[1]
    label = case.label()
    provenance.forget_peak_memory(CPU)
    before = provenance.peak_memory_mb(CPU)
    cropped = pipeline.prepare(case)
    back = grids.restore_labels(one_hot(cropped.label, 4), cropped, lambda p: p.argmax(0))
    lost = label.copy()
    lost[cropped.box] = 0
    np.testing.assert_array_equal(back, label - lost)
    other = pipeline.prepare(case, (1.3, 0.9, 1.1), "spline")
    back = grids.restore_labels(one_hot(other.label, 4), other, lambda p: p.argmax(0))
    assert back.shape == case.shape
    assert dice(back > 0, label > 0) > 0.97
    assert min(dice(back == value, label == value) for value in (1, 2, 3)) > 0.9
    # No shift: the centre of mass stays within a small part of a voxel.
    centres = [np.argwhere(volume > 0).mean(0) for volume in (back, label)]
    np.testing.assert_allclose(*centres, atol=0.1)
    assert provenance.peak_memory_mb(CPU) - before < 1500


@pytest.mark.parametrize("resampling", pipeline.RESAMPLING)
@pytest.mark.parametrize(("spacing", "new"), [((1, 1, 1), (2, 1.5, 1.2)), ((5, 1, 1), (1, 2, 2)), ((1, 1, 1), None)])
def test_a_label_map_comes_onto_the_grid_as_the_cases_own_label_does(resampling, spacing, new):
    rng = np.random.default_rng(0)
    images, label = np.zeros((1, 12, 14, 10), np.float32), rng.integers(0, 3, (12, 14, 10)).astype(np.uint8)
    images[:, 1:11, 2:13, 1:9] = rng.random((10, 11, 8)) + 1
    case = case_of(images, label, spacing)
    prepared = pipeline.prepare(case, new, resampling, axes=(1, 0, 2))
    for grid in (prepared, prepared.grid):
        np.testing.assert_array_equal(pipeline.onto(label, grid, resampling), prepared.label)
    with pytest.raises(ValueError, match="for a case of"):
        pipeline.onto(label[1:], prepared, resampling)
    with pytest.raises(ValueError, match="unknown"):
        pipeline.onto(label, prepared, "none")
