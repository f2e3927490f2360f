"""Resampling against scikit-image, SciPy and nnU-Net's own call, on arrays and tensors; label maps."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from gbmlib.preprocess import label_resampling, pipeline, resampling

ROOT = Path(__file__).resolve().parents[2]
SHAPES = st.tuples(*[st.integers(1, 14)] * 3)
AXES = st.sampled_from([None, 0, 1, 2])


@settings(deadline=None, max_examples=60)
@given(SHAPES, SHAPES, st.sampled_from([0, 1, 3]), st.integers(0, 99))
def test_resampling_is_scikit_images(old, new, order, seed):
    volume = np.random.default_rng(seed).normal(size=old)
    ours = pipeline.resample_to(volume[None].astype(np.float32), new, order)[0]
    theirs = resize(volume, new, order=order, mode="edge", anti_aliasing=False, clip=False)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_cubic_resampling_is_scipys_zoom_as_nnunet_uses_it():
    volume = np.random.default_rng(0).normal(size=(30, 41, 25))
    theirs = ndimage.zoom(volume, np.array([20, 60, 25]) / volume.shape, order=3, mode="nearest", grid_mode=True)
    ours = pipeline.resample_to(volume[None].astype(np.float32), (20, 60, 25), 3)[0]
    np.testing.assert_allclose(ours, theirs, atol=5e-6)


@given(SHAPES, SHAPES)
@settings(deadline=None)
def test_resampling_keeps_a_constant(old, new):
    for order in (0, 1, 3, "area"):
        out = pipeline.resample_to(np.full((2, *old), 7, np.float32), new, order)
        np.testing.assert_allclose(out, np.full((2, *new), 7), rtol=1e-5)


def test_averaging_by_hand_and_it_keeps_the_mean():
    line = np.array([1, 2, 3, 4, 5, 6], np.float32).reshape(1, 1, 1, 6)
    assert pipeline.resample_to(line, (1, 1, 2), "area").ravel().tolist() == [2, 5]
    # Four voxels of 1.5 old ones each.
    thirds = pipeline.resample_to(line, (1, 1, 4), "area").ravel()
    np.testing.assert_allclose(thirds, [4 / 3, 8 / 3, 13 / 3, 17 / 3], rtol=1e-6)
    assert thirds.mean() == pytest.approx(line.mean())


def test_resampling_from_spacing_to_spacing():
    out = pipeline.resample(np.zeros((2, 10, 20, 31), np.float32), (3, 1, 1), (1.5, 2, 2))
    assert out.shape == (2, 20, 10, round(31 / 2))
    label = pipeline.resample(np.ones((1, 4, 4, 4), np.uint8), (1, 1, 1), (0.5, 0.5, 0.5), order=0)
    assert label.dtype == np.uint8


def test_majority_by_hand():
    label = np.array([1, 1, 0, 0, 2, 2, 2, 1, 1], np.uint8).reshape(1, 1, 9)
    assert pipeline.majority(label, (1, 1, 3)).ravel().tolist() == [1, 2, 1]


@pytest.mark.parametrize("order", [1, 3, "area"])
@pytest.mark.parametrize("new", [(70, 100, 45), (33, 160, 130)])
def test_large_volumes_are_exact_too(order, new):
    """More rows than a band of the matrix has."""
    volume = np.random.default_rng(1).normal(size=(2, 50, 129, 101))
    ours = pipeline.resample_to(volume.astype(np.float32), new, order)
    for channel, mine in zip(volume, ours, strict=True):
        if order == "area":
            theirs = channel
            for axis, size in enumerate(new):
                theirs = np.moveaxis(np.moveaxis(theirs, axis, -1) @ _shares(channel.shape[axis], size).T, -1, axis)
        else:
            factors = np.array(new) / channel.shape
            theirs = ndimage.zoom(channel, factors, order=order, mode="nearest", grid_mode=True)
        np.testing.assert_allclose(mine, theirs, atol=5e-6 * np.ptp(channel))


def _shares(old, new):
    """What each new voxel takes of each old one: cut into old x new pieces, each lies in one of either."""
    pieces = (np.arange(old * new) // new).reshape(new, old)
    return np.stack([np.bincount(piece, minlength=old) / old for piece in pieces])


# ------------------------------------------------------------------------------------------------------ clip and apart


@settings(deadline=None, max_examples=40)
@given(SHAPES, SHAPES, st.integers(0, 99))
def test_clipped_is_scikit_images_default(old, new, seed):
    volume = np.random.default_rng(seed).normal(size=(2, *old))
    ours = pipeline.resample_to(volume.astype(np.float32), new, 3, clip=True)
    theirs = np.stack([resize(channel, new, order=3, mode="edge", anti_aliasing=False) for channel in volume])
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def by_slices(volume, new, axis, order, clip):
    """Slice by slice with scikit-image, then along the axis with SciPy's nearest neighbour."""
    slices = np.moveaxis(volume, axis, 0)
    plane = [size for number, size in enumerate(new) if number != axis]
    slices = np.stack([resize(s, plane, order=order, mode="edge", anti_aliasing=False, clip=clip) for s in slices])
    at = (np.arange(new[axis]) + 0.5) * volume.shape[axis] / new[axis] - 0.5
    picks = ndimage.map_coordinates(np.arange(volume.shape[axis]), [at], order=0, mode="nearest")
    return np.moveaxis(slices[picks], 0, axis)


