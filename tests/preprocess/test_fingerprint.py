"""Fingerprints: measured from cohorts, kept as JSON, refused with every reason at once."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gbmlib.cohorts import Case, CaseError, open_cohort
from gbmlib.planner import Fingerprint, Intensities, fingerprint, plan
from gbmlib.preprocess import fingerprint as measuring

ROOT = Path(__file__).resolve().parents[2]
ONE_MM = (1.0, 1.0, 1.0)


def test_all_that_is_wrong_with_a_fingerprint_is_said_at_once():
    with pytest.raises(ValueError, match="is no data set") as caught:
        Fingerprint([(10, 0, 10)], [ONE_MM, (1, -1, 1)], kinds=("PET",), cases=0, labels=0, kept=2, name="mine")
    message = str(caught.value)
    for part in (
        "mine",
        "1 shapes and 2 spacings",
        "shapes[0] is (10, 0, 10)",
        "spacings[1]",
        "'PET'",
        "cases",
        "labels",
        "kept",
    ):
        assert part in message  # fmt: skip
    assert message.count("\n- ") == 7


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"shapes": [], "spacings": []}, "shapes is empty"),
        ({"shapes": [(1, 2)], "spacings": [ONE_MM]}, r"shapes\[0\]"),
        ({"shapes": [(1, 2, 2.5)], "spacings": [ONE_MM]}, r"shapes\[0\]"),
        ({"shapes": [(1, 2, 200_000)], "spacings": [ONE_MM]}, "100,000"),
        ({"shapes": [5], "spacings": [ONE_MM]}, r"shapes\[0\]"),
        ({"shapes": [(1, 2, 3)], "spacings": [(1, 1, math.nan)]}, r"spacings\[0\]"),
        ({"shapes": [(1, 2, 3)], "spacings": [(1, 1, "a")]}, r"spacings\[0\]"),
        ({"shapes": [(1, 2, 3)] * 2, "spacings": [ONE_MM] * 2, "cases": 1}, "cases is 1"),
        ({"shapes": [(1, 2, 3)], "spacings": [ONE_MM], "kinds": "MR"}, "kinds is 'MR'"),
        ({"shapes": [(1, 2, 3)], "spacings": [ONE_MM], "intensities": (None, None)}, "intensities of 2 channels"),
    ],
)
def test_a_fingerprint_that_is_no_data_set(given, part):
    with pytest.raises(ValueError, match=part):
        Fingerprint(**given)


class Made(Case):
    """A case of given arrays."""

    def __init__(self, number, images, label, spacing=ONE_MM):
        self.id = self.patient = f"case_{number}"
        self.arrays, self.truth, self.spacing = images, label, spacing
        self.shape, self.has_label = images.shape[1:], label is not None

    def images(self):
        return self.arrays

    def label(self):
        return self.truth


class Several(SimpleNamespace):
    """A cohort of such cases."""

    def __iter__(self):
        return iter(self.cases)

    @property
    def labelled(self):
        return [case for case in self.cases if case.has_label]


def cohort(*cases, kinds=("MR",), labels=None):
    modalities = tuple(f"channel {number}" for number in range(len(kinds)))
    labels = labels or {1: "organ", 2: "tumour"}
    return Several(
        name="made", cases=cases, modality_kinds=kinds, modalities=modalities, labels=labels, fingerprint="d1"
    )


def volume(shape, box, value=100.0):
    images = np.zeros((1, *shape), np.float32)
    images[(0, *(slice(*part) for part in box))] = value
    return images


def test_a_cohort_is_measured_after_cropping_to_what_is_not_zero():
    one = Made(1, volume((20, 30, 40), ((2, 12), (5, 25), (0, 40))), np.ones((20, 30, 40), np.uint8), (3, 1, 1))
    two = Made(2, volume((20, 30, 40), ((0, 20), (0, 30), (10, 20))), np.ones((20, 30, 40), np.uint8))
    unlabelled = Made(3, volume((9, 9, 9), ((0, 9), (0, 9), (0, 9))), None)
    found = fingerprint(cohort(one, two, unlabelled), progress=False)
    assert found == Fingerprint(
        shapes=((10, 20, 40), (20, 30, 10)),
        spacings=((3.0, 1.0, 1.0), ONE_MM),
        kinds=("MR",),
        cases=2,
        labels=2,
        kept=round((8000 + 6000) / 48000, 6),
        name="made",
        digest="d1",
    )
    assert found.spacing == (2.0, 1.0, 1.0)
    assert found.median_shape == (12, 25, 25)  # 15 and 10 give 12.5, and a half goes to the even number


def test_the_foreground_of_a_ct_is_collected_over_all_cases():
    rng = np.random.default_rng(0)
    cases, inside = [], []
    for number in range(3):
        images = np.stack([rng.normal(40, 200, (8, 9, 10)).round(), rng.random((8, 9, 10))]).astype(np.float32)
        label = (rng.random((8, 9, 10)) < 0.3).astype(np.uint8) * 2
        cases.append(Made(number, images, label))
        inside.append(images[0][label > 0])
    found = fingerprint(cohort(*cases, kinds=("CT", "MR")), progress=False).intensities
    values = np.concatenate(inside).astype(np.float64)
    assert found[1] is None
    assert found[0] == Intensities(
        *(pytest.approx(of, rel=1e-6) for of in (*np.percentile(values, [0.5, 99.5]), values.mean(), values.std()))
    )


def test_cases_that_cannot_be_measured_are_named_together():
    empty = [Made(number, np.zeros((1, 4, 4, 4), np.float32), np.ones((4, 4, 4), np.uint8)) for number in (1, 2)]
    with pytest.raises(CaseError, match=r"case case_1: the images are zero(.|\n)*case case_2: the images are zero"):
        fingerprint(cohort(*empty), progress=False)
    with pytest.raises(CaseError, match="no case with a label"):
        fingerprint(cohort(Made(1, volume((4, 4, 4), ((0, 4),) * 3), None)), progress=False)
    unmarked = Made(1, volume((4, 4, 4), ((0, 4),) * 3), np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(CaseError, match="label"):
        fingerprint(cohort(unmarked, kinds=("CT",)), progress=False)


def test_json_there_and_back(tmp_path):
    one = Fingerprint(
        [(10, 20, 30), (11, 21, 31)], [(1, 0.5, 0.1 + 0.2), ONE_MM], ("CT", "MR"), 7, 3, 0.25,
        (Intensities(-1.5, 2, 0.1, 3), None), "mine", "measured",
    )  # fmt: skip
    assert Fingerprint.from_json(one.to_json()) == one
    path = one.write(tmp_path / "new" / "mine.json")
    assert Fingerprint.read(path) == one
    assert [file.name for file in path.parent.iterdir()] == ["mine.json"]
    assert Fingerprint.from_json('{"shapes": [[1, 2, 3]], "spacings": [[1, 1, 1]]}') == Fingerprint(
        [(1, 2, 3)], [ONE_MM]
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "cannot be read"),
        ("[]", "this has list"),
        ('{"shapes": []}', "this has"),
        ('{"shapes": [[1, 2, 3]], "spacings": [[1, 1, 1]], "shape": 1}', "shape"),
        ('{"shapes": [[1, 2, 3]], "spacings": [[1, 1, 1]], "intensities": [{"low": 1}]}', "intensities"),
        ('{"shapes": [[1, 2, 3]], "spacings": [[1, 1, 0]]}', r"spacings\[0\]"),
    ],
)
def test_json_that_is_no_fingerprint_names_the_file(text, part, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"mine\.json: (.|\n)*{part}"):
        Fingerprint.read(path)


def test_the_published_fingerprint_of_the_real_cases(brats_folder):
    """Two of the 19 cases again, and the plan of all of them: the paper's brain tumours have the same."""
    published = Fingerprint.read(measuring.path_of("brats2018-19", ROOT / "book" / "records"))
    whole = open_cohort(f"brats:{brats_folder}")
    few = fingerprint(dataclasses.replace(whole, cases=whole.cases[:2]), progress=False)
    assert few.shapes == published.shapes[:2]
    assert few.spacings == published.spacings[:2]
    assert published.cases == 19
    of = plan(published)
    assert of.three_d.patch_size == (128, 128, 128)
    assert of.normalisation == ("image",) * 4


def test_the_phantoms_are_measured_by_the_command_and_have_a_plan(tmp_path):
    path = measuring.publish("phantom:cases=2,spacing=10,seed=0", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    found = Fingerprint.read(path)
    assert found.spacing == (10, 10, 10)
    assert (found.cases, found.labels, found.kinds, found.intensities) == (2, 3, ("MR",) * 4, ())
    assert found.kept < 0.75
    assert plan(found).normalisation == ("image",) * 4
