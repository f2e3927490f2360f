"""Every fault put into a small data set by hand is found, beside the others, and named with its file."""

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from folders import LPS, NEW, label_of, noise, save

from gbmlib.cohorts import CaseError, Problem, Report, check, open_cohort
from gbmlib.cohorts.problems import refuse


def found(report, case=None, severity=None):
    """What was reported, as (case, file name, what)."""
    return [
        (problem.case, problem.file.name if problem.file else "", problem.what)
        for problem in report.problems
        if case in (None, problem.case) and severity in (None, problem.severity)
    ]


def check_brats(folder):
    return check(f"brats:{folder}", progress=False)


@pytest.fixture
def folder(tmp_path, brats_case):
    """Three cases without fault."""
    for case_id in ("Brats18_a_1", "Brats18_b_1", "Brats18_c_1"):
        brats_case(tmp_path / case_id, case_id)
    return tmp_path


def test_no_fault(folder):
    report = check_brats(folder)
    assert report.ok
    assert report.problems == ()
    assert report.counts == {"error": 0, "warning": 0, "note": 0}
    assert str(report).splitlines()[0] == "brats2018-3: 3 cases, 3 with a label; 0 errors, 0 warnings, 0 notes"
    assert "BraTS 2017 to 2021" in str(report)


def test_all_faults_at_once(folder, brats_case):
    """One fault a file, in a data set that cannot be opened; nothing hides behind another."""
    a, b, c = (folder / f"Brats18_{x}_1" / f"Brats18_{x}_1" for x in "abc")
    (b.parent / "Brats18_b_1_t2.nii.gz").unlink()
    (b.parent / "Brats18_b_1_t1.nii.gz").write_text("<html>please log in</html>")
    (b.parent / "Brats18_b_1_seg.nii.gz").write_bytes(b"")
    cut = c.parent / "Brats18_c_1_t1.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-20])
    save(c.parent / "Brats18_c_1_t2.nii.gz", noise(1, (6, 7, 4)))
    label = label_of((1, 2, 4))
    label[2, 2, 2] = 7
    save(c.parent / "Brats18_c_1_seg.nii.gz", label)
    data = noise(2).astype(np.float32)
    data[0, 0, :3] = np.nan
    save(a.parent / "Brats18_a_1_flair.nii.gz", data)
    save(a.parent / "Brats18_a_1_t1.nii.gz", np.zeros((6, 7, 5), np.int16))
    save(a.parent / "Brats18_a_1_t2.nii.gz", np.full((6, 7, 5), 4, np.int16))
    save(a.parent / "Brats18_a_1_seg.nii.gz", np.zeros((6, 7, 5), np.uint8))
    brats_case(folder, "Brats18_d_1", None)
    with pytest.raises(CaseError):
        open_cohort(f"brats:{folder}")
    report = check_brats(folder)
    assert not report.ok
    assert found(report, severity="error") == [
        ("Brats18_a_1", "Brats18_a_1_flair.nii.gz", "flair holds voxels that are not finite (3)"),
        ("Brats18_a_1", "Brats18_a_1_t1.nii.gz", "t1 is empty: every voxel is 0"),
        ("Brats18_a_1", "Brats18_a_1_t2.nii.gz", "t2 is constant: every voxel is 4"),
        ("Brats18_b_1", "Brats18_b_1_t2.nii.gz", "t2 is missing"),
        (
            "Brats18_b_1",
            "Brats18_b_1_t1.nii.gz",
            "is a web page, not an image: a download that failed or asked for a login",
        ),
        ("Brats18_b_1", "Brats18_b_1_seg.nii.gz", "is empty (0 bytes)"),
        (
            "Brats18_c_1",
            "Brats18_c_1_t1.nii.gz",
            "is cut short or damaged (Compressed file ended before the end-of-stream marker was reached)",
        ),
        ("Brats18_c_1", "Brats18_c_1_t2.nii.gz", "t2 and flair differ in shape (4, 7, 6) against (5, 7, 6) (z, y, x)"),
        (
            "Brats18_c_1",
            "Brats18_c_1_seg.nii.gz",
            "holds the label values [7]; the cohort's convention knows [0, 1, 2, 4]",
        ),
    ]
    assert found(report, severity="warning") == [
        ("Brats18_a_1", "Brats18_a_1_seg.nii.gz", "the label holds background only")
    ]
    assert found(report, severity="note") == [("Brats18_d_1", "", "has no label")]
    assert all(problem.remedy for problem in report.problems)
    assert report.counts == {"error": 9, "warning": 1, "note": 1}


