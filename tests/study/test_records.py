"""A record with some of its regions alone."""

import pandas as pd
import pytest

from gbmlib.study import scales
from gbmlib.study.records import RecordError, Store

CASES = pd.DataFrame(
    [(case, "held out", region, "dice", value) for case in "ab" for region, value in (("WT", 0.9), ("NA", 0.5))],
    columns=["case", "split", "region", "metric", "value"],
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def record(store):
    history = pd.DataFrame({"epoch": [0], "train_loss": [1.0]})
    return store.finish(scales.vnet("test", cohort="phantom:cases=4")[0], history, CASES, {"seconds": 60})


def test_a_record_can_be_looked_at_region_by_region(record, store):
    part = record.of_regions(["WT"])
    pd.testing.assert_frame_equal(part.cases, CASES[CASES.region == "WT"])
    assert (part.id, part.path, part.published, part.experiment) == (
        record.id,
        record.path,
        record.published,
        record.experiment,
    )
    pd.testing.assert_frame_equal(part.history, record.history)
    # The whole one stays whole: in itself, on disk, and where it is published.
    pd.testing.assert_frame_equal(record.cases, CASES)
    assert part != record == store.all()[0]
    pd.testing.assert_frame_equal(store.publish(part, store.path / "published").cases, CASES)


def test_every_region_in_any_order_is_the_whole_table(record):
    pd.testing.assert_frame_equal(record.of_regions(name for name in ("NA", "WT")).cases, CASES)


def test_a_region_that_was_not_measured_is_named(record):
    with pytest.raises(RecordError, match=r"has no scores of TC, ET; it has WT, NA"):
        record.of_regions(["WT", "TC", "ET"])
    with pytest.raises(RecordError, match=r"has no scores of NA; it has WT"):
        record.of_regions(["WT"]).of_regions(["NA"])
