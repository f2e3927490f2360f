"""Intensities on a common scale: by hand, and against NumPy over all voxels at once."""

import numpy as np
import pytest
from cases_in_memory import bodies, brains, case_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gbmlib.cohorts import CaseError, open_cohort
from gbmlib.preprocess import normalise, pipeline
from gbmlib.preprocess.normalise import ZERO_IS_BACKGROUND, Histogram


def over_all(cases):
    """Mean and deviation of each channel over the non-zero voxels of all cases, by NumPy at once."""
    channels = np.stack([case.images() for case in cases]).astype(np.float64).swapaxes(0, 1)
    return np.array([(channel[channel != 0].mean(), channel[channel != 0].std()) for channel in channels]).T


def test_zscore_by_hand():
    images = np.zeros((2, 1, 1, 4), np.float32)
    images[0, 0, 0] = [0, 1, 2, 3]
    out = pipeline.zscore(images)
    deviation = np.std([1, 2, 3])
    np.testing.assert_allclose(out[0, 0, 0], [0, -1 / deviation, 0, 1 / deviation], atol=1e-6)
    assert not out[1].any()


def test_zscore_of_a_constant_channel_is_finite():
    assert not pipeline.zscore(np.full((1, 2, 2, 2), 5, np.float32)).any()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(0, 99))
def test_statistics_of_a_data_set_are_numpys_over_all_voxels_at_once(count, seed):
    cases = brains(count, seed=seed)
    found = normalise.statistics(iter(cases), "dataset")
    assert found.mean.shape == found.deviation.shape == (2, 1, 1, 1)
    assert found.mean.dtype == found.deviation.dtype == np.float32
    np.testing.assert_allclose([found.mean.ravel(), found.deviation.ravel()], over_all(cases), rtol=1e-6)


@pytest.mark.parametrize("kind", ["dataset", "position"])
def test_statistics_keep_their_digits_far_from_zero(kind):
    # Their mean, a million and a thirty-second, is no float32.
    million = np.float32(1e6) + (np.arange(1024) % 32 == 0).astype(np.float32).reshape(1, 16, 8, 8)
    cases = [case_of(million + step) for step in np.float32([0, 1, 2])]
    found = normalise.statistics(cases, kind)
    volumes = np.stack([case.images() for case in cases]).astype(np.float64)
    expected = volumes.std() if kind == "dataset" else volumes.std(0)
    np.testing.assert_allclose(found.deviation, np.broadcast_to(expected, found.deviation.shape), rtol=1e-6)


def test_what_never_varied_in_training_is_zero_in_a_case_that_differs():
    by = normalise.statistics([case_of(np.full((1, 1, 1, 2), 5, np.float32))] * 2, "position")
    assert pipeline.standardise(np.array([5, 900], np.float32).reshape(1, 1, 1, 2), by).ravel().tolist() == [0, 0]


def test_statistics_read_each_case_once():
    read = []

    def cases():
        for case in brains():
            images = case.images()
            case.images = lambda name=case.id, images=images: read.append(name) or images
            yield case

    for kind in ("dataset", "position"):
        normalise.statistics(cases(), kind)
        assert read == ["case-0", "case-1", "case-2", "case-3"]
        read.clear()


def test_statistics_of_real_cases_are_numpys(brats_folder):
    cases = open_cohort(f"brats:{brats_folder}", ("t1ce", "flair")).cases[:2]
    found = normalise.statistics(cases, "dataset")
    np.testing.assert_allclose([found.mean.ravel(), found.deviation.ravel()], over_all(cases), rtol=1e-5)
    prepared = [pipeline.prepare(case, statistics=found) for case in cases]
    inside = np.concatenate([case.images[:, case.label > 0] for case in prepared], axis=1)
    assert (inside.mean(1) > 0).all()  # tumour is brighter than the brain around it in both
    for channel in range(2):
        values = np.concatenate([case.images[channel][case.images[channel] != 0] for case in prepared])
        assert values.mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
        assert values.std(dtype=np.float64) == pytest.approx(1, abs=1e-4)


