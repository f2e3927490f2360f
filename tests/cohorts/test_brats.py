"""BraTS as released, and as found on disks."""

import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest
from folders import NEW, OLD, label_of, noise, save
from small_data import write_brats

from gbmlib.cohorts import GLIOMA, CaseError, check, layouts, open_cohort, opening
from gbmlib.cohorts.case import digest
from gbmlib.cohorts.layouts import brats

FOUR = ("flair", "t1", "t1ce", "t2")


def opened(path):
    return layouts.cohort(brats.scan(path))


@pytest.mark.parametrize(
    ("ids", "names", "end", "values", "name", "kept"),
    [
        (("Brats17_CBICA_AAB_1", "Brats17_TCIA_105_1"), OLD, ".nii.gz", (1, 2, 4), "brats2017-2", {4: 3}),
        (("Brats18_2013_2_1", "Brats18_CBICA_ABM_1"), OLD, ".nii.gz", (1, 2, 4), "brats2018-2", {4: 3}),
        (("BraTS19_2013_2_1", "BraTS19_CBICA_AAB_1"), OLD, ".nii", (1, 2, 4), "brats2019-2", {4: 3}),
        (("BraTS20_Training_001", "BraTS20_Training_002"), OLD, ".nii", (1, 2, 4), "brats2020-2", {4: 3}),
        (("BraTS2021_00000", "BraTS2021_00002"), OLD, ".nii.gz", (1, 2, 4), "brats2021-2", {4: 3}),
        (("BraTS-GLI-00000-000", "BraTS-GLI-00001-000"), NEW, ".nii.gz", (1, 2, 3), "brats2023-2", {3: 3}),
        (("BraTS-SSA-00002-000",), NEW, ".nii.gz", (1, 2, 3), "brats-1", {3: 3}),
        (("one", "two", "three"), OLD, ".nii.gz", (1, 2, 4), "brats-3", {4: 3}),
        (("brats_tcia_pat101_0001", "brats_2013_pat0001_1"), OLD, ".nii.gz", (1, 2, 3, 4), "brats-2", {3: 1, 4: 3}),
    ],
)
def test_every_release(tmp_path, brats_case, ids, names, end, values, name, kept):
    files = {case_id: brats_case(tmp_path / "HGG" / case_id, case_id, values, names, end) for case_id in ids}
    (tmp_path / "HGG" / "name_mapping.csv").write_text("a,b")
    cohort = opened(str(tmp_path))
    assert cohort.name == name
    assert [case.id for case in cohort] == sorted(ids)
    assert cohort.modalities == FOUR
    assert cohort.modality_kinds == ("MR",) * 4
    assert cohort.is_glioma
    assert cohort.labels == GLIOMA
    for case in cohort:
        stored = np.asarray(nib.load(files[case.id]["label"]).dataobj)[::-1, ::-1].transpose(2, 1, 0)
        expected = np.vectorize(lambda value: kept.get(value, value))(stored)
        assert np.array_equal(case.label(), expected)
        images = case.images()
        assert images.dtype == np.float32
        for channel, modality in zip(images, FOUR, strict=True):
            assert np.array_equal(channel, np.asarray(nib.load(files[case.id][modality]).dataobj)[::-1, ::-1].T)
        case.write(tmp_path / "out" / "o.nii.gz", case.label())
        back = np.asarray(nib.load(tmp_path / "out" / "o.nii.gz").dataobj)
        original = np.asarray(nib.load(files[case.id]["label"]).dataobj)
        assert np.array_equal(back, np.where(original == 3, 1, original) if 4 in values else original)


def test_convention_is_stated(tmp_path, brats_case):
    for folder, names, values in (
        ("a", OLD, (1, 2, 4)),
        ("b", NEW, (1, 2, 3)),
        ("c", OLD, (1, 2, 3, 4)),
        ("d", OLD, None),
    ):
        brats_case(tmp_path / folder, "x", values, names)
    text = {folder: opened(f"{tmp_path}/{folder}").convention for folder in "abcd"}
    assert text["a"].startswith("BraTS 2017 to 2021")
    assert text["b"].startswith("BraTS 2023 and later")
    assert text["c"].startswith("BraTS 2015")
    assert text["d"].endswith("(by the file names: no case has a label)")


def test_3_without_4_is_refused_with_the_choices(tmp_path, brats_case):
    brats_case(tmp_path, "Brats18_a_1", (1, 2, 3))
    brats_case(tmp_path, "Brats18_b_1", (1, 2))
    with pytest.raises(CaseError, match=r"not recognised: .*Brats18_a_1 hold 3 but none holds 4.*4 if enhancing, 1 if"):
        opened(str(tmp_path))


