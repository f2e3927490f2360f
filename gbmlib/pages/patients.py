"""The real patients that the book carries, with what networks made of them that were not trained on them."""

from __future__ import annotations

import numpy as np

from gbmlib import cohorts
from gbmlib.cohorts.case import Case
from gbmlib.files import CASES

SCANS, PREDICTIONS = CASES / "gliomas", CASES / "predictions"

#: The Decathlon's case number of each patient, by the name in the challenge, under which the records have them.
NUMBERS = {"Brats18_CBICA_AME_1": "BRATS_308", "Brats18_TCIA01_378_1": "BRATS_452", "Brats18_TCIA02_606_1": "BRATS_482"}


def folder_of(network: str, pipeline: str) -> str:
    """Where the label maps of a network under a pipeline lie: ``V-Net-normalised-A``."""
    return f"{network}-{pipeline}".replace(", ", "-")


def case(name: str) -> Case:
    """A patient by the Decathlon's case number, such as ``BRATS_308``: T1ce and FLAIR at 1 mm, and the labels.

    Raises:
        KeyError: there is no such patient here.
    """
    return cohorts.open_cohort(f"brats:{SCANS}")[name]


def predictions(patient: Case, networks: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The label maps (z, y, x) of a patient, by network: ``U-Net, pipeline B``.

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
