"""What the chapter on uncertainty shows, from tables made of arrays."""

import numpy as np
import pandas as pd
import pytest

from gbmlib.analysis import uncertainty
from gbmlib.analysis.intervals import Interval
from gbmlib.pages import uncertainty_pages
from gbmlib.pages.uncertainty_pages import answer, averaged, calibration, finding, over_cases, typical

SHAPE = (10, 12, 14)


def ball(radius, centre, softness):
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    distance = np.sqrt((z - 5) ** 2 + (y - 6) ** 2 + (x - centre) ** 2)
    return (1 / (1 + np.exp((distance - radius) / softness))).astype(np.float32)


@pytest.fixture(scope="module")
def tables():
    """Twelve cases, each shifted further from its truth than the one before, and softer; the last has no core."""
    cases, counts = [], []
    for number in range(12):
        shift, softness = number / 4, 0.3 + number / 10
        for region, radius in (("WT", 4), ("TC", 3)):
            members = [ball(radius, 6 + shift, softness), ball(radius, 6 + shift / 2, softness)]
            truth = ball(radius, 6, 1) >= 0.5
            if number == 11 and region == "TC":
                truth, members = np.zeros(SHAPE, bool), [0.2 * of for of in members]
            for rows, table in zip(
                (cases, counts), uncertainty.measure(members, truth, np.ones(SHAPE, bool), (1, 1, 1)), strict=True
            ):
                rows.append(table.assign(source="folds", members=2, case=f"case-{number:02}", region=region))
    return pd.concat(cases, ignore_index=True), pd.concat(counts, ignore_index=True)


def value(table, region, measure, place="", detector=""):
    of = table[(table.region == region) & (table.measure == measure)]
    return of[(of.place == place) & (of.detector == detector)].set_index("case").value


def test_cases_without_errors_are_counted_out_not_in(tables):
    table = finding(tables[0])
    assert table.loc[("folds", "WT", "entropy of the mean"), "cases with errors"] == 11  # the first is right everywhere
    assert table.loc[("folds", "TC", "entropy of the mean"), "cases with errors"] == 10
    shown = table.loc[("folds", "WT", "entropy of the mean"), "AUC"]
    expected = value(tables[0], "WT", "auc", "brain", "entropy of the mean").dropna().mean()
    assert isinstance(shown, Interval)
    assert shown.mean == pytest.approx(expected)
    assert len(finding(tables[0], "band")) == 2 * len(uncertainty.DETECTORS)


def test_calibration_pools_the_voxels_of_all_cases(tables):
    counts = tables[1]
    shown = calibration(counts).loc[("folds", "WT")]
    for place, words in uncertainty_pages.WHERE.items():
        of = counts[(counts.region == "WT") & (counts.place == place)]
        sums = of.groupby("part")[["voxels", "predicted", "observed"]].sum()
        expected = np.abs(sums.predicted - sums["observed"]).sum() / sums.voxels.sum()
        assert shown[words].mean == pytest.approx(expected)
    assert calibration(counts).loc[("folds", "TC"), uncertainty_pages.WHERE["band"]].cases == 11  # one has no boundary


def test_softer_cases_that_lie_further_off_are_told_by_their_doubt(tables):
    shown = over_cases(tables[0]).loc[("folds", "WT")]
    assert shown["entropy of the mean, predicted region"].mean < -0.9
    assert shown["entropy of the mean, predicted region"].high < -0.5
    assert shown["cases"] == 12


def test_the_average_beside_one_member(tables):
    row = averaged(tables[0]).loc[("folds", "WT")]
    gain = value(tables[0], "WT", "dice") - value(tables[0], "WT", "dice of one member")
    assert row["average minus one"].mean == pytest.approx(gain.mean())
    assert row["average minus one"].low > 0  # it lies nearer


def test_every_number_of_the_answer_is_computed(tables):
    said = answer(*tables)
    assert said.startswith("**Uncertainty points at errors, and it warns of bad cases.** (WT in 12 cases; ")
    assert "; average of 2 members: folds.)" in said
    top = value(tables[0], "WT", "found 5%", "brain", "entropy of the mean").dropna().mean()
    assert f"hold {top:.3f} (" in said
    assert str(over_cases(tables[0]).loc[("folds", "WT"), "entropy of the mean, predicted region"]) in said
    assert str(calibration(tables[1]).loc[("folds", "WT"), uncertainty_pages.WHERE["band"]]) in said
    halved = tables[0].assign(value=tables[0].value / 2)
    assert "**Uncertainty does not reliably point at errors, and it warns" in answer(halved, tables[1])
    backwards = tables[0].assign(value=tables[0].value.where(tables[0].measure != "dice", -tables[0].value))
    assert "it does not reliably warn of bad cases" in answer(backwards, tables[1])


def test_figures_have_a_curve_for_each_region_and_place(tables, monkeypatch):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    figure = uncertainty_pages.reliability_curves(tables[1])
    assert [trace.name for trace in figure.data if trace.name] == ["WT", "TC"] * 2
    dots = uncertainty_pages.dice_over_uncertainty(tables[0])
    assert [len(trace.x) for trace in dots.data] == [12, 11]  # the last case has no core, and none is predicted


def test_words_and_figures_are_of_the_first_source(tables, monkeypatch):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    cases, counts = (pd.concat([table, table.assign(source="other")], ignore_index=True) for table in tables)
    assert answer(cases, counts) == answer(*tables)
    assert [len(trace.x) for trace in uncertainty_pages.dice_over_uncertainty(cases).data] == [12, 11]
    both, one = (uncertainty_pages.reliability_curves(each).data for each in (counts, tables[1]))
    assert [list(trace.y) for trace in both] == [list(trace.y) for trace in one]
    dice = value(tables[0], "WT", "dice").sort_values()
    assert typical(cases) == dice.index[5]
