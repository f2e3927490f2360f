"""What the cells of the head to head fix and cost, counted by hand from their configurations."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from gbmlib.pages import head_to_head_configurations as configurations
from gbmlib.study import head_to_head

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    """Published fingerprints lie in the repository, and paths are read from its root."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def wanted():
    return head_to_head.cells("short", folds=(0, 1))


def test_the_pipelines_are_told_from_their_configurations(wanted):
    table = configurations.pipelines(wanted)
    a, b = table["pipeline A"], table["pipeline B"]
    assert (a["patch (z, y, x)"], b["patch (z, y, x)"]) == ("48 x 48 x 48", "48 x 64 x 48")
    assert (a.classes, b.classes) == ("nested regions", "exclusive labels")
    assert a.penalty == "1e-05 x sum of squared kernels"
    assert a["course of the rate"] == "polynomial, 4 epochs of warm-up"
    assert b["augmentation"] == "rotation, scaling, elastic, gamma, mirror"
    assert (a.inference, b.inference) == ("once", "averaged over mirrorings")
    alike = [name for name in table.index if table.loc[name, ""] == "the same"]
    assert alike == ["grid (mm)", "resampling", "normalisation"]


def test_steps_and_voxels_are_counted_from_the_configurations(wanted):
    table = configurations.cost(
        wanted, {("V-Net", "A"): [SimpleNamespace(provenance={"seconds": seconds}) for seconds in (90, 150)]}
    )
    row = table.loc["V-Net under pipeline A"]
    # 15 of the 19 cases, 60 times, one patch of 48 x 64 x 48 each.
    assert (row.steps, row.patches, row["voxels (million)"]) == ("900", "900", "133")
    assert (row["minutes a run"], row.threads) == ("2.0", "2")
    row = table.loc["SegVAE under pipeline B"]
    # 8 epochs of 50 batches of two.
    assert (row.steps, row.patches, row["voxels (million)"], row.batch) == ("400", "800", "118", 2)
    assert row["minutes a run"] == ""
    assert (row["peak rate"], row["warm-up (epochs)"]) == ("0.003", 0)


def test_cases_of_a_fold_are_those_that_the_split_leaves():
    of = head_to_head.cells("short")["U-Net", "A"]
    assert [configurations.training_cases(e) for e in of] == [15, 15, 15, 15, 16]
