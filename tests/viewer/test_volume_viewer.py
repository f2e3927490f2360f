"""The view in 3D, its Python side: what travels to the page, what a page says without 3D, arguments, saving."""

import json
import re

import numpy as np
import pytest

from gbmlib.cohorts import open_cohort
from gbmlib.viewer import volume_data, volume_viewer
from gbmlib.viewer.volume_viewer import BUNDLE, NIIVUE, StaticVolume, volume

NAMES = {1: "core", 2: "oedema", 3: "enhancing"}


@pytest.fixture
def image() -> np.ndarray:
    image = np.zeros((12, 14, 16), np.float32)
    image[3:10, 3:11, 4:13] = np.random.default_rng(0).uniform(100, 900, (7, 8, 9))
    return image


@pytest.fixture
def label(image) -> np.ndarray:
    label = np.zeros(image.shape, np.uint8)
    label[4:7, 5:8, 9:12] = 2
    label[5, 6, 9:11] = 3
    return label


def data_of(html: str) -> dict:
    return json.loads(re.search(r'class="gbm-volume-data">(.*?)</script>', html, re.S).group(1))


def test_what_travels(image, label):
    view = volume({"t1": image, "t1ce": image * 2}, label, 0 * label, names=NAMES, spacing=(2, 2, 2), mode="static")
    assert view.spec["brain"]
    assert [of["name"] for of in view.spec["labels"]] == ["gold standard", "prediction"]
    assert [(of["value"], of["name"]) for of in view.spec["classes"]] == [(2, "oedema"), (3, "enhancing")]
    z, y, x = view.spec["centre"]  # 4 to 6 of 1 to 11; the box begins two voxels before the brain
    assert (z, y, x) == pytest.approx(((5 - 1 + 0.5) / 11, (6 - 1 + 0.5) / 12, (10 - 2 + 0.5) / 13), abs=1e-4)
    assert "The gold standard holds 0.2 ml oedema and 0.0 ml enhancing" in view.spec["words"]
    assert view.spec["words"].endswith("The prediction is empty.")


def test_t1ce_comes_first_and_any_may_be_chosen(image):
    images = {"t1": image, "t1ce": np.roll(image, 1, 0)}
    usual, chosen = (volume(images, spacing=(2, 2, 2), modality=name, mode="static").spec for name in (None, "t1"))
    only = volume({"t1ce": images["t1ce"]}, spacing=(2, 2, 2), mode="static").spec
    assert usual["image"] == only["image"]
    assert chosen["image"] != usual["image"]


def test_html_stands_alone_and_says_what_it_shows(image, label):
    view = volume({"t1": image}, label, spacing=(1, 1, 1), title="</script><b>", mode="static")
    html = view._repr_html_()
    assert data_of(html)["title"] == "</script><b>"
    assert "</script><b>" not in html
    assert re.search(r'<img [^>]*alt="The case seen from the front, the left and from above\. The gold standard', html)
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", html)
    assert html.count(NIIVUE) == 1  # where the page finds NiiVue when it is asked for 3D
    assert html == view._repr_html_()


def test_the_largest_page_stays_under_400_kilobytes():
    """Noise in a head's shape, which nothing compresses, on as many voxels as there may be."""
    shape = (82, 96, 76)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij"))
    head = (grid**2).sum(0) < 1
    noise = np.random.default_rng(0).uniform(100, 900, shape).astype(np.float32) * head
    label = ((grid - 0.3) ** 2).sum(0) < 0.1
    html = volume({"t1": noise}, label, label, spacing=(2, 2, 2), mode="static")._repr_html_()
    assert 0.99 < noise.size / volume_data.VOXELS < 1
    assert 200_000 < len(html) < 400_000


def test_a_patient_stays_under_400_kilobytes(brats_folder):
    case = open_cohort(f"brats:{brats_folder}").cases[5]
    truth = case.label()
    html = volume(case, truth, np.roll(truth, 2, 1), mode="static")._repr_html_()
    assert case.shape == (155, 240, 240)
    assert 100_000 < len(html) < 400_000


