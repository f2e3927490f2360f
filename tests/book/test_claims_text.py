"""What the pages say of claims: cells, numbers behind them, filter and grid."""

import re
from dataclasses import replace
from pathlib import Path

import claims_text
import pytest

from gbmlib.analysis.intervals import Difference, OverNetworks
from gbmlib.claims import ledger, verdicts
from gbmlib.claims.verdicts import NOT_SUPPORTED, NOT_YET, SUPPORTED, UNDECIDED, Comparison, Verdict

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def every():
    return {claim.id: claim for claim in ledger.read(ROOT / "book/claims.yml")}


@pytest.fixture
def found(every):
    """A verdict of each word, by hand."""

    def comparison(low, high, available=4):
        difference = Difference((low + high) / 2, low, high, 8)
        over = OverNetworks(replace(difference, cases=5), 5, float("nan"), 0.0234)
        return Comparison("a", "b", difference, adjusted=0.0123, networks=over, available=available, wanted=4)

    made = [
        Verdict(every["kernel-three-beats-five"], SUPPORTED, "", (comparison(0.01, 0.03),), "study"),
        Verdict(every["squeeze-excitation-helps"], SUPPORTED, "", (comparison(0.09, 0.11),), "study"),
        Verdict(every["table-1"], SUPPORTED, "72 of 72 cells"),
        Verdict(every["recall-nearly-perfect"], NOT_SUPPORTED, "as headed, too much"),
        Verdict(every["branch-raises-dice"], UNDECIDED, "the interval holds zero", (comparison(-0.1, 0.1),), "study"),
        Verdict(every["leaky-relu-helps"], NOT_YET, "1 of 4 runs", (comparison(-0.1, 0.1, 1),), "study", 3),
    ]
    return {of.claim.id: of for of in made}


def test_the_evidence_of_a_row_is_one_number_or_why_there_is_none(found):
    said = {name: claims_text.evidence(of) for name, of in found.items()}
    assert said == {
        "kernel-three-beats-five": "+0.020 (+0.010 to +0.030)",
        "squeeze-excitation-helps": "+0.100 (+0.090 to +0.110)",
        "table-1": "72 of 72 cells",
        "recall-nearly-perfect": "As headed, too much",
        "branch-raises-dice": "+0.000 (-0.100 to +0.100)",
        "leaky-relu-helps": "3 runs missing",
    }
    kernel = found["kernel-three-beats-five"]
    reasons = "undertrained: Dice rose by 0.03; unequal: 3 steps against 5"
    unsound = replace(kernel, word=NOT_YET, why=reasons)
    assert claims_text.evidence(unsound) == "undertrained, unequal"
    branch = found["branch-raises-dice"]
    clear = replace(branch.comparisons[0], difference=Difference(0.2, 0.1, 0.3, 8))  # over cases, not over networks
    undecided = replace(branch, why="the interval over networks holds zero", comparisons=(clear,))
    assert claims_text.evidence(undecided) == "+0.200 (+0.100 to +0.300); the interval over networks holds zero"
    two = (*kernel.comparisons, replace(kernel.comparisons[0], difference=Difference(0.5, 0.4, 0.6, 8)))
    assert claims_text.evidence(replace(kernel, comparisons=two)) == "+0.020 (+0.010 to +0.030), one of 2 comparisons"


def test_what_opens_below_a_claim(found):
    families = claims_text.family_sizes(found)
    said = claims_text.details(found["kernel-three-beats-five"], families)
    assert "Paper A, sections 2.1, 2.2 and 5.1.2 · [link to this claim](#claim-kernel-three-beats-five)" in said
    assert (
        "+0.020 (+0.010 to +0.030), 8 cases, p = 0.012 after Holm; "
        "over networks +0.020 (+0.010 to +0.030), which could have detected 0.023; 4 of 4 runs."
    ) in said
    lacking = claims_text.details(found["leaky-relu-helps"], families)
    assert "- Not decided yet: 1 of 4 runs." in lacking
    assert "- What would decide it: `python -m gbmlib run msd:PATH --claims leaky-relu-helps`" in lacking
    assert "\n- " not in claims_text.details(found["table-1"], families)  # the finding stands in the row


def test_every_claim_of_the_book_has_words(every):
    of = Comparison("a", "b", Difference(0.02, 0.01, 0.03, 8), available=4, wanted=4)
    said = {}
    for claim in every.values():
        compared = (of,) if isinstance(claim.decided_by, ledger.ByRuns | ledger.ByFactorial) else ()
        verdict = Verdict(claim, NOT_YET, "undertrained: so", compared, "study")
        said[claim.id] = claims_text.details(verdict, {claim.family: 1})
        assert said[claim.id].startswith(claim.claim)
    assert "*a* (Dice on brats2021-11) − *b* (Dice on brats2021-11)" in said["five-networks-robust"]