def test_4_under_the_names_of_2023_is_refused(tmp_path, brats_case):
    brats_case(tmp_path, "BraTS-GLI-00005-100", (1, 2, 3, 4), NEW)
    with pytest.raises(CaseError, match=r"BraTS-GLI-00005-100 hold 4\..*resection cavity"):
        opened(str(tmp_path))


def test_3_and_4_under_ids_and_names_of_different_years_is_refused(tmp_path, brats_case):
    brats_case(tmp_path, "BraTS-GLI-00005-100", (1, 2, 3, 4))
    with pytest.raises(CaseError, match="hold 3 and 4 under ids of 2023"):
        opened(str(tmp_path))


def test_challenges_with_another_meaning_are_refused(tmp_path, brats_case):
    brats_case(tmp_path, "BraTS-PED-00002-000", (1, 2, 3), NEW)
    with pytest.raises(CaseError, match=r"challenges \['PED'\]"):
        opened(str(tmp_path))


def test_whole_tumour_masks_are_refused(tmp_path, brats_case):
    brats_case(tmp_path, "a", (1,))
    with pytest.raises(CaseError, match="no label holds a value but 1"):
        opened(str(tmp_path))


def test_mixed_conventions_are_refused_at_opening_and_at_reading(tmp_path, brats_case):
    for number in range(4):
        brats_case(tmp_path, f"case{number}", (1, 2, 4))
    brats_case(tmp_path, "case4", (1, 2, 3))
    with pytest.raises(CaseError, match=r"case4.*label values \[3\]; the cohort's convention knows \[0, 1, 2, 4\]"):
        opened(str(tmp_path))
    for number in range(5, 60):  # now the odd one is not among those that opening reads
        brats_case(tmp_path, f"case{number}", (1, 2, 4))
    cohort = opened(str(tmp_path))
    assert cohort["case5"].label().max() == 3
    with pytest.raises(CaseError, match=r"case case4: .*label values \[3\]"):
        cohort["case4"].label()


def test_2015_values_are_found_behind_labels_that_lack_them(tmp_path, brats_case):
    for number in range(4):
        brats_case(tmp_path, f"pat{number}", (1, 2, 4))
    brats_case(tmp_path, "pat4", (1, 3))
    brats_case(tmp_path, "pat5", (3, 4))
    cohort = opened(str(tmp_path))
    assert cohort.convention.startswith("BraTS 2015")
    assert set(np.unique(cohort["pat4"].label())) == {0, 1}


def test_opening_reads_few_labels_of_many(tmp_path, brats_case, monkeypatch):
    for number in range(30):
        brats_case(tmp_path, f"case{number:02d}", (1, 2, 4))
    reads = []
    real = layouts.read
    monkeypatch.setattr(layouts, "read", lambda path, *rest: reads.append(path.name) or real(path, *rest))
    opened(str(tmp_path))
    assert reads == [f"case{number:02d}_seg.nii.gz" for number in (0, 6, 12, 18, 24)]


def test_every_incomplete_case_is_listed_with_its_files(tmp_path, brats_case):
    brats_case(tmp_path / "HGG" / "Brats18_a_1", "Brats18_a_1")
    brats_case(tmp_path / "HGG" / "Brats18_b_1", "Brats18_b_1", without=("t2",))
    brats_case(tmp_path / "LGG" / "Brats18_c_1", "Brats18_c_1", without=("flair", "t1ce"))
    brats_case(tmp_path / "LGG" / "Brats18_d_1", "Brats18_d_1", without=FOUR)
    (tmp_path / "LGG" / "Brats18_e_1").mkdir()
    with pytest.raises(CaseError) as raised:
        opened(str(tmp_path))
    text = str(raised.value)
    assert "8 problems" in text
    assert f"Brats18_b_1 · {tmp_path}/HGG/Brats18_b_1/Brats18_b_1_t2.nii.gz: t2 is missing; fetch the file" in text
    for missing in ("c_1_flair", "c_1_t1ce", "d_1_flair", "d_1_t1.", "d_1_t1ce", "d_1_t2"):
        assert f"Brats18_{missing}" in text
    assert "Brats18_e_1: the folder is empty" in text
    assert "Brats18_a_1" not in text


