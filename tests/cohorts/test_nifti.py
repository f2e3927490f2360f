"""Cases from NIfTI and back: orientations, types, scalings, damage."""

import gzip
import itertools
import pickle

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gbmlib.cohorts import CaseError, FileCase, ImageFile
from gbmlib.cohorts.nifti import GRID_TOLERANCE, Grid, grid_of, load, read, translate, write

ORIENTATIONS = [
    np.array(rows) * np.array(signs)[:, None]
    for rows in itertools.permutations(np.eye(3, dtype=int).tolist())
    for signs in itertools.product((1, -1), repeat=3)
]
SAME = {value: value for value in range(4)}


def case_of(image, label=None, values=SAME, **files):
    return FileCase("a", "a", {"t1": ImageFile(image), **files}, label, values)


def save(path, data, affine=None, **header):
    image = nib.Nifti1Image(data, np.eye(4) if affine is None else affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize(
    "turn", ORIENTATIONS, ids=lambda turn: "".join(nib.aff2axcodes(np.block([[turn, np.zeros((3, 1))], [0, 0, 0, 1]])))
)
def test_every_orientation_in_and_exactly_back(tmp_path, turn):
    """Each voxel holds a number made from its position in millimetres, which no turn may change."""
    rotation = np.eye(3)
    rotation[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    affine = np.eye(4)
    affine[:3, :3] = rotation @ turn @ np.diag([0.5, 1.25, 3.0])
    affine[:3, 3] = [7, -20, 31]
    affine = affine.astype(np.float32).astype(float)
    x, y, z = np.meshgrid(*map(np.arange, (4, 5, 6)), indexing="ij")
    position = np.einsum("ij,jxyz->ixyz", affine[:3, :3], np.stack([x, y, z])) + affine[:3, 3].reshape(3, 1, 1, 1)
    file = save(
        tmp_path / "image.nii.gz", (position * [[[[1]]], [[[10]]], [[[100]]]]).sum(0).astype(np.float32), affine
    )

    case = case_of(file)
    image = case.images()[0]
    assert image.shape == case.shape
    for k, j, i in itertools.product(*map(range, case.shape)):
        expected = (case.affine @ [i, j, k, 1])[:3] @ [1, 10, 100]
        assert image[k, j, i] == pytest.approx(expected, abs=1e-3)
    assert nib.aff2axcodes(case.affine) == ("R", "A", "S")
    assert sorted(case.spacing) == pytest.approx([0.5, 1.25, 3.0], rel=1e-6)
    assert case.spacing == pytest.approx(nib.affines.voxel_sizes(case.affine)[::-1])

    labels = np.random.default_rng(0).integers(0, 4, case.shape).astype(np.uint8)
    case.write(tmp_path / "out.nii.gz", labels)
    written, original = nib.load(tmp_path / "out.nii.gz"), nib.load(file)
    assert np.array_equal(written.affine, original.affine)
    assert written.shape == original.shape
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(case_of(file, tmp_path / "out.nii.gz").label(), labels)
    # The same position in the file holds the same voxel: a second way, through nibabel's own reorientation.
    canonical = np.asarray(nib.as_closest_canonical(written).dataobj).transpose(2, 1, 0)
    assert np.array_equal(canonical, labels)


@settings(max_examples=40, deadline=None)
@given(
    labels=arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 3)),
    turn=st.sampled_from(ORIENTATIONS),
    steps=st.tuples(*[st.floats(0.1, 9)] * 3),
)
def test_write_then_read_is_the_identity(tmp_path_factory, labels, turn, steps):
    folder = tmp_path_factory.mktemp("case")
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(steps)
    sizes = [int(labels.shape[::-1][np.abs(column).argmax()]) for column in turn.T]
    file = save(folder / "image.nii", np.ones(sizes, np.int16), affine)
    case = case_of(file, folder / "label.nii", {0: 0, 1: 2, 2: 1, 3: 3})
    case.write(folder / "label.nii", labels)
    assert np.array_equal(case.label(), labels)
    assert [path.name for path in sorted(folder.iterdir())] == ["image.nii", "label.nii"]


