"""Small data sets in the layouts of the releases, made to measure."""

import json
import zlib
from pathlib import Path

import pytest
from folders import LPS, OLD, TASK01_LABELS, TASK01_MODALITY, label_of, noise, save


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