def test_phantoms_can_be_normalised_by_position():
    cases = open_cohort("phantom:cases=3,spacing=6,seed=0", ("t1ce", "flair")).cases
    found = normalise.statistics(cases, "position")
    volumes = np.stack([case.images() for case in cases]).astype(np.float64)
    np.testing.assert_allclose(found.mean, volumes.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.deviation, volumes.std(0), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 6), st.integers(0, 99))
def test_at_each_position_the_training_cases_get_mean_0_and_deviation_1(count, seed):
    cases = brains(count, seed=seed, background=0)
    by = normalise.statistics(cases, "position")
    assert by.mean.shape == by.deviation.shape == (2, 5, 4, 3)
    normalised = np.stack([pipeline.prepare(case, statistics=by).images for case in cases])
    rounding = 2e-3 + 8 * np.finfo(np.float32).eps * np.abs(by.mean) / by.deviation  # where values hardly differ
    assert (np.abs(normalised.mean(0)) <= rounding).all()
    assert (np.abs(normalised.std(0) - 1) <= rounding).all()


def test_normalising_by_position_by_hand():
    # Over the two cases: 2 and 4; a zero that counts, 0 and 6; alike, 5 and 5.
    cases = [case_of(np.array(line, np.float32).reshape(1, 1, 1, 3)) for line in ([2, 0, 5], [4, 6, 5])]
    by = normalise.statistics(cases, "position")
    assert by.mean.ravel().tolist() == [3, 3, 5]
    assert by.deviation.ravel().tolist() == [1, 3, 0]
    lines = [pipeline.standardise(case.images(), by).ravel().tolist() for case in cases]
    assert lines == [[-1, 0, 0], [1, 1, 0]]


