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

from gbmlib.preprocess import resampling

ROOT = Path(__file__).resolve().parents[2]
SHAPES = st.tuples(*[st.integers(1, 14)] * 3)


@settings(deadline=None, max_examples=60)
@given(SHAPES, SHAPES, st.sampled_from([0, 1, 3]), st.integers(0, 99))
def test_resampling_is_scikit_images(old, new, order, seed):
    volume = np.random.default_rng(seed).normal(size=old)
    ours = resampling.resample_to(volume[None].astype(np.float32), new, order)[0]
    theirs = resize(volume, new, order=order, mode="edge", anti_aliasing=False, clip=False)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_cubic_resampling_is_scipys_zoom_as_nnunet_uses_it():
    volume = np.random.default_rng(0).normal(size=(30, 41, 25))
    theirs = ndimage.zoom(volume, np.array([20, 60, 25]) / volume.shape, order=3, mode="nearest", grid_mode=True)
    ours = resampling.resample_to(volume[None].astype(np.float32), (20, 60, 25), 3)[0]
    np.testing.assert_allclose(ours, theirs, atol=5e-6)


@given(SHAPES, SHAPES)
@settings(deadline=None)
def test_resampling_keeps_a_constant(old, new):
    for order in (0, 1, 3, "area"):
        out = resampling.resample_to(np.full((2, *old), 7, np.float32), new, order)
        np.testing.assert_allclose(out, np.full((2, *new), 7), rtol=1e-5)


def test_averaging_by_hand_and_it_keeps_the_mean():
    line = np.array([1, 2, 3, 4, 5, 6], np.float32).reshape(1, 1, 1, 6)
    assert resampling.resample_to(line, (1, 1, 2), "area").ravel().tolist() == [2, 5]
    # Four voxels of 1.5 old ones each.
    thirds = resampling.resample_to(line, (1, 1, 4), "area").ravel()
    np.testing.assert_allclose(thirds, [4 / 3, 8 / 3, 13 / 3, 17 / 3], rtol=1e-6)
    assert thirds.mean() == pytest.approx(line.mean())


def test_resampling_from_spacing_to_spacing():
    out = resampling.resample(np.zeros((2, 10, 20, 31), np.float32), (3, 1, 1), (1.5, 2, 2))
    assert out.shape == (2, 20, 10, round(31 / 2))
    label = resampling.resample(np.ones((1, 4, 4, 4), np.uint8), (1, 1, 1), (0.5, 0.5, 0.5), order=0)
    assert label.dtype == np.uint8


@pytest.mark.parametrize("order", [1, 3, "area"])
@pytest.mark.parametrize("new", [(70, 100, 45), (33, 160, 130)])
def test_large_volumes_are_exact_too(order, new):
    """More rows than a band of the matrix has."""
    volume = np.random.default_rng(1).normal(size=(2, 50, 129, 101))
    ours = resampling.resample_to(volume.astype(np.float32), new, order)
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


def test_what_the_benchmark_compares_agrees(monkeypatch):
    """With nnU-Net v2's own calls: images to a millionth of their range, labels but for rounding at ties."""
    pytest.importorskip("nnunetv2", reason="needs nnU-Net v2, of the extra `peers`")
    monkeypatch.syspath_prepend(str(ROOT))
    pairs = importlib.import_module("benchmarks.resampling").pairs((24, 40, 38))
    assert len({pair.name for pair in pairs}) == len(pairs) >= 3
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
@given(SHAPES, SHAPES, st.sampled_from([0, 1, 3, "area"]), st.integers(0, 99))
def test_a_tensor_is_resampled_as_an_array(device, old, new, order, seed):
    volume = np.random.default_rng(seed).normal(size=(2, *old)).astype(np.float32)
    tensor = torch.from_numpy(volume).to(device).requires_grad_()
    out = resampling.resample_to(tensor, new, order)
    assert (out.shape, out.dtype, out.device.type) == ((2, *new), torch.float32, device)
    assert not out.requires_grad
    assert out.is_contiguous()
    expected = resampling.resample_to(volume, new, order)
    np.testing.assert_allclose(out.cpu(), expected, atol=1e-5)
    assert out.data_ptr() != tensor.data_ptr()


def test_a_tensor_of_labels_keeps_its_type_and_one_of_half_precision_becomes_float32():
    label = torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8)
    out = resampling.resample_to(label, (1, 1, 6), 0)
    assert (out.dtype, out.flatten().tolist()) == (torch.uint8, [1, 1, 2, 2, 3, 3])
    half = torch.arange(4, dtype=torch.bfloat16).view(1, 1, 1, 4)
    assert resampling.resample_to(half, (1, 1, 2), "area").flatten().tolist() == [0.5, 2.5]
    assert resampling.resample_to(half, (1, 1, 4)).dtype == torch.float32


@pytest.mark.parametrize("device", DEVICES)
def test_resampling_is_float32_whatever_a_training_has_asked_for(device):
    volume = torch.randn(1, 40, 80, 80, generator=torch.Generator().manual_seed(0))
    exact = ndimage.zoom(volume[0].double().numpy(), 0.7, order=3, mode="nearest", grid_mode=True)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast(device, torch.bfloat16):
            out = resampling.resample_to(volume.to(device), (28, 56, 56), 3)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_allclose(out[0].cpu(), exact, atol=5e-6 * np.ptp(exact))


# --------------------------------------------------------------------------------------------------------------- labels


def test_labels_are_never_mixed():
    label = np.array([1, 1, 2, 0, 0, 0], np.uint8).reshape(1, 1, 6)
    assert resampling.resample_labels(label, (1, 1, 2), "average").ravel().tolist() == [1, 0]
    assert resampling.resample_labels(label, (1, 1, 3), "spline").ravel().tolist() == [1, 0, 0]
    label = np.array([1, 1, 0, 0, 2, 2, 2, 1, 1], np.uint8).reshape(1, 1, 9)
    assert resampling.resample_labels(label, (1, 1, 3), "average").ravel().tolist() == [1, 2, 1]


@given(SHAPES, SHAPES, st.integers(0, 99))
@settings(deadline=None)
def test_the_nearest_voxels_axis_after_axis_are_those_taken_at_once(old, new, seed):
    volume = np.random.default_rng(seed).integers(0, 255, (2, *old))
    z, y, x = (resampling.nearest(*pair) for pair in zip(old, new, strict=True))
    expected = volume[:, z[:, None, None], y[:, None], x]
    np.testing.assert_array_equal(resampling.resample_to(volume, new, 0), expected)


def test_refusals_of_resampling():
    volume = np.zeros((1, 2, 2, 2), np.float32)
    for kind in (volume, torch.from_numpy(volume)):
        with pytest.raises(ValueError, match="order 2: unknown"):
            resampling.resample_to(kind, (3, 3, 3), 2)
        with pytest.raises(ValueError, match=r"channel, z, y, x.*\(2, 2, 2\)"):
            resampling.resample_to(kind[0], (3, 3, 3))