def test_of_a_ct_the_labels_stand_alone(label):
    ct = np.random.default_rng(0).integers(-1000, 1000, label.shape).astype(np.float32)
    spec = volume({"ct": ct}, label, names=NAMES, spacing=(2, 2, 2), mode="static").spec
    assert not spec["brain"]
    assert spec["words"] == "The gold standard holds 0.2 ml oedema and 0.0 ml enhancing."
    assert spec["centre"] == [0.5, 0.5, 0.5]  # cropped to the label, with two voxels on each side


def test_save_carries_niivue_whole_or_not_at_all(image, tmp_path, monkeypatch):
    view = volume({"t1": image}, spacing=(1, 1, 1), title="A & B", mode="static")
    page = view.save(tmp_path / "new" / "case.html").read_text(encoding="utf-8")
    assert "<title>A &amp; B</title>" in page
    assert BUNDLE.read_text(encoding="utf-8") in page
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["case.html"]
    monkeypatch.setattr(volume_viewer, "BUNDLE", tmp_path / "nowhere.js")
    with pytest.raises(FileNotFoundError, match=r"cannot save the view in 3D.*checkout of the study"):
        view.save(tmp_path / "other.html")
    assert not (tmp_path / "other.html").exists()


def test_the_place_decides_between_static_and_live(image, monkeypatch):
    monkeypatch.setenv("GBM_STATIC", "1")
    assert isinstance(volume({"t1": image}, spacing=(1, 1, 1)), StaticVolume)
    monkeypatch.delenv("GBM_STATIC")
    live = volume({"t1": image}, spacing=(1, 1, 1), title="Live")
    assert not isinstance(live, StaticVolume)
    assert live.spec == volume({"t1": image}, spacing=(1, 1, 1), title="Live", mode="static").spec


def test_live_hands_out_niivue_when_it_is_asked(image, monkeypatch, tmp_path):
    live = volume({"t1": image}, spacing=(1, 1, 1), mode="live")
    sent = []
    monkeypatch.setattr(type(live), "send", lambda self, content, buffers=None: sent.append(content))
    live._handle_custom_msg("something else", [])
    assert sent == []
    live._handle_custom_msg("niivue", [])
    assert sent == [{"script": BUNDLE.read_text(encoding="utf-8")}]
    monkeypatch.setattr(volume_viewer, "BUNDLE", tmp_path / "nowhere.js")
    live._handle_custom_msg("niivue", [])
    assert "work in a checkout of the study" in sent[1]["problem"]


def test_live_without_anywidget_says_what_to_do(image, monkeypatch):
    volume_viewer.live_volume.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "anywidget", None)
    with pytest.raises(ImportError, match=r"gbmlib\[book\].*mode='static'"):
        volume({"t1": image}, spacing=(1, 1, 1), mode="live")
    volume_viewer.live_volume.cache_clear()


def test_all_problems_in_one_message(image, label):
    with pytest.raises(ValueError, match="the view in 3D cannot show this") as raised:
        volume({"t1": image}, label[1:], label * 3, modality="pd", mode="alive")
    message = str(raised.value)
    for part in ("no ['pd'] in this case", "spacing is missing", "'prediction' holds [6, 9]", "mode is 'alive'"):
        assert part in message
    with pytest.raises(ValueError, match=r"label map 'gold standard' has shape \(11, 14, 16\)"):
        volume({"t1": image}, label[1:], spacing=(1, 1, 1))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"ct": np.full((4, 4, 4), -1000.0)}, "has no background of zeros and no label"),
        ({"t1": np.zeros((4, 4, 4))}, "is 0 everywhere and no label"),
        ({}, "no image to show"),
        (3, "case is a int"),
    ],
)
def test_what_cannot_be_seen_in_3d(case, message):
    with pytest.raises(ValueError, match=message):
        volume(case, spacing=(1, 1, 1))
