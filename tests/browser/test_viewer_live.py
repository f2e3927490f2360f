"""The threshold in JupyterLab: the reader's moves reach Python as traits, and Python's reach the pictures."""

import re

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
likely = np.where(volume > 0, np.linspace(0, 1, 30, dtype=np.float32), 0)
viewer = view({"flair": volume}, label, spacing=(3, 1, 1), probability={"WT": likely, "ET": likely / 2}, title="Live")
viewer
""",
    "print('python sees', viewer.region, viewer.threshold, (likely >= viewer.threshold).sum())",
    "viewer.region = 'WT'; viewer.threshold = 0.7",
    "viewer.threshold = 1.5",
]


@pytest.mark.slow
def test_the_threshold_is_a_trait(lab, browser_page):
    page = opened(browser_page, lab, width=1400, height=1000)

    def says(threshold: str) -> None:
        page.locator(".gbm-verdict b").first.get_by_text(threshold, exact=True).wait_for()

    run(page, 0)
    page.wait_for_selector(".gbm-viewer[data-ready]", timeout=30_000)
    says("0.500")
    page.get_by_role("radio", name="ET").check()
    slider = page.get_by_role("slider", name="Threshold")
    slider.fill("0.25")
    slider.press("ArrowRight")
    says(f"{65 / 256:.3f}")
    run(page, 1).get_by_text(f"python sees ET {65 / 256}").wait_for()

    run(page, 2)
    says(f"{179 / 256:.3f}")  # the nearest to 0.7
    assert page.get_by_role("radiogroup", name="Region").get_by_role("radio", name="WT").is_checked()
    assert float(slider.input_value()) == 179 / 256
    run(page, 3).locator(".jp-OutputArea-output").get_by_text(re.compile("threshold is 1.5")).first.wait_for()
    says(f"{179 / 256:.3f}")
    nothing_to_complain_of(browser_page)
