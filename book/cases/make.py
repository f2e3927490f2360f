"""Make the cases that the book shows: ``python book/cases/make.py brats:PATH RUNS PATIENT…``.

Of each patient the T1ce and FLAIR images in 254 grey levels, the experts' labels, and the label maps of all networks of
the head to head that were not trained on this patient, from the weights in the store RUNS; cropped to the head. The
files have the Decathlon's case numbers, under which the data set is published.
"""

import argparse
import csv
from pathlib import Path

import nibabel as nib
import numpy as np

from gbmlib import cohorts
from gbmlib.cohorts.folds import split
from gbmlib.pages import patients
from gbmlib.study import head_to_head, out_of_fold
from gbmlib.study.records import Store
from gbmlib.viewer import sprites

SCANS = patients.SCANS


def numbers(path: Path) -> dict[str, str]:
    """The Decathlon's number of each case of the challenge, from a table with the columns ``case`` and ``msd_id``."""
    with path.open(encoding="utf-8") as file:
        return {row["case"]: row["msd_id"] for row in csv.DictReader(file)}


def save(path: Path, volume: np.ndarray, box: tuple[slice, ...], case) -> None:
    """Write a volume (z, y, x), cropped, as bytes in patient coordinates."""
    affine = np.diag([*reversed(case.spacing), 1.0])
    affine[:3, 3] = [axis.start * step for axis, step in zip(reversed(box), reversed(case.spacing), strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(volume[box].T.astype(np.uint8)), affine), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", help="the challenge's cases, brats:PATH")
    parser.add_argument("store", help="the folder of your runs, with their weights")
    parser.add_argument("numbers", type=Path, help="a table with the columns case and msd_id")
    parser.add_argument("patients", nargs="+")
    asked = parser.parse_args()
    cohort, store, known = cohorts.open_cohort(asked.cohort), Store(asked.store), numbers(asked.numbers)
    for patient in asked.patients:
        case, name = cohort[patient], known[patient]
        images = dict(zip(case.modalities, case.images(), strict=True))
        box = sprites.bounding_box(images.values())
        for modality in ("t1ce", "flair"):
            save(SCANS / name / f"{name}_{modality}.nii.gz", sprites.quantise(images[modality]).volume, box, case)
        save(SCANS / name / f"{name}_seg.nii.gz", np.array([0, 1, 2, 4])[case.label()], box, case)
        shown = cohorts.open_cohort(f"brats:{SCANS}")[name]
        for (network, pipeline), runs in head_to_head.cells("study").items():
            [run] = [run for run in runs if patient in split(cohort.cases, run.folds, run.fold)[1]]
            record = store.get(run)
            if record is not None and record.weights:
                label_map = out_of_fold.segment([record], store, cohort, patient)
                folder = patients.PREDICTIONS / patients.folder_of(network, pipeline)
                shown.write(folder / f"{name}.nii.gz", label_map[box])
                print(name, network, pipeline, record.id, flush=True)


if __name__ == "__main__":
    main()
