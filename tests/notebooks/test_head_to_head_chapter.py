"""The chapter on the two papers' head to head as a reader reruns it."""

import pytest
from chapter_cells import shown_by, started, wanted_by

from gbmlib.pages.parameters import ParameterError


def test_a_rate_is_the_pipelines_to_choose():
    with pytest.raises(ParameterError, match="learning_rate: this chapter has no such parameter"):
        started("09_head_to_head", profile="test", learning_rate=1e-3)


def test_every_parameter_reaches_the_runs(tmp_path):
    parameters = {
        "modalities": "flair",
        "spacing": 8,
        "epochs": 3,
        "folds": "1",
        "seeds": "0,1",
        "store": str(tmp_path),
    }
    for of in wanted_by("09_head_to_head", profile="test", **parameters)["wanted"].values():
        assert [(run.fold, run.seed) for run in of] == [(1, 0), (1, 1)]
        assert {(run.modalities, run.spacing, run.epochs) for run in of} == {(("flair",), (8, 8, 8), 3)}


@pytest.mark.slow
def test_six_cells_on_a_readers_own_folder(mine, tmp_path):
    parameters = {"profile": "test", "cohort": f"brats:{mine}", "modalities": "flair", "epochs": 1}
    shown = shown_by("09_head_to_head", **parameters, store=str(tmp_path / "runs"))
    assert "6 runs on 1 fold of 2 with 1 seed, 1 epoch" in shown
    assert "gain by B: U-Net − V-Net" in shown
    assert "SegVAE under pipeline B" in shown
    assert len(list((tmp_path / "runs").glob("*/provenance.json"))) == 6
