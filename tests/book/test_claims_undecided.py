"""Claims that records do not decide, each listed by what it lacks."""

from dataclasses import replace

import claims_undecided
import pytest

from gbmlib.analysis.intervals import Difference
from gbmlib.claims.ledger import Claim
from gbmlib.claims.verdicts import Comparison, Verdict
from gbmlib.study.catalogue import runs_of
from gbmlib.study.records import Store

CLAIM = {"id": "a-claim", "paper": "A", "place": "section 1", "title": "A title", "claim": "Something is better."}
RUNS = {"source": "vae", "pairs": [["with VAE", "without VAE"]]}


@pytest.fixture
def verdicts():
    one = Claim(**CLAIM, kind="better", chapter="x", family="f", decided_by=RUNS)
    other = Claim(**CLAIM | {"id": "open"}, kind="better", chapter="x", decided_by={"needs": "more data than we have"})
    compared = Comparison("with VAE", "without VAE", Difference(0.01, -0.02, 0.05, 19), available=20, wanted=20)
    poor = replace(compared, unsound=("undertrained: Dice rose", "collapsed: ET"))
    return {
        "undecided": Verdict(one, "undecided", "the interval holds zero", (compared,), "study"),
        "lacking": Verdict(one, "not decided yet", "0 of 20 runs have a record", (compared,), "study", 20),
        "open": Verdict(other, "not decided yet", "more data than we have"),
        "unsound": Verdict(one, "not decided yet", "undertrained: Dice rose", (poor,), "short"),
    }


def test_records_that_do_not_suffice(verdicts):
    text = claims_undecided.insufficient(verdicts)
    assert text.startswith("1 of 4 claims. The median interval of their comparisons is 0.070 wide")
    assert "python -m gbmlib run brats:PATH --claims a-claim --profile paper\n" in text
    assert "- {ref}`A title <claim-a-claim>`: +0.010 (-0.020 to +0.050); the interval holds zero" in text
    assert claims_undecided.insufficient({}) == "Every claim that has its records is decided."


def test_records_that_are_not_sound(verdicts):
    text = claims_undecided.unsound(verdicts)
    assert text == (
        "1 of 4 claims.\n\n**Collapsed, undertrained**\n\n- {ref}`A title <claim-a-claim>`: +0.010 (-0.020 to +0.050)"
    )
    assert claims_undecided.unsound({}) == "No claim rests on runs that are not sound."


def test_records_that_are_missing(verdicts, tmp_path):
    text = claims_undecided.without_records(verdicts, Store(tmp_path))
    assert text.startswith("1 of 4 claims.")
    assert "`python -m gbmlib run brats:PATH --claims` makes the 20 that these need:" in text
    assert "- {ref}`A title <claim-a-claim>`: 0 of 20 runs have a record" in text
    assert "msd:PATH" not in text
    assert claims_undecided.without_records({}, Store(tmp_path)) == "No claim lacks a run."


def test_a_factorial_needs_the_runs_of_all_its_cells(verdicts, tmp_path):
    by = {"factorial": "pipelines over networks"}
    claim = Claim(**CLAIM, kind="better", chapter="x", family="f", decided_by=by)
    every = {run.id for runs in runs_of("headtohead", "study").values() for run in runs}
    found = {"a-claim": Verdict(claim, "not decided yet", "no run has a record", (), "study", len(every))}
    assert f"makes the {len(every)} that these need:" in claims_undecided.without_records(found, Store(tmp_path))


def test_runs_that_nobody_has_defined(verdicts):
    assert claims_undecided.without_runs(verdicts) == "- {ref}`A title <claim-open>`: more data than we have"
    assert claims_undecided.without_runs({}) == "There is none."