def test_header_is_kept_and_its_scaling_is_not(tmp_path):
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([-1, -1, 2, 1]))
    image.set_qform(image.affine, 2)
    image.set_sform(image.affine, 1)
    image.header["descrip"] = b"from the scanner"
    image.header["scl_slope"], image.header["scl_inter"] = 0.5, 10
    nib.save(image, tmp_path / "i.nii.gz")
    stored = nib.load(tmp_path / "i.nii.gz")
    case = case_of(tmp_path / "i.nii.gz")
    assert np.allclose(case.images()[0], np.asarray(stored.dataobj)[::-1, ::-1].transpose(2, 1, 0))
    case.write(tmp_path / "o.nii.gz", np.full(case.shape, 3, np.uint8))
    header = nib.load(tmp_path / "o.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (2, 1)
    assert bytes(header["descrip"]).startswith(b"from the scanner")
    assert (np.asarray(nib.load(tmp_path / "o.nii.gz").dataobj) == 3).all()


def test_scaled_int16_image(tmp_path):
    file = save(tmp_path / "i.nii", np.array([[[0, 1], [2, 3]]], np.int16))
    raw = bytearray(file.read_bytes())
    raw[112:120] = np.array([0.25, -1], "<f4").tobytes()  # scl_slope, scl_inter
    file.write_bytes(raw)
    assert case_of(file).images()[0].ravel().tolist() == [-1, -0.5, -0.75, -0.25]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64, np.uint16, ">i2"])
def test_labels_of_any_type(tmp_path, dtype):
    data = np.array([[[0, 1, 2, 4]]])
    file = save(tmp_path / "l.nii.gz", data.astype(np.dtype(dtype).newbyteorder("=")))
    label = case_of(file, file, {0: 0, 1: 1, 2: 2, 4: 3}).label()
    assert label.dtype == np.uint8
    assert label.ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("stored", [np.uint8, np.int16])
def test_labels_through_a_scaling_are_rounded(tmp_path, stored):
    """What nibabel writes for float data in an integer file: 1 comes back as 1.004 or 0.9999."""
    data = np.array([[[0, 1, 2, 4]]], float)
    image = nib.Nifti1Image(data, np.eye(4))
    image.set_data_dtype(stored)
    nib.save(image, tmp_path / "l.nii.gz")
    assert (np.asarray(nib.load(tmp_path / "l.nii.gz").dataobj) != data).any()
    file = tmp_path / "l.nii.gz"
    assert case_of(file, file, {0: 0, 1: 1, 2: 2, 4: 3}).label().ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", [0.5, np.nan, np.inf, 1.9])
def test_interpolated_labels_are_refused(tmp_path, bad):
    file = save(tmp_path / "l.nii.gz", np.array([[[0, 1, bad]]], np.float32))
    with pytest.raises(CaseError, match=r"case a: .*l\.nii\.gz holds values that are no labels in 1 voxels"):
        case_of(file, file).label()


def test_unknown_label_value_is_named(tmp_path):
    file = save(tmp_path / "l.nii.gz", np.array([[[0, 1, 7, -1]]], np.int16))
    with pytest.raises(CaseError, match=r"label values \[-1, 7\].*\[0, 1, 2, 3\]"):
        case_of(file, file).label()
    with pytest.raises(CaseError, match=r"label map to write.*\[9\]"):
        case_of(file).write(tmp_path / "o.nii.gz", np.full((4, 1, 1), 9))
    assert not (tmp_path / "o.nii.gz").exists()


def test_merged_values_are_written_as_the_first():
    values = {0: 0, 1: 1, 2: 2, 3: 1, 4: 3}
    assert translate(np.array([0, 1, 2, 3, 4]), values, "here").tolist() == [0, 1, 2, 1, 3]


def test_2015_values_are_written_back_without_3(tmp_path):
    file = save(tmp_path / "i.nii.gz", np.ones((4, 1, 1), np.int16))
    case = case_of(file, values={0: 0, 1: 1, 2: 2, 3: 1, 4: 3})
    case.write(tmp_path / "o.nii.gz", np.array([[[0, 1, 2, 3]]]))
    assert np.asarray(nib.load(tmp_path / "o.nii.gz").dataobj).ravel().tolist() == [0, 1, 2, 4]


def test_trailing_axes_of_one_are_dropped(tmp_path):
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    plain, four, five = (
        save(tmp_path / f"{n}.nii.gz", data.reshape(2, 3, 4, *[1] * n), np.diag([1, 2, 3, 1])) for n in range(3)
    )
    for file in (four, five):
        assert np.array_equal(read(file), read(plain))
        assert case_of(file, file, dict.fromkeys(range(24), 1)).label().shape == (4, 3, 2)
    assert read(plain)[3, 2, 1] == 23


