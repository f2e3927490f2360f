"""The planner: hand-computed rules, properties of every plan, limits, words.

Table 1 of the paper is in ``test_planner_tables``.
"""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.planner import Fingerprint, Intensities, plan, rule
from gbmlib.planner.planning import LEAST_VOXELS

ONE_MM = (1.0, 1.0, 1.0)


def made(shape, spacing=ONE_MM, cases=100, **more):
    return Fingerprint([shape], [spacing], cases=cases, **more)


# ------------------------------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("size", "most", "pools"),
    [(1, 5, 0), (7.999, 5, 0), (8, 5, 1), (15, 5, 1), (16, 5, 2), (232, 6, 5), (256, 6, 6), (512, 6, 6), (512, 5, 5)],
)
def test_an_axis_is_halved_while_it_is_eight_or_more(size, most, pools):
    assert rule.pools_of(size, most) == pools


@pytest.mark.parametrize(
    ("size", "most", "rounded"),
    # 232 is the paper's Heart; 61 becomes 64 and pools once more; 7.2 is less than 8, but rounds up to 8 and pools.
    [(232, 6, (256, 6)), (169, 6, (192, 5)), (35, 6, (40, 3)), (61, 5, (64, 4)), (7.2, 5, (8, 1)), (5.3, 5, (6, 0))],
)
def test_rounding_up_counts_the_pools_again(size, most, rounded):
    assert rule.round_up(size, most) == rounded


def test_a_patch_gives_up_where_it_is_furthest_over_and_of_equals_at_the_last_axis():
    assert rule.fit((119.64, 146.51, 119.64), 128**3, 5) == ((128, 160, 128), (128, 128, 128))
    assert rule.fit((108.5, 139.03, 139.03), 128**3, 5) == ((112, 160, 160), (112, 160, 128), (112, 128, 128))


def test_an_axis_that_shrinks_below_a_power_of_two_pools_less():
    assert rule.fit((128, 128, 128), 100 * 128 * 128, 5)[-1] == (128, 128, 96)
    assert plan(made((128, 128, 128)), voxels=100 * 128 * 128).three_d.pools == tuple(
        rule.pools_of(size, 5) for size in plan(made((128, 128, 128)), voxels=100 * 128 * 128).three_d.patch_size
    )


def test_a_cube_is_not_rounded_up_for_the_noise_of_a_cube_root():
    """The cube root of 128^3 / 256^3 times 256 is 128.00000000000003 in floating point."""
    assert plan(made((256, 256, 256))).three_d.patch_size == (128, 128, 128)


def test_five_per_cent_with_a_half_to_the_even_number():
    assert rule.five_percent(50, 100, 100) == 2  # 2.5
    assert rule.five_percent(70, 100, 100) == 4  # 3.5
    assert rule.five_percent(1, 100, 100) == 0


def test_finer_axes_are_doubled_first_and_sizes_round_a_half_up():
    first, second = rule.coarser((115, 321, 232), (5, 1.25, 2.4), 2**19)
    assert (first.doubled, first.shape, first.spacing) == ((1, 2), (115, 161, 116), (5, 2.5, 4.8))
    assert (second.doubled, second.shape, second.spacing) == ((1,), (115, 80, 116), (5, 5, 4.8))
    assert rule.coarser((115, 320, 232), (1.37, 1.25, 1.25), 128**3)[-1].shape == (58, 160, 116)
    assert rule.coarser((128, 256, 256), ONE_MM, 128**3) == ()  # exactly four patches are not more than four


def test_the_dropped_axis_is_that_of_the_largest_spacing_and_of_equals_the_first():
    def axes(shape, spacing):
        return plan(made(shape, spacing)).two_d.axes

    assert axes((50, 60, 70), (1, 1, 1)) == (0, 1, 2)
    assert axes((50, 60, 70), (1, 3, 1)) == (1, 0, 2)
    assert axes((50, 60, 70), (1, 1, 3)) == (2, 0, 1)
    assert axes((50, 60, 70), (1, 3, 3)) == (1, 0, 2)
    assert axes((50, 60, 70), (0.6, 0.6000003, 0.6)) == (0, 1, 2)  # the noise of a file's float32
    of = plan(made((50, 60, 70), (1, 3, 1))).two_d
    assert of.median_shape == (50, 70)
    assert of.training_patch == (1, *of.patch_size)


