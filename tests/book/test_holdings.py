"""What records hold and cost, by hand from a few of them."""

import holdings
import pytest
from few_records import PAGES, families, put, run

from gbmlib.study import catalogue
from gbmlib.study.records import Store, steps_of
from gbmlib.training.configuration import Experiment


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_steps_are_those_that_were_made(store):
    assert steps_of(put(store, run(), {"a": 0.5})) == 5 * 2  # epochs, cases with a batch of one


def test_what_is_there_and_what_is_missing(store, monkeypatch):
    put(store, run(0, 0), {"a": 0.5, "b": 0.5}, minutes=4)
    put(store, run(1, 0), {"c": 0.5}, minutes=2)

    def three(profile):
        return {"x": [run(0, 0), run(1, 0), run(0, 1)]} if profile == "study" else {}

    names = families(monkeypatch, here=three, absent=lambda profile: {"x": [run(0, 8), run(0, 9)]}, none=lambda _: {})
    text = holdings.markdown(store, PAGES, names)
    assert "| [here](page.md) | study | 2 of 3 | 3 | 2 of 2 | 1 | 10 | 6 |" in text
    assert "| [absent](page.md) | study | 0 of 2 |" in text
    assert f"- here, 1 run: `python -m gbmlib run {run().cohort} --only here`" in text
    assert f"- absent, 2 runs: `python -m gbmlib run {run().cohort} --only absent`" in text
    assert "none" not in text  # the scale has no such runs
    assert "What is not there yet" not in holdings.markdown(store, PAGES, ["none"])


def test_a_run_that_two_variants_share_counts_once(store, monkeypatch):
    put(store, run(), {"a": 0.5})
    names = families(monkeypatch, twice=lambda profile: {"x": [run()], "y": [run()]})
    assert "| [twice](page.md) | study | 1 of 1 |" in holdings.markdown(store, PAGES, names)


def test_facts(store):
    records = [
        put(store, run(0, 0), {"a": 0.5}, 30),
        put(store, run(0, 1), {"a": 0.5}, 60, "Card Y"),
        put(store, run(0, 0, precision="bfloat16"), {"a": 0.5}, 30),
    ]
    assert holdings.facts(records) == {
        "runs": "3",
        "gliomas": "0",  # phantoms are no patients
        "steps": "10 to 10",
        "grids": "3 on 6 mm",
        "hours": "2",
        "cards": "1 of 3",
        "seeds": "2",
    }
    assert tuple(holdings.facts(records)) == holdings.FACTS


def test_facts_before_anything_was_published():
    assert holdings.facts([]) == dict.fromkeys(holdings.FACTS, "none yet")


@pytest.mark.parametrize("profile", ["study", "paper"])
def test_runs_that_are_published_are_all_in_mixed_precision(profile):
    """The page on what was not reproduced says so of these scales."""
    runs = [run for name in catalogue.SETS for of in catalogue.runs_of(name, profile).values() for run in of]
    assert {run.precision for run in runs if isinstance(run, Experiment)} == {"bfloat16"}
