"""The lattice of noise and its matrices against SciPy's Gaussian filter."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from gbmlib.augment import elastic


def smoothed(noise, size, sigma):
    """A lattice (z, y, x) of noise as values at the voxels."""
    matrices = [
        elastic.smoothing(extent, points, torch.tensor([sigma]))[0].numpy()
        for extent, points in zip(size, noise.shape, strict=True)
    ]
    return np.einsum("abc,za,yb,xc->zyx", noise, *matrices, optimize=True)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.floats(0.3, 14))
def test_with_a_point_for_each_voxel_it_is_scipys_filter(size, sigma):
    ours = elastic.smoothing(size, size, torch.tensor([sigma], dtype=torch.float64))[0].numpy()
    theirs = gaussian_filter1d(np.eye(size), sigma, axis=0, mode="constant", cval=0)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_the_same_noise_gives_the_same_displacement():
    noise = np.random.default_rng(0).uniform(-1, 1, (17, 24, 31))
    theirs = gaussian_filter(noise, 3.0, mode="constant", cval=0)
    np.testing.assert_allclose(smoothed(noise, noise.shape, 3.0), theirs, atol=1e-12)


def test_each_sample_has_its_own_filter():
    both = elastic.smoothing(30, 10, torch.tensor([9.0, 13.0]))
    for sample, sigma in enumerate((9.0, 13.0)):
        torch.testing.assert_close(both[sample], elastic.smoothing(30, 10, torch.tensor([sigma]))[0])


def test_a_lattice_is_half_a_sigma_fine_and_never_finer_than_the_voxels():
    assert elastic.lattice((128, 20, 9), 9) == (29, 5, 2)
    assert elastic.lattice((128, 20, 1), 1.5) == (128, 20, 1)


@pytest.mark.parametrize("size", [40, 56, 128])
@pytest.mark.parametrize("sigma", [9.0, 11.3, 13.0])
def test_the_coarse_lattice_has_the_filters_variance_and_correlation(size, sigma):
    """The covariance of smoothed noise of unit variance is the matrix times its own transpose: no draw is needed."""
    (points,) = elastic.lattice((size,), 9)
    coarse, full = (elastic.smoothing(size, n, torch.tensor([sigma]))[0].numpy() for n in (points, size))
    assert points < size / 4
    covariance, expected = coarse @ coarse.T, full @ full.T
    np.testing.assert_allclose(covariance, expected, atol=0.02 * expected.max())
    np.testing.assert_allclose(np.diag(covariance), np.diag(expected), rtol=0.03)
    middle = size // 2
    np.testing.assert_allclose(covariance[middle, middle], expected[middle, middle], rtol=0.003)


@pytest.mark.parametrize(("size", "alpha"), [((64, 64), 200.0), ((48, 48, 48), 900.0)])
def test_draws_agree_with_the_filter_in_amplitude_and_length(size, alpha):
    sigma, rng = 9.0, np.random.default_rng(1)
    points = elastic.lattice(size, sigma)
    ours, theirs = [], []
    for _ in range(150 if len(size) == 2 else 40):
        noise = rng.uniform(-1, 1, points)
        flat = smoothed(noise.reshape(1, *points) if len(size) == 2 else noise, (1, *size)[-3:], sigma)
        # A single slice is smoothed across nothing, and its one point would be damped: undo that.
        flat = flat / elastic.smoothing(1, 1, torch.tensor([sigma]))[0].item() if len(size) == 2 else flat
        ours.append(flat.reshape(size) * alpha)
        theirs.append(gaussian_filter(rng.uniform(-1, 1, size), sigma, mode="constant", cval=0) * alpha)
    ours, theirs = np.array(ours), np.array(theirs)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.12)
    for lag in (5, 9, 14):
        found, expected = (np.mean(f[..., lag:] * f[..., :-lag]) / f.var() for f in (ours, theirs))
        assert found == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(("dimensions", "alpha", "sigma"), [(3, 900, 9.0), (3, 900, 13.0), (2, 200, 9.0)])
def test_the_deviation_far_from_faces(dimensions, alpha, sigma):
    line = elastic.smoothing(129, 129, torch.tensor([sigma]))[0][64]
    expected = alpha * float((line**2).sum()) ** (dimensions / 2) / 3**0.5
    assert elastic.deviation(alpha, sigma, dimensions) == pytest.approx(expected, rel=1e-3)


def test_on_a_face_the_variance_is_half():
    lines = elastic.smoothing(129, 29, torch.tensor([9.0]))[0]
    variance = (lines**2).sum(-1)
    assert float(variance[0] / variance[64]) == pytest.approx(0.5, abs=0.04)
