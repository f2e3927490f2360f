"""Tables of a cohort: counts made by hand, thresholds tried one by one, and every position of a crop."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_data import write_brats

from gbmlib.analysis import cohort_summary
from gbmlib.cohorts import open_cohort, regions
from gbmlib.evaluation import metrics
from gbmlib.preprocess import pipeline
from gbmlib.training import patches

RECORDS = Path(__file__).resolve().parents[2] / "book" / "records"


def test_the_best_threshold_is_the_best_of_all_that_are_tried():
    rng = np.random.default_rng(0)
    truth = np.zeros((6, 7, 8), bool)
    truth[2:5, 2:5, 3:6] = True
    image = np.where(rng.random(truth.shape) < 0.2, 0, rng.normal(100, 10, truth.shape) + 25 * truth)
    normalised = pipeline.zscore(image[None])[0]
    tried = [metrics.dice((normalised > t) & (image != 0), truth) for t in cohort_summary.THRESHOLDS]
    assert cohort_summary.best_threshold(image, truth) == pytest.approx(max(tried))


def test_volumes_are_counted_in_millilitres():
    cohort = open_cohort("phantom:cases=3,spacing=4,seed=0")
    table = cohort_summary.summary(cohort, progress=False)
    assert list(table.case) == [case.id for case in cohort]
    for line, case in zip(table.itertuples(), cohort, strict=True):
        label = case.label()
        assert line.WT_ml == pytest.approx((label > 0).sum() * 64 / 1000)
        assert line.TC_ml == pytest.approx(np.isin(label, (1, 3)).sum() * 64 / 1000)
        assert line.ET_share == pytest.approx((label == 3).mean())
        assert (line.shape_z, line.shape_y, line.shape_x) == case.shape


# --------------------------------------------------------------------------------------------------------------- crops


def test_coverage_by_hand():
    np.testing.assert_allclose(cohort_summary.coverage(5, 3), [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
    np.testing.assert_allclose(cohort_summary.coverage(4, 1), [0.25] * 4)
    np.testing.assert_allclose(cohort_summary.coverage(3, 3), [1] * 3)
    np.testing.assert_allclose(cohort_summary.coverage(3, 8), [1] * 3)


@given(st.integers(1, 12), st.integers(1, 12))
def test_coverage_counts_every_position(extent, patch):
    starts = range(max(extent - patch, 0) + 1)
    counted = [sum(start <= place < start + patch for start in starts) / len(starts) for place in range(extent)]
    np.testing.assert_allclose(cohort_summary.coverage(extent, patch), counted)


@pytest.mark.parametrize("patch", [(2, 3, 4), (5, 6, 7), (1, 1, 1), (8, 3, 9)], ids=str)
def test_the_expected_share_is_the_mean_over_all_positions(patch):
    masks = np.random.default_rng(0).random((2, 5, 6, 7)) < 0.3
    starts = [range(max(extent - size, 0) + 1) for extent, size in zip(masks.shape[1:], patch, strict=True)]
    volume = torch.from_numpy(masks)
    shares = [patches.crop(volume, corner, patch).float().mean((1, 2, 3)).numpy() for corner in product(*starts)]
    np.testing.assert_allclose(cohort_summary.expected_fraction(masks, patch), np.mean(shares, axis=0), rtol=1e-5)


def test_crops_that_are_drawn_hold_as_much():
    mask = np.zeros((1, 9, 10, 11), bool)
    mask[0, 2:5, 6:9, 4:8] = True
    generator, volume = torch.Generator().manual_seed(0), torch.from_numpy(mask)
    drawn = [
        float(patches.crop(volume, patches.draw_corner((9, 10, 11), (4, 5, 6), generator), (4, 5, 6)).float().mean())
        for _ in range(4000)
    ]
    error = np.std(drawn) / len(drawn) ** 0.5
    assert abs(np.mean(drawn) - cohort_summary.expected_fraction(mask, (4, 5, 6))[0]) < 4 * error


def test_every_case_target_and_place_has_a_line():
    cohort = open_cohort("phantom:cases=2,spacing=6,seed=0")
    table = cohort_summary.crop_fractions(cohort, size=(60, 72, 84), progress=False)
    assert list(table.columns) == ["case", "scheme", "cut_from", "fraction"]
    assert len(table) == 2 * 2 * 2
    case = cohort.cases[1]
    label, box = case.label(), pipeline.nonzero_box(case.images(), case.id)
    found = table[table.case == case.id].set_index(["scheme", "cut_from"]).fraction
    for scheme, (cut_from, part) in product(("labels", "brats"), {"frame": label, "brain": label[box]}.items()):
        masks = regions.to_channels(part, scheme)
        assert found[scheme, cut_from] == pytest.approx(cohort_summary.expected_fraction(masks, (10, 12, 14)).mean())
    # A voxel of the core counts once as a label, and twice or three times in nested regions.
    assert (found["brats"] > found["labels"]).all()


def test_published_tables_are_found_by_the_cohorts_name(tmp_path):
    folder = write_brats("cases=2,spacing=6", tmp_path / "data")
    paths = cohort_summary.publish(f"brats:{folder}", tmp_path / "records", progress=False)
    name = open_cohort(f"brats:{folder}").name
    assert paths == [cohort_summary.path_of(name, tmp_path / "records", what) for what in ("cohort", "crops")]
    assert len(pd.read_csv(paths[0])) == 2
    assert set(pd.read_csv(paths[1]).scheme) == {"labels", "brats"}
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(path.name for path in paths)


def test_the_published_table_is_that_of_the_real_cases(brats_folder):
    """One case of it, counted again."""
    published = pd.read_csv(cohort_summary.path_of("brats2018-19", RECORDS, "crops"))
    assert published.case.nunique() == 19
    case = open_cohort(f"brats:{brats_folder}")[published.case.iloc[0]]
    share = cohort_summary.expected_fraction(regions.to_channels(case.label(), "labels"), (128, 144, 144)).mean()
    assert published.fraction.iloc[0] == pytest.approx(share, rel=1e-5)