def test_cases_without_a_label_belong_but_do_not_count(tmp_path, brats_case):
    brats_case(tmp_path, "BraTS20_Training_001")
    brats_case(tmp_path, "BraTS20_Validation_001", None)
    cohort = opened(str(tmp_path))
    assert [case.has_label for case in cohort] == [True, False]
    assert cohort.name == "brats2020-1"
    case = cohort["BraTS20_Validation_001"]
    case.write(tmp_path / "o.nii.gz", np.full(case.shape, 3))
    assert (np.asarray(nib.load(tmp_path / "o.nii.gz").dataobj) == 4).all()
    labelled = cohort.fingerprint
    for file in tmp_path.glob("*Validation*"):
        file.unlink()
    assert opened(str(tmp_path)).fingerprint == labelled


def test_what_lies_around_is_ignored(tmp_path, brats_case):
    folder = tmp_path / "download" / "MICCAI_BraTS" / "HGG" / "Brats18_a_1"
    brats_case(folder, "Brats18_a_1")
    (folder / "._Brats18_a_1_t1.nii.gz").write_bytes(b"mac")
    (tmp_path / "__MACOSX" / "Brats18_z_1").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "Brats18_z_1" / "Brats18_z_1_t1.nii.gz").write_bytes(b"mac")
    (folder / "notes.txt").write_text("x")
    save(folder / "brain_mask.nii.gz", noise(0))
    (tmp_path / "download" / "again").symlink_to(tmp_path / "download")  # a link that leads in a circle
    assert [case.id for case in opened(str(tmp_path))] == ["Brats18_a_1"]


def test_images_and_labels_in_folders_of_their_own(tmp_path, brats_case):
    brats_case(tmp_path / "images", "a", None)
    save(tmp_path / "labels" / "a_seg.nii.gz", label_of((1, 2, 4)))
    case = opened(str(tmp_path))["a"]
    assert case.has_label
    assert set(np.unique(case.label())) == {0, 1, 2, 3}


def test_label_of_2020_under_its_scanner_name(tmp_path, brats_case):
    for number in (354, 355):
        brats_case(tmp_path / f"BraTS20_Training_{number}", f"BraTS20_Training_{number}", None, end=".nii")
    save(tmp_path / "BraTS20_Training_355" / "W39_1998.09.19_Segm.nii", label_of((1, 2, 4)))
    cohort = opened(str(tmp_path))
    assert [case.has_label for case in cohort] == [False, True]


def test_packed_and_unpacked_side_by_side(tmp_path, brats_case):
    files = brats_case(tmp_path, "a")
    plain = tmp_path / "a_t1.nii"
    plain.write_bytes(gzip.decompress(files["t1"].read_bytes()))
    assert len(opened(str(tmp_path))) == 1
    save(plain, noise(99))
    with pytest.raises(CaseError, match=r"t1 is claimed by other files too: .*a_t1\.nii\.gz"):
        opened(str(tmp_path))


def test_one_id_in_two_folders(tmp_path, brats_case):
    brats_case(tmp_path / "HGG" / "a", "a")
    brats_case(tmp_path / "copy" / "a", "a")
    with pytest.raises(CaseError, match="5 problems"):
        opened(str(tmp_path))


def test_two_families_in_one_root(tmp_path, brats_case):
    brats_case(tmp_path / "2018", "Brats18_a_1")
    brats_case(tmp_path / "2023", "BraTS-GLI-00000-000", (1, 2, 3), NEW)
    with pytest.raises(CaseError, match="two releases that name and label differently"):
        opened(str(tmp_path))


def test_paths_that_lead_elsewhere(tmp_path, msd_task):
    with pytest.raises(CaseError, match="needs the path of a folder"):
        open_cohort("brats:")
    with pytest.raises(CaseError, match=rf"{tmp_path}/none/deeper does not exist; {tmp_path} holds nothing"):
        open_cohort(f"brats:{tmp_path}/none/deeper")
    with pytest.raises(CaseError, match="is empty; unpack"):
        open_cohort(f"brats:{tmp_path}")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "readme.txt").write_text("")
    with pytest.raises(CaseError, match=r"no files named ID_flair\.nii\.gz .*it holds readme\.txt"):
        open_cohort(f"brats:{tmp_path}/x")
    with pytest.raises(CaseError, match="is a file; give the folder"):
        open_cohort(f"brats:{tmp_path}/x/readme.txt")
    (tmp_path / "x" / "VSD.mha").write_text("")
    with pytest.raises(CaseError, match="converted to NIfTI"):
        open_cohort(f"brats:{tmp_path}/x")
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "MICCAI_BraTS_2018.zip").write_text("")
    with pytest.raises(CaseError, match="unpack its archives"):
        open_cohort(f"brats:{tmp_path}/y")
    msd_task(tmp_path / "msd" / "Task01_BrainTumour")
    with pytest.raises(CaseError, match=rf"open msd:{tmp_path}/msd/Task01_BrainTumour"):
        open_cohort(f"brats:{tmp_path}/msd")


