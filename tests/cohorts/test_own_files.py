"""A case of one's own from files: what is wrong with them, and where its segmentation may be saved."""

import nibabel as nib
import numpy as np
import pytest

from gbmlib.cohorts import GLIOMA, CaseError, open_cohort, own_files


def test_a_case_from_files_is_read_and_its_segmentation_saved_in_its_own_space(turned_files, tmp_path):
    own = own_files.own_case(turned_files, ("t1ce", "flair"), GLIOMA)
    case = own.cases[0]
    assert case.modalities == ("t1ce", "flair")
    grown = open_cohort("phantom:cases=2,spacing=6,seed=4", ["t1ce", "flair"]).cases[0]
    np.testing.assert_allclose(case.images(), grown.images(), rtol=1e-6)
    label_map = grown.label()
    label_map[3, 4, 5] = 3
    path = own_files.save(label_map, case, tmp_path / "new" / "mine.nii.gz")
    written, source = nib.load(path), nib.load(turned_files["t1ce"])
    assert np.array_equal(written.affine, source.affine)
    assert written.shape == source.shape
    assert nib.aff2axcodes(written.affine)[0] == "L"
    assert np.array_equal(case.read(path), label_map)
    old = own_files.CONVENTIONS["1, 2, 4, as BraTS 2017 to 2021"]
    four = own_files.save(label_map, case, tmp_path / "four.nii", convention=old)
    assert np.array_equal(np.asarray(nib.load(four).dataobj) == 4, np.asarray(written.dataobj) == 3)


def test_all_that_is_wrong_with_files_is_said_together(turned_files, tmp_path):
    image = nib.load(turned_files["t2"])
    smaller = tmp_path / "smaller.nii.gz"
    nib.save(image.slicer[1:], smaller)
    data = np.asarray(image.dataobj, np.float32)
    data[2, 3, 4] = np.nan
    nib.save(nib.Nifti1Image(data, image.affine), tmp_path / "broken.nii.gz")
    given = {"t1ce": turned_files["t1ce"], "t2": tmp_path / "broken.nii.gz", "t1": smaller, "flair": " "}
    with pytest.raises(CaseError) as caught:
        own_files.own_case(given | {"ct": tmp_path / "absent.nii"}, (*given, "ct"), GLIOMA)
    text = str(caught.value)
    assert "4 problems" in text
    assert "flair: no file is given" in text
    assert "broken.nii.gz: t2 holds voxels that are not finite (1)" in text
    assert "smaller.nii.gz: t1 and" in text
    assert "absent.nii: is missing" in text
    with pytest.raises(CaseError, match="t1ce and flair are the same image"):
        own_files.own_case({"t1ce": turned_files["t1"], "flair": turned_files["t1"]}, ("t1ce", "flair"), GLIOMA)


def test_nothing_is_written_over(turned_files, tmp_path):
    own = own_files.own_case(turned_files, ("t1ce",), GLIOMA)
    case, empty = own.cases[0], np.zeros(own.cases[0].shape, np.uint8)
    before = turned_files["t1ce"].read_bytes()
    with pytest.raises(CaseError, match="is an image of this case"):
        own_files.save(empty, case, turned_files["t1ce"], replace=True)
    assert turned_files["t1ce"].read_bytes() == before
    path = own_files.save(empty, case, tmp_path / "a.nii.gz")
    with pytest.raises(CaseError, match="is there already"):
        own_files.save(empty, case, path)
    assert own_files.save(empty, case, path, replace=True) == path
    for wrong, says in (("  ", "no file is named"), (tmp_path / "a.txt", "as .nii or .nii.gz")):
        with pytest.raises(CaseError, match=says):
            own_files.save(empty, case, wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz"]
