"""The real cases: 19 of BraTS 2018, 260 hippocampi of the Decathlon."""

import nibabel as nib
import numpy as np
import pytest

from gbmlib.cohorts import check, open_cohort


@pytest.fixture(scope="module")
def glioma(brats_folder):
    return open_cohort(f"brats:{brats_folder}")


def test_glioma_cohort(glioma):
    assert glioma.name == "brats2018-19"
    assert glioma.is_glioma
    assert len({case.patient for case in glioma}) == 19
    assert (
        glioma.convention
        == "BraTS 2017 to 2021: 1 necrotic and non-enhancing core, 2 oedema, 4 enhancing tumour; 4 becomes 3"
    )
    assert {case.shape for case in glioma} == {(155, 240, 240)}
    assert {case.spacing for case in glioma} == {(1.0, 1.0, 1.0)}


def test_glioma_case_against_nibabel(glioma, tmp_path):
    """Case 2013_20_1: its cut FLAIR, its label in the file's values, and the way back."""
    case = glioma["Brats18_2013_20_1"]
    images, label = case.images(), case.label()
    for channel, modality in zip(images, case.modalities, strict=True):
        canonical = nib.as_closest_canonical(nib.load(case.files[modality].path))
        assert np.array_equal(channel, np.asarray(canonical.dataobj).transpose(2, 1, 0))
    assert int(((label > 0) & (images[0] == 0)).sum()) == 481
    case.write(tmp_path / "o.nii.gz", label)
    original, written = nib.load(case.label_file), nib.load(tmp_path / "o.nii.gz")
    assert np.array_equal(np.asarray(original.dataobj), np.asarray(written.dataobj))
    assert np.allclose(original.affine, written.affine)
    assert set(np.unique(written.dataobj)) == {0, 1, 2, 4}


def test_check_of_the_glioma_cases(brats_folder):
    report = check(f"brats:{brats_folder}", progress=False)
    assert report.ok
    assert report.counts == {"error": 0, "warning": 0, "note": 4}
    assert {problem.case for problem in report.problems} == {f"Brats18_2013_{n}_1" for n in (3, 11, 20, 23)}
    [cut] = [problem for problem in report.problems if problem.case == "Brats18_2013_20_1"]
    assert "481 in flair" in cut.what


def test_hippocampus_cohort(hippocampus_folder):
    """Every case is read; their median shape is the one in Table 1 of nnU-Net (arXiv 1809.10486)."""
    cohort = open_cohort(f"msd:{hippocampus_folder}")
    assert cohort.name == "msd-task04-hippocampus-260"
    assert (cohort.modalities, cohort.modality_kinds) == (("mri",), ("MR",))
    assert cohort.labels == {1: "Anterior", 2: "Posterior"}
    for case in cohort:
        images, label = case.images(), case.label()
        assert images.shape == (1, *case.shape)
        assert images.dtype == np.float32
        assert label.shape == case.shape
        assert set(np.unique(label)) == {0, 1, 2}
        assert case.spacing == pytest.approx((1, 1, 1))
    assert np.median([case.shape for case in cohort], axis=0).tolist() == [36, 50, 35]


def test_check_of_the_hippocampi(hippocampus_folder):
    report = check(f"msd:{hippocampus_folder}", progress=False)
    assert report.counts == {"error": 0, "warning": 0, "note": 3}
    assert report.cases == report.labelled == 260
