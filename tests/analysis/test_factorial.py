"""Two crossed factors: effects worked out by hand, each judged by its own records."""

import pandas as pd
import pytest
from crossed_cells import CELLS, HARDNESS, LEVELS, PIPELINES, crossed, record

from gbmlib.analysis import factorial, scores, soundness, spreads
from gbmlib.analysis.scores import UnpairedError


@pytest.fixture
def cells():
    return crossed()


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
        spreads.spreads(factorial.by_case(cells))
    with pytest.raises(ValueError, match="missing: a second pipeline"):
        spreads.networks_minus_pipelines(factorial.by_case({cell: of for cell, of in cells.items() if "A" in cell}))


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
