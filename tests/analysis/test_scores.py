"""Means and tables out of records."""

import pytest
from grouped_records import record, rows

from gbmlib.analysis import scores


def test_a_case_held_out_under_two_seeds_counts_once_and_training_cases_do_not():
    records = [
        record(0, 0, rows("a", 0.2) + rows("b", 0.6, "train")),
        record(0, 1, rows("a", 0.4)),
        record(1, 0, rows("b", 0.9)),
    ]
    assert str(scores.held_out(records).loc["WT", "dice"]) == "0.600 (2 cases)"


def test_a_table_over_epochs_is_the_mean_of_the_runs_up_to_where_all_got():
    records = [record(0, 0, [], [4.0, 2.0, 1.0, 0.5]), record(1, 0, [], [2.0, 1.0, 0.0])]
    table = scores.over_epochs(records, every=2)
    assert table["loss"].to_dict() == {0: 3.0, 2: 0.5}
    assert list(table.columns) == ["loss", "Dice", "precision", "recall", "accuracy"]


def test_the_table_on_fixed_crops_has_the_same_columns_and_refuses_runs_that_lack_them():
    with_crops = record(0, 0, [], [3.0, 1.0], on=("val", "crops"))
    with_crops.history["crops_dice"] = [0.1, 0.7]
    table = scores.over_epochs([with_crops], every=1, on="crops")
    assert list(table.columns) == ["loss", "Dice", "precision", "recall", "accuracy"]
    assert table["Dice"].tolist() == [0.1, 0.7]
    with pytest.raises(ValueError, match=r"crops_loss.*run-1-0"):
        scores.over_epochs([with_crops, record(1, 0, [], [3.0, 1.0])], on="crops")