@settings(deadline=None, max_examples=60)
@given(SHAPES, SHAPES, st.integers(0, 2), st.sampled_from([1, 3]), st.booleans(), st.integers(0, 99))
def test_an_axis_apart_is_slice_by_slice(old, new, axis, order, clip, seed):
    volume = np.random.default_rng(seed).normal(size=(2, *old))
    ours = pipeline.resample_to(volume.astype(np.float32), new, order, axis, clip)
    theirs = np.stack([by_slices(channel, new, axis, order, clip) for channel in volume])
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_each_slice_is_clipped_to_its_own_range():
    volume = np.zeros((1, 2, 8, 8), np.float32)
    volume[0, 0, 3:5, 3:5] = 1
    volume[0, 1] = 100
    free = pipeline.resample_to(volume, (2, 13, 13), 3, apart=0)
    assert free[0, 0].min() < -0.01  # a spline overshoots
    clipped = pipeline.resample_to(volume, (2, 13, 13), 3, apart=0, clip=True)
    assert (clipped[0, 0].min(), clipped[0, 0].max() <= 1) == (0, True)
    np.testing.assert_allclose(clipped[0, 1], 100, rtol=1e-6)


@pytest.mark.parametrize(
    ("spacing", "new", "axis"),
    [
        ((1, 1, 1), (3, 3, 3), None),
        ((5, 1, 1), (1, 1, 1), 0),
        ((1, 1, 1), (1, 1, 3.5), 2),  # the new grid's, where the old one is even
        ((1, 4, 1), (9, 1, 1), 1),  # the old grid's comes first
        ((3, 1, 1), (3, 1, 1), None),  # exactly three times is not over
        ((0.2, 1.3, 1.3), (1, 1, 1), None),  # two coarse axes
        ((0.2, 1.3, 1.3000001), (1, 1, 1), None),  # the same, but for noise
        ((3.5, 3, 1), (1, 1, 1), 0),
    ],
)
def test_which_axis_goes_apart(spacing, new, axis):
    assert pipeline.coarse_axis(spacing, new) == axis
    assert pipeline.coarse_axis(spacing, new, None) is None


def test_resampling_by_spacing_takes_the_coarse_axis_apart():
    volume = np.random.default_rng(0).normal(size=(1, 5, 20, 20)).astype(np.float32)
    out = pipeline.resample(volume, (5, 1, 1), (2.5, 2, 2), anisotropy=3)
    np.testing.assert_array_equal(out, pipeline.resample_to(volume, (10, 10, 10), 3, apart=0))
    np.testing.assert_array_equal(out[:, ::2], out[:, 1::2])  # every slice twice
    free = pipeline.resample(volume, (5, 1, 1), (2.5, 2, 2))
    np.testing.assert_array_equal(free, pipeline.resample_to(volume, (10, 10, 10), 3))


