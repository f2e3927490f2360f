"""Verdicts: from intervals by hand, from published records, and which of them one record's number changes."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gbmlib import cohorts
from gbmlib.__main__ import main
from gbmlib.analysis import factorial, spreads
from gbmlib.analysis.intervals import Difference, OverNetworks
from gbmlib.claims import ledger, verdicts
from gbmlib.claims.evidence import wanted
from gbmlib.claims.verdicts import NOT_SUPPORTED, NOT_YET, SUPPORTED, UNDECIDED, Comparison, word_of
from gbmlib.study import head_to_head, runner, scales
from gbmlib.study.catalogue import runs_of
from gbmlib.study.records import Store

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "book/records"
KERNEL, BRANCH = "kernel-three-beats-five", "branch-raises-dice"


@pytest.fixture(scope="module")
def every():
    return ledger.read(ROOT / "book/claims.yml")


def comparison(low=0.2, high=0.4, p=0.01, available=1, over=None, **fields):
    """Of one difference by hand; networks say what the cases say, or what ``over`` has."""
    difference = Difference((low + high) / 2, low, high, 9)
    networks = OverNetworks(over or replace(difference, cases=5), 10, 0.01, 0.02)
    return Comparison("a", "b", difference, adjusted=p, networks=networks, available=available, wanted=1, **fields)


@pytest.mark.parametrize(
    ("kind", "low", "high", "p", "word"),
    [
        ("better", 0.02, 0.05, 0.01, SUPPORTED),
        ("better", 0.02, 0.05, 0.06, UNDECIDED),  # the family does not confirm it
        ("better", -0.01, 0.05, 0.01, UNDECIDED),
        ("better", -0.05, -0.02, 0.01, NOT_SUPPORTED),
        ("better", 0.002, 0.008, 0.01, SUPPORTED),  # too small to matter, and there
        ("better", -0.008, -0.002, 0.01, NOT_SUPPORTED),
        ("better", -0.009, 0.009, 0.9, NOT_SUPPORTED),
        ("worse", -0.05, -0.02, 0.01, SUPPORTED),
        ("worse", 0.02, 0.05, 0.01, NOT_SUPPORTED),
        ("worse", -0.05, 0.02, 0.01, UNDECIDED),
        ("no difference", -0.009, 0.009, 0.9, SUPPORTED),
        ("no difference", -0.02, 0.009, 0.9, UNDECIDED),  # a large p proves nothing
        ("no difference", 0.002, 0.05, 0.01, UNDECIDED),  # more than none, but perhaps not enough to matter
        ("no difference", 0.011, 0.05, 0.01, NOT_SUPPORTED),
        ("no difference", 0.011, 0.05, 0.2, UNDECIDED),
        ("no worse", -0.009, 0.2, 0.9, SUPPORTED),
        ("no worse", -0.02, 0.2, 0.9, UNDECIDED),
        ("no worse", -0.2, -0.02, 0.01, NOT_SUPPORTED),
        ("no worse", -0.2, -0.005, 0.01, UNDECIDED),
        ("better", np.nan, np.nan, np.nan, UNDECIDED),
        ("better", 0.02, 0.05, np.nan, SUPPORTED),  # where there is no test, as between spreads
    ],
)
def test_the_word_for_an_interval(kind, low, high, p, word):
    assert word_of(kind, comparison(low, high, p))[0] == word
    assert word_of(kind, comparison(-high, -low, p, less_is_better=True))[0] == word


@pytest.mark.parametrize(
    ("kind", "over", "word", "why"),
    [
        ("better", Difference(0.3, -0.1, 0.7, 5), UNDECIDED, "the interval over networks holds zero"),
        (
            "better",
            Difference(0.3, np.nan, np.nan, 2),
            UNDECIDED,
            "there are too few folds for an interval over networks",
        ),
        ("no worse", Difference(0.3, -0.1, 0.7, 5), UNDECIDED, "an interval reaches beyond the margin of 0.01"),
        ("no worse", Difference(0.3, 0.1, 0.5, 5), SUPPORTED, "neither interval reaches below the margin of 0.01"),
    ],
)
def test_networks_have_a_say(kind, over, word, why):
    assert word_of(kind, comparison(over=over)) == (word, why)


def test_the_margin_is_that_of_the_cohort():
    small = comparison(0.012, 0.028, margin=0.03)
    assert word_of("no difference", small) == (SUPPORTED, "both intervals lie within the margin of 0.03")
    assert word_of("no difference", replace(small, margin=0.01))[0] == NOT_SUPPORTED


def test_a_small_gain_is_supported_and_says_so(every):
    claim = next(claim for claim in every if claim.id == "mirroring-helps-hippocampus")
    found = verdicts._verdict(claim, "study", (comparison(0.004, 0.008), comparison(0.002, 0.003)), None)
    assert (found.word, found.label) == (SUPPORTED, "supported, below 0.01")
    mixed = verdicts._verdict(claim, "study", (comparison(0.004, 0.008), comparison(0.2, 0.4)), None)
    assert mixed.label == SUPPORTED
    large = verdicts._verdict(claim, "study", (comparison(0.2, 0.4),), None)
    assert large.label == SUPPORTED


def test_runs_that_are_not_sound_decide_nothing_yet(every):
    reasons = ("undertrained: Dice rose by 0.03", "unequal: 900 steps against 360")
    poor = comparison(unsound=reasons)
    assert word_of("better", poor) == (NOT_YET, "; ".join(reasons))
    claim = next(claim for claim in every if claim.id == "each-augmentation-helps")
    also = replace(poor, unsound=("undertrained: Dice rose by 0.05", "collapsed: ET"))
    found = verdicts._verdict(claim, "short", (comparison(), poor, also), None)
    assert (found.word, found.unsound) == (NOT_YET, True)
    assert found.why == "undertrained: Dice rose by 0.03; unequal: 900 steps against 360; collapsed: ET"
    assert found.command == "python -m gbmlib run msd:PATH --claims each-augmentation-helps"
    assert verdicts._verdict(claim, "study", (poor,), None).command.endswith("--profile paper")


def test_missing_runs_leave_a_claim_open():
    of = Comparison("this", "that", Difference(0.3, 0.2, 0.4, 9), available=3, wanted=4)
    assert word_of("better", of) == (NOT_YET, "3 of 4 runs have a record")


def test_one_comparison_that_fails_is_enough(every):
    claim = next(claim for claim in every if claim.id == "each-augmentation-helps")
    good, bad, tiny = comparison(), comparison(-0.4, -0.2), comparison(-0.009, 0.009, 0.9)
    unsure = replace(good, adjusted=0.5)
    missing = replace(good, available=0)

    def word(*comparisons):
        return verdicts._verdict(claim, "study", comparisons, None).word

    assert word(good, good) == SUPPORTED
    assert word(good, unsure) == UNDECIDED
    assert word(good, missing, unsure) == NOT_YET
    assert word(good, missing, unsure, bad) == NOT_SUPPORTED
    # One that rules out any gain that matters does not overrule others that are open.
    assert word(good, tiny, unsure) == UNDECIDED
    assert word(good, tiny, missing) == NOT_YET
    assert word(good, tiny) == NOT_SUPPORTED


def test_a_verdict_turns_on_the_least_clear_comparison_that_holds_or_the_clearest_that_does_not(every):
    def deciding(word, *ends):
        comparisons = tuple(comparison(low, high) for low, high in ends)
        found = verdicts.Verdict(every[0], word, "", comparisons).deciding  # the claim is that something is better
        return found and (found.difference.low, found.difference.high)

    assert deciding(SUPPORTED, (0.2, 0.4), (0.1, 0.5)) == (0.1, 0.5)
    assert deciding(NOT_SUPPORTED, (0.5, 0.7), (-0.3, -0.1), (-0.4, -0.2)) == (-0.4, -0.2)
    assert deciding(UNDECIDED, (0.2, 0.4), (-0.1, 0.1)) == (-0.1, 0.1)
    assert deciding(SUPPORTED) is None


def test_families_are_corrected_whole():
    """Two claims of one family: the smaller p counts twice. Real numbers, from the records."""
    several = [claim for claim in ledger.read(ROOT / "book/claims.yml") if claim.family == "the autoencoder branch"]
    found = verdicts.decide(several, Store(ROOT / "none", published=RECORDS), ROOT / "book/facts")
    p = sorted(of.paired.p for verdict in found.values() for of in verdict.comparisons)
    adjusted = sorted(of.adjusted for verdict in found.values() for of in verdict.comparisons)
    assert len(p) == 2
    assert adjusted == pytest.approx([min(1, 2 * p[0]), max(min(1, 2 * p[0]), p[1])])


@pytest.fixture(scope="module")
def chosen(every):
    """Claims by runs that are published, over several chapters, so that a decision takes seconds."""
    ids = (BRANCH, "branch-reduces-overfitting", "squeeze-excitation-helps", "beats-the-baseline", KERNEL)
    return [claim for claim in every if claim.id in (*ids, "blocks-change-little", "warmup-is-essential")]


@pytest.fixture(scope="module")
def before(chosen):
    return verdicts.decide(chosen, Store(ROOT / "none", published=RECORDS), ROOT / "book/facts")


def changed(tmp_path, chosen, experiment, by):
    """The verdicts once the held-out Dice of one run is another, in a copy of the records."""
    copied = tmp_path / "records"
    shutil.copytree(RECORDS, copied)
    path = copied / experiment.id / "cases.csv"
    cases = pd.read_csv(path, keep_default_na=False)
    rows, names = cases.split == "held out", [name for name in ("dice", "channel_dice") if name in cases]
    cases.loc[rows, names] = (cases.loc[rows, names].astype(float) + by).clip(0, 1)
    cases.to_csv(path, index=False)
    return verdicts.decide(chosen, Store(tmp_path / "none", published=copied), ROOT / "book/facts")


def differing(before, after):
    return {name for name in before if after[name].comparisons != before[name].comparisons}


def test_one_record_changes_the_verdicts_that_rest_on_it_and_no_other(chosen, before, tmp_path):
    run = runs_of("choices/kernel", "short")["kernel 5"][0]
    after = changed(tmp_path, chosen, run, 0.4)
    assert differing(before, after) == {KERNEL}
    assert before[KERNEL].comparisons[0].difference != after[KERNEL].comparisons[0].difference
    assert {name: of.word for name, of in after.items() if name != KERNEL} == {
        name: of.word for name, of in before.items() if name != KERNEL
    }


def test_a_record_that_several_claims_share_changes_all_of_them(chosen, before, tmp_path):
    run = scales.paper_a("study")[0]
    after = changed(tmp_path, chosen, run, -0.3)
    sharing = {
        claim.id
        for claim in chosen
        if before[claim.id].scale == "study"  # elsewhere the short runs decide
        and run.id in {of.id for pair in claim.decided_by.pairs for label in pair for of in _runs(claim, label)}
    }
    assert len(sharing) == 3
    assert differing(before, after) == sharing


def _runs(claim, label):
    return runs_of(claim.decided_by.source, "study")[label]


def test_without_records_each_claim_says_what_makes_them(every, tmp_path):
    some = [claim for claim in every if claim.id in (KERNEL, "mirroring-helps-hippocampus", "borders-are-worse")]
    found = verdicts.decide(some, Store(tmp_path), ROOT / "book/facts")
    assert {of.word for of in found.values()} == {NOT_YET}
    assert found[KERNEL].command == f"python -m gbmlib run msd:PATH --claims {KERNEL}"
    assert "run msd:PATH" in found["mirroring-helps-hippocampus"].command
    assert found["borders-are-worse"].command == ""
    assert "equal weights" in found["borders-are-worse"].why


def test_the_command_prints(monkeypatch, capsys, every):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(ledger, "read", lambda: [claim for claim in every if claim.id in (KERNEL, "table-1")])
    assert main(["verdicts", KERNEL, "table-1", "--store", "none"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{KERNEL}: not decided yet, +0.0")
    assert "undertrained: the last sixth of the epochs still raised training Dice by 0.03" in said[0]
    assert said[1] == "table-1: supported. 72 of 72 cells"
    assert main(["verdicts", "no-such-claim"]) == 1
    assert "error: no claim no-such-claim" in capsys.readouterr().err


def test_the_command_makes_what_a_claim_lacks_and_nothing_else(monkeypatch, every, tmp_path, capsys):
    name, penalty = scales.paper_a("short")[0].cohort, runs_of("penalty", "short")
    for run in penalty["with penalty"]:
        (tmp_path / run.id).symlink_to(RECORDS / run.id)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(cohorts, "open_cohort", lambda spec: SimpleNamespace(name=name))
    monkeypatch.setattr(runner, "ready", runner.to_do)  # whether the data suit is asked elsewhere
    asked = ["run", "brats:X", "--claims", "penalty-prevents-overfitting", "--profile", "short", "--list"]
    assert main([*asked, "--store", "none", "--published", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"20 runs on {name}, 10 of them to do"
    assert [run.id for run in penalty["without penalty"]] == [
        word for line in lines[2:] for word in line.split() if word.startswith("segvae-")
    ]


def test_the_networks_that_are_compared_with_the_pipelines_can_be_chosen(every):
    known, store = {claim.id: claim for claim in every}, Store(ROOT / "none", published=RECORDS)
    both = [known["pipeline-matters-more"], known["pipeline-matters-more-of-two"]]
    assert [len({run.model for run in wanted(claim, "study")}) for claim in both] == [3, 2]
    assert all("norm" in run.options for run in wanted(both[0], "study") if run.model == "vnet")
    six = both[0].decided_by.model_copy(update={"networks": (), "scale": "short"})  # as it was first asked
    both[0] = both[0].model_copy(update={"decided_by": six})
    found = verdicts.decide(both, store, ROOT / "book/facts")
    all_of_them, two = (verdict.comparisons[0] for verdict in found.values())
    runs = head_to_head.cells(found["pipeline-matters-more-of-two"].scale)
    cells = {cell: list(map(store.get, of)) for cell, of in runs.items() if cell[0] in ("SegVAE", "U-Net")}
    assert two.difference == -spreads.networks_minus_pipelines(factorial.by_case(cells))
    assert "without V-Net" in all_of_them.caution
    assert not two.caution
