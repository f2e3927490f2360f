"""Cohorts packed to travel to another machine, under the name and the fingerprint of the data they were made from.

A packed cohort is a folder, opened as ``packed:PATH``: ``cohort.json`` and, for each case, its label as it was released
and its images as NIfTI files. These hold the voxels where the cohort travels *whole*. Else they hold the header alone,
over zeros, and the case is of use where its prepared form (``preprocess.cache``) travels with it: a run needs no more,
since what it measures in native space is the label. Of gliomas at 3 mm that is a tenth of the data.
"""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from gbmlib.cohorts import layouts
from gbmlib.cohorts.case import FileCase, ImageFile, digest
from gbmlib.cohorts.cohort import Cohort
from gbmlib.cohorts.nifti import load
from gbmlib.cohorts.problems import CaseError

COHORT = "cohort.json"


@dataclass(frozen=True)
class PackedCase(FileCase):
    """A case of a packed cohort; ``whole`` says whether its images travelled."""

    whole: bool = False

    def images(self) -> np.ndarray:
        """All channels, float32 (channel, z, y, x).

        Raises:
            CaseError: they did not travel.
        """
        if not self.whole:
            raise CaseError(
                f"case {self.id} was packed prepared, and not in the form that is asked for, so its images are needed; "
                "pack the runs that ask for it, or the cohort whole"
            )
        return super().images()


def write(cohort: Cohort, folder: Path, whole: bool) -> None:
    """Pack the labelled cases of a cohort into a folder that is not there yet, ``whole`` or for prepared cases alone.

    Raises:
        CaseError: a cohort that is not made of files, or a file that cannot be read.
    """
    cases = cohort.labelled
    if not all(isinstance(case, FileCase) for case in cases):
        raise CaseError(f"cohort {cohort.name} does not come from files, so there is nothing to pack")
    folder.mkdir(parents=True)
    header = {
        "name": cohort.name,
        "modalities": list(cohort.modalities),
        "modality_kinds": list(cohort.modality_kinds),
        "labels": list(cohort.labels.items()),
        "convention": cohort.convention,
        "whole": whole,
        "cases": [_write(case, folder, whole) for case in cases],
    }
    (folder / COHORT).write_text(json.dumps(header, indent=1) + "\n")


def _write(case: FileCase, folder: Path, whole: bool) -> dict:
    """Pack one case; returns its entry in ``cohort.json``."""
    place = folder / case.id
    place.mkdir()
    names = {}
    for number, path in enumerate(dict.fromkeys(file.path for file in case.files.values())):
        names[path] = f"{case.id}/image-{number}.nii" + ("" if whole else ".gz")
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        if not whole:
            start = load(path, case.id).dataobj.offset
            content = gzip.compress(content[:start] + bytes(len(content) - start), mtime=0)
        (folder / names[path]).write_bytes(content)
    label = f"{case.id}/label.nii{'.gz' if case.label_file.suffix == '.gz' else ''}"
    shutil.copyfile(case.label_file, folder / label)
    return {
        "id": case.id,
        "patient": case.patient,
        "files": {name: [names[file.path], file.channel, file.channels] for name, file in case.files.items()},
        "label": label,
        "values": list(case.values.items()),
        "digests": case.digests(),
    }


def cohort(path: str) -> Cohort:
    """Open a packed cohort.

    Raises:
        CaseError: no such folder, or it holds no packed cohort.
    """
    root = layouts.existing(path, "packed")
    try:
        header = json.loads((root / COHORT).read_text())
        labels = dict(header["labels"])
        cases = tuple(replace(_case(root, entry, header["whole"]), labels=labels) for entry in header["cases"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError(f"packed:{path}: {root / COHORT} cannot be read ({error}); unpack it again") from error
    return Cohort(
        name=header["name"],
        spec=f"packed:{root}",
        cases=cases,
        modalities=tuple(header["modalities"]),
        labels=labels,
        convention=header["convention"],
        digest=cache(lambda: digest(cases)),
        modality_kinds=tuple(header["modality_kinds"]),
    )


def _case(root: Path, entry: dict, whole: bool) -> PackedCase:
    files = {name: ImageFile(root / file, channel, count) for name, (file, channel, count) in entry["files"].items()}
    label, values = root / entry["label"], dict(entry["values"])
    return PackedCase(entry["id"], entry["patient"], files, label, values, entry["digests"], whole=whole)