def test_channels_of_a_4d_file(tmp_path):
    data = np.random.default_rng(0).normal(size=(2, 3, 4, 3)).astype(np.float32)
    file = save(tmp_path / "i.nii.gz", data, np.diag([-1, 1, 1, 1]))
    files = {"b": ImageFile(file, 2, 3), "a": ImageFile(file, 0, 3)}
    images = FileCase("a", "a", files, None).images()
    assert np.array_equal(images, data[::-1].transpose(3, 2, 1, 0)[[2, 0]])
    with pytest.raises(CaseError, match=r"has 3 channel.*names 4"):
        FileCase("a", "a", {"b": ImageFile(file, 2, 4)}, None).images()
    with pytest.raises(CaseError, match="names 1"):
        case_of(file).images()
    flat = save(tmp_path / "f.nii.gz", data[..., 0], np.diag([-1, 1, 1, 1]))
    with pytest.raises(CaseError, match="has 1 channel"):
        FileCase("a", "a", {"b": ImageFile(flat, 0, 2)}, None).images()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_all_files_at_fault_are_named_together(tmp_path, bad):
    good = save(tmp_path / "good.nii.gz", np.ones((3, 3, 3), np.float32))
    data = np.ones((3, 3, 3), np.float32)
    data[1, 1, 1:] = bad
    broken = save(tmp_path / "broken.nii.gz", data)
    with pytest.raises(CaseError) as raised:
        case_of(good, t2=ImageFile(broken), flair=ImageFile(tmp_path / "none.nii.gz")).images()
    assert "broken.nii.gz (t2) holds voxels that are not finite (2)" in str(raised.value)
    assert "none.nii.gz is missing" in str(raised.value)