def test_grid_of_the_odd_one_out_is_named(folder):
    """It is flair that lies elsewhere, though it comes first; and rounding noise is no difference."""
    shifted, noisy = LPS.copy(), LPS.copy()
    shifted[0, 3] = 1
    noisy[:3, 3] = 0.004, -0.004, 0.004
    noisy[0, 1] = 1e-5
    save(folder / "Brats18_a_1" / "Brats18_a_1_flair.nii.gz", noise(5), shifted)
    save(folder / "Brats18_b_1" / "Brats18_b_1_flair.nii.gz", noise(6), noisy)
    [(case, file, what)] = found(check_brats(folder))
    assert (case, file) == ("Brats18_a_1", "Brats18_a_1_flair.nii.gz")
    assert what.startswith("flair and t1 differ in affine: a corner of the volume lies 1 mm away")


def test_same_place_stored_the_other_way_round_is_no_fault(folder):
    file = folder / "Brats18_a_1" / "Brats18_a_1_t1.nii.gz"
    turned = nib.as_closest_canonical(nib.load(file))
    nib.save(turned, file)
    assert check_brats(folder).problems == ()


def test_copies_by_content_not_by_bytes(folder):
    """Another type, another packing, another orientation: still the same image."""
    original = nib.load(folder / "Brats18_a_1" / "Brats18_a_1_t1ce.nii.gz")
    turned = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(original.dataobj).astype(np.float32), original.affine))
    copy = folder / "Brats18_b_1" / "Brats18_b_1_t1ce.nii.gz"
    copy.write_bytes(gzip.compress(turned.to_bytes(), 1))
    shutil.copy(folder / "Brats18_a_1" / "Brats18_a_1_seg.nii.gz", folder / "Brats18_c_1" / "Brats18_c_1_seg.nii.gz")
    shutil.copy(folder / "Brats18_c_1" / "Brats18_c_1_t1.nii.gz", folder / "Brats18_c_1" / "Brats18_c_1_t2.nii.gz")
    report = check_brats(folder)
    assert found(report, severity="error") == [
        ("Brats18_b_1", "", "has the same t1ce as Brats18_a_1"),
        ("Brats18_c_1", "", "t1 and t2 are the same image"),
        ("Brats18_c_1", "", "has the same label as Brats18_a_1"),
    ]


def test_known_duplicates_share_a_patient_and_are_a_note(tmp_path, msd_task):
    folder = msd_task(tmp_path, cases=8)
    for part in ("imagesTr", "labelsTr"):
        shutil.copy(folder / part / "BRATS_007.nii.gz", folder / part / "BRATS_290.nii.gz")
        shutil.copy(folder / part / "BRATS_001.nii.gz", folder / part / "BRATS_008.nii.gz")
    dataset = json.loads((folder / "dataset.json").read_text())
    dataset["training"].append({"image": "./imagesTr/BRATS_290.nii.gz", "label": "./labelsTr/BRATS_290.nii.gz"})
    (folder / "dataset.json").write_text(json.dumps(dataset))
    report = check(f"msd:{folder}", progress=False)
    assert found(report, severity="error") == [
        ("BRATS_008", "", "has the same flair, label, t1, t1ce, t2 as BRATS_001")
    ]
    assert found(report, severity="note") == [("BRATS_290", "", "has the same flair, label, t1, t1ce, t2 as BRATS_007")]


def test_labels_on_zero_background_are_counted(folder):
    """Hand-made: 4 label voxels, of which flair is 0 in two and t1 in one."""
    data, label = noise(7), np.zeros((6, 7, 5), np.uint8)
    label[1, 1, 1:5] = 1, 2, 4, 4
    flair, t1 = data.copy(), noise(8)
    flair[1, 1, 1:3] = 0
    flair[0] = 0
    t1[1, 1, 4] = 0
    for name, volume in (("flair", flair), ("t1", t1), ("seg", label)):
        save(folder / "Brats18_a_1" / f"Brats18_a_1_{name}.nii.gz", volume)
    [(case, file, what)] = found(check_brats(folder), severity="note")
    assert (case, file) == ("Brats18_a_1", "Brats18_a_1_seg.nii.gz")
    assert what == "of 4 label voxels some lie on zero background: 2 in flair, 1 in t1"


