"""Packed cohorts: the same cases under the same name, whatever of them travels."""

import json

import numpy as np
import pytest

from gbmlib.cohorts import CaseError, open_cohort, packed
from gbmlib.preprocess import cache

HOW = {"spacing": (2, 2, 2), "normalisation": "image"}


@pytest.fixture
def brats(brats_case, tmp_path):
    for name in ("Brats18_A_1", "Brats18_B_1"):
        brats_case(tmp_path / "released" / name, name)
    return open_cohort(f"brats:{tmp_path / 'released'}")


def packed_cohort(cohort, folder, whole):
    packed.write(cohort, folder, whole)
    return packed.cohort(str(folder))


@pytest.mark.parametrize("whole", [False, True])
def test_it_is_the_same_cohort(brats, tmp_path, whole):
    ours = packed_cohort(brats, tmp_path / "packed", whole)
    for name in ("name", "fingerprint", "modalities", "modality_kinds", "labels", "convention"):
        assert getattr(ours, name) == getattr(brats, name), name
    channels = ("t1ce", "flair")
    for case, other in zip(brats.with_modalities(channels), ours.with_modalities(channels), strict=True):
        assert (case.id, case.patient, case.modalities, case.shape) == (other.id, other.patient, channels, other.shape)
        np.testing.assert_array_equal(case.label(), other.label())
        np.testing.assert_array_equal(case.affine, other.affine)
        assert cache.key_of(case, **HOW) == cache.key_of(other, **HOW)
        case.write(tmp_path / "theirs.nii.gz", case.label())
        other.write(tmp_path / "ours.nii.gz", case.label())
        assert (tmp_path / "theirs.nii.gz").read_bytes()[10:] == (tmp_path / "ours.nii.gz").read_bytes()[10:]


def test_whole_it_has_the_images_and_else_what_was_prepared_of_them(brats, tmp_path):
    case, store = brats.cases[0], tmp_path / "prepared"
    whole = packed_cohort(brats, tmp_path / "whole", True)
    np.testing.assert_array_equal(whole.cases[0].images(), case.images())
    light = packed_cohort(brats, tmp_path / "light", False).cases[0]
    with pytest.raises(CaseError, match=r"Brats18_A_1 was packed prepared.*pack the runs.*or the cohort whole"):
        cache.prepared(light, store, **HOW)
    made = cache.prepared(case, store, **HOW)
    np.testing.assert_array_equal(cache.prepared(light, store, **HOW).images, made.images)
    with pytest.raises(CaseError, match="packed prepared"):
        cache.prepared(light, store, **{**HOW, "spacing": (3, 3, 3)})


def test_channels_of_one_file_and_a_second_journey(msd_task, tmp_path):
    released = open_cohort(f"msd:{msd_task(tmp_path / 'released', cases=2)}")
    once = packed_cohort(released, tmp_path / "once", True)
    twice = packed_cohort(once, tmp_path / "twice", True)
    assert once.fingerprint == twice.fingerprint == released.fingerprint
    for case, other in zip(released, twice, strict=True):
        np.testing.assert_array_equal(case.images(), other.images())
    assert open_cohort(f"packed:{tmp_path / 'twice'}").name == released.name


def test_what_cannot_be_packed_or_opened(brats, tmp_path):
    with pytest.raises(CaseError, match="does not come from files"):
        packed.write(open_cohort("phantom:cases=2,spacing=6,seed=0"), tmp_path / "phantoms", True)
    packed.write(brats, tmp_path / "packed", False)
    (tmp_path / "packed" / packed.COHORT).write_text(json.dumps({"name": "brats"}))
    with pytest.raises(CaseError, match=r"cohort\.json cannot be read.*unpack it again"):
        packed.cohort(str(tmp_path / "packed"))
    with pytest.raises(CaseError, match="does not exist"):
        open_cohort("packed:/nowhere/at/all")