STEPS = st.sampled_from([0.5, 1, 1.5, 2, 3, 4, 6])


@settings(deadline=None, max_examples=100)
@given(st.tuples(STEPS, STEPS, STEPS), st.tuples(STEPS, STEPS, STEPS))
def test_the_axis_apart_is_nnunets(spacing, new):
    peer = pytest.importorskip(
        "nnunetv2.preprocessing.resampling.default_resampling", reason="needs nnU-Net v2, of the extra `peers`"
    )
    separate, axis = peer.determine_do_sep_z_and_axis(None, spacing, new)
    assert pipeline.coarse_axis(spacing, new) == (axis if separate else None)


def test_what_the_benchmark_compares_agrees(monkeypatch):
    """With nnU-Net v2's own calls: images to a millionth of their range, labels but for rounding at ties."""
    pytest.importorskip("nnunetv2", reason="needs nnU-Net v2, of the extra `peers`")
    monkeypatch.syspath_prepend(str(ROOT))
    pairs = importlib.import_module("benchmarks.resampling").pairs((24, 40, 38))
    assert len({pair.name for pair in pairs}) == len(pairs) >= 6
    for pair in pairs:
        ours, theirs = (np.squeeze(np.asarray(side()())) for side in (pair.ours, pair.theirs))
        assert ours.shape == theirs.shape
        if ours.dtype == np.float32:
            np.testing.assert_allclose(ours, theirs, atol=1e-6 * np.ptp(theirs))
        else:
            assert len(np.unique(ours)) == 4
            assert (ours != theirs).mean() < 1e-4


# -------------------------------------------------------------------------------------------------------------- tensors


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@settings(deadline=None, max_examples=40)
@given(SHAPES, SHAPES, st.sampled_from([0, 1, 3, "area"]), AXES, st.booleans(), st.integers(0, 99))
def test_a_tensor_is_resampled_as_an_array(device, old, new, order, apart, clip, seed):
    volume = np.random.default_rng(seed).normal(size=(2, *old)).astype(np.float32)
    tensor = torch.from_numpy(volume).to(device).requires_grad_()
    out = pipeline.resample_to(tensor, new, order, apart, clip)
    assert (out.shape, out.dtype, out.device.type) == ((2, *new), torch.float32, device)
    assert not out.requires_grad
    assert out.is_contiguous()
    expected = pipeline.resample_to(volume, new, order, apart, clip)
    np.testing.assert_allclose(out.cpu(), expected, atol=1e-5)
    assert out.data_ptr() != tensor.data_ptr()


def test_a_tensor_of_labels_keeps_its_type_and_one_of_half_precision_becomes_float32():
    label = torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8)
    out = pipeline.resample_to(label, (1, 1, 6), 0)
    assert (out.dtype, out.flatten().tolist()) == (torch.uint8, [1, 1, 2, 2, 3, 3])
    half = torch.arange(4, dtype=torch.bfloat16).view(1, 1, 1, 4)
    assert pipeline.resample_to(half, (1, 1, 2), "area").flatten().tolist() == [0.5, 2.5]
    assert pipeline.resample_to(half, (1, 1, 4)).dtype == torch.float32


@pytest.mark.parametrize("device", DEVICES)
def test_resampling_is_float32_whatever_a_training_has_asked_for(device):
    volume = torch.randn(1, 40, 80, 80, generator=torch.Generator().manual_seed(0))
    exact = ndimage.zoom(volume[0].double().numpy(), 0.7, order=3, mode="nearest", grid_mode=True)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast(device, torch.bfloat16):
            out = pipeline.resample_to(volume.to(device), (28, 56, 56), 3)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_allclose(out[0].cpu(), exact, atol=5e-6 * np.ptp(exact))


# --------------------------------------------------------------------------------------------------------------- labels


def linear_shares(label, new, apart):
    """Each label on its own by SciPy's linear interpolation, and by nearest neighbour along the axis apart."""
    shares = {}
    for value in np.unique(label):
        mask = (label == value).astype(float)
        if apart is None:
            shares[value] = resize(mask, new, order=1, mode="edge", anti_aliasing=False)
        else:
            shares[value] = by_slices(mask, new, apart, 1, clip=True)
    return shares


