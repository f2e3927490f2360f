"""Two crossed factors: effects worked out by hand, parts that add up, and intervals that others compute alike."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from grouped_records import configured
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.analysis import factorial, intervals, scores, soundness
from gbmlib.analysis.intervals import bootstrap, difference_interval, jackknife, over_folds
from gbmlib.analysis.scores import UnpairedError

NETWORKS, PIPELINES = ("one", "two", "three"), ("A", "B")
CELLS = list(product(NETWORKS, PIPELINES))

#: Dice of each network under A and under B, less the case's hardness: B adds 0.1, and to the third network 0.16.
LEVELS = dict(zip(CELLS, (0.5, 0.6, 0.52, 0.62, 0.58, 0.74), strict=True))
HARDNESS = {"a": 0.0, "b": 0.1, "c": 0.25, "d": 0.3}


def record(level, fold=0, seed=0, cases="abcd", regions=("WT", "ET"), folds=2):
    rows = [
        (case, split, region, metric, level - HARDNESS[case] + shift)
        for case in cases
        for split, shift in (("held out", 0), ("train", 0.2))
        for region in regions
        for metric in ("dice", "recall")
    ]
    return SimpleNamespace(
        id=f"run-{level}-{fold}-{seed}",
        cases=pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"]),
        history=pd.DataFrame({"epoch": [0]}),
        experiment=configured(fold, seed, folds),
        store=None,
    )


@pytest.fixture
def cells():
    return {cell: [record(LEVELS[cell], 0, cases="ab"), record(LEVELS[cell], 1, cases="cd")] for cell in CELLS}


def table_of(values):
    """A table of :func:`by_case` from an array (case, network, pipeline)."""
    flat = np.asarray(values).reshape(len(values), -1)
    return pd.DataFrame(flat, columns=pd.MultiIndex.from_tuples(CELLS, names=factorial.FACTORS))


def test_a_case_has_its_mean_dice_over_regions_and_seeds_in_every_cell(cells):
    cells["one", "A"] = [record(level, fold, seed, cases=of) for fold, of in enumerate(("ab", "cd"))
                         for seed, level in enumerate((0.4, 0.6))]  # fmt: skip
    table = factorial.by_case(cells)
    assert list(table.columns) == CELLS
    assert list(table.index) == list("abcd")
    for cell in CELLS:
        assert table[cell].tolist() == pytest.approx([LEVELS[cell] - of for of in HARDNESS.values()])


def test_regions_are_those_that_all_cells_measured(cells):
    cells["one", "B"] = [record(0.6, f, cases=c, regions=("core", "ET", "WT")) for f, c in ((0, "ab"), (1, "cd"))]
    assert scores.common_regions(cells) == ["WT", "ET"]
    pd.testing.assert_frame_equal(factorial.by_case(cells, "ET"), factorial.by_case(cells))
    with pytest.raises(UnpairedError, match=r"'core' is not among those that all cells measured: \['WT', 'ET'\]"):
        factorial.by_case(cells, "core")


def test_only_folds_that_every_cell_has_count(cells):
    cells["two", "A"] = cells["two", "A"][1:]
    assert factorial.shared_folds(cells) == [(1, 2)]
    assert list(factorial.by_case(cells).index) == ["c", "d"]
    cells["one", "A"] = cells["one", "A"][:1]
    with pytest.raises(UnpairedError, match="no fold that every cell"):
        factorial.by_case(cells)


def test_other_cases_in_the_same_fold_are_refused(cells):
    cells["two", "B"][0] = record(0.6, 0, cases="ac")
    with pytest.raises(UnpairedError, match="two under pipeline B: b"):
        factorial.by_case(cells)


def test_effects_worked_out_by_hand(cells):
    found = factorial.effects(cells)
    expected = {
        "two − one": 0.02,  # 0.02 under either
        "three − one": (0.08 + 0.14) / 2,
        "three − two": (0.06 + 0.12) / 2,
        "pipeline B − A": (0.1 + 0.1 + 0.16) / 3,
        "gain by B: two − one": 0.0,
        "gain by B: three − one": 0.06,
        "gain by B: three − two": 0.06,
    }
    assert {label: of.mean for label, of in found.difference.items()} == pytest.approx(expected)
    assert list(found.effect) == ["architecture"] * 3 + ["pipeline"] + ["interaction"] * 3
    assert found.over["pipeline B − A"] == "one, two, three"
    assert found.over["three − two"] == "pipeline A, pipeline B"
    assert set(found.cases) == {4}
    assert found.family.tolist() == [3, 3, 3, 1, 3, 3, 3]  # three questions


def test_what_can_be_said_without_a_cell_is_said(cells):
    del cells["one", "B"]
    found = factorial.effects(cells)
    assert found.difference["pipeline B − A"].mean == pytest.approx((0.1 + 0.16) / 2)
    assert found.over["pipeline B − A"] == "two, three"
    assert found.over["three − one"] == "pipeline A"
    assert [label for label in found.index if "gain" in label] == ["gain by B: three − two"]
    with pytest.raises(ValueError, match="missing: one under pipeline B"):
        factorial.spreads(factorial.by_case(cells))
    with pytest.raises(ValueError, match="missing: a second pipeline"):
        factorial.networks_minus_pipelines(factorial.by_case({cell: of for cell, of in cells.items() if "A" in cell}))


def test_each_difference_by_itself(cells):
    found = factorial.within(cells)
    assert found.difference["three: B − A"].mean == pytest.approx(0.16)
    assert found.difference["pipeline B: three − one"].mean == pytest.approx(0.14)
    assert len(found) == 3 + 2 * 3
    assert found.against["pipeline B: three − one"] == "one under pipeline B"


def test_effects_are_paired_within_seeds_too(cells):
    """A seed that lifts every cell alike changes no effect; one that lifts a single network widens its interval."""
    for cell in CELLS:
        cells[cell] += [record(LEVELS[cell] + 0.2, f, 1, cases=c) for f, c in ((0, "ab"), (1, "cd"))]
    table = factorial.by_seed(cells)
    assert table.index.names == ["case", "seed"]
    pd.testing.assert_frame_equal(table.groupby("case").mean(), factorial.by_case(cells))
    even = factorial.effects(cells).difference["two − one"]
    assert (even.low, even.high) == pytest.approx((even.mean, even.mean))
    for pipeline in PIPELINES:
        cells["two", pipeline] = cells["two", pipeline][:2] + [
            record(LEVELS["two", pipeline] + 0.3, f, 1, cases=c) for f, c in ((0, "ab"), (1, "cd"))
        ]
    found = factorial.effects(cells).loc["two − one"]
    assert found.difference.mean == pytest.approx(0.02 + 0.05)
    assert found.difference.low < 0.03
    assert found.seeds == 2


def test_cells_of_other_seeds_are_compared_by_their_means(cells):
    cells["one", "A"] = [record(LEVELS["one", "A"], f, 7, cases=c) for f, c in ((0, "ab"), (1, "cd"))]
    table = factorial.by_seed(cells)
    assert set(table.index.get_level_values("seed")) == {"mean"}
    assert factorial.effects(cells).difference["pipeline B − A"].mean == pytest.approx((0.1 + 0.1 + 0.16) / 3)


def test_spreads_worked_out_by_hand():
    # Networks 0.1 apart and pipelines 0.04, nothing together; the cases differ, the effects do not.
    means = 0.5 + np.array([-0.1, 0, 0.1])[:, None] + np.array([-0.02, 0.02])
    table = table_of([means - hardness for hardness in HARDNESS.values()])
    found = factorial.spreads(table)
    assert found.spread["network"].mean == pytest.approx(np.sqrt(0.02 / 3))
    assert found.spread["pipeline"].mean == pytest.approx(0.02)
    assert found.spread["interaction"].mean == pytest.approx(0, abs=1e-12)
    assert sum(of.mean for of in found.share) == pytest.approx(1)
    change = factorial.networks_minus_pipelines(table)
    assert change.mean == pytest.approx(np.sqrt(0.02 / 3) - 0.02)
    assert (change.low, change.high) == pytest.approx((change.mean, change.mean))
    assert intervals.outcome([change], 0.01) == "higher"


def test_one_case_can_carry_the_difference_of_spreads():
    """Every case must be let go; with an outlier whose pipelines lie far apart, one cannot be."""
    quiet = 0.5 + np.random.default_rng(0).normal(0, 0.01, (12, 3, 2))
    assert factorial.carried_by(table_of(quiet)) == []  # nothing is decided
    assert factorial.carried_by(table_of(quiet + np.array([-0.1, 0.1]))) == []  # and here all cases agree
    borderline = quiet + np.array([-0.003, 0.003])
    borderline[7] += np.array([-0.05, 0.05])
    assert factorial.networks_minus_pipelines(table_of(borderline)).high < 0
    assert 7 in factorial.carried_by(table_of(borderline))


def test_one_network_can_carry_the_spread():
    # The first lies 0.15 below two that are equal; pipelines are 0.04 apart.
    means = 0.5 + np.array([-0.1, 0.05, 0.05])[:, None] + np.array([-0.02, 0.02])
    table = table_of([means - hardness for hardness in HARDNESS.values()])
    found = factorial.leaving_out(table)
    assert list(found.index) == [None, "one", "two", "three"]
    assert [of.mean for of in found.network] == pytest.approx([np.sqrt(0.015 / 3), 0, 0.075, 0.075])
    assert [of.mean for of in found.pipeline] == pytest.approx([0.02] * 4)
    assert [intervals.outcome([of], 0.01) for of in found.difference] == ["higher", "lower", "higher", "higher"]
    otherwise = factorial.otherwise_without(found)
    assert list(otherwise) == ["one"]
    assert otherwise["one"].mean == pytest.approx(-0.02)
    assert list(factorial.leaving_out(table.drop(columns="three", level="network")).index) == [None]


def test_few_folds_give_a_spread_without_an_interval(cells):
    """With two folds there is a value and no interval."""
    table = factorial.by_case(cells)
    over = factorial.over_networks(table, cells)
    assert over.difference.mean == pytest.approx(factorial.networks_minus_pipelines(table).mean)
    assert np.isnan(over.difference.low)
    assert over.difference.cases == 2


def test_the_jackknife_of_a_mean_is_students_interval():
    values = pd.DataFrame({"x": [0.3, 0.1, 0.5, 0.2, 0.4]}, list("abcde"))
    found = jackknife(values, lambda rows: float(rows.x.mean()), dict(zip("abcde", range(5), strict=True)))
    expected = over_folds(values.x, 5).difference
    assert (found.difference.low, found.difference.high) == pytest.approx((expected.low, expected.high))


def test_effects_of_unequal_runs_are_not_decided_yet(cells):
    for run in cells["two", "A"]:
        run.experiment = run.experiment.changed(batch_size=4)
    found = factorial.effects(cells)
    assert found.decided["two − one"] == "not decided yet"
    assert "unequal" in found.unsound["two − one"]
    assert "(two under A and one under A)" in found.unsound["two − one"]
    assert found.unsound["three − one"] == ""


def test_an_effect_that_twice_the_schedule_changes_is_not_decided_yet(cells, monkeypatch):
    """Every cell changes by less than the margin; the two networks' gains from B change by more, against each other."""
    four = {cell: records for cell, records in cells.items() if cell[0] != "three"}
    almost = 0.9 * factorial.margin(four)
    changes = {LEVELS[cell]: sign * almost for cell, sign in zip(four, (0, 1, 1, 0), strict=True)}
    monkeypatch.setattr(soundness, "doubled", lambda record: changes[float(record.id.split("-")[1])])
    table = factorial.effects(four)
    [twice] = table.unsound[table.effect == "interaction"]
    assert twice.startswith(f"undertrained: twice the schedule changes the difference itself by {-2 * almost:+.3f}")
    assert set(table.unsound[table.effect != "interaction"]) == {""}
    assert set(factorial.within(four).unsound) == {""}


