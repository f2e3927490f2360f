"""The Decathlon's layout: its brain tumours converted, its other tasks as they are."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from folders import TASK01_LABELS, TASK01_MODALITY, label_of, noise, save

from gbmlib.cohorts import GLIOMA, CaseError, check, layouts, open_cohort
from gbmlib.cohorts.folds import split
from gbmlib.cohorts.layouts import decathlon

HIPPOCAMPUS = {
    "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
    "modality": {"0": "MRI"},
    "name": "Hippocampus",
    "prefix": "hippocampus",
}


def opened(path):
    return layouts.cohort(decathlon.scan(path))


def edit(folder, **changes):
    file = folder / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_brain_tumours_are_converted(tmp_path, msd_task):
    cohort = opened(str(msd_task(tmp_path / "any name", cases=2)))
    assert cohort.name == "msd-task01-braintumour-2"
    assert cohort.labels == GLIOMA
    assert cohort.modalities == ("flair", "t1", "t1ce", "t2")
    assert cohort.convention == (
        "Decathlon, brain tumours: 1 edema, 2 non-enhancing tumor, 3 enhancing tumour; 1 becomes 2; 2 becomes 1"
    )
    case = cohort["BRATS_001"]
    image = np.asarray(nib.load(tmp_path / "any name" / "imagesTr" / "BRATS_001.nii.gz").dataobj)
    assert np.array_equal(case.images(), image[::-1, ::-1].transpose(3, 2, 1, 0))
    stored = np.asarray(nib.load(tmp_path / "any name" / "labelsTr" / "BRATS_001.nii.gz").dataobj)
    swapped = np.array([0, 2, 1, 3])[stored][::-1, ::-1].transpose(2, 1, 0)
    assert np.array_equal(case.label(), swapped)
    case.write(tmp_path / "o.nii.gz", case.label())
    written = nib.load(tmp_path / "o.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), stored)
    assert written.shape == (6, 7, 5)


def test_channels_in_another_order_take_the_internal_one(tmp_path, msd_task):
    folder = msd_task(tmp_path, modality={"0": "T1c", "1": "T1n", "2": "Flair", "3": "T2w"})
    cohort = opened(str(folder))
    assert cohort.modalities == ("flair", "t1", "t1ce", "t2")
    image = np.asarray(nib.load(folder / "imagesTr" / "BRATS_002.nii.gz").dataobj)[::-1, ::-1].transpose(3, 2, 1, 0)
    assert np.array_equal(cohort["BRATS_002"].images(), image[[2, 1, 0, 3]])
    assert np.array_equal(cohort.with_modalities(["t2", "flair"])["BRATS_002"].images(), image[[3, 2]])


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (TASK01_LABELS, {0: 0, 1: 2, 2: 1, 3: 3}),
        (
            {"0": "background", "1": "necrotic and non-enhancing core", "2": "oedema", "4": "enhancing"},
            {0: 0, 1: 1, 2: 2, 4: 3},
        ),
        ({"0": "background", "1": "ENHANCING", "2": "Peritumoral Edema", "3": "Necrosis"}, {0: 0, 1: 3, 2: 2, 3: 1}),
        (
            {"0": "b", "1": "necrosis", "2": "edema", "3": "nonenhancing", "4": "enhancing"},
            {0: 0, 1: 1, 2: 2, 3: 1, 4: 3},
        ),
    ],
)
def test_glioma_by_the_names_of_the_labels(tmp_path, msd_task, labels, values):
    cohort = opened(str(msd_task(tmp_path, labels=labels)))
    assert cohort.is_glioma
    assert cohort.cases[0].values == values


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "1": "Anterior", "2": "Posterior"},
        {"0": "background", "1": "edema", "2": "tumour"},
        {"0": "background", "1": "edema", "2": "enhancing", "3": "non-enhancing", "4": "cavity"},
    ],
)
def test_other_tasks_keep_values_and_names(tmp_path, msd_task, labels):
    cohort = opened(str(msd_task(tmp_path, labels=labels, modality={"0": "MRI"}, name="Other one")))
    assert not cohort.is_glioma
    assert cohort.labels == {int(value): name for value, name in labels.items() if value != "0"}
    assert all(stored == internal for stored, internal in cohort.cases[0].values.items())
    assert cohort.name == "msd-otherone-3"
    stored = np.asarray(nib.load(tmp_path / "labelsTr" / "BRATS_003.nii.gz").dataobj)
    assert np.array_equal(cohort["BRATS_003"].label(), stored[::-1, ::-1].transpose(2, 1, 0))


def test_ct_against_mr(tmp_path, msd_task):
    ct = msd_task(tmp_path / "Task03_Liver", labels={"0": "b", "1": "liver"}, modality={"0": "CT"}, name="Liver")
    cohort = opened(str(ct))
    assert (cohort.name, cohort.modalities, cohort.modality_kinds) == ("msd-task03-liver-3", ("ct",), ("CT",))
    two = {"0": "T2", "1": "ADC"}
    mr = msd_task(tmp_path / "Task05", labels={"0": "b", "1": "PZ", "2": "TZ"}, modality=two, name="PROSTATE")
    cohort = opened(str(mr))
    assert (cohort.name, cohort.modalities, cohort.modality_kinds) == (
        "msd-task05-prostate-3",
        ("t2", "adc"),
        ("MR", "MR"),
    )


def test_test_cases_have_no_label_and_do_not_count(tmp_path, msd_task):
    folder = msd_task(tmp_path / "a", cases=2, tests=2, **HIPPOCAMPUS)
    cohort = opened(str(folder))
    assert [case.has_label for case in cohort] == [True, True, False, False]
    assert cohort["hippocampus_003"].images().shape == (1, 5, 7, 6)
    name, digest = cohort.name, cohort.fingerprint
    shutil.rmtree(folder / "imagesTs")
    alone = opened(str(folder))
    assert (alone.name, alone.fingerprint, len(alone)) == (name, digest, 2)


def test_only_some_test_cases_missing_is_an_error(tmp_path, msd_task):
    folder = msd_task(tmp_path, cases=1, tests=2, **HIPPOCAMPUS)
    (folder / "imagesTs" / "hippocampus_002.nii.gz").unlink()
    with pytest.raises(CaseError, match=r"1 problem\n.*hippocampus_002.*the image is missing"):
        opened(str(folder))


def test_all_missing_files_are_listed(tmp_path, msd_task):
    folder = msd_task(tmp_path, cases=3, **HIPPOCAMPUS)
    (folder / "imagesTr" / "hippocampus_001.nii.gz").unlink()
    (folder / "labelsTr" / "hippocampus_003.nii.gz").unlink()
    with pytest.raises(CaseError) as raised:
        opened(str(folder))
    assert "2 problems" in str(raised.value)
    assert f"{folder}/imagesTr/hippocampus_001.nii.gz: the image is missing" in str(raised.value)
    assert f"{folder}/labelsTr/hippocampus_003.nii.gz: the label is missing" in str(raised.value)


def test_unpacked_files_and_what_macos_leaves(tmp_path, msd_task):
    folder = msd_task(tmp_path, cases=2, **HIPPOCAMPUS)
    image = folder / "imagesTr" / "hippocampus_001.nii.gz"
    save(folder / "imagesTr" / "hippocampus_001.nii", np.asarray(nib.load(image).dataobj))
    image.unlink()
    (folder / "imagesTr" / "._hippocampus_001.nii.gz").write_bytes(b"mac")
    entries = json.loads((folder / "dataset.json").read_text())["training"]
    edit(folder, training=[*entries, {"image": "./imagesTr/._hippocampus_001.nii.gz", "label": "./labelsTr/x.nii.gz"}])
    cohort = opened(str(folder))
    assert [case.id for case in cohort] == ["hippocampus_001", "hippocampus_002"]
    assert cohort["hippocampus_001"].images().shape == (1, 5, 7, 6)


def test_one_scan_twice_is_one_patient(tmp_path, msd_task):
    folder = msd_task(tmp_path, cases=1)
    ids = [
        f"BRATS_{number}"
        for number in ("007", "290", "001", "275", "002", "293", "010", "278", "013", "288", "015", "280", "100")
    ]
    for case_id in ids:
        save(folder / "imagesTr" / f"{case_id}.nii.gz", noise(1, (3, 3, 3, 4)))
        save(folder / "labelsTr" / f"{case_id}.nii.gz", label_of((1,), 0, (3, 3, 3)))
    edit(folder, training=[{"image": f"imagesTr/{i}.nii.gz", "label": f"labelsTr/{i}.nii.gz"} for i in ids])
    cohort = opened(str(folder))
    for first, second in zip(ids[0:12:2], ids[1:12:2], strict=True):
        assert cohort[first].patient == cohort[second].patient
    assert len({case.patient for case in cohort}) == 7
    other = msd_task(tmp_path / "other", **{**HIPPOCAMPUS, "prefix": "BRATS"})
    assert [case.patient for case in opened(str(other))] == ["BRATS_001", "BRATS_002", "BRATS_003"]


def test_the_task_is_found_below_or_above_or_has_to_be_chosen(tmp_path, msd_task):
    one = msd_task(tmp_path / "MSD" / "Task04" / "Task04_Hippocampus", **HIPPOCAMPUS)
    assert open_cohort(f"msd:{tmp_path}/MSD").spec == f"msd:{one}"
    two = msd_task(tmp_path / "MSD" / "Task01")
    with pytest.raises(CaseError, match=rf"2 data sets; choose one: msd:{two} or msd:{one}"):
        open_cohort(f"msd:{tmp_path}/MSD")
    with pytest.raises(CaseError, match=rf"open msd:{two}"):
        open_cohort(f"msd:{two}/imagesTr")


def test_paths_that_lead_elsewhere(tmp_path, brats_case):
    for path, what in (("", "needs the path"), (f"{tmp_path}/x", "does not exist"), (tmp_path, "is empty")):
        with pytest.raises(CaseError, match=what):
            open_cohort(f"msd:{path}")
    brats_case(tmp_path, "Brats18_a_1")
    with pytest.raises(CaseError, match=rf"open brats:{tmp_path}"):
        open_cohort(f"msd:{tmp_path}")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"labels": {"0": "b", "x": "y"}}, r"labels\.x\..*integer"),
        ({"labels": {"0": "b"}}, "labels name no value from 1 to 255"),
        ({"labels": {"0": "b", "300": "far"}}, r"labels\.300.*less than or equal to 255"),
        ({"labels": None}, "labels: Input should be an object"),
        ({"modality": {}}, "modality: .*at least 1"),
        ({"modality": {"0": "MRI", "1": "mri"}}, "each channel a name of its own"),
        ({"training": []}, "training: .*at least 1"),
        ({"training": [{"label": "x"}]}, r"training\.0\.image: Field required"),
        ({"channel_names": {"0": "MRI"}}, "layout of nnU-Net v2"),
    ],
)
def test_dataset_json_that_cannot_be_used(tmp_path, msd_task, changes, what):
    edit(msd_task(tmp_path, **HIPPOCAMPUS), **changes)
    with pytest.raises(CaseError, match=rf"dataset\.json.*{what}"):
        opened(str(tmp_path))


def test_dataset_json_that_is_no_json(tmp_path, msd_task):
    folder = msd_task(tmp_path)
    (folder / "dataset.json").write_text("{'name':")
    with pytest.raises(CaseError, match=r"dataset\.json cannot be used: .*JSON"):
        opened(str(folder))


def test_one_id_named_twice(tmp_path, msd_task):
    folder = msd_task(tmp_path, cases=1)
    entry = json.loads((folder / "dataset.json").read_text())["training"]
    edit(folder, training=entry * 2)
    with pytest.raises(CaseError, match="names two cases of this id"):
        opened(str(folder))


def test_channels_are_held_to_dataset_json(tmp_path, msd_task):
    folder = msd_task(tmp_path, cases=1)
    edit(folder, modality={key: TASK01_MODALITY[key] for key in "012"})
    with pytest.raises(CaseError, match=r"BRATS_001\.nii\.gz has 4 channel\(s\), .*; the data set names 3"):
        opened(str(folder))["BRATS_001"].images()


@pytest.mark.parametrize("name", ["CTA", "CT_venous", "CBCT", "Computed Tomography"])
def test_ct_by_other_names(tmp_path, msd_task, name):
    folder = msd_task(tmp_path, **HIPPOCAMPUS | {"modality": {"0": name}})
    assert opened(str(folder)).modality_kinds == ("CT",)


def test_a_name_that_may_mean_ct_is_asked_about(tmp_path, msd_task):
    folder = msd_task(tmp_path, **HIPPOCAMPUS | {"modality": {"0": "PET/CT"}})
    [warning] = check(f"msd:{folder}", progress=False).problems
    assert (warning.severity, warning.what) == ("warning", "the modality 'pet/ct' is not read as CT")
    assert "call it CT" in warning.remedy


def test_hounsfield_units_under_another_name_are_asked_about(tmp_path, msd_task):
    folder = msd_task(tmp_path, **HIPPOCAMPUS)
    save(folder / "imagesTr" / "hippocampus_001.nii.gz", noise(1) - 1024)
    [warning] = check(f"msd:{folder}", progress=False).problems
    assert (warning.severity, warning.case) == ("warning", "hippocampus_001")
    assert "as CT does, but is not read as CT" in warning.what


def test_a_labelled_test_case_is_in_no_fold(tmp_path, msd_task):
    folder = msd_task(tmp_path, cases=3, tests=1, **HIPPOCAMPUS)
    before = opened(str(folder))
    save(folder / "labelsTs" / "hippocampus_004.nii.gz", label_of((1, 2), 4))
    image = "./imagesTs/hippocampus_004.nii.gz"
    edit(folder, test=[{"image": image, "label": image.replace("images", "labels")}], validation=[{"image": image}])
    cohort = opened(str(folder))
    assert (cohort.name, cohort.fingerprint) == (before.name, before.fingerprint)
    assert [case.has_label for case in cohort] == [True, True, True, False]
    assert {case_id for number in range(3) for case_id in split(cohort, 3, number)[1]} == {
        f"hippocampus_00{number}" for number in (1, 2, 3)
    }
    notes = [problem.what for problem in check(f"msd:{folder}", progress=False).problems]
    assert "1 test case with a label, which is not read: test cases are in no fold" in notes
    assert "the key 'validation' (1 entries) is not read" in notes


def test_paths_with_backslashes_and_of_another_machine(tmp_path, msd_task):
    folder = msd_task(tmp_path, cases=4, **HIPPOCAMPUS)
    entries = json.loads((folder / "dataset.json").read_text())["training"]
    entries[1:3] = [{key: path.replace("/", "\\") for key, path in entry.items()} for entry in entries[1:3]]
    edit(folder, training=entries)
    assert len(opened(str(folder)).labelled) == 4
    entries[0]["label"] = "/elsewhere/labelsTr/hippocampus_001.nii.gz"
    entries[1]["image"] = "D:\\data\\imagesTr\\hippocampus_002.nii.gz"
    entries[2]["image"] = "../elsewhere.nii.gz"
    edit(folder, training=entries)
    with pytest.raises(CaseError) as raised:
        opened(str(folder))
    _, label, image, relative, _ = str(raised.value).splitlines()
    for line, place in ((label, "/elsewhere/labelsTr/"), (image, "D:/data/imagesTr/")):
        assert place in line
        assert line.endswith("an absolute path, of another machine perhaps; name it relative to dataset.json")
    assert relative.endswith("the image is missing; fetch it again, or take the case out of dataset.json")


def test_two_labels_of_one_name_are_refused(tmp_path, msd_task):
    folder = msd_task(tmp_path, **HIPPOCAMPUS | {"labels": {"0": "background", "1": "Tumour", "2": "tumour"}})
    with pytest.raises(CaseError, match=r"dataset\.json cannot be used: two labels are called tumour"):
        opened(str(folder))
    assert not check(f"msd:{folder}", progress=False).ok
