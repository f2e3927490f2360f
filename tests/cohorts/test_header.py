"""Where a volume lies: units, and forms that contradict each other, are missing or not perpendicular."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as itk
from folders import LPS, label_of, noise

from gbmlib.cohorts import CaseError, FileCase, ImageFile
from gbmlib.cohorts.check.content import examine
from gbmlib.cohorts.check.header import doubts
from gbmlib.evaluation import surfaces

SAME = {value: value for value in range(4)}


def header(affine=LPS, qform=None, pixdim=None, codes=None, units="mm"):
    """The header of an image of 6 x 7 x 5 voxels with these forms."""
    image = nib.Nifti1Image(np.zeros((6, 7, 5), np.uint8), affine)
    image.header.set_xyzt_units(units)
    if qform is not None:
        image.set_qform(qform, 1)
    if pixdim is not None:
        image.header["pixdim"][1:4] = pixdim
    if codes is not None:
        image.header["qform_code"], image.header["sform_code"] = codes
    return image.header


def scaled(factor):
    return np.diag([*np.diag(LPS)[:3] * factor, 1.0])


def sheared(by):
    affine = LPS.copy()
    affine[1, 2] = by
    return affine


def moved(by):
    affine = LPS.copy()
    affine[0, 3] = by
    return affine


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (header(), []),
        (header(qform=LPS), []),
        (header(scaled(1000), units="micron"), []),
        (header(scaled(0.001), units="meter"), []),
        (header(sheared(0.005)), []),
        (header(qform=moved(0.4)), []),
        (header(scaled(1000)), ["has voxels of 1000 x 1000 x 1000 mm"]),
        (header(LPS, units="meter"), ["has voxels of 1000 x 1000 x 1000 mm"]),
        (header(scaled(0.001)), ["has voxels of 0.001 x 0.001 x 0.001 mm"]),
        (header(sheared(-0.4)), ["has axes that meet at 68 degrees"]),
        (header(scaled(2), LPS), ["has voxels of 2 x 2 x 2 mm by its sform, which is used, and 1 x 1 x 1 mm"]),
        (header(scaled(2), pixdim=(1, 1, 1)), ["has voxels of 2 x 2 x 2 mm by its sform"]),
        (header(scaled(2e3), LPS * 1e3, units="micron"), ["has voxels of 2 x 2 x 2 mm by its sform"]),
        (header(qform=moved(3)), ["has an sform, which is used, and a qform that differ in affine: a corner"]),
        (header(codes=(0, 0)), ["has neither qform nor sform"]),
        (header(qform=LPS, codes=(1, 0)), []),
    ],
)
def test_what_is_doubtful_is_said(given, said):
    found = list(doubts(given))
    assert len(found) == len(said)
    for (what, remedy), start in zip(found, said, strict=True):
        assert what.startswith(start)
        assert remedy


def test_rounding_of_quaternions_is_no_contradiction():
    """Turns by almost half a circle, whose float32 quaternion is off by more than half a voxel at the last slices."""
    angles = np.pi - np.logspace(-5, -2, 40)
    for angle in angles:
        affine = np.diag([0.42, 0.34, 4.3, 1])
        cos, sin = np.cos(angle), np.sin(angle)
        affine[1:3, 1:3] = np.array([[cos, -sin], [sin, cos]]) @ affine[1:3, 1:3]
        image = nib.Nifti1Image(np.zeros((60, 60, 240), np.uint8), affine)
        image.set_qform(affine, 1)
        assert list(doubts(image.header)) == []


@pytest.mark.parametrize(("factor", "unit"), [(1e3, "micron"), (1e-3, "meter"), (1, "mm"), (1, "unknown")])
def test_units_are_applied_and_kept_in_what_is_written(tmp_path, factor, unit):
    """Spacing 1 x 2 x 3 mm, whatever the file counts in; an image in mm beside it lies on the same grid."""
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = 5, -6, 7
    files = {}
    for name, scale, code in (("t1", factor, unit), ("t2", 1, "mm")):
        own = affine.copy()
        own[:3] *= scale
        image = nib.Nifti1Image(noise(1), own)
        image.header.set_xyzt_units(code)
        nib.save(image, tmp_path / f"{name}.nii.gz")
        files[name] = ImageFile(tmp_path / f"{name}.nii.gz")
    case = FileCase("a", "a", files, None, SAME)
    assert case.spacing == pytest.approx((3, 2, 1))
    assert case.images().shape == (2, 5, 7, 6)
    assert nib.affines.apply_affine(case.affine, [5, 0, 0]) == pytest.approx([5, -6, 7])
    case.write(tmp_path / "o.nii.gz", np.ones(case.shape, np.uint8))
    written, source = nib.load(tmp_path / "o.nii.gz"), nib.load(tmp_path / "t1.nii.gz")
    assert written.header.get_xyzt_units()[0] == unit
    assert np.array_equal(written.affine, source.affine)


def turned(angle=0.3, steps=(-0.7, 1.3, 2.5)):
    """A rotation about two axes, with voxel sizes and a flip."""
    cos, sin = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    about_z, about_x = np.eye(3), np.eye(3)
    about_z[:2, :2] = about_x[1:, 1:] = [[cos, -sin], [sin, cos]]
    affine[:3, :3] = about_z @ about_x @ np.diag(steps)
    affine[:3, 3] = 12, -7, 31
    return affine


@pytest.mark.parametrize("shape", [(6, 7, 5), (6, 7, 1), (1, 7, 5)])
@pytest.mark.parametrize("affine", [turned(), turned(2.8), turned(1.5, (1, -1, -4)), LPS], ids=lambda a: "")
@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 2), (3, 4), (0, 0)])
@pytest.mark.parametrize("unit", ["mm", "micron"])
def test_a_segmentation_carries_its_images_grid_forms_and_unit(tmp_path, shape, affine, codes, unit):
    """Voxel for voxel in the place of the image's; the two forms may say different things."""
    image = nib.Nifti1Image(noise(3, shape), affine)
    image.set_qform(affine, codes[0])
    image.set_sform(affine + np.diag([0, 0, 0.5, 0]) * (codes == (3, 4)), codes[1])
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "i.nii.gz")
    case = FileCase("a", "a", {"t1": ImageFile(tmp_path / "i.nii.gz")}, None, SAME)
    bright = (case.images()[0] > 500).astype(np.uint8)
    case.write(tmp_path / "o.nii.gz", bright)
    source, written = nib.load(tmp_path / "i.nii.gz"), nib.load(tmp_path / "o.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), np.asarray(source.dataobj) > 500)
    assert np.array_equal(written.affine, source.affine)
    for form in ("get_qform", "get_sform"):
        ours, theirs = (getattr(one.header, form)(coded=True) for one in (written, source))
        assert ours[1] == theirs[1]
        assert (ours[0] is None) is (theirs[0] is None)
        assert ours[0] is None or np.array_equal(ours[0], theirs[0])
    assert written.header.get_xyzt_units() == source.header.get_xyzt_units()
    assert np.array_equal(written.header["pixdim"][:4], source.header["pixdim"][:4])


def orientation(seed):
    """Axes in any order and direction, on odd seeds turned obliquely too, with voxels of three sizes."""
    draw = np.random.default_rng(seed)
    axes = np.eye(3)[draw.permutation(3)] * draw.choice((-1, 1), 3)
    turn = np.linalg.qr(np.eye(3) + 0.2 * (seed % 2) * draw.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes * draw.uniform(0.6, 3, 3)
    affine[:3, 3] = draw.uniform(-80, 80, 3)
    return affine


@pytest.mark.parametrize("seed", range(20))
def test_itk_sees_what_we_see(tmp_path, seed):
    """Spacing, direction and place of a written segmentation, its volume and its distance to another, by SimpleITK."""
    image = nib.Nifti1Image(noise(3, (12, 14, 10)), orientation(seed))
    image.set_qform(image.affine, 1)
    nib.save(image, tmp_path / "i.nii.gz")
    case = FileCase("a", "a", {"t1": ImageFile(tmp_path / "i.nii.gz")}, None, SAME)
    masks = np.zeros((2, *case.shape), np.uint8)
    masks[0, 2:8, 2:7, 2:8] = 1
    masks[1, 3:9, 1:6, 4:9] = 1
    for number, mask in enumerate(masks):
        case.write(tmp_path / f"{number}.nii.gz", mask)
    source, one, other = (itk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in "i01")
    for of in ("GetSpacing", "GetDirection", "GetOrigin", "GetSize"):
        assert getattr(one, of)() == pytest.approx(getattr(source, of)(), abs=1e-5), of
    volume = np.prod(one.GetSpacing()) * itk.GetArrayFromImage(one).sum() / 1000
    assert volume == pytest.approx(surfaces.volume_ml(masks[0] > 0, case.spacing), rel=1e-5)
    edges = [itk.LabelContour(mask, False) for mask in (one, other)]
    maps = [itk.GetArrayFromImage(itk.Abs(itk.SignedMaurerDistanceMap(edge, False, False, True))) for edge in edges]
    first, second = (itk.GetArrayFromImage(edge) > 0 for edge in edges)
    theirs = max(np.percentile(maps[1][first], 95), np.percentile(maps[0][second], 95))
    assert surfaces.hausdorff95(masks[0] > 0, masks[1] > 0, case.spacing) == pytest.approx(theirs, rel=1e-4)


def test_a_label_without_forms_beside_an_image_with_them_is_refused_and_the_reason_said(tmp_path):
    """Whether it is mirrored cannot be known; without forms on both sides, shape and voxel size decide."""
    for name, volume in (("i", noise(1)), ("l", label_of((1, 2)))):
        nib.save(nib.Nifti1Image(volume, LPS), tmp_path / f"{name}.nii.gz")
    case = FileCase("a", "a", {"t1": ImageFile(tmp_path / "i.nii.gz")}, tmp_path / "l.nii.gz", SAME)
    for number, name in enumerate("li"):
        stored = np.asarray(nib.load(tmp_path / f"{name}.nii.gz").dataobj)
        nib.save(nib.Nifti1Image(stored, None), tmp_path / f"{name}.nii.gz")
        problems = examine(case).problems
        assert ["has neither qform nor sform" in one.what for one in problems].count(True) == number + 1
        assert any(one.severity == "error" for one in problems) is (number == 0)
    assert FileCase("a", "a", case.files, case.label_file, SAME).label().shape == (5, 7, 6)


def test_numbers_beyond_32_bits_are_found_by_the_check_and_when_read(tmp_path):
    volume = noise(1).astype(np.float64)
    volume[1, 2, 3] = 1e300
    nib.save(nib.Nifti1Image(volume, LPS), tmp_path / "i.nii.gz")
    case = FileCase("a", "a", {"t1": ImageFile(tmp_path / "i.nii.gz")}, tmp_path / "i.nii.gz", SAME)
    first, second = examine(case).problems
    assert first.what == "t1 holds voxels that are beyond 32-bit numbers (1)"
    assert second.what == "holds values that are no labels in 1 voxels, such as 1e+300"
    with pytest.raises(CaseError, match=r"i.nii.gz \(t1\) holds voxels that are beyond 32-bit numbers \(1\)"):
        case.images()