@pytest.mark.parametrize(
    ("shape", "dice", "augmentation", "across"),
    [
        ((138, 169, 138), "sample", "3D", None),
        ((64, 64, 128), "sample", "3D", None),  # exactly twice is not over twice
        ((20, 192, 192), "sample", "slices", 0),
        ((192, 20, 192), "sample", "slices", 1),
        ((400, 400, 400), "batch", "3D", None),
    ],
)
def test_dice_and_augmentation_of_the_3d_network(shape, dice, augmentation, across):
    of = plan(made(shape)).three_d
    assert (of.dice, of.augmentation, of.slice_axis) == (dice, augmentation, across)


def test_a_network_of_two_dimensions_and_the_first_of_a_cascade():
    of = plan(made((400, 400, 400)))
    assert (of.two_d.dice, of.two_d.augmentation) == ("batch", "2D")
    assert (of.low_res.dice, of.low_res.spacing) == ("sample", (2, 2, 2))
    assert of.networks == (of.two_d, of.three_d, of.low_res)


def test_features_double_up_to_the_cap():
    of = plan(made((128, 512, 512)))
    assert of.two_d.features == (30, 60, 120, 240, 480, 480, 480)
    assert of.three_d.features == (30, 60, 120, 240, 320, 320)


@pytest.mark.parametrize(("kept", "masked"), [(None, False), (1.0, False), (0.7501, False), (0.75, True), (0.3, True)])
def test_the_mask_counts_where_cropping_takes_a_quarter_or_more(kept, masked):
    of = plan(made((100, 100, 100), kept=kept))
    assert of.normalisation == ("image" if masked else "whole",)


def test_ct_and_mr_are_normalised_each_in_its_way():
    assert plan(made((100, 100, 100), kinds=("CT", "MR"))).normalisation == ("ct", "whole")


# ----------------------------------------------------------------------------------------------- what holds of any plan

sides = st.one_of(st.integers(1, 12), st.integers(1, 700), st.integers(1, 100_000))
steps = st.one_of(st.sampled_from([0.5, 0.625, 1.0, 1.25, 2.5, 5.0]), st.floats(0.05, 20))
triples = st.tuples(sides, sides, sides).filter(lambda shape: max(shape) > 1)
spacings = st.tuples(steps, steps, steps)
budgets = st.one_of(st.just(128**3), st.integers(LEAST_VOXELS, 8 * 128**3))
several = st.lists(st.tuples(st.tuples(*[st.integers(8, 600)] * 3), spacings), min_size=1, max_size=8)


