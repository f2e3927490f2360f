"""Make the cases that the book shows, with the label maps of networks that were not trained on them.

``python book/cases/make.py brats:PATH RUNS``: of each glioma in ``patients.NUMBERS`` the T1ce and FLAIR images in 254
grey levels and the experts' labels, cropped to the head, under the number that the Decathlon publishes it by.

``python book/cases/make.py msd:PATH RUNS``: of the 260 hippocampi the two that the rule :func:`typical_and_poor` names;
images and labels as they are.

Label maps are those that lie in RUNS, the store of one's own runs or a folder ``RUN/CASE.nii.gz``, or are made from the
weights there; a run with neither is left out.

``python book/cases/make.py brats:PATH RUNS --epochs``: of one of the gliomas what a network drew while it was trained,
after each of ``EPOCHS``. Trains that network again.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np

from gbmlib import cohorts, study
from gbmlib.analysis import scores
from gbmlib.cohorts.folds import split
from gbmlib.pages import patients
from gbmlib.study import cross_validation, head_to_head, out_of_fold
from gbmlib.study.records import BOOK, PREDICTIONS, WEIGHTS, Record, Store
from gbmlib.training import tensors
from gbmlib.training.loop import CHECKPOINT
from gbmlib.viewer import sprites

#: After which epochs of the study's 24 a label map is kept: closer together where a network learns faster.
EPOCHS = (1, 2, 3, 4, 6, 8, 11, 15, 19, 24)


def networks(cohort: cohorts.Cohort) -> dict:
    """The runs whose label maps are shown, one for each fold, by the folder that these go to."""
    if not cohort.is_glioma:
        return cross_validation.of_hippocampus("study")
    cells = {patients.folder_of(*cell): runs for cell, runs in head_to_head.cells("study").items()}
    planned = cross_validation.networks("study")
    planned |= cross_validation.averages(planned)
    return cells | {label: planned[label] for label in patients.PLANNED}


def label_map(run, runs: Path, cohort: cohorts.Cohort, case) -> np.ndarray | None:
    """The label map (z, y, x) of a case by a run that holds it out; None where there are neither map nor weights."""
    for folder in (runs / run.id / PREDICTIONS, runs / run.id):
        if (folder / f"{case.id}.nii.gz").exists():
            return case.read(folder / f"{case.id}.nii.gz")
    record = Store(runs).get(run)
    return out_of_fold.segment([record], Store(runs), cohort, case.id) if record and record.weights else None


def draw(case, shown, runs: Path, cohort: cohorts.Cohort, box: tuple[slice, ...] = ()) -> None:
    """Write the label maps of a case, cropped, in the space of the case that is ``shown``."""
    for folder, of_folds in networks(cohort).items():
        [run] = [run for run in of_folds if case.id in split(cohort.cases, run.folds, run.fold)[1]]
        drawn = label_map(run, runs, cohort, case)
        if drawn is not None:
            shown.write(patients.PREDICTIONS / folder / f"{shown.id}.nii.gz", drawn[box])
            print(shown.id, folder, run.id, flush=True)


# -------------------------------------------------------------------------------------------------------------- gliomas


def save(path: Path, volume: np.ndarray, box: tuple[slice, ...], case) -> None:
    """Write a volume (z, y, x), cropped, as bytes in patient coordinates."""
    affine = np.diag([*reversed(case.spacing), 1.0])
    affine[:3, 3] = [axis.start * step for axis, step in zip(reversed(box), reversed(case.spacing), strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(volume[box].T.astype(np.uint8)), affine), path)


def make_glioma(case, name: str, runs: Path, cohort: cohorts.Cohort) -> None:
    images = dict(zip(case.modalities, case.images(), strict=True))
    box, folder = sprites.bounding_box(images.values()), patients.SCANS / name
    for modality in ("t1ce", "flair"):
        save(folder / f"{name}_{modality}.nii.gz", sprites.quantise(images[modality]).volume, box, case)
    save(folder / f"{name}_seg.nii.gz", np.array([0, 1, 2, 4])[case.label()], box, case)
    draw(case, patients.case(name), runs, cohort, box)


def make_epochs(patient: str, cell: tuple[str, str], cohort: cohorts.Cohort) -> None:
    """Train the network of a cell that holds a patient out, and write what it draws after each of :data:`EPOCHS`."""
    [run] = [run for run in head_to_head.cells("study")[cell] if patient in split(cohort, run.folds, run.fold)[1]]
    case, shown = cohort[patient], patients.case(patients.NUMBERS[patient])
    box = sprites.bounding_box(case.images())
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        store, kept = Store(folder), {}
        training = pool.submit(study.run, [run], store, checkpoint_seconds=0)
        while not training.done():  # an epoch takes longer than this waits
            time.sleep(0.5)
            if (checkpoint := store.unfinished(run) / CHECKPOINT).exists():
                state = tensors.load(checkpoint)
                kept.setdefault(len(state["history"]), state["network"])
        [record] = training.result()
        kept[run.epochs] = tensors.load(record.weights)
        for epoch in EPOCHS:
            tensors.save(record.path / WEIGHTS, kept[epoch])
            drawn = out_of_fold.segment([record], store, cohort, patient)
            shown.write(patients.EPOCHS / patients.folder_of(*cell) / shown.id / f"{epoch:02}.nii.gz", drawn[box])


# ----------------------------------------------------------------------------------------------------------- hippocampi


def typical_and_poor(records: Sequence[Record]) -> tuple[str, str]:
    """The held-out cases of (lower) median and of lowest Dice, mean over classes, by the records of all folds."""
    ranked = scores.by_case(records).mean(axis=1).sort_values(kind="stable")
    return ranked.index[(len(ranked) - 1) // 2], ranked.index[0]


def make_hippocampi(runs: Path, cohort: cohorts.Cohort) -> None:
    chosen = typical_and_poor([Store(BOOK).get(run) for run in cross_validation.of_hippocampus("study")["3D"]])
    source, to = Path(cohort.spec.removeprefix("msd:")), patients.HIPPOCAMPI
    dataset, files = json.loads((source / "dataset.json").read_text()), {"image": "imagesTr", "label": "labelsTr"}
    dataset = {key: dataset[key] for key in ("name", "reference", "licence", "modality", "labels")}
    for name in chosen:
        for file in (f"{folder}/{name}.nii.gz" for folder in files.values()):
            (to / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, to / file)
    training = [{kind: f"./{folder}/{name}.nii.gz" for kind, folder in files.items()} for name in sorted(chosen)]
    (to / "dataset.json").write_text(json.dumps(dataset | {"training": training}, indent=1) + "\n")
    for name in chosen:
        draw(cohort[name], patients.case(name), runs, cohort)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", help="brats:PATH of the challenge, or msd:PATH of Task04_Hippocampus")
    parser.add_argument("runs", type=Path, help="the folder of your runs, or of their label maps")
    parser.add_argument("--epochs", action="store_true", help="train a network of a glioma, and keep what it drew")
    asked = parser.parse_args()
    cohort = cohorts.open_cohort(asked.cohort)
    if asked.epochs:
        make_epochs(*patients.WATCHED, cohort)
    elif cohort.is_glioma:
        for patient, number in patients.NUMBERS.items():
            make_glioma(cohort[patient], number, asked.runs, cohort)
    else:
        make_hippocampi(asked.runs, cohort)


if __name__ == "__main__":
    main()
