"""A case for a view in 3D: the coarse grid by hand, NIfTI that another reader understands, words and a picture."""

import base64
import gzip
import io

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from gbmlib.viewer import volume_data
from gbmlib.viewer.volume_data import coarsen, described, nifti, picture


def brain(shape=(24, 28, 20)) -> np.ndarray:
    """A block of brain in empty space that grows brighter towards the head."""
    image = np.zeros(shape, np.float32)
    image[4:20, 4:24, 4:16] = np.linspace(100, 900, 16)[:, None, None]
    return image


def unpacked(text: str) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


# ------------------------------------------------------------------------------------------------------ the coarse grid


def test_averages_over_two_millimetres_by_hand():
    label = np.zeros((24, 28, 20), np.uint8)
    label[4:8, 4:8, 4:8] = 2  # a block of 2 x 2 x 2 coarse voxels
    label[4:6, 4:6, 4:6] = 1  # one of which another label has whole
    label[8, 4:6, 4:6] = 3  # half of a coarse voxel
    label[12, 12, 12] = 3  # an eighth of one
    coarse = coarsen(brain(), {"truth": label}, (1, 1, 1))
    assert coarse.spacing == (2, 2, 2)
    assert coarse.image.shape == (10, 12, 8)  # the brain, 16 x 20 x 12, and two voxels around it
    inside = coarse.image[1:-1, 1:-1, 1:-1]
    assert (inside >= 40).all()
    assert np.count_nonzero(coarse.image) == inside.size
    assert (np.diff(inside[:, 0, 0].astype(int)) > 0).all()  # brighter towards the head
    expected = np.zeros(coarse.image.shape, np.uint8)
    expected[1:3, 1:3, 1:3] = 2
    expected[1, 1, 1] = 1
    expected[3, 1, 1] = 3
    np.testing.assert_array_equal(coarse.labels["truth"], expected)


def test_a_coarse_case_keeps_its_own_grid():
    image, label = brain(), (brain() > 500).astype(np.uint8)
    coarse = coarsen(image, {"truth": label}, (3, 4, 5))
    assert coarse.spacing == (3, 4, 5)
    box = (slice(2, 22), slice(2, 26), slice(2, 18))
    np.testing.assert_array_equal(coarse.labels["truth"], label[box])
    np.testing.assert_array_equal(coarse.image > 0, image[box] > 0)


def test_a_large_case_gets_a_larger_step(monkeypatch):
    monkeypatch.setattr(volume_data, "VOXELS", 100)
    coarse = coarsen(brain(), {}, (1, 1, 1))
    assert 50 <= coarse.image.size <= 150
    assert np.prod(np.array(coarse.image.shape) * coarse.spacing) == pytest.approx(20 * 24 * 16)


@settings(deadline=None, max_examples=30)
@given(
    arrays.arrays(
        np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=7), elements=st.integers(0, 3)
    )
)
def test_labels_are_none_that_was_not_there_and_on_two_millimetres_the_same(label):
    image = np.ones(label.shape, np.float32)
    fine = coarsen(image, {"a": label}, (1, 1, 1)).labels["a"]
    assert set(np.unique(fine)) <= {0, *np.unique(label)}
    same = coarsen(image, {"a": label}, (2, 2, 2)).labels["a"]
    np.testing.assert_array_equal(same, label)


def test_z_scores_and_a_constant_are_images_too():
    image = brain()
    image[image > 0] -= 500  # negative inside, zero outside
    assert (coarsen(image, {}, (2, 2, 2)).image > 0).sum() == np.count_nonzero(image)
    assert set(np.unique(coarsen((brain() > 0) * 7.0, {}, (2, 2, 2)).image)) == {0, 252}


def test_nifti_is_read_by_nibabel_and_stands_in_the_middle():
    volume = np.random.default_rng(0).integers(0, 255, (5, 6, 7), np.uint8)
    made = nifti(volume, (3, 2, 1))
    image = unpacked(made)
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), volume)
    assert image.get_data_dtype() == np.uint8
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_allclose(image.affine @ [3, 2.5, 2, 1], [0, 0, 0, 1])
    np.testing.assert_allclose(image.header.get_zooms(), (1, 2, 3))
    assert nifti(volume, (3, 2, 1)) == made


# ----------------------------------------------------------------------------------------------- for whoever gets no 3D


def test_words_by_hand():
    image, label = brain(), np.zeros((24, 28, 20), np.uint8)
    label[5:15, 5:15, 12:15] = 2  # 300 voxels on the patient's right: x grows towards it
    label[5, 5:15, 5] = 1  # ten on the left
    names = {1: "core", 2: "oedema", 3: "enhancing"}
    said = described("gold standard", label, names, (5, 2, 1), image)
    assert said == "The gold standard holds 0.1 ml core and 3.0 ml oedema, 97% of it on the patient’s right."
    one = described("prediction", np.where(label == 1, 1, 0), names, (5, 2, 1), image)
    assert one == "The prediction holds 0.1 ml core, 100% of it on the patient’s left."
    assert described("prediction", 0 * label, names, (5, 2, 1), image) == "The prediction is empty."


def seen(label: np.ndarray) -> list[tuple[float, float] | None]:
    """Where each of the picture's three views shows a label: its middle, (from the left, from the top) as shares."""
    coarse = coarsen(brain(), {"truth": label}, (2, 2, 2))
    sheet = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(picture(coarse, "truth", {1: "#0000ff"})))).convert("RGB")
    )
    blue = (sheet[..., 2] > 90) & (sheet[..., 0] < 60)
    filled = np.flatnonzero((sheet.max(2) > 30).any(0))
    views = np.split(filled, np.flatnonzero(np.diff(filled) > volume_data.MARGIN) + 1)
    assert len(views) == 3
    found = []
    for columns in views:
        part = blue[:, columns[0] : columns[-1] + 1]
        rows = np.flatnonzero((sheet[:, columns].max(2) > 30).any(1))
        at = np.nonzero(part)
        place = (at[1].mean() / part.shape[1], (at[0].mean() - rows[0]) / len(rows)) if len(at[0]) else None
        found.append(place)
    return found


def test_the_picture_shows_a_label_where_it_is_from_the_front_the_left_and_above():
    label = np.zeros((24, 28, 20), np.uint8)
    label[14:19, 18:23, 11:15] = 1  # high, in front, on the right
    front, left, above = [np.array(place) < 0.5 for place in seen(label)]
    assert front.tolist() == [True, True]  # a face looks at us: its right is on our left
    assert left.tolist() == [True, True]  # the face looks to our left
    assert above.tolist() == [False, True]  # the face looks up the page


def test_a_picture_without_labels():
    sheet = Image.open(io.BytesIO(base64.b64decode(picture(coarsen(brain(), {}, (2, 2, 2)), None, {}))))
    assert max(sheet.size) > volume_data.SIDE
    assert np.ptp(np.asarray(sheet).astype(int), axis=2).max() < 8  # grey
