"""The gliomas and hippocampi that the book carries, with what networks made of them that were not trained on them."""

from __future__ import annotations

import numpy as np

from gbmlib import cohorts
from gbmlib.cohorts.case import Case
from gbmlib.files import CASES

SCANS, HIPPOCAMPI, PREDICTIONS = CASES / "gliomas", CASES / "hippocampi", CASES / "predictions"
EPOCHS = CASES / "epochs"

#: Of Paper B's networks those whose label maps of gliomas are here; of hippocampi there are the first two.
PLANNED = ("2D", "3D", "cascade", "2D + 3D")

#: The Decathlon's case number of each patient, by the name in the challenge, under which the records have them.
NUMBERS = {"Brats18_CBICA_AME_1": "BRATS_308", "Brats18_TCIA01_378_1": "BRATS_452", "Brats18_TCIA02_606_1": "BRATS_482"}

#: Whose label maps of several epochs are here, and of which network and pipeline.
WATCHED = ("Brats18_TCIA01_378_1", ("SegVAE", "A"))


def folder_of(network: str, pipeline: str) -> str:
    """Where the label maps of a network under a pipeline lie: ``V-Net, normalised-A``."""
    return f"{network}-{pipeline}"


def case(name: str) -> Case:
    """A patient by the Decathlon's case number, images at 1 mm and labels: ``BRATS_308`` has T1ce and FLAIR,
    ``hippocampus_107`` an MR image cropped to one hippocampus.

    Raises:
        KeyError: there is no such patient here.
    """
    spec = f"msd:{HIPPOCAMPI}" if name.startswith("hippocampus") else f"brats:{SCANS}"
    return cohorts.open_cohort(spec)[name]


def epochs() -> tuple[Case, dict[str, np.ndarray]]:
    """A patient whom a network was not trained on, and what it drew of him while it was trained: ``epoch 1``."""
    name, cell = WATCHED
    patient = case(NUMBERS[name])
    files = sorted((EPOCHS / folder_of(*cell) / patient.id).iterdir())
    return patient, {f"epoch {int(file.name[:2])}": patient.read(file) for file in files}


def predictions(patient: Case, networks: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The label maps (z, y, x) of a patient, by network: ``U-Net, pipeline B``, ``2D``.

    Args:
        networks: folders in the order wanted, as :func:`folder_of` has them; all there are by default.
    """
    folders = [PREDICTIONS / name for name in networks] or sorted(PREDICTIONS.iterdir())
    files = {folder.name: folder / f"{patient.id}.nii.gz" for folder in folders}
    return {
        ", pipeline ".join(name.rsplit("-", 1)): patient.read(file)
        for name, file in files.items()
        if networks or file.exists()
    }
