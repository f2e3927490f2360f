"""Reading between voxels, by hand and against SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from gbmlib.augment import warp


def cells(points, size):
    """Cells of points (axis, N) counted from the volume's first voxel."""
    return warp.find_cells(list(points.float()), [0] * len(size), size)


def test_by_hand_in_one_cell():
    square = torch.tensor([[0.0, 10.0], [20.0, 30.0]])
    found = warp.linear(square.flatten(), cells(torch.tensor([[0.0, 0.5, 1.0, 0.25], [0.0, 0.5, 1.0, 0.0]]), (2, 2)))
    assert found.tolist() == [0, 15, 30, 5]


def test_a_voxel_is_read_as_it_is():
    volume = torch.randn(3, 4, 5, generator=torch.manual_seed(0))
    points = torch.stack(torch.meshgrid(*map(torch.arange, volume.shape), indexing="ij")).flatten(1)
    found = cells(points, volume.shape)
    assert torch.equal(warp.linear(volume.flatten(), found), volume.flatten())


def test_outside_counts_as_the_nearest_inside():
    line = torch.tensor([[3.0, 4.0, 5.0]])
    points = torch.tensor([[-1.0, 7.0, 0.0, 0.0, 0.4], [1.0, 1.0, -9.5, 2.1, 99.0]])
    assert warp.linear(line.flatten(), cells(points, (1, 3))).tolist() == [4, 4, 3, 5, 5]


def test_the_origin_is_where_distances_are_counted_from():
    line = torch.arange(10.0)[None]
    found = warp.find_cells([torch.zeros(2), torch.tensor([-2.5, 3.0])], [0, 5], (1, 10))
    assert warp.linear(line.flatten(), found).tolist() == [2.5, 8]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 7), min_size=2, max_size=3), st.integers(0, 2**30))
def test_images_and_labels_against_scipy(size, seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (len(size), 50)) * (np.array(size)[:, None] - 1)
    image, label = rng.standard_normal(size), rng.choice([0, 3, 200], size).astype(np.uint8)
    found = cells(torch.from_numpy(points), size)
    values = warp.linear(torch.from_numpy(image).float().flatten(), found)
    np.testing.assert_allclose(values, map_coordinates(image, points, order=1), atol=5e-6)
    shares = np.stack([map_coordinates((label == value).astype(float), points, order=1) for value in (0, 3, 200)])
    clear = np.diff(np.sort(shares, axis=0)[-2:], axis=0)[0] > 1e-5
    labels = warp.largest_label(torch.from_numpy(label).flatten(), found).numpy()
    np.testing.assert_array_equal(labels[clear], np.array([0, 3, 200])[shares.argmax(0)][clear])


def test_of_equal_shares_the_lowest_label_wins():
    for corners in ([5, 2], [2, 5]):
        line = torch.tensor([corners], dtype=torch.uint8)
        assert warp.largest_label(line.flatten(), cells(torch.tensor([[0.0], [0.5]]), (1, 2))).tolist() == [2]


def test_the_largest_share_wins_though_no_label_has_half():
    square = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
    found = cells(torch.tensor([[0.6], [0.6]]), (2, 2))
    assert warp.largest_label(square.flatten(), found).tolist() == [4]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**30))
def test_asking_only_mixed_cells_changes_nothing(seed):
    """On a graphics card every cell is computed; here only those that hold several labels."""
    generator = torch.manual_seed(seed)
    size = (5, 6, 7)
    label = torch.randint(0, 3, size, generator=generator, dtype=torch.uint8).flatten()
    found = cells(torch.rand((3, 200), generator=generator) * 4, size)
    corners = torch.stack([label[offset:].index_select(0, found.index) for offset in found.offsets])
    assert torch.equal(warp.largest_label(label, found), warp._largest(corners, found.fractions))


def test_sending_to_where_it_is_changes_nothing():
    values = torch.arange(3)
    assert warp.to_device(values, torch.device("cpu")) is values


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
def test_sending_does_not_wait():
    torch.cuda.set_sync_debug_mode("error")
    try:
        sent = warp.to_device(torch.arange(3), torch.device("cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sent.tolist() == [0, 1, 2]
