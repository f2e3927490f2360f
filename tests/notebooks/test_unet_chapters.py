"""The chapters on nnU-Net's U-Nets as a reader reruns them."""

import re
from pathlib import Path

import pytest
from chapter_cells import shown_by, started, wanted_by

from gbmlib.pages.parameters import ParameterError
from gbmlib.study import nnunet_ablations

ROOT = Path(__file__).resolve().parents[2]


def runs_in(folder):
    return len(list(folder.glob("unet-*/provenance.json")))


def test_slices_and_volumes_on_a_readers_own_folder(mine, tmp_path):
    parameters = {"profile": "test", "cohort": f"brats:{mine}", "modalities": "flair", "epochs": 1}
    some = {"only": "2D,3D", "folds": 0, "store": str(tmp_path / "runs")}
    shown = shown_by("08_2d_3d_cascade", **parameters, **some)
    assert "2D: patch 56 x 40, batch 366, pools 3, 3" in shown  # the hippocampus in words
    assert "3D minus 2D" in shown
    assert "faces z (mm²)" in shown
    assert runs_in(tmp_path / "runs") == 2


def test_a_size_of_the_patch_is_the_plans_to_choose():
    with pytest.raises(ParameterError, match="patch_size: this chapter has no such parameter"):
        started("08_2d_3d_cascade", profile="test", patch_size=32)


def test_every_comparison_has_a_section():
    source = (ROOT / "notebooks" / "07_untested_choices.ipynb").read_text()
    shown = re.findall(r'comparison\.choice\(\\"untested/(\w+)\\"', source)
    assert shown == [comparison.name for comparison in nnunet_ablations.COMPARISONS]


def test_a_comparison_that_does_not_exist_stops_before_training(tmp_path):
    with pytest.raises(ParameterError, match="only: there is no 'anisotropi'; did you mean 'anisotropy'"):
        wanted_by("07_untested_choices", profile="test", only="anisotropi", store=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_sweep_runs_live(tmp_path):
    parameters = {"profile": "test", "only": "anisotropy,norm", "epochs": 1, "store": str(tmp_path / "runs")}
    shown = shown_by("07_untested_choices", after="## Train it yourself", **parameters)
    assert "6 mm within slices, 6 to 12 mm between them; 4 runs of 2 steps" in shown
    assert "batch norm" in shown
    assert "overtakes" not in shown  # phantoms give no verdict
    assert runs_in(tmp_path / "runs") == 5  # the base of the comparison is the sweep's
