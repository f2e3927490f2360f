"""What small data sets in the layouts of the releases are made of."""

from pathlib import Path

import nibabel as nib
import numpy as np

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
