"""Cohorts in the layout of nnU-Net's raw data, version 1 and 2: a file for each channel, named ID_0000, ID_0001, …

``dataset.json`` names the channels (``channel_names``, in version 1 ``modality``), the labels and the files' ending;
cases are what lies in ``imagesTr``, with their labels in ``labelsTr``, and in ``imagesTs``, without. Labels and
channels are brought to the internal conventions as those of the Decathlon are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BaseModel, Field

from gbmlib.cohorts import layouts
from gbmlib.cohorts.case import FileCase, ImageFile
from gbmlib.cohorts.cohort import GLIOMA
from gbmlib.cohorts.layouts import Layout, naming
from gbmlib.cohorts.layouts.decathlon import family_name, read, task_folder
from gbmlib.cohorts.problems import CaseError


class Dataset(BaseModel):
    """The content of ``dataset.json``; version 1 names the label of a value, version 2 gives the value of a label."""

    name: str = ""
    channel_names: Annotated[
        dict[int, str], Field(min_length=1, validation_alias=AliasChoices("channel_names", "modality"))
    ]
    labels: dict[str, str | int | list[int]]
    file_ending: str = ".nii.gz"


def scan(path: str) -> Layout:
    """The layout of ``imagesTr``, ``labelsTr`` and ``imagesTs``.

    Raises:
        CaseError: no such folder, several data sets in it, no usable ``dataset.json``, no image named as nnU-Net does.
    """
    root = task_folder(path, layouts.existing(path, "nnunet"), "nnunet")
    file = root / "dataset.json"
    dataset = read(file, Dataset)
    if dataset.file_ending not in (".nii.gz", ".nii"):
        raise CaseError(f"{file}: files that end in {dataset.file_ending} are not read; convert them to NIfTI")
    convention = naming.convention(_labels(dataset, file), "nnU-Net", file)
    glioma = convention.labels == GLIOMA
    channels = naming.channels(dataset.channel_names, glioma, file)
    numbers = sorted(dataset.channel_names)

    def case(folder: Path, case_id: str, label: Path | None) -> FileCase:
        places = [folder / f"{case_id}_{number:04d}{dataset.file_ending}" for number in numbers]
        files = {name: ImageFile(places[index]) for name, index in channels.items()}
        return FileCase(case_id, naming.patient_of(case_id) if glioma else case_id, files, label)

    train, test = root / "imagesTr", root / "imagesTs"
    cases = [case(train, one, root / "labelsTr" / f"{one}{dataset.file_ending}") for one in _ids(train)]
    if not cases:
        advice = f"if its images have all channels in one file, open msd:{root}"
        raise CaseError(f"nnunet:{path}: no files named ID_0000{dataset.file_ending} … in {train}; {advice}")
    cases, problems = layouts.listed_cases(root, file, [*cases, *(case(test, one, None) for one in _ids(test))])
    known = {file.path for case in cases for file in case.files.values()}
    strays = [one for folder in (train, test) for one in _images(folder) if one not in known]
    name = dataset.name or re.sub(r"^(Dataset|Task)\d+_?", "", root.name)
    return Layout(
        kind="nnunet",
        place=root,
        family=family_name("nnunet", name),
        cases=cases,
        modalities=tuple(channels),
        problems=(
            *problems,
            *layouts.doubtful_modalities(file, channels),
            *layouts.labels_of_tests(len(_images(root / "labelsTs")), root / "labelsTs"),
            *layouts.unread(root, strays, ", ".join(f"ID_{number:04d}" for number in numbers)),
        ),
        recognise=lambda labels: convention,
        skull_stripped=glioma,
    )


def _labels(dataset: Dataset, file: Path) -> dict[int, str]:
    """Label values and their names, in either version."""
    if all(key.isdigit() for key in dataset.labels):
        return {int(value): str(name) for value, name in dataset.labels.items()}
    if odd := [name for name, value in dataset.labels.items() if not isinstance(value, int) or name == "ignore"]:
        raise CaseError(
            f"{file}: {', '.join(odd)}: regions of several values and labels to ignore are not read; give each value "
            "from 1 on one name"
        )
    return {value: name for name, value in dataset.labels.items()}


def _images(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if layouts.is_image(one.name)) if folder.is_dir() else []


def _ids(folder: Path) -> list[str]:
    """The cases that have at least one channel in a folder."""
    matches = (re.fullmatch(r"(.+)_\d{4}\.nii(\.gz)?", one.name) for one in _images(folder))
    return sorted({match[1] for match in matches if match})