@pytest.mark.parametrize(
    ("case_id", "patient"),
    [
        ("BraTS-GLI-00000-000", "BraTS-GLI-00000"),
        ("BraTS-GLI-00000-001", "BraTS-GLI-00000"),
        ("BraTS-GLI-00001-000", "BraTS-GLI-00001"),
        ("Brats18_2013_2_1", "Brats18_2013_2"),
        ("Brats18_2013_20_1", "Brats18_2013_20"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("BraTS2021_00000", "BraTS2021_00000"),
        ("brats_tcia_pat105_0001", "brats_tcia_pat105"),
        ("my-case_7", "my-case_7"),
    ],
)
def test_visits_of_one_patient(case_id, patient):
    assert brats.patient_of(case_id) == patient


def test_fingerprint_is_of_the_content(tmp_path, brats_case):
    for case_id in ("a", "b"):
        brats_case(tmp_path / "here" / case_id, case_id)
        brats_case(tmp_path / "plain" / case_id, case_id, end=".nii")
    shutil.copytree(tmp_path / "here", tmp_path / "there" / "deeper")
    here, there = opened(f"{tmp_path}/here"), opened(f"{tmp_path}/there")
    assert here.fingerprint == there.fingerprint
    assert here.with_modalities(["t1ce", "flair"]).fingerprint == here.fingerprint
    plain = opened(f"{tmp_path}/plain")
    before = plain.fingerprint
    for file in (tmp_path / "there" / "deeper" / "a" / "a_t1.nii.gz", tmp_path / "plain" / "a" / "a_t1.nii"):
        data = np.asarray(nib.load(file).dataobj).copy()
        data[3, 3, 3] += 1
        save(file, data)
    assert opened(f"{tmp_path}/there").fingerprint != here.fingerprint
    assert opened(f"{tmp_path}/plain").fingerprint != before
    assert plain.fingerprint == before  # asked once, kept


def test_fingerprint_sees_the_middle_of_large_files(tmp_path, brats_case):
    """Beyond the first and the last 64 KiB: a plain file is hashed whole, a packed one ends in a checksum."""
    for end in (".nii", ".nii.gz"):
        folder = tmp_path / end[1:]
        brats_case(folder, "a", end=end)
        data = noise(0, (90, 60, 40))
        assert save(folder / f"a_t1{end}", data).stat().st_size > 3 * 65536
        before = digest(opened(str(folder)).cases)
        data[45, 30, 20] += 1
        save(folder / f"a_t1{end}", data)
        assert digest(opened(str(folder)).cases) != before


def test_choosing_modalities(tmp_path, brats_case):
    brats_case(tmp_path, "a")
    every = opened(str(tmp_path))
    two = open_cohort(f"brats:{tmp_path}", modalities=("t1ce", "flair"))
    assert two.modalities == two["a"].modalities == ("t1ce", "flair")
    assert np.array_equal(two["a"].images(), every["a"].images()[[2, 0]])
    assert two.modality_kinds == ("MR", "MR")
    for wrong in (["t1", "t9"], [], ["t1", "t1"]):
        with pytest.raises(CaseError, match="flair"):
            every.with_modalities(wrong)
    with pytest.raises(KeyError, match="no case 'z'"):
        every["z"]


def test_a_name_opens_once_its_place_is_known(tmp_path, brats_case, monkeypatch):
    for number in range(3):
        brats_case(tmp_path / "x", f"BraTS2021_0000{number}")
    monkeypatch.setattr(opening, "_opened", {})
    monkeypatch.setenv("GBM_COHORTS", f"brats:{tmp_path}/none;")
    with pytest.raises(CaseError, match=r"'brats2021-3' is no path here.*\n.*none does not exist"):
        open_cohort("brats2021-3")
    monkeypatch.setenv("GBM_COHORTS", f"brats:{tmp_path}/none; brats:{tmp_path}/x")
    assert open_cohort("brats2021-3", ["t1"]).spec == f"brats:{tmp_path}/x"
    assert opening.place_of("brats2021-3") == f"brats:{tmp_path}/x"
    with pytest.raises(CaseError, match="unknown kind 'mri'"):
        open_cohort("mri:x")


def test_a_name_of_two_data_sets_stands_for_neither(tmp_path, brats_case, monkeypatch):
    monkeypatch.setattr(opening, "_opened", {})
    for folder, seed in (("a", 1), ("b", 2), ("copy", 2)):
        brats_case(tmp_path / folder, "BraTS2021_00001", seed=seed)
    assert open_cohort(f"brats:{tmp_path}/b").name == open_cohort(f"brats:{tmp_path}/copy").name == "brats2021-1"
    assert open_cohort("brats2021-1").spec == f"brats:{tmp_path}/b"
    assert open_cohort(f"brats:{tmp_path}/a").spec == f"brats:{tmp_path}/a"
    with pytest.raises(CaseError, match=r"two data sets, brats:.*/b and brats:.*/a, .*told apart"):
        open_cohort("brats2021-1")


def test_a_set_with_two_modalities_throughout_opens_with_these(tmp_path):
    folder = write_brats("cases=2,spacing=8", tmp_path / "data")
    for name in ("t1", "t2"):
        for path in folder.rglob(f"*_{name}.nii.gz"):
            path.unlink()
    two = open_cohort(f"brats:{folder}")
    assert two.modalities == ("flair", "t1ce")
    assert two.cases[0].images().shape[0] == 2
    next(folder.rglob("*_t1ce.nii.gz")).unlink()
    with pytest.raises(CaseError, match="t1ce is missing"):
        open_cohort(f"brats:{folder}")


@pytest.mark.parametrize("contrast", ["_t1gd", "_T1Gd", "_t1c", "_T1post", "_t1_ce", "-T1-Gd"])
def test_synonyms_of_the_contrast_agent(tmp_path, brats_case, contrast):
    """A hospital's names: beside flair and t2, -t1c does not mean the release of 2023."""
    names = {"flair": "_FLAIR", "t1ce": contrast, "t2": "_t2", "label": "_seg"}
    brats_case(tmp_path, "p_t1_7", names=names)
    cohort = opened(str(tmp_path))
    assert cohort.modalities == ("flair", "t1ce", "t2")
    assert cohort.convention.startswith("BraTS 2017 to 2021")
    assert [case.id for case in cohort] == ["p_t1_7"]


def test_every_image_that_is_not_read_is_named_in_one_warning(tmp_path, brats_case):
    for case_id in ("a", "b", "c"):
        brats_case(tmp_path / case_id, case_id)
    (tmp_path / "b" / "b_seg.nii.gz").rename(tmp_path / "b" / "b_mask.nii.gz")
    for name in ("c/c_swi", "c/brain_mask"):
        save(tmp_path / f"{name}.nii.gz", noise(7))
    [warning] = [one for one in check(f"brats:{tmp_path}", progress=False).problems if one.severity == "warning"]
    assert warning.what == ("3 image files not read: b/b_mask.nii.gz (the label?), c/brain_mask.nii.gz, c/c_swi.nii.gz")
    assert warning.remedy.startswith("call them ID_flair, ID_t1, ID_t1ce, ID_t2, ID_seg where")


def test_a_label_that_is_the_image_is_said_to_be_one(tmp_path, brats_case):
    for case_id in ("a", "b"):
        brats_case(tmp_path, case_id)
    save(tmp_path / "a_seg.nii.gz", np.arange(210, dtype=np.int16).reshape(6, 7, 5) + 10)
    with pytest.raises(CaseError, match=r"holds 210 values from 10 to 219 \(is this the image\?\)"):
        opened(str(tmp_path))
    [error] = [one for one in check(f"brats:{tmp_path}", progress=False).problems if one.severity == "error"]
    assert "(is this the image?)" in error.what


def test_files_without_an_id_are_of_the_case_that_their_folder_is_called_by(tmp_path):
    for patient, names in {"p1": ("FLAIR", "T1ce", "seg"), "p2": ("flair", "t1_gd", "p2_seg")}.items():
        for number, name in enumerate(names):
            data = label_of((1, 2, 4)) if "seg" in name else noise(number + len(name))
            save(tmp_path / patient / f"{name}.nii.gz", data)
    cohort = open_cohort(f"brats:{tmp_path}")
    assert [(case.id, case.modalities, case.has_label) for case in cohort] == [
        ("p1", ("flair", "t1ce"), True),
        ("p2", ("flair", "t1ce"), True),
    ]
    (tmp_path / "p2" / "t1_gd.nii.gz").unlink()
    with pytest.raises(CaseError, match=r"p2 .*t1ce is missing"):
        open_cohort(f"brats:{tmp_path}")
