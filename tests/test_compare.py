"""Means, intervals and tables out of records."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gbmlib import compare


def test_interval_of_a_known_sample():
    values = np.random.default_rng(0).normal(0.8, 0.1, 200)
    interval = compare.mean_interval(values)
    assert interval.mean == pytest.approx(values.mean())
    # The normal theory's interval is close for 200 values.
    half = 1.96 * values.std(ddof=1) / 200**0.5
    assert interval.low == pytest.approx(values.mean() - half, abs=0.003)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.003)
    assert compare.mean_interval(values) == interval


def test_few_equal_and_missing_values():
    assert str(compare.mean_interval([0.5])) == "0.500 (1 case)"
    assert str(compare.mean_interval([0.5, 0.7])) == "0.600 (2 cases)"
    assert str(compare.mean_interval([0.5, 0.5, 0.5])) == "0.500 (0.500 to 0.500)"
    for bad in ([], [0.5, np.nan]):
        with pytest.raises(ValueError, match="finite"):
            compare.mean_interval(bad)


def record(fold, seed, rows, losses):
    history = pd.DataFrame({"epoch": range(len(losses)), "val_loss": losses})
    for name in ("dice", "precision", "recall", "accuracy"):
        history[f"val_{name}"] = 0.5
    cases = pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"])
    return SimpleNamespace(
        id=f"run-{fold}-{seed}", cases=cases, history=history, experiment=SimpleNamespace(fold=fold, seed=seed)
    )


def rows(case, value, split="held out"):
    return [(case, split, "WT", metric, value) for metric in ("dice", "precision", "recall", "accuracy")]


def test_a_case_held_out_under_two_seeds_counts_once_and_training_cases_do_not():
    records = [
        record(0, 0, rows("a", 0.2) + rows("b", 0.6, "train"), [1.0]),
        record(0, 1, rows("a", 0.4), [1.0]),
        record(1, 0, rows("b", 0.9), [1.0]),
    ]
    assert compare.held_out(records).loc["WT", "dice"] == "0.600 (2 cases)"


def test_a_table_over_epochs_is_the_mean_of_the_runs_up_to_where_all_got():
    records = [record(0, 0, [], [4.0, 2.0, 1.0, 0.5]), record(1, 0, [], [2.0, 1.0, 0.0])]
    table = compare.over_epochs(records, every=2)
    assert table["loss"].to_dict() == {0: 3.0, 2: 0.5}
    assert list(table.columns) == ["loss", "Dice", "precision", "recall", "accuracy"]
