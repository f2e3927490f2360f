"""nnU-Net's raw layout, version 1 and 2: the same classes and channels as in the Decathlon's."""

import json

import nibabel as nib
import numpy as np
import pytest
from folders import LPS, label_of, noise, save

from gbmlib.cohorts import GLIOMA, CaseError, check, open_cohort

PROSTATE = {
    "channel_names": {"0": "T2", "1": "ADC"},
    "labels": {"background": 0, "PZ": 1, "TZ": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
TUMOUR = {
    "name": "Own gliomas",
    "modality": {"0": "T2w", "1": "T1-Gd", "2": "FLAIR"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing", "3": "enhancing"},
    "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
}


def write(folder, dataset, cases=("a", "b"), tests=()):
    channels = len(dataset.get("channel_names") or dataset["modality"])
    values = tuple(range(1, len(dataset["labels"])))
    end = dataset.get("file_ending", ".nii.gz")
    for seed, case in enumerate((*cases, *tests)):
        for number in range(channels):
            part = "Ts" if case in tests else "Tr"
            save(folder / f"images{part}" / f"{case}_{number:04d}{end}", noise(10 * seed + number))
        if case in cases:
            save(folder / "labelsTr" / f"{case}{end}", label_of(values, seed))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


@pytest.mark.parametrize("end", [".nii.gz", ".nii"])
def test_version_2_and_its_test_cases(tmp_path, end):
    folder = write(tmp_path / "Dataset005_Prostate", PROSTATE | {"file_ending": end}, tests=("c",))
    cohort = open_cohort(f"nnunet:{folder}")
    assert (cohort.name, cohort.modalities, cohort.modality_kinds) == (
        "nnunet-task05-prostate-2",
        ("t2", "adc"),
        ("MR", "MR"),
    )
    assert cohort.labels == {1: "PZ", 2: "TZ"}
    assert [(case.id, case.has_label) for case in cohort] == [("a", True), ("b", True), ("c", False)]
    expected = [np.asarray(nib.load(folder / "imagesTr" / f"b_000{n}{end}").dataobj)[::-1, ::-1].T for n in (0, 1)]
    assert np.array_equal(cohort["b"].images(), expected)
    save(folder / "labelsTs" / f"c{end}", label_of((1, 2)))
    assert [one.has_label for one in open_cohort(f"nnunet:{folder}")] == [True, True, False]
    report = check(f"nnunet:{folder}", progress=False)
    assert report.counts == {"error": 0, "warning": 0, "note": 2}
    assert "1 test case with a label, which is not read" in report.problems[0].what


def test_version_1_of_gliomas_is_brought_to_the_internal_convention(tmp_path):
    folder = write(tmp_path / "Task500_Own", TUMOUR, ("BraTS-GLI-00000-000", "BraTS-GLI-00000-001"))
    cohort = open_cohort(f"nnunet:{folder}")
    assert cohort.name == "nnunet-owngliomas-2"
    assert cohort.modalities == ("flair", "t1ce", "t2")
    assert cohort.labels == GLIOMA
    case = cohort["BraTS-GLI-00000-000"]
    stored = np.asarray(nib.load(folder / "labelsTr" / f"{case.id}.nii.gz").dataobj)
    assert np.array_equal(case.label(), np.array([0, 2, 1, 3])[stored][::-1, ::-1].T)
    flair = np.asarray(nib.load(folder / "imagesTr" / f"{case.id}_0002.nii.gz").dataobj)
    assert np.array_equal(case.images()[0], flair[::-1, ::-1].T)
    assert len({one.patient for one in cohort}) == 1


def test_what_is_missing_or_not_read_is_named(tmp_path):
    folder = write(tmp_path, PROSTATE)
    (folder / "imagesTr" / "a_0001.nii.gz").unlink()
    (folder / "labelsTr" / "b.nii.gz").unlink()
    save(folder / "imagesTr" / "a_0002.nii.gz", noise(77), LPS)
    with pytest.raises(CaseError, match=r"2 problems\n.*a_0001.nii.gz: the adc is missing.*\n.*b.nii.gz: the label is"):
        open_cohort(f"nnunet:{folder}")
    [warning] = [one for one in check(f"nnunet:{folder}", progress=False).problems if one.severity == "warning"]
    assert "imagesTr/a_0002.nii.gz" in warning.what
    assert "ID_0000, ID_0001" in warning.remedy


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"file_ending": ".png"}, r"end in \.png are not read"),
        ({"labels": {"background": 0, "whole": [1, 2], "core": 2}}, "whole: regions of several values"),
        ({"labels": {"background": 0, "a": 1, "ignore": 2}}, "ignore: regions .* labels to ignore"),
        ({"labels": {"background": 0, "a": 1, "A ": 2}}, "two labels are called a"),
        ({"labels": {"background": 0}}, "labels name no value"),
        ({"labels": {"background": 0, "a": 256}}, "labels name 256, not from 1 to 255"),
        ({"channel_names": {}}, "channel_names: .*at least 1"),
    ],
)
def test_descriptions_that_cannot_be_used(tmp_path, changes, what):
    folder = write(tmp_path, PROSTATE)
    (folder / "dataset.json").write_text(json.dumps(PROSTATE | changes))
    with pytest.raises(CaseError, match=rf"dataset\.json.*{what}"):
        open_cohort(f"nnunet:{folder}")


def test_a_path_is_answered_with_its_spec(tmp_path, msd_task, brats_case):
    v1, v2 = write(tmp_path / "v1", TUMOUR), write(tmp_path / "v2", PROSTATE)
    brats_case(tmp_path / "brats", "a")
    table = tmp_path / "t.csv"
    table.write_text("case,mr")
    kinds = {v1: "nnunet", v2: "nnunet", msd_task(tmp_path / "msd"): "msd", tmp_path / "brats": "brats", table: "table"}
    for path, kind in kinds.items():
        with pytest.raises(CaseError, match=f"is a path; say how the data set is laid out, as in {kind}:{path}"):
            open_cohort(str(path))


def test_either_layout_names_the_other(tmp_path, msd_task):
    with pytest.raises(CaseError, match=f"open nnunet:{tmp_path}/v2"):
        open_cohort(f"msd:{write(tmp_path / 'v2', PROSTATE)}")
    with pytest.raises(CaseError, match=f"open nnunet:{tmp_path}/v1"):
        open_cohort(f"msd:{write(tmp_path / 'v1', TUMOUR)}")
    with pytest.raises(CaseError, match=f"open msd:{tmp_path}/msd"):
        open_cohort(f"nnunet:{msd_task(tmp_path / 'msd', prefix='x')}")
