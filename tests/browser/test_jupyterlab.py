"""The viewer live in JupyterLab: what the reader does in the browser reaches Python, and the other way round."""

import os
import re
from pathlib import Path

import pytest
from lab_server import nothing_to_complain_of, opened, run

CELLS = [
    """
import numpy as np
from gbmlib.viewer.slice_viewer import view
volume = np.zeros((20, 40, 30), np.float32)
volume[2:18, 3:37, 3:27] = np.arange(16 * 34 * 24).reshape(16, 34, 24) + 1
label = np.zeros(volume.shape, np.uint8)
label[6:14, 10:24, 8:18] = 2
viewer = view({"flair": volume, "t1ce": volume}, label, spacing=(3, 1, 1), position=(9, 12, 10), title="Live")
viewer
""",
    "print('python sees', viewer.position, viewer.modality)",
    "viewer.position = (5, 20, 15); viewer.modality = 'flair'",
    "viewer.position = (5, 20, 99)",
    """
import numpy as np
from gbmlib.viewer.volume_viewer import volume
image, label = np.zeros((16, 18, 14), np.float32), np.zeros((16, 18, 14), np.uint8)
image[2:14, 2:16, 2:12] = 500
label[5:9, 6:10, 7:11] = 2
volume({"t1ce": image}, label, spacing=(6, 6, 6), title="Live in 3D")
""",
]


@pytest.mark.slow
def test_live_both_ways(lab, browser_page):
    page = opened(browser_page, lab, width=1400, height=1000)

    def says(position: str) -> None:
        page.locator(".gbm-readout b").first.get_by_text(position, exact=True).wait_for()

    run(page, 0)
    page.wait_for_selector(".gbm-viewer[data-ready]", timeout=30_000)
    says("9, 12, 10")

    # The reader moves the slice and chooses the other modality; Python knows.
    page.locator(".gbm-plane canvas").first.click()
    page.keyboard.press("PageUp")
    page.get_by_role("slider", name="Coronal slice").fill("20")
    page.get_by_role("slider", name="Sagittal slice").fill("7")
    page.get_by_role("radio", name="T1ce").check()
    says("10, 20, 7")
    run(page, 1).get_by_text("python sees (10, 20, 7) t1ce").wait_for()

    # Python moves, and the pictures follow.
    run(page, 2)
    says("5, 20, 15")
    page.get_by_role("radio", name="FLAIR", checked=True).wait_for()
    assert page.get_by_role("slider", name="Axial slice").input_value() == "5"
    error = run(page, 3).locator(".jp-OutputArea-output")
    error.get_by_text(re.compile("lies outside of the volume")).first.wait_for()
    says("5, 20, 15")

    # JupyterLab does not take the arrow keys away from the picture (it would go to the next cell).
    page.locator(".gbm-plane canvas").first.click()
    before = page.locator(".gbm-readout b").first.text_content()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("(old) => document.querySelector('.gbm-readout b').textContent !== old", arg=before)
    assert page.evaluate("document.activeElement.matches('.gbm-plane canvas')")
    if folder := os.environ.get("GBM_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "jupyterlab.png")
    nothing_to_complain_of(browser_page)


@pytest.mark.slow
def test_the_view_in_3d_gets_its_script_from_the_kernel(lab, browser_page):
    page = opened(browser_page, lab, timeout=180_000, width=900, height=800)  # drawn in software
    run(page, 4)
    assert page.locator("img.gbm-volume-picture").evaluate("e => e.decode().then(() => e.naturalWidth)") > 300
    page.get_by_role("button", name="Show in 3D").click()
    page.wait_for_selector(".gbm-volume[data-ready]")
    stage = page.locator(".gbm-volume-stage")
    stage.focus()
    page.keyboard.press("ArrowDown")  # JupyterLab would go to the next cell
    page.wait_for_function("document.querySelector('.gbm-volume-stage').ariaLabel.includes('elevation 10°')")
    assert page.evaluate("document.activeElement.matches('.gbm-volume-stage')")
    if folder := os.environ.get("GBM_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "jupyterlab-3d.png")
    nothing_to_complain_of(browser_page)
