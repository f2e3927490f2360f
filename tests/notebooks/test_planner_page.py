"""The chapter on the planner, on a reader's own folder."""

from pathlib import Path

import nbformat
import papermill

from gbmlib.cohorts import open_cohort, phantom

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_gives_every_cell_and_plans_for_a_readers_own_folder(tmp_path):
    folder = phantom.write_brats("cases=2,spacing=6,seed=3", tmp_path / "mine", progress=False)
    out = tmp_path / "page.ipynb"
    papermill.execute_notebook(
        ROOT / "notebooks" / "06_planner.ipynb",
        out,
        {"profile": "test", "cohort": f"brats:{folder}"},
        cwd=str(ROOT),
        progress_bar=False,
        kernel_name="python3",
    )
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    shown = "\n".join(str(output.get("data", output.get("text", ""))) for output in outputs)
    assert shown.count("72 of 72 cells") == 2
    assert "**Prostate, Lung, Pancreas**" in shown
    assert f"**{open_cohort(f'brats:{folder}').name}**: 2 cases" in shown
    assert "gbm-planner" in shown
