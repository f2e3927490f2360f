"""The chapter on the head to head with made-up records: whole, partly missing, and without any."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gbmlib.analysis import factorial, spreads, treatments
from gbmlib.analysis.soundness import Soundness
from gbmlib.cohorts import GLIOMA
from gbmlib.evaluation.metrics import NAMES
from gbmlib.pages import head_to_head_pages as pages
from gbmlib.pages import interactive
from gbmlib.pages.text import Prose
from gbmlib.study import head_to_head
from gbmlib.study.records import Store

ROOT = Path(__file__).resolve().parents[2]
CELLS = [(network, pipeline) for network in head_to_head.NETWORKS for pipeline in head_to_head.PIPELINES]

#: The pipeline adds 0.2 to each network, and the networks lie 0.003 apart.
LEVELS = dict(zip(CELLS, (0.5, 0.7, 0.503, 0.703, 0.506, 0.706), strict=True))
HARDNESS = (0.0, 0.1, 0.15, 0.3)
#: What is left to chance in a case of a run; it has no mean.
CHANCE = 0.002 * np.array(
    [[1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1], [-1, 3, -1, -1], [2, 0, 0, -2], [0, -2, 2, 0]]
)


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    """Published fingerprints lie in the repository, and paths are read from its root."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("GBM_STATIC", raising=False)


def record(store, experiment, cell, levels=LEVELS):
    """A made-up record of a real configuration, of four cases a fold; exclusive labels have a Dice of 0."""
    exclusive = tuple(GLIOMA.values()) if experiment.regions == "labels" else ()
    rows = [
        (
            f"{experiment.fold}{n}",
            "held out",
            region,
            metric,
            0.0 if region in exclusive else levels[cell] - hard + luck,
        )
        for n, (hard, luck) in enumerate(zip(HARDNESS, CHANCE[CELLS.index(cell)], strict=True))
        for region in (*exclusive, "WT", "TC", "ET")
        for metric in NAMES
    ]
    history = pd.DataFrame({"epoch": range(experiment.epochs), "learning_rate": 1e-3, "val_loss": 0.5})
    for part in ("train", "val"):
        history[f"{part}_dice"] = history[f"{part}_loss"] = 0.5
    made = {"parameters": 10**6, "seconds": 120, "cases": 19, "device": "a machine", "numerics": 1, "fingerprint": "x"}
    cases = pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"])
    return store.finish(experiment, history, cases, made)


@pytest.fixture(autouse=True)
def _fairly_trained(monkeypatch):
    """As if the rate of each network had been searched for, and twice its schedule changed nothing."""
    monkeypatch.setattr(treatments, "searched", lambda record: True)
    monkeypatch.setattr(treatments, "_plateau", lambda records: True)


@pytest.fixture
def wanted():
    """The cells of the three networks that the tests have Dice for."""
    cells = head_to_head.cells("study", folds=range(5), seeds=(0,))
    return {cell: runs for cell, runs in cells.items() if cell[0] in head_to_head.NETWORKS}


@pytest.fixture
def groups(wanted, tmp_path):
    store = Store(tmp_path)
    return {cell: [record(store, e, cell) for e in of] for cell, of in wanted.items()}


def words(shown):
    return "\n".join(part for part in shown if isinstance(part, Prose))


def test_whole_results_are_a_line_a_figure_and_a_table(groups, wanted):
    about, figure, table = pages.results(groups, wanted)
    assert "30 runs on 5 folds of 5" in about
    assert "no record" not in about
    assert len(figure.data) == 3
    assert table.loc["V-Net", "pipeline A"].mean == pytest.approx(0.5 - 0.1375)
    assert table.loc["mean", "pipeline B"].mean == pytest.approx(0.703 - 0.1375)
    assert table.loc["U-Net", "mean"].mean == pytest.approx(0.606 - 0.1375)
    assert table.loc["mean", "mean"] == ""


def test_lines_of_the_figure_are_the_cells(groups):
    figure = pages.interaction(factorial.by_case(groups))
    assert [trace.name for trace in figure.data] == list(head_to_head.NETWORKS)
    assert list(figure.data[2].y) == pytest.approx([0.506 - 0.1375, 0.706 - 0.1375])
    assert all(a < b for a, b in zip(figure.data[0].x, figure.data[1].x, strict=True))  # bars side by side


