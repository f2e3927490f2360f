"""A table of files as a cohort."""

import nibabel as nib
import numpy as np
import pytest
from folders import label_of, noise, save

from gbmlib.cohorts import GLIOMA, CaseError, check, open_cohort


def write(folder, head="case,CT,label", values=(1, 2), cases=("a", "b"), join=","):
    """A table with a file for each cell; returns its path."""
    columns = head.split(join)
    lines = [head]
    for seed, case in enumerate(cases):
        cells = [case]
        for number, column in enumerate(columns[1:]):
            if column.lower() == "patient":
                cells.append("one")
                continue
            volume = label_of(values, seed) if column.startswith("label") else noise(10 * seed + number)
            cells.append(f"{'scans' if number else 'more scans'}/{case}_{number}.nii.gz")
            save(folder / cells[-1], volume)
        lines.append(join.join(cells))
    (folder / "The list.csv").write_text("\ufeff" + "\r\n".join([*lines, ""]), encoding="utf-8")
    return folder / "The list.csv"


@pytest.mark.parametrize("join", [",", ";", "\t"])
def test_a_table_of_ct(tmp_path, join):
    file = write(tmp_path, join.join(("case", "CT venous", "label")), (1, 7), join=join)
    cohort = open_cohort(f"table:{file}")
    assert (cohort.name, cohort.modalities, cohort.modality_kinds) == ("table-thelist-2", ("ct venous",), ("CT",))
    assert cohort.labels == {1: "label 1", 7: "label 7"}
    image = np.asarray(nib.load(tmp_path / "more scans" / "b_0.nii.gz").dataobj)
    assert np.array_equal(cohort["b"].images()[0], image[::-1, ::-1].T)
    assert set(np.unique(cohort["b"].label())) == {0, 1, 7}
    report = check(f"table:{file}", progress=False)
    assert report.problems == ()
    assert report.spec == cohort.spec == f"table:{file}"


def test_names_of_labels_in_the_head_and_patients(tmp_path):
    head = "Case,Patient,T2w,T1 Gd,label: 1 = oedema | 2 = necrosis | 4 = enhancing"
    cohort = open_cohort(f"table:{write(tmp_path, head, (1, 2, 4))}")
    assert cohort.labels == GLIOMA
    assert cohort.modalities == ("t1ce", "t2")
    assert {case.patient for case in cohort} == {"one"}
    stored = np.asarray(nib.load(tmp_path / "scans" / "a_3.nii.gz").dataobj)
    assert np.array_equal(cohort["a"].label(), np.array([0, 2, 1, 9, 3])[stored][::-1, ::-1].T)


def test_cells_that_are_empty_or_lead_nowhere_are_named(tmp_path):
    file = write(tmp_path, "case,mr,label", cases=("a", "b", "c", "d"))
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    lines[1] = r"a,C:\data\a.nii.gz,scans\a_1.nii.gz"
    lines[2] = "b,,scans/b_1.nii.gz"
    lines[3] = "c,/elsewhere/c.nii.gz,"
    file.write_text("\n".join(lines))
    report = check(f"table:{file}", progress=False)
    assert [(one.case, one.what) for one in report.problems] == [
        ("a", "the image is missing: an absolute path, of another machine perhaps"),
        ("b", "mr is missing: its cell is empty"),
        ("c", "the image is missing: an absolute path, of another machine perhaps"),
        ("c", "has no label"),
    ]
    with pytest.raises(CaseError, match="3 problems"):
        open_cohort(f"table:{file}")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no rows below its head"),
        ("case,mr\n", "no rows below its head"),
        ("id,mr\na,b.nii\n", "needs a column case and one for each modality, not id, mr"),
        ("case,label\na,b.nii\n", "needs a column case and one for each modality"),
        ("case,mr\n,b.nii\n", "a row has no case"),
        ("case,mr,label: 1 = x | 2 = x\na,b.nii,c.nii\n", "two labels are called x"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, what):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(CaseError, match=what):
        open_cohort(f"table:{tmp_path}/t.csv")
    with pytest.raises(CaseError, match="cannot be read"):
        open_cohort(f"table:{tmp_path}")
