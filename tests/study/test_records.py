"""A record's table of cases, as it is written and as it is read, and with some of its regions alone."""

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


def test_a_line_for_each_region_and_every_value_bit_for_bit(store):
    names = ["case", "split", "region", "metric", "value"]
    rows = [("001", "train", "WT", "dice", 1 / 3), ("b", "held out", "NA", "dice", 0.1 + 0.2)]
    rows += [("b", "held out", "NA", "share", float("nan")), ("b", "held out", "NA", "hausdorff95", float("inf"))]
    cases = pd.DataFrame(rows, columns=names)
    record = store.finish(scales.vnet("test", cohort="phantom:cases=4")[0], pd.DataFrame({"epoch": [0]}), cases, {})
    assert (record.path / "cases.csv").read_text() == (
        "case,split,region,dice,share,hausdorff95\n"
        "001,train,WT,0.33333333333333331,,\n"  # measured on neither
        "b,held out,NA,0.30000000000000004,nan,inf\n"  # measured, and undefined
    )
    pd.testing.assert_frame_equal(record.cases, cases, check_exact=True)


def test_a_table_of_an_earlier_form_is_refused(record):
    (record.path / "cases.csv").write_text("case,split,region,metric,value\na,train,WT,dice,0.5\n")
    with pytest.raises(RecordError, match=f"{record.id} is of an earlier form; move its folder away to run it again"):
        _ = record.cases