def test_label_beside_its_images(folder):
    label = np.zeros((6, 7, 5), np.uint8)
    label[0] = 2
    label[1, 0, 0] = 4
    label[1, 0, 1] = 1
    for number, name in enumerate(("flair", "t1", "t1ce", "t2")):
        data = noise(number + 50)
        data[0] = 0
        save(folder / "Brats18_a_1" / f"Brats18_a_1_{name}.nii.gz", data)
    save(folder / "Brats18_a_1" / "Brats18_a_1_seg.nii.gz", label)
    [(_, _, what)] = found(check_brats(folder), severity="warning")
    assert what == "35 of 37 label voxels lie where all images are 0"


def test_zero_is_water_in_ct(tmp_path, msd_task):
    folder = msd_task(tmp_path, labels={"0": "b", "1": "liver"}, modality={"0": "CT"}, name="Liver")
    image = noise(3) % 3 - 1
    save(folder / "imagesTr" / "BRATS_001.nii.gz", image)
    assert check(f"msd:{folder}", progress=False).problems == ()


def test_label_that_was_interpolated(folder):
    data = label_of((1, 2, 4)).astype(np.float32)
    data[2, 2, 2] = 1.5
    save(folder / "Brats18_a_1" / "Brats18_a_1_seg.nii.gz", data)
    [(case, _, what)] = found(check_brats(folder), severity="error")
    assert (case, what) == ("Brats18_a_1", "holds values that are no labels in 1 voxels, such as 1.5")


def test_convention_that_is_not_recognised(tmp_path, brats_case):
    for case_id in ("a", "b"):
        brats_case(tmp_path, case_id, (1, 2, 3))
    (tmp_path / "a_t1.nii.gz").write_bytes(b"")
    report = check_brats(tmp_path)
    assert [problem.case for problem in report.problems if problem.severity == "error"] == ["", "a"]
    assert "the labels of a, b hold 3 but none holds 4" in report.problems[0].what
    assert report.problems[0].file == tmp_path
    assert report.convention == ""


def test_case_of_another_convention(folder, brats_case):
    brats_case(folder / "Brats18_d_1", "Brats18_d_1", (1, 2, 3))
    [(case, file, what)] = found(check_brats(folder))
    assert (case, file) == ("Brats18_d_1", "Brats18_d_1_seg.nii.gz")
    assert what == "holds the label values [3]; the cohort's convention knows [0, 1, 2, 4]"


def test_structure_that_no_label_holds(tmp_path, brats_case):
    brats_case(tmp_path, "BraTS-GLI-00000-000", (1, 3), NEW)
    assert found(check_brats(tmp_path)) == [("", "", "no label holds 2 (oedema)")]


def test_releases_that_are_mixed(folder, brats_case):
    brats_case(folder / "new", "BraTS19_a_1")
    [(_, _, what)] = found(check_brats(folder), severity="warning")
    assert what.startswith("holds cases of several releases (2018, 2019)")


def test_4d_files(tmp_path, msd_task):
    folder = msd_task(tmp_path, cases=4)
    image = noise(1, (6, 7, 5, 4)).astype(np.float32)
    image[..., 2] = 0
    image[0, 0, 0, 1] = np.inf
    save(folder / "imagesTr" / "BRATS_001.nii.gz", image)
    save(folder / "imagesTr" / "BRATS_002.nii.gz", image[..., :3])
    save(folder / "imagesTr" / "BRATS_003.nii.gz", noise(2, (6, 7, 4, 4)))
    (folder / "labelsTr" / "BRATS_004.nii.gz").unlink()
    save(folder / "imagesTr" / "extra.nii.gz", noise(3))
    report = check(f"msd:{folder}", progress=False)
    assert [(case, file, what.partition(";")[0]) for case, file, what in found(report, severity="error")] == [
        ("BRATS_001", "BRATS_001.nii.gz", "t1 holds voxels that are not finite (1)"),
        ("BRATS_001", "BRATS_001.nii.gz", "t1ce is empty: every voxel is 0"),
        ("BRATS_002", "BRATS_002.nii.gz", "has 3 channel(s), shape (6, 7, 5, 3)"),
        ("BRATS_003", "BRATS_003.nii.gz", "label and flair differ in shape (5, 7, 6) against (4, 7, 6) (z, y, x)"),
        ("BRATS_004", "BRATS_004.nii.gz", "the label is missing"),
    ]
    [note] = [problem for problem in report.problems if not problem.case and problem.severity == "note"]
    assert note.what == "does not name extra.nii.gz, so they are left out"


