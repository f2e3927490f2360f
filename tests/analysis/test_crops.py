"""Tumour in random crops: weights against every position tried, and against crops that are drawn."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gbmlib.analysis import crops
from gbmlib.cohorts import open_cohort, phantom, regions
from gbmlib.preprocess import pipeline
from gbmlib.training import patches

RECORDS = Path(__file__).resolve().parents[2] / "book" / "records"


def test_coverage_by_hand():
    np.testing.assert_allclose(crops.coverage(5, 3), [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
    np.testing.assert_allclose(crops.coverage(4, 1), [0.25] * 4)
    np.testing.assert_allclose(crops.coverage(3, 3), [1] * 3)
    np.testing.assert_allclose(crops.coverage(3, 8), [1] * 3)


@given(st.integers(1, 12), st.integers(1, 12))
def test_coverage_counts_every_position(extent, patch):
    starts = range(max(extent - patch, 0) + 1)
    counted = [sum(start <= place < start + patch for start in starts) / len(starts) for place in range(extent)]
    np.testing.assert_allclose(crops.coverage(extent, patch), counted)


@pytest.mark.parametrize("patch", [(2, 3, 4), (5, 6, 7), (1, 1, 1), (8, 3, 9)], ids=str)
def test_the_expected_share_is_the_mean_over_all_positions(patch):
    masks = np.random.default_rng(0).random((2, 5, 6, 7)) < 0.3
    starts = [range(max(extent - size, 0) + 1) for extent, size in zip(masks.shape[1:], patch, strict=True)]
    volume = torch.from_numpy(masks)
    shares = [patches.crop(volume, corner, patch).float().mean((1, 2, 3)).numpy() for corner in product(*starts)]
    np.testing.assert_allclose(crops.expected_fraction(masks, patch), np.mean(shares, axis=0), rtol=1e-5)


def test_crops_that_are_drawn_hold_as_much():
    mask = np.zeros((1, 9, 10, 11), bool)
    mask[0, 2:5, 6:9, 4:8] = True
    generator, volume = torch.Generator().manual_seed(0), torch.from_numpy(mask)
    drawn = [
        float(patches.crop(volume, patches.draw_corner((9, 10, 11), (4, 5, 6), generator), (4, 5, 6)).float().mean())
        for _ in range(4000)
    ]
    error = np.std(drawn) / len(drawn) ** 0.5
    assert abs(np.mean(drawn) - crops.expected_fraction(mask, (4, 5, 6))[0]) < 4 * error


def test_every_case_target_and_place_has_a_line():
    cohort = open_cohort("phantom:cases=2,spacing=6,seed=0")
    table = crops.fractions(cohort, size=(60, 72, 84), progress=False)
    assert list(table.columns) == ["case", "scheme", "cut_from", "fraction"]
    assert len(table) == 2 * 2 * 2
    case = cohort.cases[1]
    label, box = case.label(), pipeline.nonzero_box(case.images(), case.id)
    found = table[table.case == case.id].set_index(["scheme", "cut_from"]).fraction
    for scheme, (cut_from, part) in product(("labels", "brats"), {"frame": label, "brain": label[box]}.items()):
        masks = regions.to_channels(part, scheme)
        assert found[scheme, cut_from] == pytest.approx(crops.expected_fraction(masks, (10, 12, 14)).mean())
    # A voxel of the core counts once as a label, and twice or three times in nested regions.
    assert (found["brats"] > found["labels"]).all()


def test_a_published_table_is_found_by_the_cohorts_name(tmp_path):
    folder = phantom.write_brats("cases=2,spacing=6", tmp_path / "data", progress=False)
    path = crops.publish(f"brats:{folder}", tmp_path / "records", progress=False)
    assert path == crops.path_of(open_cohort(f"brats:{folder}").name, tmp_path / "records")
    assert set(pd.read_csv(path).scheme) == {"labels", "brats"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_published_table_is_that_of_the_real_cases(brats_folder):
    """One case of it, counted again."""
    published = pd.read_csv(crops.path_of("brats2018-19", RECORDS))
    assert published.case.nunique() == 19
    case = open_cohort(f"brats:{brats_folder}")[published.case.iloc[0]]
    share = crops.expected_fraction(regions.to_channels(case.label(), "labels"), (128, 144, 144)).mean()
    assert published.fraction.iloc[0] == pytest.approx(share, rel=1e-5)