def test_damaged_files_are_told_apart(tmp_path):
    good = save(tmp_path / "good.nii.gz", np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32))
    content = good.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    trailer = content[:-8] + bytes(8)
    for name, start, what in [
        ("empty.nii.gz", b"", "is empty"),
        ("page.nii.gz", b"\n<!DOCTYPE html><html>", "is a web page"),
        ("cut.nii.gz", content[: len(content) // 2], "is cut short or damaged"),
        ("flipped.nii.gz", bytes(flipped), "is cut short or damaged"),
        ("trailer.nii.gz", trailer, "is cut short or damaged"),
        ("noise.nii.gz", bytes(range(1, 200)) * 4, "is not a NIfTI file"),
        ("cut.nii", gzip.decompress(content)[:-5], "is cut short: 3263 bytes of the 3268"),
        ("header.nii", gzip.decompress(content)[:300], "is not a NIfTI file"),
        ("none.nii", None, "is missing"),
    ]:
        if start is not None:
            (tmp_path / name).write_bytes(start)
        with pytest.raises(CaseError, match=rf"case b: .*{name} {what}.*; fetch it again") as raised:
            read(tmp_path / name, "b")
        assert raised.value.problem.file == tmp_path / name
    (tmp_path / "packed.nii").write_bytes(content)  # whatever the name says
    assert np.array_equal(read(tmp_path / "packed.nii"), read(good))
    assert grid_of(tmp_path / "packed.nii").shape == (9, 9, 9)


def test_nifti2_and_voxels_that_are_no_numbers(tmp_path):
    nib.save(nib.Nifti2Image(np.arange(8.0).reshape(2, 2, 2), np.eye(4)), tmp_path / "two.nii.gz")
    assert case_of(tmp_path / "two.nii.gz").images()[0, 1, 1, 1] == 7
    rgb = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii.gz")
    with pytest.raises(CaseError, match="not plain numbers"):
        load(tmp_path / "rgb.nii.gz")


def test_header_without_a_usable_affine(tmp_path):
    file = save(tmp_path / "i.nii", np.ones((2, 2, 2), np.int16))
    raw = bytearray(file.read_bytes())
    raw[280:328] = bytes(48)  # the three rows of the sform
    file.write_bytes(raw)
    with pytest.raises(CaseError, match="an affine that maps no volume"):
        _ = case_of(file).shape
    flat = save(tmp_path / "flat.nii", np.ones((4, 4), np.int16))
    with pytest.raises(CaseError, match="not three axes"):
        case_of(flat).images()


def test_grids_agree_up_to_a_tenth_of_a_voxel(tmp_path):
    """Rounding is tolerated, and what moves a corner by more is not; hand-computed on 11 voxels of 2 mm: 20 mm."""
    grid = Grid((11, 11, 11), np.diag([2.0, 2, 2, 1]))

    def moved(**changes):
        affine = grid.affine.copy()
        for key, value in changes.items():
            affine["xyz".index(key[0]), 3 if key.endswith("0") else "xyz".index(key[1])] += value
        return grid.difference(Grid(grid.shape, affine))

    assert GRID_TOLERANCE == 0.1
    assert not moved(x0=0.19)
    assert "0.21 mm" in moved(x0=0.21)
    assert not moved(xx=0.0099)  # 10 steps: 0.099 mm of the 0.2 mm
    assert "0.3 mm" in moved(xx=0.03)
    assert not moved(xy=1e-5, yx=-1e-5, z0=0.005)
    assert "1 mm" in moved(y0=1)
    assert grid.difference(Grid((11, 11, 10), grid.affine)) == "shape (11, 11, 10) against (11, 11, 11) (z, y, x)"


def test_images_and_label_must_share_a_grid(tmp_path):
    one = save(tmp_path / "one.nii.gz", np.ones((4, 5, 6), np.int16), np.diag([1, 1, 2, 1]))
    shifted = np.diag([1.0, 1, 2, 1])
    shifted[0, 3] = 1
    other = save(tmp_path / "shifted.nii.gz", np.ones((4, 5, 6), np.int16), shifted)
    small = save(tmp_path / "small.nii.gz", np.ones((4, 5, 5), np.int16), np.diag([1, 1, 2, 1]))
    near = save(tmp_path / "near.nii.gz", np.ones((4, 5, 6), np.int16), np.diag([1, 1, 2.00001, 1]))
    flipped = np.diag([-1.0, 1, 2, 1])
    flipped[0, 3] = 3
    turned = save(tmp_path / "turned.nii.gz", np.ones((4, 5, 6), np.int16), flipped)
    case_of(one, near, t2=ImageFile(near)).images()
    case_of(one, turned).label()  # the same place in the world, stored the other way round
    for file, what in ((other, "affine"), (small, "shape")):
        with pytest.raises(CaseError, match=rf"{file.name} and one.nii.gz differ in {what}"):
            case_of(one, t2=ImageFile(file)).images()
        with pytest.raises(CaseError, match=rf"{file.name} and one.nii.gz differ in {what}"):
            case_of(one, file).label()


def test_shape_is_read_from_the_header_alone(tmp_path):
    file = save(tmp_path / "i.nii.gz", np.random.default_rng(0).normal(size=(30, 40, 50)), np.diag([-1, 2, 3, 1]))
    file.write_bytes(file.read_bytes()[:2000])
    case = case_of(file)
    assert (case.shape, case.spacing) == ((50, 40, 30), (3, 2, 1))
    with pytest.raises(CaseError, match="cut short"):
        case.images()


def test_writing_needs_the_shape_and_a_nifti_name(tmp_path):
    case = case_of(save(tmp_path / "i.nii.gz", np.ones((2, 3, 4), np.int16)))
    with pytest.raises(CaseError, match=r"\(2, 3, 4\), the case \(4, 3, 2\)"):
        case.write(tmp_path / "o.nii.gz", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(CaseError, match=r"not as o\.png"):
        case.write(tmp_path / "o.png", np.zeros(case.shape, np.uint8))
    with pytest.raises(CaseError, match="has no label file"):
        case.label()
    assert pickle.loads(pickle.dumps(case)).shape == case.shape


def test_nothing_is_left_of_a_write_that_fails(tmp_path, monkeypatch):
    case = case_of(save(tmp_path / "i.nii.gz", np.ones((2, 3, 4), np.int16)))
    case.write(tmp_path / "o.nii.gz", np.ones(case.shape, np.uint8))
    before = (tmp_path / "o.nii.gz").read_bytes()

    def fail(image, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        case.write(tmp_path / "o.nii.gz", np.zeros(case.shape, np.uint8))
    assert (tmp_path / "o.nii.gz").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i.nii.gz", "o.nii.gz"]


def test_written_bytes_do_not_depend_on_the_moment(tmp_path):
    like = nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4))
    write(tmp_path / "a" / "l.nii.gz", np.ones((3, 3, 3), np.uint8), like)
    write(tmp_path / "b" / "l.nii.gz", np.ones((3, 3, 3), np.uint8), like)
    assert (tmp_path / "a" / "l.nii.gz").read_bytes() == (tmp_path / "b" / "l.nii.gz").read_bytes()
