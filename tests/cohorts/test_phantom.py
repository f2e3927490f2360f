"""Phantoms: the same bytes every time, the same patient at every spacing, like real cases and not too easy."""

import hashlib
import os
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from small_data import write_brats

from gbmlib.cohorts import Case, CaseError, open_cohort, phantom
from gbmlib.cohorts.phantom import PhantomCase
from gbmlib.cohorts.phantom.anatomy import Body, tissue
from gbmlib.cohorts.phantom.fields import VoxelGrid
from gbmlib.cohorts.phantom.tumour import GROWTH, draw, grow

THRESHOLDS = np.arange(-1, 5, 0.1)


@pytest.fixture(scope="module")
def cohort():
    """The default cohort as (images, label) of each case, and the seconds that each took."""
    cases = open_cohort("phantom:").cases
    PhantomCase(99, 0, cases[0].spacing).label()  # loads the template
    grown, seconds = [], []
    for case in cases:
        start = time.process_time()
        grown.append((case.images(), case.label()))
        seconds.append(time.process_time() - start)
    return grown, seconds


def digest(case: Case) -> str:
    return hashlib.sha256(case.images().tobytes() + case.label().tobytes()).hexdigest()


# --- the frame


def test_a_cohort_is_lazy_and_its_cases_are_patients_in_order():
    cohort = open_cohort("phantom:cases=3,spacing=1,seed=4")
    assert [case.id for case in cohort] == ["phantom-004-000", "phantom-004-001", "phantom-004-002"]
    assert len({case.patient for case in cohort}) == 3
    assert cohort.modalities == ("flair", "t1", "t1ce", "t2")
    assert cohort.is_glioma
    case = cohort["phantom-004-001"]
    assert case.shape == (155, 240, 240)
    assert case.spacing == (1, 1, 1)
    np.testing.assert_array_equal(case.affine, [[1, 0, 0, -239], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_at_3_mm_the_frame_has_the_same_corner():
    case = open_cohort("phantom:").cases[0]
    assert case.shape == (52, 80, 80)
    corner = case.affine @ [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(corner[:3], [-239.5, -0.5, -0.5])


@settings(max_examples=4, deadline=None)
@given(st.tuples(*[st.sampled_from([2.5, 4.0, 5.3, 7.0, 10.0])] * 3))
def test_any_spacing_gives_a_whole_case(spacing):
    case = PhantomCase(0, 3, spacing, ("t2", "flair"))
    images, label = case.images(), case.label()
    assert images.shape == (2, *case.shape)
    assert images.dtype == np.float32
    assert label.shape == case.shape
    assert label.dtype == np.uint8
    ml = np.prod(spacing) / 1000
    amounts = grow(Body(0, 3)).amounts
    assert (label > 0).sum() * ml == pytest.approx(amounts.core + amounts.oedema, rel=0.25)
    assert (images[0] > 0).sum() * ml == pytest.approx(1600, rel=0.25)
    assert images[:, label > 0].min() > 0


# --- the same patient, every time and at every spacing


def test_a_case_is_the_same_bytes_whatever_was_asked_before():
    digests = [digest(case) for case in phantom.cohort("cases=3,spacing=5").cases]
    assert len(set(digests)) == 3
    phantom._patient.cache_clear()
    phantom._scene.cache_clear()
    phantom._image.cache_clear()
    phantom._label.cache_clear()
    np.random.seed(5)
    other = phantom.cohort("cases=8,spacing=5").cases
    assert [digest(other[number]) for number in (2, 0, 1)] == [digests[2], digests[0], digests[1]]


def test_another_process_with_other_threads_grows_the_same_bytes():
    code = (
        "from gbmlib.cohorts import phantom; import hashlib; case = phantom.cohort('cases=30,seed=2').cases[5];"
        "print(hashlib.sha256(case.images().tobytes() + case.label().tobytes()).hexdigest())"
    )
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    found = subprocess.run([sys.executable, "-c", code], env=os.environ | threads, capture_output=True, text=True)
    assert found.stdout.strip() == digest(phantom.cohort("cases=6,seed=2").cases[5]), found.stderr


def test_what_a_caller_does_to_a_case_stays_with_the_caller():
    case = PhantomCase(0, 1, (6.0,) * 3)
    before = digest(case)
    case.images()[:] = 0
    case.label()[:] = 0
    assert digest(case) == before


def test_modalities_can_be_chosen_and_do_not_change_each_other():
    cohort = phantom.cohort("cases=2,spacing=6")
    chosen = cohort.with_modalities(["t1ce", "flair"])
    assert chosen.cases[1].modalities == ("t1ce", "flair")
    np.testing.assert_array_equal(chosen.cases[1].images(), cohort.cases[1].images()[[2, 0]])
    with pytest.raises(CaseError, match="adc"):
        cohort.with_modalities(["adc"])


@pytest.mark.parametrize("number", [1, 6])
def test_the_same_patient_appears_at_every_spacing(number):
    coarse, fine = (PhantomCase(0, number, (step,) * 3) for step in (3.0, 1.5))
    z, y, x = (n - n % 2 for n in fine.shape)
    blocks = fine.images()[:, :z, :y, :x].reshape(4, z // 2, 2, y // 2, 2, x // 2, 2).mean((2, 4, 6))
    images = coarse.images()[:, : z // 2]
    both = (images > 0).all(0) & (blocks > 0).all(0)
    for image, block in zip(images, blocks, strict=True):
        assert np.corrcoef(image[both], block[both])[0, 1] > 0.95
        assert image[both].mean() == pytest.approx(block[both].mean(), rel=0.02)
    for value in (1, 2, 3):
        volumes = [(case.label() == value).sum() * np.prod(case.spacing) for case in (coarse, fine)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.05)


# --- anatomy


@pytest.mark.parametrize("number", range(8))
def test_tissue_is_bent_and_pushed_but_never_folded(number):
    body = Body(0, number)
    shown = tissue(body, GROWTH, grow(body).pushes)
    gradient = np.stack([np.stack(np.gradient(axis, 3.0)) for axis in shown.template])
    determinant = np.linalg.det(np.moveaxis(gradient, (0, 1), (-2, -1)))
    assert determinant[shown.depth > -3].min() > 0.02
    shares = np.stack([shown.fluid, shown.grey, shown.white])[:, shown.depth > 0]
    np.testing.assert_allclose(shares.sum(0), 1)
    assert shares.min() > -1e-6


def test_positions_are_where_the_anatomy_shows_them():
    body = Body(3, 1)
    wanted = np.array([[20.0, -30, 25], [0, 10, -40], [50, -60, 10]])
    for point, place in zip(wanted, body.positions(wanted), strict=True):
        shown = body.place(VoxelGrid((1, 1, 1), (1.0,) * 3, tuple(place)))[:, 0, 0, 0]
        np.testing.assert_allclose(shown, point, atol=1.0)


def test_a_push_moves_tissue_away_from_the_tumour():
    body = next(body for body in (Body(0, n) for n in range(50)) if draw(body).push > 0.3)
    push = grow(body).pushes[0]
    where = VoxelGrid((1, 1, 1), (1.0,) * 3, tuple(push.centre + np.array([0, 0.5 * push.reach, 0])))
    still, moved = (tissue(body, where, pushes).template[:, 0, 0, 0] for pushes in ((), (push,)))
    heart = body.place(VoxelGrid((1, 1, 1), (1.0,) * 3, tuple(push.centre)))[:, 0, 0, 0]
    assert np.linalg.norm(moved - heart) < np.linalg.norm(still - heart) - 1


def test_left_and_right_differ(cohort):
    images, _ = cohort[0][0]
    assert np.mean((images[1] > 0) != (images[1, :, :, ::-1] > 0)) > 0.001


# --- images and labels


def test_outside_the_brain_is_exactly_zero_and_inside_whole_numbers(cohort):
    for images, label in cohort[0]:
        brain = images[0] > 0
        assert all(np.array_equal(image > 0, brain) for image in images)
        assert 900 < brain.sum() * 0.027 < 2100
        assert np.array_equal(images, np.rint(images))
        assert images.min() == 0
        assert images.max() <= 32767
        assert not label[~brain].any()
        assert set(np.unique(label)) <= {0, 1, 2, 3}


def test_labels_are_nested_as_in_a_glioblastoma(cohort):
    for _, label in cohort[0]:
        core = (label == 1) | (label == 3)
        _, count = ndimage.label(core, np.ones((3, 3, 3)))
        assert count <= 12
        enhancing = label == 3
        if enhancing.any() and (label == 1).any():
            touching = ndimage.binary_dilation(label == 1, np.ones((3, 3, 3))) & enhancing
            assert touching.any()
        if (label == 2).any():
            near = ndimage.distance_transform_edt(~core, sampling=3.0)
            assert np.median(near[label == 2]) < 20


def test_most_but_not_all_phantoms_have_every_part(cohort):
    present = np.mean([[(label == value).any() for value in (1, 2, 3)] for _, label in cohort[0]], 0)
    assert (present >= 0.8).all()
    drawn = [draw(Body(1, number)) for number in range(400)]
    lacks = {
        1: [amounts.enhancing == 1 for amounts in drawn],
        2: [amounts.oedema == 0 for amounts in drawn],
        3: [amounts.enhancing == 0 for amounts in drawn],
    }
    for missing, cases in lacks.items():
        assert 0.01 < np.mean(cases) < 0.15
        label = PhantomCase(1, cases.index(True), (5.0,) * 3).label()
        assert set(np.unique(label)) == {0, 1, 2, 3} - {missing}


def test_volumes_are_those_of_real_tumours(cohort):
    # 19 cases of BraTS 2018: medians 82, 37 and 22 ml; 10th and 90th percentile of the whole tumour 31 and 167 ml.
    whole, core, enhancing = (
        np.array([np.isin(label, values).sum() * 0.027 for _, label in cohort[0]])
        for values in ((1, 2, 3), (1, 3), (3,))
    )
    assert 50 < np.median(whole) < 110
    assert 20 < np.median(core) < 55
    assert 8 < np.median(enhancing) < 35
    assert np.percentile(whole, 90) / np.percentile(whole, 10) > 2


def test_oedema_prefers_white_matter():
    body = Body(0, 3)
    tumour = grow(body)
    shown = tissue(body, GROWTH, tumour.pushes)
    core, _, oedema = tumour.on(GROWTH)
    around = (shown.depth > 0) & (core > 0) & (core < 25)
    assert shown.white[around & (oedema < 0)].mean() > shown.white[around].mean() + 0.1


def z_scores(images: np.ndarray) -> np.ndarray:
    return np.stack([(image - image[image != 0].mean()) / image[image != 0].std() for image in images])


def threshold_dice(images: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Dice of the whole tumour for each threshold of the first image, z-scored over non-zero voxels."""
    brain, tumour = images[0] != 0, label > 0
    score = z_scores(images[:1])[0]
    return np.array(
        [
            2 * (above & tumour).sum() / (above.sum() + tumour.sum())
            for above in (brain & (score > t) for t in THRESHOLDS)
        ]
    )


def test_no_threshold_of_flair_finds_the_tumour(cohort):
    scores = np.array([threshold_dice(images, label) for images, label in cohort[0]])
    assert scores.mean(0).max() < 0.58  # the best threshold for the cohort: measured 0.53
    assert scores.max(1).mean() < 0.60  # the best one for each case, knowing the answer: 0.55
    assert scores.max(1).mean() > 0.40  # yet FLAIR shows something


def test_tumours_stand_out_as_in_real_cases(cohort, brats_folder):
    def contrasts(images: np.ndarray, label: np.ndarray) -> list[list[float]]:
        scores = z_scores(images)
        return [[np.median(s[label == v]) if (label == v).any() else np.nan for v in (1, 2, 3)] for s in scores]

    real = [contrasts(case.images(), case.label()) for case in open_cohort(f"brats:{brats_folder}").cases[::4]]
    grown = [contrasts(images, label) for images, label in cohort[0]]
    difference = np.nanmean(grown, 0) - np.nanmean(real, 0)
    assert np.abs(difference).max() < 1.0, difference
    assert np.corrcoef(np.nanmean(grown, 0).ravel(), np.nanmean(real, 0).ravel())[0, 1] > 0.9


def test_a_case_takes_well_under_a_second(cohort):
    assert np.median(cohort[1]) < 1.5  # measured 0.25 s on one core; a busy machine is slower


# --- written out


def test_written_as_brats_it_reads_back_as_it_was(tmp_path):
    source = phantom.cohort("cases=3,spacing=6,seed=1")
    folder = write_brats("cases=3,spacing=6,seed=1", tmp_path / "out")
    assert sorted(path.name for path in (folder / "HGG" / "phantom-001-000").iterdir()) == [
        f"phantom-001-000_{part}.nii.gz" for part in ("flair", "seg", "t1", "t1ce", "t2")
    ]
    back = open_cohort(f"brats:{folder}")
    assert [case.id for case in back] == [case.id for case in source]
    for written, grown in zip(back, source, strict=True):
        np.testing.assert_array_equal(written.images(), grown.images())
        np.testing.assert_array_equal(written.label(), grown.label())
        np.testing.assert_allclose(written.affine, grown.affine)
        assert written.spacing == pytest.approx(grown.spacing)


def test_a_written_file_has_the_header_of_brats(tmp_path):
    case = PhantomCase(0, 1, (1.0,) * 3)
    label = np.zeros(case.shape, np.uint8)
    label[10, 20, 30] = 3
    case.write(tmp_path / "a.nii.gz", label)
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(image.affine, [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 2)
    assert image.header.get_xyzt_units()[0] == "mm"
    data = np.asarray(image.dataobj)
    assert data.shape == (240, 240, 155)
    assert data[239 - 30, 239 - 20, 10] == 4
    assert data.sum() == 4


def test_the_header_is_that_of_a_real_file(brats_folder, tmp_path):
    case = PhantomCase(0, 1, (1.0,) * 3)
    case.write(tmp_path / "a.nii.gz", np.zeros(case.shape, np.uint8))
    ours, real = (
        nib.load(path) for path in (tmp_path / "a.nii.gz", sorted(brats_folder.glob("HGG/*/*_flair.nii.gz"))[0])
    )
    np.testing.assert_array_equal(ours.affine, real.affine)
    for key in ("dim", "xyzt_units", "qform_code", "sform_code", "quatern_d"):
        np.testing.assert_array_equal(ours.header[key], real.header[key])
    assert ours.header.get_zooms() == real.header.get_zooms()


def test_writing_refuses_what_is_not_this_case(tmp_path):
    case = PhantomCase(0, 0, (6.0,) * 3)
    with pytest.raises(CaseError, match="phantom-000-000"):
        case.write(tmp_path / "a.nii.gz", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(CaseError, match="7"):
        case.write(tmp_path / "a.nii.gz", np.full(case.shape, 7, np.uint8))


def test_a_written_label_map_is_read_back(tmp_path):
    case = phantom.cohort("cases=1,spacing=6").cases[0]
    case.write(tmp_path / "label.nii.gz", case.label())
    np.testing.assert_array_equal(case.read(tmp_path / "label.nii.gz"), case.label())