@given(st.lists(st.integers(0, 1000), min_size=6, max_size=6))
@settings(deadline=None)
def test_the_parts_are_those_of_a_linear_model_and_add_up(thousandths):
    means = np.reshape(thousandths, (3, 2)) / 1000
    parts = factorial._mean_squares(means)
    assert sum(parts) == pytest.approx(np.mean((means - means.mean()) ** 2), abs=1e-12)
    # Least squares with a dummy variable for each level; what each factor explains beyond the mean.
    rows, columns = np.indices(means.shape)
    y = means.ravel()
    for part, levels in zip(parts, (rows.ravel(), columns.ravel()), strict=False):
        dummies = (levels[:, None] == np.unique(levels)).astype(float)
        fitted = dummies @ np.linalg.lstsq(dummies, y, rcond=None)[0]
        assert part == pytest.approx(np.mean((fitted - y.mean()) ** 2), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_a_difference_is_that_of_the_differences(seed):
    """Drawing whole cases and taking the difference of means is the same as drawing differences."""
    cube = np.random.default_rng(seed).uniform(size=(19, 3, 2))
    found = bootstrap(cube, lambda means: means[..., 2, 1] - means[..., 0, 1])
    plain = difference_interval(cube[:, 2, 1] - cube[:, 0, 1])
    assert vars(found) == pytest.approx(vars(plain), abs=1e-9)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Cases drawn from a known population: 95 % intervals of the share miss it now and then, not often."""
    rng = np.random.default_rng(1)
    means = 0.5 + np.array([-0.06, 0, 0.06])[:, None] + np.array([-0.04, 0.04])
    true = factorial._shares(means)[0]
    held = 0
    for _ in range(20):
        cube = means + 0.05 * rng.standard_normal((19, 3, 2)) + 0.2 * rng.standard_normal((19, 1, 1))
        share = bootstrap(cube, lambda of: factorial._shares(of)[0])
        held += share.low <= true <= share.high
    assert held >= 16


def test_few_cases_have_no_interval_and_no_differences_no_width(cells):
    two = {cell: records[:1] for cell, records in cells.items()}
    assert np.isnan(factorial.spreads(factorial.by_case(two)).spread["network"].low)
    same = factorial.spreads(table_of(np.full((5, 3, 2), 0.5)))
    assert [(of.mean, of.low, of.high) for of in same.share] == [(0, 0, 0)] * 3