def test_a_row_is_filtered_by_its_classes(found):
    assert claims_text.classes(found["recall-nearly-perfect"]) == [
        "gbm-claim",
        "paper-a",
        "verdict-not-supported",
        "chapter-05c_table_1_examined",
    ]
    shown = claims_text.controls(found, {"06_planner": "Plans & <more>"})
    offered = {
        f"{field}-{value}"
        for field, options in re.findall(r'<select name="(\w+)">(.*?)</select>', shown)
        for value in re.findall(r'<option value="([^"]+)"', options)
    }
    assert {name for of in found.values() for name in claims_text.classes(of)[1:]} <= offered
    assert "Plans &amp; &lt;more&gt;" in shown
    assert "http" not in shown


def test_the_grid_has_a_square_for_each_claim_in_the_order_of_verdicts(found):
    shown = claims_text.grid(found)
    of_a, of_b = shown.split("Paper B: Isensee et al. 2018")
    assert "Paper A: Adeniji and Liu 2019" in of_a
    assert re.findall(r"</b> ([a-z ]+: \d)", of_a) == ["supported: 2", "not supported: 1", "undecided: 1"]
    assert re.findall(r"</b> ([a-z ]+: \d)", of_b) == ["supported: 1", "not decided yet: 1"]
    assert 'href="claims.html?paper=b&amp;verdict=not-decided-yet"' in of_b
    assert sorted(re.findall(r'href="claims.html#claim-([a-z0-9-]+)"', shown)) == sorted(found)
    assert re.findall(r'class="(verdict-[a-z-]+)"><a href="claims.html#', of_a) == [
        *["verdict-supported"] * 2,
        "verdict-not-supported",
        "verdict-undecided",
    ]
    kernel = found["kernel-three-beats-five"].claim.title
    assert f'aria-label="{kernel}: supported; +0.020 (+0.010 to +0.030)">✓' in shown
    leaky = found["leaky-relu-helps"]
    assert f'aria-label="{leaky.claim.title}: {leaky.label}">…' in shown  # one run of four has no number yet


def test_claims_without_a_verdict_are_counted_by_what_they_lack(found):
    said = claims_text.not_decided(found)
    assert said.startswith("2 of 6 claims: ")
    assert "1 that lack runs" in said
    assert "1 whose runs do not suffice" in said
    assert '<a href="claims.html?verdict=undecided">' in said
    decided = {name: of for name, of in found.items() if of.word in (SUPPORTED, NOT_SUPPORTED)}
    assert claims_text.not_decided(decided) == "Every claim is decided."


def test_the_numbers_behind_a_verdict(every):
    store = verdicts.Store(ROOT / "none", published=ROOT / "book/records")
    chosen = [every[name] for name in ("branch-reduces-overfitting", "more-recall-than-precision", "some-overfitting")]
    chosen += [every["five-networks-robust"]]
    found = verdicts.decide(chosen, store, ROOT / "book/facts")
    gap, recall, _, averaged = (claims_text.details(of, claims_text.family_sizes(found)) for of in found.values())
    assert "*with VAE* (Dice, trained on less held out) − *without VAE*" in gap
    assert "a smaller gap being better" in gap
    assert "averaged* (Dice on brats2021-11) −" in averaged
    assert "*Paper A* (precision) − *Paper A* (recall)" in recall
    assert re.search(r"- 10 records: `segvae-[0-9a-f]{12}`, ", gap)
    assert "- 5 records: `segvae-" in recall
    assert re.search(r"; over networks [+-].*; 10 of 10 runs", gap)
    assert "margin 0.03" in gap
    sound = [one for verdict in found.values() for one in verdict.comparisons if one.complete and not one.unsound]
    assert sound
    assert claims_text.tests(found).startswith(f"{len(sound)} comparisons in ")
    assert "19 cases" in claims_text.tests(found)
    assert "No comparison" in claims_text.tests({})


def test_what_one_network_carries_is_said_wherever_the_number_stands(every):
    claim = every["pipeline-matters-more"]
    caution = "decided otherwise if one network is left out: +0.020 (-0.010 to +0.050) without V-Net"
    of = Comparison("a", "b", Difference(-0.06, -0.08, -0.04, 19), available=1, wanted=1, caution=caution)
    verdict = Verdict(claim, "not supported", "", (of,), "study")
    assert caution in claims_text.details(verdict, {claim.family: 1})


def test_titles_are_those_of_the_chapters():
    found = claims_text.titles(ROOT)
    assert found["03_vae_ablation"] == "Does the autoencoder branch reduce overfitting?"
    assert found["claims"] == "The claims, one by one"


@pytest.mark.parametrize(("p", "said"), [(0.0004, "< 0.001"), (0.0123, "0.012"), (0.5, "0.50"), (1.0, "1.00")])
def test_p_as_it_is_printed(p, said):
    assert claims_text.probability(p) == said
