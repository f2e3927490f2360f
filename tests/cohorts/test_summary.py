"""The table of a cohort against counts made by hand and thresholds tried one by one."""

import numpy as np
import pandas as pd
import pytest

from gbmlib.analysis import cohort_summary
from gbmlib.cohorts import open_cohort, phantom
from gbmlib.evaluation import metrics
from gbmlib.preprocess import pipeline


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


def test_a_published_table_is_found_by_the_cohorts_name(tmp_path):
    folder = phantom.write_brats("cases=2,spacing=6", tmp_path / "data", progress=False)
    path = cohort_summary.publish(f"brats:{folder}", tmp_path / "records")
    assert path == cohort_summary.path_of(open_cohort(f"brats:{folder}").name, tmp_path / "records")
    assert len(pd.read_csv(path)) == 2
    assert [p.name for p in path.parent.iterdir()] == [path.name]