def test_normalising_by_the_data_set_by_hand():
    cases = [
        case_of(np.array(line, np.float32).reshape(2, 1, 1, 3)) for line in ([1, 0, 3, 0, 0, 0], [5, 7, 0, 0, 0, 0])
    ]
    by = normalise.statistics(cases, "dataset")
    # 1, 3, 5, 7 without the zeros: mean 4, deviation sqrt(5). The second channel is empty and stays so.
    lines = [pipeline.standardise(case.images(), by).reshape(2, 3) for case in cases]
    np.testing.assert_allclose(lines[0] * np.sqrt(5), [[-3, 0, -1], [0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(lines[1] * np.sqrt(5), [[1, 3, 0], [0, 0, 0]], atol=1e-5)


def test_without_statistics_an_image_is_normalised_by_its_own_after_resampling():
    images = brains(1, (2, 8, 8, 8), background=0.1)[0].images()
    size = (4, 4, 4)
    brain = pipeline.resample_to((images != 0).astype(np.float32), size, "area") >= 0.5
    expected = pipeline.zscore(np.where(brain, pipeline.resample_to(images, size, "area"), 0))
    np.testing.assert_array_equal(pipeline.prepare(case_of(images), (2, 2, 2)).images, expected)


@pytest.mark.parametrize("kind", ["dataset", "position"])
@pytest.mark.parametrize("resampling", ["average", "spline"])
def test_statistics_act_on_the_native_grid_before_resampling(kind, resampling):
    cases = []
    for case in brains(3, (2, 8, 9, 10), background=0.05):
        images = np.zeros((2, 12, 13, 14), np.float32)
        images[:, 2:10, 1:10, 3:13] = case.images()
        cases.append(case_of(images, name=case.id))
    by = normalise.statistics(cases, kind)
    images = cases[0].images()
    box = pipeline.nonzero_box(images, "a")
    native = pipeline.standardise(images, by)[(slice(None), *box)]
    np.testing.assert_array_equal(pipeline.prepare(cases[0], statistics=by).images, native)
    size = pipeline.new_shape(native.shape[1:], (1, 1, 1), (2, 2, 2))
    brain = (images != 0)[(slice(None), *box)].astype(np.float32)
    orders = ("area", "area") if resampling == "average" else (3, 0)
    expected, inside = (pipeline.resample_to(v, size, order) for v, order in zip((native, brain), orders, strict=True))
    prepared = pipeline.prepare(cases[0], (2, 2, 2), resampling, by)
    np.testing.assert_array_equal(prepared.images, np.where(inside >= 0.5, expected, 0))
    assert prepared.images.dtype == np.float32
    assert abs(prepared.images[1].std() - 1) > 0.1  # the image's own deviation is not taken out


def test_refusals_of_statistics():
    with pytest.raises(ValueError, match=r"statistics 'image': unknown.*dataset.*position"):
        normalise.statistics(brains(), "image")
    for kind in ("dataset", "position"):
        with pytest.raises(CaseError, match=f"'{kind}' needs training cases.*none"):
            normalise.statistics([], kind)
    with pytest.raises(CaseError, match="'position' needs two training cases or more; there is only case-0"):
        normalise.statistics(brains(1), "position")
    with pytest.raises(CaseError, match=r"case-0 has the shape \(2, 5, 4, 3\) and case other \(2, 5, 4, 4\).*register"):
        normalise.statistics([*brains(), case_of(np.ones((2, 5, 4, 4), np.float32), name="other")], "position")


@pytest.mark.parametrize(
    ("kind", "shape"), [("position", (2, 5, 4, 4)), ("position", (1, 5, 4, 3)), ("dataset", (1, 3, 3, 3))]
)
def test_statistics_of_another_grid_or_other_channels_are_refused(kind, shape):
    by = normalise.statistics(brains(), kind)
    with pytest.raises(CaseError, match=r"case other: its images have the shape .*same channels and grid"):
        pipeline.prepare(case_of(np.ones(shape, np.float32), name="other"), statistics=by)


# --------------------------------------------------------------------------------------- the schemes of Isensee et al.


def test_the_whole_image_by_hand():
    images = np.array([[0, 0, 4, 4], [5, 5, 5, 5]], np.float32).reshape(2, 1, 1, 4)
    assert pipeline.zscore(images, whole=True).reshape(2, 4).tolist() == [[-1, -1, 1, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("kind", "masked", "scheme"),
    [("MR", True, "image"), ("MR", False, "whole"), ("CT", False, "ct"), ("CT", True, "ct_masked")],
)
def test_the_scheme_for_a_channel(kind, masked, scheme):
    assert normalise.scheme_for(kind, masked) == scheme
    with pytest.raises(ValueError, match="use 'MR' or 'CT'"):
        normalise.scheme_for("PET", masked)


def test_each_channel_may_have_a_scheme_of_its_own():
    assert normalise.schemes_of("ct", 2) == ("ct", "ct")
    assert normalise.schemes_of(["ct", "whole"], 2) == ("ct", "whole")
    assert normalise.statistics_kind(("whole", "ct_masked")) == "ct_masked"
    assert normalise.statistics_kind(("whole", "image")) is None
    for wrong, said in ((("ct",), "for 1 channels"), (("ct", "dataset"), "use one"), (("ct", "pet"), "'pet': unknown")):
        with pytest.raises(ValueError, match=said):
            normalise.schemes_of(wrong, 2)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("spacing", [None, (2, 2, 2)])
@pytest.mark.parametrize("schemes", [("ct", "whole"), ("ct_masked", "image")])
def test_channels_are_normalised_each_by_its_own_scheme_in_any_order(order, spacing, schemes):
    """As one channel is by itself: CT beside an image whose values have a scale of their own."""
    cases = [
        case_of(case.images() * np.float32([1, 0.01]).reshape(2, 1, 1, 1), case.label())
        for case in bodies(3, (2, 6, 9, 8))
    ]
    turned = [case_of(case.images()[list(order)], case.label()) for case in cases]
    by = normalise.statistics(turned, schemes[0])
    found = pipeline.prepare(turned[0], spacing, statistics=by, normalisation=[schemes[n] for n in order])
    ct_place = order.index(0)
    for place, scheme in ((ct_place, schemes[0]), (1 - ct_place, schemes[1])):
        own = by if scheme == schemes[0] else None
        alone = pipeline.prepare(turned[0], spacing, statistics=own, normalisation=scheme)
        np.testing.assert_array_equal(found.images[place], alone.images[place])
    other = found.images[1 - ct_place]
    assert len(np.unique(other)) > other.size / 2  # not clipped


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(-1100, 4000), min_size=1, max_size=300), st.floats(0, 100))
def test_percentiles_of_hounsfield_units_are_numpys(values, percent):
    histogram = Histogram()
    for part in np.array_split(np.array(values), 3):
        histogram.add(part)
    assert histogram.count == len(values)
    expected = np.percentile(values, percent)
    assert histogram.percentile(percent) == pytest.approx(expected, rel=1e-12, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999), st.sampled_from([1e-6, 1, 1e6]), st.floats(0, 100))
def test_percentiles_of_any_numbers_are_numpys_to_one_part_in_8192(seed, scale, percent):
    values = np.random.default_rng(seed).normal(size=200).astype(np.float32) * np.float32(scale)
    histogram = Histogram()
    histogram.add(values)
    place = percent / 100 * (len(values) - 1)
    around = float(np.abs(np.sort(values)[[int(np.floor(place)), int(np.ceil(place))]]).max())
    assert histogram.percentile(percent) == pytest.approx(np.percentile(values, percent), abs=around / 2**13)


def test_a_histogram_keeps_whole_numbers_apart_and_both_signs_in_order():
    numbers = [-16384.0, -16383.0, -1.0, -0.5, 0.0, 0.25, 1.0, 1000.0, 1001.0, 16383.0, 16384.0]
    histogram = Histogram()
    histogram.add(np.array(numbers[::-1]))
    assert [histogram.percentile(100 * i / (len(numbers) - 1)) for i in range(len(numbers))] == pytest.approx(numbers)
    assert (histogram.percentile(0), histogram.percentile(100)) == (-16384, 16384)


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 4), st.integers(0, 99))
def test_statistics_of_ct_are_numpys_over_the_foreground(count, seed):
    cases = bodies(count, (2, 6, 9, 8), seed)
    by = normalise.statistics(iter(cases), "ct")
    for channel in range(2):
        values = np.concatenate([case.images()[channel][case.label() > 0] for case in cases]).astype(np.float64)
        found = [array[channel].item() for array in (by.low, by.high, by.mean, by.deviation)]
        expected = [*np.percentile(values, (0.5, 99.5)), values.mean(), values.std()]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert all(array.shape == (2, 1, 1, 1) and array.dtype == np.float32 for array in by.arrays().values())


