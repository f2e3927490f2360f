"""Fields in millimetres: the same function at every voxel size; fronts that arrive when they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.cohorts.phantom.fields import FRAME, Field, VoxelGrid, arrival, generator, inside, noise


def test_the_frame_is_that_of_brats_at_1_mm():
    grid = VoxelGrid.of_frame((1, 1, 1))
    assert grid.shape == FRAME == (155, 240, 240)
    assert grid.start == (0, 0, 0)
    assert VoxelGrid.of_frame((3, 3, 3)).shape == (52, 80, 80)


@given(st.tuples(*[st.floats(0.5, 10)] * 3))
def test_at_every_spacing_the_frame_covers_the_same_place(spacing):
    grid = VoxelGrid.of_frame(spacing)
    for n, step, start, extent in zip(grid.shape, spacing, grid.start, FRAME, strict=True):
        assert start - step / 2 == pytest.approx(-0.5)
        assert abs(n * step - extent) <= step / 2 + 1e-9


def test_crop_and_box_keep_positions():
    grid = VoxelGrid.of_frame((3, 2, 1))
    box = grid.box((10, 20, 30), (50, 60, 70))
    part = grid.crop(box)
    for line, whole, where, low, high in zip(part.axes(), grid.axes(), box, (10, 20, 30), (50, 60, 70), strict=True):
        assert np.array_equal(line.ravel(), whole.ravel()[where])
        assert line.min() <= low
        assert line.max() >= high
    assert grid.box((-50,) * 3, (900,) * 3) == tuple(slice(0, n) for n in grid.shape)


def test_a_field_of_equal_coefficients_is_constant():
    field = Field(np.full((9, 12, 15), 3.0), 20.0, (0, 0, 0))
    np.testing.assert_allclose(field.on(VoxelGrid.of_frame((3, 3, 3))), 3.0)


def test_a_field_of_linear_coefficients_is_linear():
    z = 7.0 + 10 * np.arange(30)
    field = Field(np.broadcast_to(z[:, None, None], (30, 4, 4)), 10.0, (7.0, 0, 0))
    grid = VoxelGrid((20, 2, 2), (4.0, 4.0, 4.0), (30.0, 3.0, 3.0))
    np.testing.assert_allclose(field.on(grid)[:, 0, 0], grid.axes()[0].ravel())


def test_one_coefficient_gives_the_cubic_b_spline():
    coefficients = np.zeros((9, 9, 9))
    coefficients[4, 4, 4] = 1
    points = VoxelGrid((5, 1, 1), (5.0, 1e-6, 1e-6), (40.0, 40.0, 40.0))
    tiny = [VoxelGrid((1, 1, 1), (1e-6,) * 3, (at, 40.0, 40.0)) for at in points.axes()[0].ravel()]
    values = np.array([Field(coefficients, 10.0, (0, 0, 0)).on(point)[0, 0, 0] for point in tiny])
    np.testing.assert_allclose(values / (2 / 3) ** 2, [2 / 3, 23 / 48, 1 / 6, 1 / 48, 0], atol=1e-7)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 4), st.sampled_from([6.0, 15.0, 40.0]), st.integers(0, 99))
def test_a_voxel_sees_the_mean_over_its_extent(ratio, pitch, seed):
    field = noise(generator(seed, "a field"), pitch)
    fine = VoxelGrid((12,) * 3, (1.0,) * 3, (60.0, 100.0, 90.0))
    coarse = VoxelGrid((12 // ratio,) * 3, (float(ratio),) * 3, tuple(at + (ratio - 1) / 2 for at in fine.start))
    n = 12 // ratio
    mean = field.on(fine).reshape(n, ratio, n, ratio, n, ratio).mean((1, 3, 5))
    np.testing.assert_allclose(field.on(coarse), mean, atol=0.01)


def test_noise_has_the_strength_it_is_asked_for():
    values = noise(generator(1, "strength"), 7, 2.0).on(VoxelGrid.of_frame((1.5, 1.5, 1.5)))
    assert values.std() == pytest.approx(2.0, rel=0.05)
    assert abs(values.mean()) < 0.1


def test_generators_differ_by_every_part_of_their_key():
    keys = [(0, 1, "a"), (1, 0, "a"), (0, 1, "b"), (0, 1), (1, 0)]
    assert len({generator(*key).integers(2**62) for key in keys}) == len(keys)
    assert generator(3, "a").integers(2**62) == generator(3, "a").integers(2**62)


def test_share_below_a_level():
    np.testing.assert_allclose(inside(np.array([-9, -1, 0, 1, 9.0]), 4.0), [1, 0.75, 0.5, 0.25, 0])


def test_a_front_in_a_channel_takes_cost_times_length():
    start = np.full((1, 1, 6), np.inf)
    start[0, 0, 1] = 5.0
    cost = np.array([1, 1, 1, 2, 4, 1.0])[None, None]
    np.testing.assert_allclose(arrival(start, cost, 3.0, 10)[0, 0], [8, 5, 8, 14, 26, 29])


def test_a_front_goes_no_further_than_its_steps_and_needs_a_start():
    start = np.full((1, 1, 6), np.inf)
    assert np.isinf(arrival(start, np.ones(start.shape), 1.0, 3)).all()
    start[0, 0, 0] = 0
    np.testing.assert_allclose(arrival(start, np.ones(start.shape), 1.0, 3)[0, 0], [0, 1, 2, 3, np.inf, np.inf])


def test_a_front_from_a_ball_arrives_after_the_distance():
    grid = VoxelGrid((41,) * 3, (1.0,) * 3, (-20.0,) * 3)
    distance = sum(line**2 for line in grid.axes()) ** 0.5
    found = arrival(np.where(distance < 6, distance, np.inf), np.ones(grid.shape), 1.0, 30)
    near = distance < 20
    assert np.abs(found - distance)[near].max() < 1.2  # first order: too late along the diagonals, never too early
    assert (found - distance)[near].min() > -1e-9


def test_a_front_goes_round_a_wall():
    cost = np.ones((1, 21, 21))
    cost[0, :20, 10] = 1e6
    start = np.full(cost.shape, np.inf)
    start[0, 0, 0] = 0
    found = arrival(start, cost, 1.0, 80)
    assert np.hypot(20, 10) + np.hypot(20, 10) <= found[0, 0, 20] < 50
