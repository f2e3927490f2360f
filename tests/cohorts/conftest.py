"""Small data sets in the layouts of the releases, made to measure."""

import json
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
OLD = {"flair": "_flair", "t1": "_t1", "t1ce": "_t1ce", "t2": "_t2", "label": "_seg"}
NEW = {"flair": "-t2f", "t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "label": "-seg"}
TASK01_LABELS = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
TASK01_MODALITY = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}


def save(path: Path, data: np.ndarray, affine: np.ndarray = LPS) -> Path:
    """``data`` is (x, y, z), in the orientation of ``affine``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def noise(seed: int, shape: tuple[int, ...] = (6, 7, 5)) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 1000, shape).astype(np.int16)


def label_of(values: tuple[int, ...], seed: int = 0, shape: tuple[int, ...] = (6, 7, 5)) -> np.ndarray:
    """A label map (x, y, z) that holds 0 and each of the values, never the same for two seeds."""
    random = np.random.default_rng(seed)
    out = random.choice([0, *values], shape)
    out.flat[: len(values) + 1] = [0, *values]
    return out.astype(np.uint8)


@pytest.fixture
def brats_case():
    """Write one case: ``brats_case(folder, id, values=(1, 2, 4), names=OLD, end=".nii.gz", without=())``."""

    def write(folder, case_id, values=(1, 2, 4), names=OLD, end=".nii.gz", without=(), seed=None, affine=LPS):
        seed = zlib.crc32(case_id.encode()) if seed is None else seed
        files = {}
        for number, (modality, ending) in enumerate(names.items()):
            if modality in without or (modality == "label" and values is None):
                continue
            data = label_of(values, seed) if modality == "label" else noise(seed + number)
            files[modality] = save(Path(folder) / f"{case_id}{ending}{end}", data, affine)
        return files

    return write


@pytest.fixture
def msd_task():
    """Write a task: ``msd_task(folder, cases=3, tests=0, labels=…, modality=…, name=…, prefix=…)``."""

    def write(
        folder, cases=3, tests=0, labels=TASK01_LABELS, modality=TASK01_MODALITY, name="BRATS", prefix="BRATS", **more
    ):
        folder = Path(folder)
        shape = (6, 7, 5) if len(modality) == 1 else (6, 7, 5, len(modality))
        values = tuple(int(value) for value in labels if value != "0")
        training, held_out = [], []
        for number in range(1, cases + tests + 1):
            file = f"{prefix}_{number:03d}.nii.gz"
            part = "Tr" if number <= cases else "Ts"
            save(folder / f"images{part}" / file, noise(number, shape))
            if part == "Tr":
                save(folder / "labelsTr" / file, label_of(values, number))
                training.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
            else:
                held_out.append(f"./imagesTs/{file}")
        dataset = {"name": name, "modality": modality, "labels": labels, "training": training, "test": held_out}
        (folder / "dataset.json").write_text(json.dumps({**dataset, **more}))
        return folder

    return write