@settings(deadline=None, max_examples=80)
@given(SHAPES, SHAPES, AXES, st.integers(2, 5), st.integers(0, 99), st.sampled_from([7, 2**20]))
def test_labels_linear_per_label_are_the_largest_share(old, new, apart, count, seed, together):
    values = np.array([0, 3, 7, 200, 255], np.uint8)[:count]
    label = np.random.default_rng(seed).choice(values, old)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_resampling, "TOGETHER", together)
        out = pipeline.resample_labels(label, new, "linear", apart)
    assert (out.dtype, out.shape) == (np.uint8, new)
    shares = linear_shares(label, new, apart)
    largest = np.max(list(shares.values()), axis=0)
    mine = sum(share * (out == value) for value, share in shares.items())
    np.testing.assert_allclose(mine, largest, atol=1e-8)  # what was chosen is the largest, or ties with it
    # Of ties the nearest voxel's label.
    near = pipeline.resample_labels(label, new)
    share_of_near = sum(share * (near == value) for value, share in shares.items())
    np.testing.assert_array_equal(out[share_of_near > largest - 1e-10], near[share_of_near > largest - 1e-10])


def test_no_label_arises_between_two_others():
    label = np.array([0, 0, 0, 2, 2, 2], np.uint8).reshape(1, 1, 6)
    for new in (4, 9, 25):
        assert set(np.unique(pipeline.resample_labels(label, (1, 1, new), "linear"))) == {0, 2}


def test_where_labels_meet_none_need_reach_one_half():
    """nnU-Net's first versions left background there, which is none of them."""
    label = np.array([[1, 2], [3, 3]], np.uint8)[None]
    assert pipeline.resample_labels(label, (1, 1, 1), "linear").item() == 3  # a half; 1 and 2 have a quarter
    out = pipeline.resample_labels(np.array([[1, 2], [3, 4]], np.uint8)[None], (1, 3, 3), "linear")
    assert 0 not in out
    assert out[0, 1, 1] == 4  # a quarter each: the nearest voxel's, which of equally near ones is the upper


def test_the_ways_of_labels_by_hand():
    label = np.array([1, 1, 2, 0, 0, 0], np.uint8).reshape(1, 1, 6)
    assert pipeline.resample_labels(label, (1, 1, 2), "majority").ravel().tolist() == [1, 0]
    assert pipeline.resample_labels(label, (1, 1, 3)).ravel().tolist() == [1, 0, 0]
    assert pipeline.resample_labels(label, (1, 1, 6), "linear").ravel().tolist() == label.ravel().tolist()


@given(SHAPES, SHAPES, st.integers(0, 99))
@settings(deadline=None)
def test_taking_axis_after_axis_is_taking_at_once(old, new, seed):
    rng = np.random.default_rng(seed)
    volume = rng.integers(0, 255, (2, *old))
    z, y, x = (rng.integers(0, size, count) for size, count in zip(old, new, strict=True))
    np.testing.assert_array_equal(resampling.take(volume, (z, y, x)), volume[:, z[:, None, None], y[:, None], x])


def test_refusals_of_resampling():
    volume = np.zeros((1, 2, 2, 2), np.float32)
    for kind in (volume, torch.from_numpy(volume)):
        with pytest.raises(ValueError, match="order 2: unknown"):
            pipeline.resample_to(kind, (3, 3, 3), 2)
        with pytest.raises(ValueError, match=r"channel, z, y, x.*\(2, 2, 2\)"):
            pipeline.resample_to(kind[0], (3, 3, 3))
        with pytest.raises(ValueError, match="apart 3: no axis; use 0, 1 or 2"):
            pipeline.resample_to(kind, (3, 3, 3), 3, apart=3)
    with pytest.raises(ValueError, match="labels 'cubic': unknown; use one of"):
        pipeline.resample_labels(volume[0], (3, 3, 3), "cubic")
    with pytest.raises(ValueError, match=r"axes \(z, y, x\); this one has shape"):
        pipeline.resample_labels(volume, (3, 3, 3))
