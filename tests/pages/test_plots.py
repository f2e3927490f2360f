"""Figures of several groups: the right lines and bands, bars that end where they should, drawn at a phone's width."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from grouped_records import configured
from leaderboard_records import glioma_groups

from gbmlib.analysis import leaderboard
from gbmlib.analysis.family import contrasts
from gbmlib.evaluation.metrics import NAMES
from gbmlib.pages import curves, plots
from gbmlib.study.records import Store
from gbmlib.viewer.display import StaticFigure


@pytest.fixture(autouse=True)
def _live(monkeypatch):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    yield
    plt.close("all")


def record(fold, seed, dice, cases=(), epochs=3, **columns):
    history = pd.DataFrame({"epoch": range(epochs)})
    for part in ("train", "val"):
        history[f"{part}_dice"] = dice - np.arange(epochs) / 10
        history[f"{part}_loss"] = 1 - dice
    rows = [(case, "held out", "WT", metric, value) for case, value in cases for metric in NAMES]
    return SimpleNamespace(
        id=f"run-{fold}-{seed}",
        history=history.assign(**columns),
        cases=pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"]),
        experiment=configured(fold, seed, 5),
        store=None,
    )


def group(value):
    return [
        record(fold, 0, 0.5, [(f"{fold}{n}", value + 0.05 * n + 0.02 * fold) for n in range(2)]) for fold in range(5)
    ]


def lines(figure, dash):
    return [trace for trace in figure.data if trace.line.dash == dash]


def test_curves_have_a_line_a_variant_training_and_validation_in_one_colour():
    figure = curves.compared({"one": [record(0, 0, 0.2)], "two": [record(0, 0, 0.4)]})
    assert len(figure.data) == 2 * 2 * 2  # a single run has no band
    assert [trace.line.color for trace in lines(figure, "dot")] == [
        trace.line.color for trace in lines(figure, "solid")
    ]
    assert len({trace.line.color for trace in figure.data}) == 2
    assert [trace.name for trace in figure.data if trace.showlegend] == ["one", "two"]


def test_the_band_is_over_seeds_each_a_mean_over_its_folds():
    runs = [record(0, 0, 0.0), record(1, 0, 0.4), record(0, 1, 0.3), record(1, 1, 0.3)]
    figure = curves.compared({"one": runs})
    assert "range over 2 seeds" in next(trace.name for trace in figure.data if trace.showlegend)
    high, low, mean = figure.data[3:6]  # validation Dice
    assert (low.y[0], mean.y[0], high.y[0]) == pytest.approx((0.2, 0.25, 0.3))
    assert low.fill == "tonexty"


def test_the_band_is_over_folds_where_there_is_one_seed_or_the_seeds_ran_other_folds():
    for runs in ([record(0, 0, 0.1), record(1, 0, 0.5)], [record(0, 0, 0.1), record(1, 0, 0.5), record(0, 1, 0.1)]):
        figure = curves.compared({"one": runs})
        assert "range over 2 folds" in next(trace.name for trace in figure.data if trace.showlegend)
        high, low, _ = figure.data[3:6]
        assert (low.y[0], high.y[0]) == pytest.approx((0.1, 0.5))


def test_curves_end_with_the_shortest_run():
    figure = curves.compared({"one": [record(0, 0, 0.1, epochs=5), record(1, 0, 0.1, epochs=2)]})
    assert list(lines(figure, "solid")[0].x) == [0, 1]


def test_figures_show_the_intervals_of_the_words():
    """The luck of two seeds is in the bars, as it is in what they decide."""
    base, other = ([of for seed in (0, 1) for of in seeded(value, seed)] for value in (0.5, 0.6))
    table = contrasts({"base": base, "other": other})
    [points] = [trace for trace in plots.forest(table).data if trace.name]
    low, high = points.x[0] - points.error_x.arrayminus[0], points.x[0] + points.error_x.array[0]
    assert (low, high) == pytest.approx((table.difference["other"].low, table.difference["other"].high))
    assert points.name == table.decided["other"]
    assert str(table.difference["other"]) in points.text[0]
    assert f"p = {table.p['other']:.3f}" in points.text[0]


def test_the_axis_is_that_of_networks_that_learned():
    table = contrasts({"base": group(0.6), "better": group(0.62), "dead": group(0.1)})
    assert plots.forest(table).layout.xaxis.range is None
    table.loc["dead", "unsound"] = "collapsed: a channel never learned"
    figure = plots.forest(table)
    low, high = figure.layout.xaxis.range
    assert -0.1 < low < 0
    assert 0.02 < high < 0.1
    assert "dead (collapsed)" in figure.layout.yaxis.categoryarray


def seeded(value, seed):
    """One seed lies above the other, in the second group by more."""
    runs = group(value + value**2 * seed)
    for of in runs:
        of.experiment = of.experiment.changed(seed=seed)
    return runs


def test_the_forest_has_a_row_a_variant_in_the_colour_of_what_is_decided():
    groups = {"base": group(0.5), "better": group(0.6), "the same": group(0.5), "unlike": group(0.5)}
    for of in groups["unlike"]:
        of.cases["region"] = "oedema"
    figure = plots.forest(contrasts(groups))
    found = {trace.name: (list(trace.y), list(trace.x), trace.marker.color) for trace in figure.data}
    assert found["higher"][0] == ["better"]
    assert found["higher"][1] == pytest.approx([0.1])
    assert found["no difference"][0] == ["the same"]
    assert found["undecided"][0] == ["unlike"]
    assert {word: of[2] for word, of in found.items()}.items() <= plots.DECIDED.items()
    shaded = next(shape for shape in figure.layout.shapes if shape.type == "rect")
    assert (shaded.x0, shaded.x1) == (-0.01, 0.01)
    # Read from above: the order of the groups.
    assert figure.layout.yaxis.categoryarray == ("unlike", "the same", "better")


def test_the_waterfalls_bars_run_from_each_level_to_the_next():
    groups = {"text": group(0.5), "one": group(0.6), "two": group(0.55)}
    bars, points = plots.waterfall(groups).data
    levels = list(points.x)
    assert list(bars.base) == pytest.approx(levels[:2])
    assert [base + step for base, step in zip(bars.base, bars.x, strict=True)] == pytest.approx(levels[1:])
    assert list(bars.marker.color) == [plots.DECIDED[word] for word in contrasts(groups, "previous").decided]
    assert len(set(bars.marker.color)) == 2
    assert list(points.y) == ["text", "one<br>+0.100", "two<br>-0.050"]


def test_a_rung_that_measured_other_regions_has_a_level_and_no_step():
    groups = {"text": group(0.5), "labels": group(0.3), "more": group(0.4)}
    for of in groups["labels"] + groups["more"]:
        of.cases["region"] = "oedema"
    bars, points = plots.waterfall(groups).data
    assert list(bars.y) == ["more<br>+0.100"]
    assert len(points.y) == 3


def test_lines_through_depth_keep_the_order_of_the_forward_pass():
    values = pd.Series([1.0, 10.0, 3.0], ["first", "down 1", "level 2"])
    figure = plots.on_a_log_axis({"strided": values}, "root mean square", "words")
    assert list(figure.data[0].x) == ["first", "down 1", "level 2"]
    assert figure.layout.yaxis.type == "log"


def test_long_labels_leave_a_phone_room():
    assert max(map(len, plots.wrapped("data-set normalisation, flipped copies").split("<br>"))) <= 16


@pytest.mark.parametrize("kind", ["curves", "forest", "waterfall", "through_depth"])
def test_every_figure_becomes_a_static_page(kind, monkeypatch):
    monkeypatch.setenv("GBM_STATIC", "1")
    groups = {"text": group(0.5), "one": group(0.6)}
    table = pd.DataFrame({"root mean square": [1.0]}, index=["first"])
    made = {
        "curves": lambda: curves.compared(groups, "words"),
        "forest": lambda: plots.forest(contrasts(groups), description="words"),
        "waterfall": lambda: plots.waterfall(groups, "words"),
        "through_depth": lambda: plots.on_a_log_axis({"a": table["root mean square"]}, "size", "words"),
    }[kind]()
    assert isinstance(made, StaticFigure)
    assert 'aria-label="words"' in made._repr_html_()


def test_dumbbells_join_a_cases_values_and_highlight_what_opens():
    dice = pd.DataFrame({"marked": [0.9, 0.5, 0.6], "ours": [0.4, 0.9, 0.5]}, list("cba"))
    marks = {"marked": ("grey", "circle"), "ours": ("blue", "diamond")}
    spans, opening, marked, ours = plots.dumbbells(dice, marks, "words", ["b"]).data
    assert (list(spans.x)[:3], list(spans.y)[:3]) == ([0.4, 0.9, None], ["c", "c", None])
    assert (list(opening.x), list(opening.y)) == ([0.5, 0.9, None], ["b", "b", None])
    assert list(ours.y) == list(marked.y) == ["c", "b", "a"]
    assert (list(marked.x), list(ours.x)) == ([0.9, 0.5, 0.6], [0.4, 0.9, 0.5])
    assert (ours.marker.color, ours.marker.symbol) == ("blue", "diamond")
    assert len(plots.dumbbells(dice, marks, "words").data) == 3


def test_standings_show_the_chosen_one_first_and_candidates_filled(tmp_path):
    groups = glioma_groups(Store(tmp_path))
    groups["low resolution"] = groups.pop("2D")
    choice = leaderboard.choose(leaderboard.read(groups))
    figure = plots.standings(choice)
    levels, behind = figure.data
    assert list(levels.y) == ["2D + 3D", "3D", "low resolution"]
    assert list(levels.marker.symbol) == ["star", "circle", "circle-open"]
    assert list(behind.x) == [of.mean for of in choice.others.difference]
    assert list(behind.marker.color) == [plots.DECIDED[word] for word in choice.others.decided]
    assert len(figure.layout.shapes) == 2  # the margin and zero


def test_cases_lie_over_a_mark_in_a_panel_a_class():
    ours, theirs = (pd.DataFrame({"WT": values, "TC": values}, list("abc")) for values in ([0.5, 0.4, 0.3], [0.9] * 3))
    line, points, *others = plots.case_by_case({"2D": ours}, theirs, "nnU-Net v2", "words").data
    assert list(line.x) == list(line.y) == pytest.approx([0.27, 1])
    assert (list(points.x), list(points.y)) == ([0.9] * 3, [0.5, 0.4, 0.3])
    assert points.hovertemplate == "%{text}: ours %{y:.3f}, nnU-Net v2 %{x:.3f}<extra>2D</extra>"
    assert [trace.xaxis for trace in others] == ["x2", "x2"]