def test_statistics_go_into_arrays_and_back():
    ct = normalise.statistics(bodies(), "ct")
    again = pipeline.Statistics(**ct.arrays())
    assert again.of_ct
    assert list(ct.arrays()) == ["mean", "deviation", "low", "high"]
    assert all(np.array_equal(ct.arrays()[name], array) for name, array in again.arrays().items())
    assert list(normalise.statistics(brains(), "dataset").arrays()) == ["mean", "deviation"]


def test_normalising_ct_by_hand():
    """The organ holds -100 to 100: the percentiles are -99 and 99, the mean 0; zero is water and moves too."""
    organ = np.arange(-100, 101, dtype=np.float32).reshape(1, 1, 1, 201)
    by = normalise.statistics([case_of(organ, np.ones((1, 1, 201), np.uint8))], "ct")
    assert (by.low.item(), by.high.item(), by.mean.item()) == (-99, 99, 0)
    images = np.array([-1000, -99, 0, 50, 3000], np.float32).reshape(1, 1, 1, 5)
    deviation = np.arange(-100, 101).std()
    expected = np.array([-99, -99, 0, 50, 99]) / deviation
    np.testing.assert_allclose(pipeline.clip_and_standardise(images, by).ravel(), expected, rtol=1e-6)
    moved = pipeline.Statistics(by.mean + 40, by.deviation, by.low, by.high)
    assert pipeline.clip_and_standardise(images, moved)[0, 0, 0, 2] == pytest.approx(-40 / deviation)


def test_ct_that_never_varied_is_zero_rather_than_infinite():
    flat = case_of(np.full((1, 1, 1, 3), 5, np.float32), np.ones((1, 1, 3), np.uint8))
    by = normalise.statistics([flat], "ct")
    assert pipeline.clip_and_standardise(np.array([5, 900], np.float32).reshape(1, 1, 1, 2), by).tolist() == [
        [[[0, 0]]]
    ]