def test_what_changes_is_said_with_its_interval(groups):
    forest, caption = pages.changes(groups)
    table, said = pages.details(groups)
    assert sum(len(trace.y) for trace in forest.data) == 3 + 1 + 3
    statistics = ["decided", "mean", "p (Holm)", "rank-biserial"]
    assert list(table.columns) == ["effect", "over", *statistics, "WT", "TC", "ET", "cases", "seeds"]
    assert "pipeline B − A by +0.200" in caption
    assert table.loc["pipeline B − A", "ET"].mean == pytest.approx(0.2)
    assert table.loc["pipeline B − A", "decided"] == "higher"
    assert "  - **pipeline B − A**: higher Dice; +0.200" in said
    assert "  - **gain by B: U-Net − V-Net**: no difference above 0.03; " in said
    assert "**Which matters more: the pipeline.**" in said
    assert "on 20 cases" in said
    assert "The answer is the same without any one of the networks." in said


def test_the_verdict_follows_the_numbers(wanted, tmp_path):
    """The networks 0.2 apart and the pipelines 0.01: the other way round."""
    store = Store(tmp_path)
    levels = dict(zip(CELLS, (0.4, 0.41, 0.6, 0.61, 0.8, 0.81), strict=True))
    groups = {cell: [record(store, e, cell, levels) for e in of] for cell, of in wanted.items()}
    assert "**Which matters more: the architecture.**" in words(pages.details(groups))
    levels["U-Net", "B"] = 0.9
    groups["U-Net", "B"] = [record(store, e.changed(seed=1), ("U-Net", "B"), levels) for e in wanted["U-Net", "B"]]
    assert "**gain by B: U-Net − V-Net**: a larger gain; +0.090" in words(pages.details(groups))


def test_an_answer_that_one_network_carries_says_so(wanted, tmp_path):
    levels = dict(zip(CELLS, (0.4, 0.43, 0.6, 0.63, 0.6, 0.63), strict=True))
    store = Store(tmp_path)
    groups = {cell: [record(store, e, cell, levels) for e in of] for cell, of in wanted.items()}
    said = words(pages.details(groups))
    assert "**Which matters more: the architecture.**" in said
    assert "compared: without V-Net it is the pipeline, -0.01" in said


def test_phantoms_give_no_verdict(groups, wanted):
    shown = [*pages.changes(groups, decides=False), *pages.within(groups, decides=False)]
    assert not words(shown)
    assert not any("decided" in table for table in shown if isinstance(table, pd.DataFrame))


def test_spreads_and_single_differences(groups):
    spreads, table = pages.far_apart(groups)
    assert spreads.spread["pipeline"].mean == pytest.approx(0.1)
    assert list(table.index) == ["all networks", "without V-Net", "without SegVAE", "without U-Net"]
    assert list(table["matters more, by cases"].unique()) == ["the pipeline"]  # of networks that are equal on average
    assert "matters more, by cases" not in pages.far_apart(groups, decides=False)[1]
    [table] = pages.within(groups)
    assert table.difference["U-Net: B − A"].mean == pytest.approx(0.2)
    assert table.decided["pipeline A: SegVAE − V-Net"] == "higher, below 0.03"


def test_missing_cells_and_folds_are_named_and_nothing_is_concluded_from_the_rest(groups, wanted):
    del groups["V-Net", "B"]
    groups["SegVAE", "B"] = groups["SegVAE", "B"][:4]
    shown = pages.results(groups, wanted)
    assert shown[-1].loc["V-Net", "pipeline B"] == ""
    assert "mean" not in [*shown[-1].index, *shown[-1].columns]  # of what is there would not be of the same
    said = words(shown)
    assert "V-Net under pipeline B: folds 0, 1, 2, 3 and 4" in said
    assert "SegVAE under pipeline B: fold 4" in said
    assert "all of those with a record share: 0, 1, 2, 3." in said
    assert "--only headtohead" in said
    answers = words(pages.details(groups))
    assert "**pipeline B − A**: undecided; +0.20" in answers
    assert "4 folds, too few for an interval over networks" in answers
    assert "cannot be said before all cells have a record" in answers
    assert "Not before all cells" in words(pages.far_apart(groups))


@pytest.mark.parametrize("cells", [[("V-Net", "A")], [("V-Net", "A"), ("U-Net", "B")]], ids=["one", "two"])
def test_cells_that_share_nothing_are_shown_without_a_difference(cells, groups, wanted):
    few = {cell: groups[cell] for cell in cells}
    assert isinstance(pages.results(few, wanted)[-1], pd.DataFrame)
    assert "no difference to show" in words(pages.changes(few))
    assert pages.details(few) == []
    assert "Not before all cells" in words(pages.far_apart(few))
    assert pages.within(few)[0].empty


