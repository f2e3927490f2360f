"""The leaderboard of a cross-validation, and the choice of a network or pair."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from grouped_records import configured
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.analysis import leaderboard, scores
from gbmlib.analysis.family import contrasts
from gbmlib.analysis.intervals import mean_interval
from gbmlib.analysis.leaderboard import SelectionError
from gbmlib.study import scales
from gbmlib.study.records import Store
from gbmlib.training.ensemble import Ensemble

CASES = {"a": 0.5, "b": 0.7, "c": 0.2, "d": 0.9}
FOLD_OF = {"a": 0, "b": 0, "c": 1, "d": 1}


def record(fold, dices, seed=0, cohort="some", folds=2, regions="labels", members=None):
    """A record with the Dice of held-out cases, case -> class -> value, and a training case that must not count."""
    rows = [
        (case, "held out", region, metric, value)
        for case, of in dices.items()
        for region, value in of.items()
        for metric, value in (("dice", value), ("precision", 0.0))
    ]
    rows += [("z", "train", region, "dice", 1.0) for region in next(iter(dices.values()), {})]
    experiment = configured(fold, seed, folds, cohort=cohort, regions=regions)
    if members is not None:
        networks = tuple(experiment.changed(learning_rate=0.1 / (number + 1)) for number in range(members))
        experiment = Ensemble(members=networks)
    return SimpleNamespace(
        id=f"run-{fold}-{seed}",
        history=pd.DataFrame({"epoch": [0]}),
        store=None,
        cases=pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"]),
        experiment=experiment,
    )


def group(change=0.0, seeds=(0,), folds=(0, 1), classes=("left", "right"), fold_of=FOLD_OF, **fields):
    """Two folds of four cases; ``change`` (a number, or one a case) is added to every class, 0.1 to the second."""
    shift = change if isinstance(change, dict) else dict.fromkeys(CASES, change)
    return [
        record(
            fold,
            {
                case: {name: CASES[case] + shift[case] + 0.1 * number for number, name in enumerate(classes)}
                for case, of in fold_of.items()
                if of == fold
            },
            seed,
            **fields,
        )
        for fold in folds
        for seed in seeds
    ]


def pair(change, number=2, **fields):
    return group(change, members=number, **fields)


def test_a_row_has_the_means_over_pooled_held_out_cases():
    board = leaderboard.read({"2D": group(), "3D": group(0.02, seeds=(0, 1)), "2D + 3D": pair(0.04)})
    table = leaderboard.table(board)
    assert list(table.columns) == ["left", "right", "mean", "networks", "cases", "folds", "seeds"]
    means = [[cell.mean for cell in table.loc[label, ["left", "right", "mean"]]] for label in table.index]
    assert np.array(means) == pytest.approx(
        np.array([[0.575, 0.675, 0.625], [0.595, 0.695, 0.645], [0.615, 0.715, 0.665]])
    )
    assert table.loc["3D", ["networks", "cases", "folds", "seeds"]].tolist() == [1, 4, "2 of 2", 2]
    assert table.networks["2D + 3D"] == 2
    assert str(table.loc["2D", "mean"]) in table.to_html()


def test_seeds_are_averaged_within_a_case_before_cases_are():
    row = leaderboard.read({"2D": group(0.0) + group(0.1, seeds=(1,))})["2D"]
    assert row.dices.left.to_dict() == pytest.approx({case: value + 0.05 for case, value in CASES.items()})
    assert row.fold_of == FOLD_OF


def test_nested_regions_that_exclusive_labels_are_measured_on_do_not_decide():
    labels = group(classes=("oedema", "WT"))
    assert leaderboard.classes_of(labels[0]) == ["oedema"]
    nested = group(classes=("WT", "TC"), regions="brats")
    assert leaderboard.classes_of(nested[0]) == ["WT", "TC"]
    assert list(leaderboard.read({"2D": labels})["2D"].dices) == ["oedema"]
    assert list(leaderboard.read({"2D": labels}, classes=["WT"])["2D"].dices) == ["WT"]


def test_the_best_mean_is_chosen_and_every_other_row_compared_with_it_case_by_case():
    change = {"a": 0.03, "b": -0.01, "c": 0.08, "d": 0.05}
    groups = {"2D": group(), "3D": group(change), "low resolution": group(0.01)}
    choice = leaderboard.choose(leaderboard.read(groups))
    assert choice.label == "3D"
    assert choice.level.mean == pytest.approx(0.625 + np.mean(list(change.values())))
    assert list(choice.others.index) == ["low resolution", "2D"]  # best first
    expected = mean_interval(list(change.values()))
    found = choice.others.difference["2D"]
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))
    # The table of comparisons elsewhere in the book says the same.
    same = contrasts({"2D": groups["2D"], "3D": groups["3D"]}).loc["3D"]
    assert found == same.difference
    assert choice.others.p["2D"] == min(1.0, 2 * same.p)  # of a family of two
    assert choice.others.candidate.to_dict() == {"low resolution": False, "2D": True}


def test_the_first_network_of_the_cascade_is_no_candidate():
    board = leaderboard.read({"2D": group(), "low resolution": group(0.2), "low resolution + 2D": pair(0.3)})
    assert leaderboard.choose(board).label == "2D"


def test_ties_go_to_fewer_networks_then_to_the_order_of_rows():
    board = leaderboard.read({"2D + 3D": pair(0.1), "3D": group(0.1), "2D": group(0.1), "cascade": group()})
    choice = leaderboard.choose(board)
    assert (choice.label, choice.tied) == ("3D", ("2D", "2D + 3D"))
    assert choice.shares.to_dict() == {"3D": 1.0, "2D": 0.0, "cascade": 0.0, "2D + 3D": 0.0}
    # The same numbers summed in another order are a tie too.
    shuffled = leaderboard.read({"2D + 3D": pair(1e-13), "2D": group()})
    assert leaderboard.choose(shuffled).label == "2D"


def test_shares_say_how_often_each_would_be_chosen():
    """Each network is ahead in one case. Of two cases drawn, one time in four both are the second."""
    groups = {
        "2D": [record(0, {"a": {"x": 0.5}}), record(1, {"b": {"x": 0.5}})],
        "3D": [record(0, {"a": {"x": 0.9}}), record(1, {"b": {"x": 0.4}})],
    }
    choice = leaderboard.choose(leaderboard.read(groups))
    assert choice.shares["3D"] == pytest.approx(0.75, abs=0.02)
    assert choice.shares.sum() == pytest.approx(1)


def test_each_fold_under_the_choice_of_the_others_is_not_flattered():
    """Each network is good in one fold alone: chosen elsewhere it is bad in the fold it is measured on."""
    good, bad = ({"a": up, "b": up, "c": -up, "d": -up} for up in (0.1, -0.1))
    choice = leaderboard.choose(leaderboard.read({"2D": group(good), "3D": group(bad)}))
    assert choice.level.mean == pytest.approx(0.625)
    assert choice.elsewhere.mean == pytest.approx(0.525)
    one_fold = leaderboard.read({"2D": group(), "3D": group(0.1)}, folds=[0])
    assert leaderboard.choose(one_fold).elsewhere is None


def test_the_records_of_each_fold_under_the_choice_of_the_others():
    good, bad = ({"a": up, "b": up, "c": -up, "d": -up} for up in (0.1, -0.1))
    groups = {"2D": group(good), "3D": group(bad), "2D + 3D": group(-0.3)}
    assert leaderboard.chosen_elsewhere(groups) == [groups["3D"][0], groups["2D"][1]]
    with pytest.raises(SelectionError, match="none of 2D has records of several folds"):
        leaderboard.chosen_elsewhere({"2D": group(folds=(0,))})
    labels = ["2D", "low resolution", "2D + low resolution", "2D + 3D", "2D, once"]
    assert leaderboard.candidates_of(labels) == ["2D", "2D + 3D"]


# --------------------------------------------------------------------------------------------- what cannot be compared


def test_missing_folds_keep_their_row_without_numbers():
    board = leaderboard.read({"2D": group(), "3D": group(0.5, folds=(0,)), "cascade": []})
    table = leaderboard.table(board)
    assert table.loc["3D", ["left", "mean", "cases", "folds"]].tolist() == ["", "", 0, "1 of 2"]
    assert table.loc["cascade", ["networks", "folds", "seeds"]].tolist() == ["", "0 of 2", 0]
    choice = leaderboard.choose(board)
    assert choice.label == "2D"
    assert choice.left_out == {"3D": ("has no record of fold 1 with seed 0",), "cascade": ("has no record",)}
    # On the folds that are asked for, the same records are complete.
    assert leaderboard.choose(leaderboard.read({"2D": group(), "3D": group(0.5, folds=(0,))}, folds=[0])).label == "3D"


def test_other_cases_or_the_same_in_other_folds_are_refused():
    for fold_of in ({"a": 0, "b": 1, "c": 1, "d": 0}, {"a": 0, "b": 0, "c": 1}):
        with pytest.raises(SelectionError, match="2D, odd do not hold out the same cases in the same folds"):
            leaderboard.read({"2D": group(), "odd": group(0.3, fold_of=fold_of)})


def test_nothing_to_choose_from_is_refused_with_all_reasons():
    with pytest.raises(SelectionError, match="no record of 2D, 3D; run them first"):
        leaderboard.read({"2D": [], "3D": []})
    with pytest.raises(SelectionError, match=r"folds \[0, 2\] of 2; they are counted from 0 to 1"):
        leaderboard.read({"2D": group()}, folds=[0, 2])
    board = leaderboard.read({"2D": group(folds=(1,)), "3D": []})
    with pytest.raises(SelectionError, match="2D: has no record of fold 0 with seed 0; 3D: has no record"):
        leaderboard.choose(board)
    with pytest.raises(SelectionError, match="there is none"):
        leaderboard.choose(leaderboard.read({"low resolution": group()}))


# ------------------------------------------------------------------------------------------------------ as properties

DICE = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


@settings(deadline=None, max_examples=12)
@given(st.lists(st.lists(DICE, min_size=4, max_size=4), min_size=2, max_size=4))
def test_the_choice_is_the_argmax_whatever_the_order_of_records(values):
    groups = {
        f"net {number}": [
            record(fold, {case: {"x": of[index]} for index, case in enumerate(CASES) if FOLD_OF[case] == fold})
            for fold in (0, 1)
        ]
        for number, of in enumerate(values)
    }
    choice = leaderboard.choose(leaderboard.read(groups))
    means = [np.mean(of) for of in values]
    assert choice.level.mean == pytest.approx(max(means), abs=1e-8)
    assert all(change.mean >= -1e-8 for change in choice.others.difference)
    assert choice.elsewhere.mean <= max(np.mean([max(case) for case in zip(*values, strict=True)]), 0) + 1e-12
    turned = {label: of[::-1] for label, of in groups.items()}
    assert leaderboard.choose(leaderboard.read(turned)).label == choice.label


# --------------------------------------------------------------------------------------------------- published records


def test_published_records_make_a_leaderboard(pytestconfig):
    """V-Net and the first paper's network, five folds and two seeds of the same 19 cases."""
    store = Store("nowhere", published=pytestconfig.rootpath / "book" / "records")
    folds = range(5)
    vnet = [store.get(one) for seed in (0, 1) for one in scales.vnet("short", folds, seed=seed)]
    other = [store.get(one) for one in scales.paper_a("short", folds, (0, 1))]
    groups = {"V-Net": vnet, "Paper A": other, "a fold": [of for of in other if of.experiment.fold == 0]}
    board = leaderboard.read(groups)
    table = leaderboard.table(board)
    assert table.loc["V-Net", ["cases", "folds", "seeds"]].tolist() == [19, "5 of 5", 2]
    assert list(table.columns[:4]) == ["WT", "TC", "ET", "mean"]
    assert table.folds["a fold"] == "1 of 5"
    levels = scores.levels({label: groups[label] for label in ("V-Net", "Paper A")})
    assert table["mean"]["V-Net"].mean == pytest.approx(levels["V-Net"].mean)
    choice = leaderboard.choose(board)
    assert choice.level.mean == pytest.approx(max(of.mean for of in levels))
    assert list(choice.left_out) == ["a fold"]