@pytest.mark.parametrize("resampling", ["average", "spline"])
@pytest.mark.parametrize("scheme", ["whole", "ct"])
def test_normalising_by_the_paper_follows_resampling_and_knows_no_background(scheme, resampling):
    cases = bodies(3, (1, 8, 9, 10))
    by = normalise.statistics(cases, "ct") if scheme == "ct" else None
    images = cases[0].images()
    resampled = pipeline.resample_to(images, (4, 4, 5), "area" if resampling == "average" else 3)
    expected = pipeline.zscore(resampled, whole=True) if by is None else pipeline.clip_and_standardise(resampled, by)
    prepared = pipeline.prepare(cases[0], (2, 2, 2), resampling, by, scheme)
    np.testing.assert_array_equal(prepared.images, expected)
    if scheme == "whole":
        assert prepared.images.mean() == pytest.approx(0, abs=1e-5)
        assert prepared.images.std() == pytest.approx(1, abs=1e-5)


def test_ct_is_cropped_only_where_it_was_padded():
    case = bodies(1, (1, 6, 9, 8))[0]
    by = normalise.statistics([case], "ct")
    assert pipeline.prepare(case, statistics=by).images.shape == (1, 6, 9, 8)
    padded = case_of(
        np.pad(case.images(), ((0, 0), (0, 0), (2, 1), (0, 3))), np.pad(case.label(), ((0, 0), (2, 1), (0, 3)))
    )
    prepared = pipeline.prepare(padded, statistics=by)
    assert prepared.box == (slice(0, 6), slice(2, 11), slice(0, 8))
    np.testing.assert_array_equal(prepared.images, pipeline.prepare(case, statistics=by).images)


def test_masked_ct_is_zero_outside_the_mask_and_water_within_is_no_background():
    images = np.zeros((1, 7, 7, 7), np.float32)
    images[0, 1:6, 1:6, 1:6] = 100
    images[0, 3, 3, 3] = 0  # water, amid tissue
    images[0, 0, 0, 0] = images[0, 6, 6, 6] = 1  # so that nothing is cropped
    label = np.zeros((7, 7, 7), np.uint8)
    label[2:5, 2:5, 2:5] = 1
    case = case_of(images, label)
    by = normalise.statistics([case], "ct_masked")
    assert pipeline.nonzero_mask(images).sum() == 5**3 + 2
    prepared = pipeline.prepare(case, None, "average", by, "ct_masked").images[0]
    free = pipeline.prepare(case, None, "average", by, "ct").images[0]
    inside = ndimage.binary_fill_holes(images[0] != 0)
    np.testing.assert_array_equal(prepared, np.where(inside, free, 0))
    assert prepared[3, 3, 3] < -1
    assert not prepared[0, 3].any()
    coarser = pipeline.prepare(case, (1, 1.75, 1.75), "spline", by, "ct_masked").images[0]
    assert not coarser[0, 1:].any()


def test_which_schemes_need_statistics_and_know_a_background():
    assert set(normalise.BY_STATISTICS) < set(normalise.NORMALISATION) > set(ZERO_IS_BACKGROUND)
    assert set(normalise.NORMALISATION) - set(normalise.BY_STATISTICS) == {"image", "whole"}
    assert {*pipeline.BEFORE, *pipeline.AFTER} == set(normalise.NORMALISATION)


def test_refusals_of_ct_statistics():
    with pytest.raises(CaseError, match=r"'ct' needs training cases.*none"):
        normalise.statistics([], "ct")
    unlabelled = [case_of(np.ones((1, 2, 2, 2), np.float32), name=name) for name in ("one", "two")]
    with pytest.raises(CaseError, match="2 of the training cases have no label: one, two; leave them out"):
        normalise.statistics([*bodies(1), *unlabelled], "ct")
    empty = case_of(np.ones((1, 2, 2, 2), np.float32), np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(CaseError, match="no voxel of any training case is labelled"):
        normalise.statistics([empty], "ct")
    with pytest.raises(ValueError, match=r"statistics 'whole': unknown"):
        normalise.statistics(bodies(), "whole")