def test_a_network_that_is_wholly_missing_leaves_the_question_open(groups):
    few = {cell: of for cell, of in groups.items() if cell[0] != "V-Net"}
    assert "cannot be said" in words(pages.details(few))
    said = words(pages.details(few, networks=head_to_head.WITHOUT_VNET))
    assert "**Which matters more: " in said
    assert "any one of the networks" not in said  # of two none can be left out


def test_cells_without_a_common_fold_say_so(groups, wanted):
    groups["V-Net", "A"], groups["U-Net", "A"] = groups["V-Net", "A"][:1], groups["U-Net", "A"][1:]
    said = "*Nothing can be compared yet: there is no fold that every cell has run.*"
    assert said in words(pages.results(groups, wanted))
    for show in (pages.changes, pages.details, pages.within, pages.far_apart):
        assert show(groups) == [said]


def test_curves_are_of_one_pipeline_at_a_time(groups):
    del groups["V-Net", "B"]
    a, first, b, second = pages.over_epochs(groups)
    assert ("A" in a, "B" in b) == (True, True)
    assert [trace.name.split(" (")[0] for trace in first.data if trace.showlegend] == ["V-Net", "SegVAE", "U-Net"]
    assert [trace.name.split(" (")[0] for trace in second.data if trace.showlegend] == ["SegVAE", "U-Net"]


def test_patients_are_a_row_and_an_entry_of_the_list_each_the_best_first(groups):
    figure, piece = interactive.by_patient(groups)
    assert [trace.name for trace in figure.data[1:]] == [", pipeline ".join(cell) for cell in CELLS]
    [data] = re.findall(r'<script type="application/json">(.*?)</script>', piece.data)
    listed = json.loads(data)
    assert [patient["name"] for patient in listed] == list(figure.data[1].y)
    means = [np.mean([float(value) for value in patient["dice"].values()]) for patient in listed]
    assert means == sorted(means, reverse=True)
    dice = factorial.by_case(groups).loc[listed[0]["name"]]
    assert list(listed[0]["dice"].values()) == [f"{value:.3f}" for value in dice]
    assert {patient["viewer"] for patient in listed} == {None}  # made-up patients have no images


def test_the_reviewers_piece_has_what_the_store_has(groups, tmp_path, monkeypatch):
    monkeypatch.setattr(spreads, "judged", lambda groups: Soundness((), ()))
    [piece] = interactive.reviewer(Store(tmp_path))
    [data] = re.findall(r'<script type="application/json">(.*?)</script>', piece.data)
    two, three = json.loads(data)["settings"]
    assert (two["networks"], three["networks"]) == (["SegVAE", "U-Net"], ["V-Net", "SegVAE", "U-Net"])
    assert {len(two["dice"]), len(three["dice"])} == {20}
    assert len(two["verdicts"]) == 2 + 1
    assert two["verdicts"][-1] == three["verdicts"][-1] == "lower"  # the pipeline matters more
    assert np.mean(two["dice"], axis=0) == pytest.approx(np.array([[0.503, 0.703], [0.506, 0.706]]) - 0.1375)


def test_without_records_there_is_nothing_to_review(tmp_path):
    assert "No record of these runs" in words(interactive.reviewer(Store(tmp_path)))


def test_the_hippocampus_is_shown_like_the_gliomas(tmp_path):
    store, cells = Store(tmp_path), head_to_head.of_hippocampus("study")
    cases = pd.DataFrame(
        [
            (f"{fold}{n}", "held out", region, metric, level - hard + luck)
            for fold in range(5)
            for n, (hard, luck) in enumerate(zip(HARDNESS, CHANCE[0], strict=True))
            for region in ("Anterior", "Posterior")
            for metric in NAMES
            for level in [0.9]
        ],
        columns=["case", "split", "region", "metric", "value"],
    )
    history = pd.DataFrame({"epoch": range(2), "train_dice": 0.5, "val_dice": 0.5, "val_loss": 0.5})
    made = {"parameters": 10**6, "seconds": 120, "cases": 20, "device": "a machine", "numerics": 1, "fingerprint": "x"}
    records = {cell: [] for cell in cells}
    for (network, pipeline), runs in cells.items():
        for run in runs:
            of_fold = cases[cases.case.str.startswith(str(run.fold))]
            better = 0.05 * (pipeline == "B")
            records[network, pipeline].append(
                store.finish(run, history, of_fold.assign(value=of_fold.value + better), made)
            )
    (_, figure, table), (forest, caption) = pages.results(records, cells), pages.changes(records)
    assert len(figure.data) == 2
    assert table.loc["U-Net", "pipeline B"].mean - table.loc["U-Net", "pipeline A"].mean == pytest.approx(0.05)
    assert len(forest.data)
    assert "pipeline B" in caption
