"""The file of claims: the real one, and what is wrong with others, all at once."""

from pathlib import Path

import pytest
import yaml

from gbmlib.claims import ledger
from gbmlib.claims.ledger import ClaimsError
from gbmlib.study import catalogue

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "book/claims.yml"


@pytest.fixture(scope="module")
def every():
    return ledger.read(FILE)


@pytest.fixture
def file(tmp_path):
    """``file(*entries)`` writes claims, each the changes to a good one."""

    def file(*entries):
        path = tmp_path / "claims.yml"
        path.write_text(yaml.safe_dump([good() | entry for entry in entries]))
        return path

    return file


def good():
    return {
        "id": "branch-helps",
        "paper": "A",
        "place": "section 6",
        "title": "The branch helps",
        "claim": "With the branch unseen cases are segmented better.",
        "kind": "better",
        "chapter": "chapter",
        "family": "the branch",
        "decided_by": {"source": "vae", "pairs": [["with VAE", "without VAE"]]},
    }


def test_the_papers_claims_are_there(every):
    """Every testable claim: modifications, choices, results and conclusions of A; topology, networks, rest of B."""
    assert len(every) >= 30
    assert min(sum(claim.paper == paper for claim in every) for paper in "AB") >= 15
    places = " ".join(claim.place for claim in every if claim.paper == "A")
    for section in ("3.2.1", "3.2.2", "3.2.3", "3.2.4", "3.2.5", "3.2.6", "3.3", "4.1", "5.1.1", "5.1.2", "5.3", "6"):
        assert section in places
    places = " ".join(claim.place for claim in every if claim.paper == "B")
    for section in ("2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "section 3", "4", "table 1", "table 2"):
        assert section in places


def test_every_choice_and_every_unvalidated_step_has_a_claim(every):
    used = {getattr(claim.decided_by, "source", "") for claim in every}
    without = {name for name in catalogue.FAMILIES if "/" in name and name not in used}
    # The paper claims nothing of these: the size of tiles, and two changes that are the public code's alone.
    assert without == {"choices/tile", "untested/down", "untested/optimiser"}


def test_a_good_file_is_read(file):
    [claim] = ledger.read(file({}), ["chapter"])
    assert claim.anchor == "claim-branch-helps"
    assert claim.decided_by.pairs == (("with VAE", "without VAE"),)


def test_all_problems_are_told_together(file):
    path = file(
        {"kind": "nicer"},
        {"id": "Not An Id", "chapter": "chapter"},
        {"id": "nowhere", "chapter": "chaptr"},
        {"id": "twice"},
        {"id": "twice"},
        {"id": "no-such-source", "decided_by": {"source": "vea", "pairs": [["a", "b"]]}},
        {"id": "no-such-group", "decided_by": {"source": "vae", "pairs": [["with VAE", "with SE"]]}},
        {"id": "itself", "decided_by": {"source": "vae", "pairs": [["with VAE", "with VAE"]]}},
        {"id": "no-family", "family": ""},
        {"id": "no-such-check", "kind": "exact", "decided_by": {"check": "tables"}},
        {"id": "inexact", "decided_by": {"check": "table 1"}},
        {"id": "extra", "decided_by": {"source": "vae", "pairs": [["with VAE", "without VAE"]], "reigon": "WT"}},
    )
    with pytest.raises(ClaimsError) as caught:
        ledger.read(path, ["chapter"])
    said = str(caught.value)
    for part in (
        "11 problems",
        "claim 1 (branch-helps): kind: Input should be 'better', 'worse'",
        "claim 2 (Not An Id): id: String should match pattern",
        "claim 3 (nowhere): chapter 'chaptr' is none of chapter",
        "id twice is used 2 times",
        "claim 6 (no-such-source): source 'vea' is none of headtohead, rates",
        "claim 7 (no-such-group): vae has no group 'with SE' at any scale; it has with VAE, without VAE",
        "claim 8 (itself): 'with VAE' is compared with itself",
        "claim 9 (no-family): family is missing",
        "claim 10 (no-such-check): check 'tables' is none of table 1",
        "claim 11 (inexact): kind 'exact' goes with a check",
        "claim 12 (extra): decided_by.runs.reigon: Extra inputs are not permitted",
    ):
        assert part in said


@pytest.mark.parametrize("text", ["", "a: b", "[", "- 3"])
def test_a_file_that_is_no_list_of_claims(text, tmp_path):
    (tmp_path / "claims.yml").write_text(text)
    with pytest.raises(ClaimsError, match=r"claims\.yml"):
        ledger.read(tmp_path / "claims.yml", [])
    with pytest.raises(ClaimsError, match="cannot be read"):
        ledger.read(tmp_path / "none.yml", [])
