"""The panels live in JupyterLab: from nothing run yet to a curve that grows, a prediction, a segmentation on disk."""

import os
from pathlib import Path

import pytest
from lab_server import nothing_to_complain_of, opened, run
from small_data import write_brats

CELLS = [
    """
from gbmlib.lab import panels as lab
from gbmlib.study.records import Store
(panels,) = lab.shown(Store("runs"), profile="test")
display(panels)
""",
    "print('saved', panels.own.result is not None, len(panels.case.predictions))",
]


@pytest.mark.slow
def test_from_nothing_run_to_a_segmentation_on_disk(lab, browser_page, tmp_path):
    folder = write_brats("cases=2,spacing=6,seed=4", tmp_path / "mine")
    files = {name: next(iter(sorted(folder.rglob(f"*_{name}.nii.gz")))) for name in ("t1ce", "flair")}
    width = int(os.environ.get("GBM_WIDTH", "1400"))
    page = opened(browser_page, lab, timeout=120_000, width=width, height=1800)

    def picture(name):
        if shots := os.environ.get("GBM_SCREENSHOTS"):
            page.screenshot(path=Path(shots) / f"explore_{name}_{width}.png")

    panel = run(page, 0)
    tab = panel.get_by_role("tab")

    # A fresh copy: the panel says what to run first, and its third tab runs it, with a curve that grows.
    panel.get_by_text("No run here has anything to say of this data.").wait_for()
    assert panel.get_by_role("button", name="Predict now").is_disabled()
    picture("fresh")
    tab.nth(2).click()
    panel.get_by_role("button", name="Make a small run on phantoms").click()
    panel.get_by_text("running; epoch").wait_for()
    panel.locator(".js-plotly-plot").first.wait_for()
    panel.get_by_text("is finished after 2 epochs").wait_for()
    picture("trained")

    # The first tab has the run by itself; case, overlays and numbers follow the choice without running the cell again.
    tab.nth(0).click()
    panel.get_by_text("In the record", exact=True).wait_for()
    viewer = panel.locator(".gbm-viewer[data-ready]")
    viewer.wait_for()
    viewer.get_by_text("prediction", exact=True).first.wait_for()
    panel.get_by_role("button", name="Predict now").click()
    panel.get_by_text("Predicted now").first.wait_for()
    viewer.get_by_text("predicted now", exact=True).first.wait_for()
    picture("predicted")
    before = viewer.locator(".gbm-head strong").inner_text()
    chosen = panel.get_by_role("combobox", name="Case")
    chosen.select_option(index=0 if not before.endswith("000") else 1)
    page.wait_for_function(
        "(old) => document.querySelector('.gbm-viewer[data-ready] .gbm-head strong')?.textContent.trim() !== old",
        arg=before,
    )
    panel.get_by_text("The run was trained on this case").wait_for()

    # What goes wrong is told where it was asked for.
    data = panel.get_by_role("combobox", name="Data")
    data.fill("nowhere/at/all")
    data.press("Tab")
    panel.get_by_role("button", name="Open", exact=True).click()
    panel.get_by_role("alert").get_by_text("there is no folder nowhere/at/all").wait_for()
    picture("wrong")

    # A case of one's own, to a file.
    tab.nth(1).click()
    panel.get_by_role("button", name="Check the files").click()
    panel.get_by_text("this case cannot be used: 2 problems").wait_for()
    for name, path in files.items():
        field = panel.get_by_role("combobox", name=name)
        field.fill(str(path))
        field.press("Tab")
    panel.get_by_role("button", name="Segment", exact=True).click()
    panel.get_by_text("What was found").wait_for()
    panel.locator(".gbm-viewer[data-ready]:visible").wait_for()  # it pushes the button down, from under a pointer
    target = panel.get_by_role("textbox", name="Save as")
    target.fill("mine.nii.gz")
    target.press("Tab")
    panel.get_by_role("button", name="Save", exact=True).click()
    panel.get_by_text("Saved as mine.nii.gz").wait_for()
    assert (tmp_path / "root" / "mine.nii.gz").exists()
    picture("own")
    run(page, 1).get_by_text("saved True 1").wait_for()
    nothing_to_complain_of(browser_page)