@settings(deadline=None, max_examples=300)
@given(triples, spacings, st.integers(1, 2000), budgets)
def test_every_plan_is_valid(shape, spacing, cases, voxels):
    of = plan(made(shape, spacing, cases), voxels=voxels)
    for network in of.networks:
        two = network.dimensions == 2
        pixels = 256 * 256 * 42 * voxels // 128**3
        step = network.batch_size * math.prod(network.patch_size)
        assert step <= (pixels if two else 2 * voxels)
        assert math.prod(network.patch_size) <= (pixels // 2 if two else voxels)
        assert network.batch_size >= 2
        assert sorted(network.axes) == [0, 1, 2]
        most = 6 if two else 5
        for size, pools in zip(network.patch_size, network.pools, strict=True):
            assert size >= 1
            assert size % 2**pools == 0
            assert 0 <= pools <= most
            assert pools == most or size / 2**pools < 8
        # More than the least batch only where 5 % of the data set allow it (a half rounds up to them at most).
        grid = math.prod(network.median_shape) if not two else math.prod(of.median_shape)
        most = 0.05 * cases * grid + math.prod(network.patch_size) / 2
        assert network.batch_size == 2 or step <= most
        assert all(line.endswith(".") for line in network.why)
    if of.low_res is None:
        assert math.prod(of.median_shape) <= 4 * voxels
    else:
        assert math.prod(of.low_res.median_shape) <= 4 * voxels < math.prod(of.median_shape)
    assert (of.three_d.dice == "sample") == (of.low_res is None)


@settings(deadline=None, max_examples=60)
@given(several, st.randoms(use_true_random=False))
def test_a_plan_is_the_same_every_time_and_in_every_order_of_the_cases(cases, random):
    shuffled = random.sample(cases, len(cases))
    first, again, other = (
        plan(Fingerprint([shape for shape, _ in rows], [spacing for _, spacing in rows]))
        for rows in (cases, cases, shuffled)
    )
    assert first == again == other


@settings(deadline=None, max_examples=100)
@given(triples, spacings, st.sampled_from([0.1, 0.37, 2.0, 3.0, 10.0]))
def test_another_unit_of_length_changes_no_voxel(shape, spacing, unit):
    one, other = plan(made(shape, spacing)), plan(made(shape, [step * unit for step in spacing]))
    for mine, theirs in zip(one.networks, other.networks, strict=True):
        assert (mine.patch_size, mine.batch_size, mine.pools, mine.median_shape, mine.axes) == (
            theirs.patch_size, theirs.batch_size, theirs.pools, theirs.median_shape, theirs.axes,
        )  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(triples, spacings, st.integers(8 * LEAST_VOXELS, 128**3))
def test_an_eighth_of_the_budget_never_gives_a_larger_patch_or_step(shape, spacing, voxels):
    large, small = (plan(made(shape, spacing), voxels=of) for of in (voxels, voxels // 8))
    for of in ("two_d", "three_d"):
        assert math.prod(getattr(small, of).patch_size) <= math.prod(getattr(large, of).patch_size)


def test_a_smaller_budget_gives_a_smaller_patch():
    edges = [plan(made((138, 169, 138)), voxels=size**3).three_d.patch_size for size in (128, 96, 64, 32, 16)]
    assert edges == sorted(edges, reverse=True)
    assert len({math.prod(edge) for edge in edges}) == 5


# ----------------------------------------------------------------------------------------------------------- the limits


def test_one_case_of_one_slice():
    of = plan(made((1, 512, 512), (5, 0.7, 0.7), cases=1))
    assert (of.two_d.patch_size, of.two_d.batch_size, of.two_d.axes) == ((512, 512), 2, (0, 1, 2))
    assert of.three_d.patch_size[0] == 1
    assert of.three_d.pools[0] == 0
    assert of.low_res is None


def test_a_slice_that_lies_along_another_axis_is_found():
    of = plan(made((512, 400, 1), ONE_MM)).two_d
    assert (of.axes, of.median_shape) == ((2, 0, 1), (512, 400))
    assert "along which the median case has a single voxel" in of.why[0]


def test_a_plane_too_large_for_two_in_a_step_is_scaled_like_a_patch():
    of = plan(made((10, 4000, 3000), (5, 0.1, 0.1))).two_d
    assert of.median_shape == (4000, 3000)
    assert math.prod(of.patch_size) * 2 <= 256 * 256 * 42
    assert of.batch_size == 2
    assert of.patch_size[0] > of.patch_size[1]


def test_a_thread_and_a_speck():
    assert plan(made((100_000, 1, 1))).three_d.patch_size == (100_000, 1, 1)
    of = plan(made((3, 4, 5), cases=1)).three_d
    assert (of.patch_size, of.pools, of.features) == ((3, 4, 5), (0, 0, 0), (30,))


def test_a_single_voxel_is_refused():
    with pytest.raises(ValueError, match="the median case is a single voxel"):
        plan(made((1, 1, 1)))


@pytest.mark.parametrize("voxels", [0, -1, 4095, 5000.5, True, 10**12, float("nan")])
def test_an_impossible_budget_is_refused(voxels):
    with pytest.raises(ValueError, match=r"voxels is .*4,096"):
        plan(made((10, 10, 10)), voxels=voxels)


def test_an_unknown_aspect_is_refused():
    with pytest.raises(ValueError, match=r"aspect 'inch': unknown; use one of \('mm', 'voxels'\)"):
        plan(made((10, 10, 10)), aspect="inch")


# ------------------------------------------------------------------------------------------------------------ the words


def test_every_choice_is_explained():
    text = plan(Fingerprint([(115, 320, 232)], [(1.37, 1.25, 1.25)], cases=20, name="Heart")).explain()
    for line in """
        Heart
        - 20 cases, resampled to the median spacing: 1.37 x 1.25 x 1.25 mm (z, y, x).
        - Its 8,537,600 voxels are more than 4 patches of 2,097,152: there is a cascade.
        2D: patch 320 x 256, batch 33, pools 6, 6
        - Slices are cut across z, whose spacing is the largest (1.37 x 1.25 x 1.25 mm).
        - y: 320 is a multiple of 64 and pools 6 times.
        - x: 232 rounds up to 256, which pools 6 times.
        - A step has room for 33 patches (2,752,512 pixels), and 5 % of the data set are 104 patches: 33, the fewer.
        3D: patch 80 x 192 x 128, batch 2, pools 4, 5, 5
        - The median case measures 157.6 x 400 x 290 mm; in these proportions 2,097,152 voxels are 76.6 x 194.4 x 140.9.
        y, furthest over what was wanted, gives up 32, which leaves 80 x 192 x 160.
        - Feature maps double with each pooling, 320 at most: 30, 60, 120, 240, 320, 320.
        - It sees parts of cases: the Dice takes the batch for one volume.
        - The longest edge, 192, is over twice the shortest, 80: augmentation works in the plane, slice by slice
        3D low resolution: patch 64 x 160 x 128, batch 2, pools 4, 5, 5
        - The spacing is doubled along all axes, to 2.74 x 2.5 x 2.5 mm, which leaves 58 x 160 x 116 = 1,076,480 voxels
        and 5 % of the data set are 1 patch: 2, the least that a step takes.
        - It sees nearly whole cases: the Dice is computed for each sample, then averaged.
    """.strip().splitlines():
        assert line.strip() in text


def test_many_steps_are_told_in_short():
    lines = plan(made((1, 5000, 5000), (0.1, 1, 1))).three_d.why
    assert sum("gives up" in line for line in lines) == 4
    assert sum("More steps of this kind (" in line for line in lines) == 1


def test_what_a_fingerprint_does_not_hold_is_said():
    text = plan(made((100, 100, 100), kinds=("CT",))).explain()
    assert "does not hold the foreground's intensities" in text
    assert "was not measured" in text
    measured = plan(
        made((100, 100, 100), kinds=("CT",), kept=0.9, intensities=(Intensities(-10, 200, 90, 40),))
    ).explain()
    assert "does not hold" not in measured
    assert "takes away 10 % of the voxels, less than a quarter" in measured


def test_a_cascade_that_is_not_needed_can_be_asked_for():
    of = Fingerprint([(36, 50, 35)], [(1, 1, 1)], cases=260)
    without, asked = plan(of), plan(of, cascade=True)
    assert without.low_res is None
    assert (asked.low_res.spacing, asked.low_res.median_shape) == ((2, 2, 2), (18, 25, 18))
    assert (asked.two_d, asked.three_d) == (without.two_d, without.three_d)
    assert "there is no cascade, but one was asked for." in asked.explain()
    assert "there is no cascade." in without.explain()
    large = Fingerprint([(482, 512, 512)], [(1, 1, 1)], cases=131)
    assert plan(large, cascade=True) == plan(large)
