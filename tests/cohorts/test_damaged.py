"""Files damaged at random: each is read, or refused in a sentence that names it, at once and in little memory."""

import gzip
import resource
import time

import nibabel as nib
import numpy as np
import pytest
from folders import LPS, label_of, noise

from gbmlib.cohorts import CaseError, FileCase, ImageFile
from gbmlib.cohorts.check.content import examine

FILES, SECONDS, KIBIBYTES = 200, 1.0, 500_000

#: Where the fields of a NIfTI-1 header begin, and what they are.
FIELDS = {
    "dim": (40, "<8i2"),
    "datatype": (70, "<i2"),
    "bitpix": (72, "<i2"),
    "pixdim": (76, "<8f4"),
    "vox_offset": (108, "<f4"),
    "slope": (112, "<2f4"),
    "units": (123, "<u1"),
    "forms": (252, "<2i2"),
    "qform": (256, "<6f4"),
    "sform": (280, "<12f4"),
    "magic": (344, "<4u1"),
}
ODD = (0, -1, 1, 7, 8, 255, 30000, 32767, -32768, np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-30, 1e9)


def damaged(content, random):
    """A file's content with one kind of damage, and perhaps a second."""
    content = bytearray(content)
    for _ in range(random.integers(1, 3)):
        kind = random.integers(4)
        if kind == 0:
            del content[random.integers(len(content)) :]
        elif kind == 1:
            for place in random.integers(0, min(348, len(content)) or 1, 4):
                content[place : place + 1] = bytes([random.integers(256)])
        else:
            start, form = FIELDS[random.choice(list(FIELDS))]
            values = np.frombuffer(bytes(content[start : start + np.dtype(form).itemsize]).ljust(64, b"\0"), form, 1)
            values = values.copy().ravel()
            with np.errstate(invalid="ignore"):
                chosen = np.array(random.choice(ODD, random.integers(1, values.size + 1))).astype(values.dtype)
            values[: chosen.size] = chosen
            content[start : start + values.nbytes] = values.tobytes()
    return bytes(content)


def peak():
    """The most memory that this process has held, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_every_damaged_file_ends_in_a_sentence(tmp_path, caplog):
    caplog.set_level("CRITICAL")
    random, refused, before = np.random.default_rng(7), 0, peak()
    image = nib.Nifti1Image(noise(1, (12, 11, 10)), LPS).to_bytes()
    label = nib.Nifti1Image(label_of((1, 2, 3), 1, (12, 11, 10)), LPS).to_bytes()
    (tmp_path / "good.nii").write_bytes(image)
    good, values = ImageFile(tmp_path / "good.nii"), {value: value for value in range(4)}
    for number in range(FILES):
        content = damaged(label if number % 2 else image, random)
        file = tmp_path / f"bad{number}.nii"
        file.write_bytes(gzip.compress(content, 1) if number % 3 else content)
        case = (
            FileCase("a", "a", {"t1": good}, file, values)
            if number % 2
            else FileCase("a", "a", {"t1": ImageFile(file), "t2": good}, None, values)
        )
        began = time.process_time()
        contents = examine(case)
        problems = [problem for problem in contents.problems if problem.severity == "error"]
        said = ""
        try:
            case.label() if number % 2 else case.images()
        except CaseError as error:
            said = str(error)
        if said:
            refused += 1
            assert file.name in said
            assert problems or contents.values - {*values}, f"the check says nothing of this: {said}"
        assert time.process_time() - began < SECONDS, file.name
        assert peak() - before < KIBIBYTES, file.name
        assert all(problem.what and problem.file for problem in problems)
    assert FILES / 2 < refused < FILES


def test_a_header_that_announces_terabytes_is_refused_before_anything_is_made_of_it(tmp_path):
    content = bytearray(nib.Nifti1Image(noise(1), LPS).to_bytes())
    content[40:56] = np.array([3, 32767, 32767, 32767, 1, 1, 1, 1], "<i2").tobytes()
    for name, stored in (("plain.nii", bytes(content)), ("packed.nii.gz", gzip.compress(bytes(content)))):
        (tmp_path / name).write_bytes(stored)
        case = FileCase("a", "a", {"t1": ImageFile(tmp_path / name)}, None)
        for read in (lambda case=case: case.shape, case.images):
            with pytest.raises(CaseError, match=rf"{name} is cut short: \d+ bytes of the 70362"):
                read()