def test_phantoms_are_checked_too():
    report = check("phantom:cases=1,spacing=6,seed=0", progress=False)
    assert report.ok
    assert (report.cases, report.labelled) == (1, 1)


def test_folder_that_is_wrong_is_one_error(tmp_path):
    report = check(f"brats:{tmp_path}/none")
    assert not report.ok
    assert "does not exist" in report.problems[0].what
    assert report.cases == 0
    with pytest.raises(CaseError, match="unknown kind"):
        check("mri:x")


def test_report_is_readable(folder):
    """Files relative to the root, worst first, remedies below; the notebook's table escapes what it shows."""
    (folder / "Brats18_b_1" / "Brats18_b_1_t1.nii.gz").write_text("<html>")
    (folder / "Brats18_a_1" / "Brats18_a_1_seg.nii.gz").unlink()
    report = check_brats(folder)
    _, _, first, remedy, second, _ = str(report).splitlines()
    assert first.startswith("error    Brats18_b_1  Brats18_b_1/Brats18_b_1_t1.nii.gz: is a web page")
    assert remedy.strip() == "→ fetch it again"
    assert second == "note     Brats18_a_1  has no label"
    odd = Report("x:y", "", 1, 0, "", (Problem("<i>", None, "error", "a < b", "c"),))
    assert "<td style='text-align:left'>&lt;i&gt;</td>" in odd._repr_html_()
    assert "a &lt; b" in odd._repr_html_()
    assert report._repr_html_().count("<tr>") == 3


def test_background_that_is_not_zero_in_skull_stripped_data(tmp_path, brats_case, msd_task):
    """Whole volumes alone: a close crop is all border. Of other organs nothing is expected."""
    image = np.zeros((24, 22, 20), np.float32)
    image[3:-3, 3:-3, 3:-3] = noise(1, (18, 16, 14))
    label = np.zeros(image.shape, np.uint8)
    label[8:12, 8:12, 8:12] = 2
    label[8, 8, 8:10] = 1, 4
    for name, volume in (("flair", image), ("t1ce", image[::-1] - 0.5), ("seg", label)):
        save(tmp_path / "brats" / f"a_{name}.nii.gz", volume)
    [(case, file, what)] = found(check_brats(tmp_path / "brats"))
    assert (case, file) == ("a", "a_t1ce.nii.gz")
    assert what.startswith("t1ce is not 0 on most of its border")
    other = msd_task(tmp_path / "msd", cases=1, modality={"0": "MRI"}, labels={"0": "b", "1": "organ"}, name="Other")
    save(other / "imagesTr" / "BRATS_001.nii.gz", image - 0.5)
    save(other / "labelsTr" / "BRATS_001.nii.gz", label // 2 % 2)
    assert check(f"msd:{other}", progress=False).problems == ()


def test_a_fault_that_many_files_share_is_printed_once_and_told_whole_to_programs(tmp_path):
    report = Report(
        "x:y",
        "y-9",
        9,
        9,
        "",
        tuple(Problem(f"c{n}", tmp_path / f"c{n}.nii", "warning", "is odd", "mend it") for n in range(9)),
        tmp_path,
    )
    assert str(report).splitlines()[1:] == [
        "warning  9 cases  c0.nii, c1.nii, c2.nii and 6 more: is odd",
        "                  → mend it",
    ]
    told = report.as_json()
    assert [one["case"] for one in told["problems"]] == [f"c{n}" for n in range(9)]
    assert told["problems"][0] == {
        "severity": "warning",
        "case": "c0",
        "file": f"{tmp_path}/c0.nii",
        "problem": "is odd",
        "remedy": "mend it",
    }
    assert (told["name"], told["cases"], told["labelled"], told["ok"]) == ("y-9", 9, 9, True)
    unlike = Report("x:y", "", 1, 1, "", tuple(Problem("c", None, "note", f"is {n}", "") for n in range(100)))
    *_, last, remedy = str(unlike).splitlines()
    assert last.strip() == "40 more faults"
    assert remedy.strip() == "→ check --json lists all"
    with pytest.raises(CaseError, match=r"100 problems\n(.*\n){60}  and 40 more$"):
        refuse("no", [Problem("c", None, "error", f"is {n}", "") for n in range(100)])
