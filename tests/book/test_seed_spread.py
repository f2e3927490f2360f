"""How far seeds lie apart, by hand from a few records."""

import pytest
import seed_spread
from few_records import PAGES, families, put, run

from gbmlib.analysis.scores import UnpairedError
from gbmlib.study.records import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_seeds_are_compared_on_the_folds_that_both_have(store):
    records = [
        put(store, run(0, 0), {"a": 0.5, "b": 0.7}),
        put(store, run(0, 1), {"a": 0.4, "b": 0.4}),
        put(store, run(1, 0), {"c": 0.0}),  # the second seed has no such fold
    ]
    found = seed_spread.spread("x", records)
    assert found.means == pytest.approx({0: 0.6, 1: 0.4})
    assert found.apart == pytest.approx(0.2)
    assert found.of_a_case == pytest.approx(0.2)  # of 0.1 and 0.3
    assert found.folds == 1


def test_three_seeds_are_as_far_apart_as_the_best_and_the_worst(store):
    records = [put(store, run(0, seed), {"a": value}) for seed, value in enumerate((0.5, 0.8, 0.6))]
    found = seed_spread.spread("x", records)
    assert found.apart == pytest.approx(0.3)
    assert found.of_a_case == pytest.approx(0.3)


def test_one_seed_or_no_common_fold_tell_nothing(store):
    first, second = put(store, run(0, 0), {"a": 0.5}), put(store, run(0, 1), {"a": 0.5})
    assert seed_spread.spread("x", [first]) is None
    assert seed_spread.spread("x", [second, put(store, run(1, 0), {"c": 0.5})]) is None


def test_a_fold_that_was_run_twice_is_refused(store):
    records = [put(store, run(0, seed), {"a": 0.5}) for seed in (0, 1)]
    records.append(put(store, run(0, 1, epochs=3), {"a": 0.5}))
    with pytest.raises(UnpairedError, match="fold 0 with seed 1"):
        seed_spread.spread("x", records)


def test_the_table_counts_a_network_once(store, monkeypatch):
    for seed, value in enumerate((0.5, 0.505, 0.5, 0.55)):
        put(store, run(0, seed), {"a": value})
    near, far = [run(0, 0), run(0, 1)], [run(0, 2), run(0, 3)]
    groups = families(
        monkeypatch, first=lambda profile: {"near": near, "far": far}, second=lambda profile: {"again": near}
    )
    text = seed_spread.markdown(store, PAGES, groups)
    assert "(0.03 Dice on gliomas, 0.01 elsewhere)" in text
    assert text.startswith("1 of 2 networks that were trained with two seeds or more differ")
    assert "| [first](page.md) | 1 | 2 | 0.028 | 0.050 | far | 1 | 0.028 |" in text
    assert "second" not in text


def apart(store, names):
    return [one.apart for spreads in seed_spread.spreads(store, names).values() for one in spreads]


def test_a_group_shows_the_largest_scale_that_is_whole_of_those_with_several_seeds(store, monkeypatch):
    short, study, paper = ([run(0, 0, epochs=n), run(0, 1, epochs=n)] for n in (3, 5, 7))
    scales = {"short": {"x": short}, "study": {"x": study, "once": [run(0, 2)]}, "paper": {"x": paper[:1]}}
    names = families(monkeypatch, first=scales.__getitem__)
    for experiment, value in zip((*short, study[0], paper[0]), (0.5, 0.6, 0.5, 0.5), strict=True):
        put(store, experiment, {"a": value})
    # The study's scale is half there, and the paper's has one seed, though all of it is there.
    assert apart(store, names) == pytest.approx([0.1])
    put(store, study[1], {"a": 0.7})
    assert apart(store, names) == pytest.approx([0.2])


def test_without_seeds_nothing_is_known(tmp_path, monkeypatch):
    groups = families(monkeypatch, first=lambda profile: {"near": [run(0, 0), run(0, 1)]})
    assert "No network has been published with two seeds" in seed_spread.markdown(Store(tmp_path), PAGES, groups)
