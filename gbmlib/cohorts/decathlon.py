"""Cohorts in the layout of the Medical Segmentation Decathlon: ``dataset.json``, ``imagesTr``, ``labelsTr``, …

Brain tumours (Task01) are recognised by the names that ``dataset.json`` gives to the labels and brought to the
internal convention of glioma: the Decathlon's 1 is oedema, 2 non-enhancing, 3 enhancing. Other tasks keep their values
and names. A cohort is called by the ``name`` in ``dataset.json`` and its number of labelled cases, wherever it lies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from gbmlib.cohorts import layout
from gbmlib.cohorts.case import FileCase, ImageFile
from gbmlib.cohorts.cohort import GLIOMA, Cohort
from gbmlib.cohorts.layout import Convention, Layout
from gbmlib.cohorts.problems import CaseError, Problem
from gbmlib.files import few

#: The names in the ten tasks' dataset.json, reduced to letters, and what the cohorts are called.
TASKS = {
    "brats": "task01-braintumour",
    "leftatrium": "task02-heart",
    "liver": "task03-liver",
    "hippocampus": "task04-hippocampus",
    "prostate": "task05-prostate",
    "lung": "task06-lung",
    "pancreas": "task07-pancreas",
    "hepaticvessel": "task08-hepaticvessel",
    "spleen": "task09-spleen",
    "colon": "task10-colon",
}

#: What brain tumour data calls its channels, lower-cased; the internal names keep this order.
GLIOMA_MODALITIES = {
    "flair": "flair",
    "t2f": "flair",
    "t1": "t1",
    "t1w": "t1",
    "t1n": "t1",
    "t1ce": "t1ce",
    "t1gd": "t1ce",
    "t1c": "t1ce",
    "t2": "t2",
    "t2w": "t2",
}

#: Words in a label's name and the internal value; a name must match exactly one.
_MEANINGS = {r"non.?enhanc|necro": 1, r"o?edema": 2, r"(?<!non)(?<!non.)enhanc": 3}

#: Cases of Task01, by number, that are the same scan or patient.
_PAIRS = {"290": "007", "275": "001", "293": "002", "278": "010", "288": "013", "280": "015"}


class Entry(BaseModel):
    """Where a case's image and its label lie."""

    image: str
    label: str | None = None


class Dataset(BaseModel):
    """What ``dataset.json`` says; a test case may be a path alone."""

    name: str = ""
    modality: Annotated[dict[int, str], Field(min_length=1)]
    labels: dict[Annotated[int, Field(ge=0, le=255)], str]
    training: Annotated[list[Entry], Field(min_length=1)]
    test: list[Entry | str] | None = None


def cohort(path: str) -> Cohort:
    """Open a task of the Decathlon, with its test cases (which have no labels) where they are there; reads no image.

    Raises:
        CaseError: as :func:`scan`, or files that are missing (all are listed).
    """
    return layout.cohort(scan(path))


def scan(path: str) -> Layout:
    """What ``dataset.json`` names and what of it is there.

    Raises:
        CaseError: no such folder, several tasks in it, no usable ``dataset.json``.
    """
    root = _task_folder(path, layout.existing(path, "msd"))
    dataset = _read(root / "dataset.json")
    convention = _convention(dataset.labels)
    glioma = convention.labels == GLIOMA
    channels = _channels(dataset.modality, root / "dataset.json", glioma)
    cases, problems = _cases(root, dataset, channels, glioma)
    letters = re.sub(r"[^a-z0-9]", "", dataset.name.lower())
    return Layout(
        kind="msd",
        root=root,
        family="-".join(filter(None, ("msd", TASKS.get(letters, letters)))),
        cases=tuple(sorted(cases, key=lambda case: case.id)),
        modalities=tuple(channels),
        modality_kinds=tuple("CT" if name == "ct" else "MR" for name in channels),
        problems=(*problems, *_left_out(root, cases)),
        recognise=lambda labels: convention,
    )


def _task_folder(path: str, root: Path) -> Path:
    """The folder that holds dataset.json: the root itself, or the only such folder below it."""
    tasks = [folder for folder, _, files in layout.walk(root) if "dataset.json" in files]
    if root in tasks or len(tasks) == 1:
        return root if root in tasks else tasks[0]
    if tasks:
        choice = " or ".join(f"msd:{task}" for task in tasks[:12])
        raise CaseError(f"msd:{path} holds {len(tasks)} data sets; choose one: {choice}")
    if (root.parent / "dataset.json").is_file():
        raise CaseError(f"msd:{path} has no dataset.json, but the folder above it has: open msd:{root.parent}")
    brats = any(re.search(r"[_-](flair|t2f)\.nii", name) for _, _, files in layout.walk(root) for name in files)
    advice = f"its files look like BraTS: open brats:{root}" if brats else f"it holds {layout.listing(root)}"
    raise CaseError(f"msd:{path}: no dataset.json in {root}; {advice}")


def _read(file: Path) -> Dataset:
    try:
        text = file.read_text(encoding="utf-8-sig")
        if '"channel_names"' in text:
            raise CaseError(f"{file} is in the layout of nnU-Net v2, not the Decathlon's; open the original download")
        dataset = Dataset.model_validate_json(text)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise CaseError(f"{file} cannot be used: {few(faults)}; correct it, or fetch the task again") from None
    except (OSError, UnicodeError) as error:
        raise CaseError(f"{file} cannot be read ({error}); fetch the task again") from error
    if not any(dataset.labels):
        raise CaseError(f"{file} cannot be used: labels name no value from 1 to 255; correct it")
    return dataset


def _convention(names: Mapping[int, str]) -> Convention:
    labels = {value: names[value] for value in sorted(names) if value}
    meanings = {value: _meaning(name) for value, name in labels.items()}
    listing = ", ".join(f"{value} {name}" for value, name in labels.items())
    if set(meanings.values()) == set(GLIOMA):
        # The value that stands for the internal one when writing comes first; see FileCase.values.
        changes = "".join(f"; {value} becomes {meaning}" for value, meaning in meanings.items() if value != meaning)
        return Convention({0: 0, **meanings}, GLIOMA, f"Decathlon, brain tumours: {listing}{changes}")
    return Convention({value: value for value in (0, *labels)}, labels, f"Decathlon: {listing}; kept as they are")


def _meaning(name: str) -> int | None:
    """The internal value of glioma that a label's name means, if it means exactly one."""
    values = [value for words, value in _MEANINGS.items() if re.search(words, name.lower())]
    return values[0] if len(values) == 1 else None


def _channels(names: Mapping[int, str], file: Path, glioma: bool) -> dict[str, int]:
    """Internal channel name to its index in the file, in the internal order."""
    named = [names[number].strip().lower() for number in sorted(names)]
    if glioma:
        named = [GLIOMA_MODALITIES.get(name, name) for name in named]
    if len(set(named)) < len(named):
        raise CaseError(f"{file} cannot be used: modality must give each channel a name of its own, not {dict(names)}")
    order = list(dict.fromkeys(GLIOMA_MODALITIES.values())) if glioma else []
    ordered = sorted(named, key=lambda name: order.index(name) if name in order else len(order))
    return {name: named.index(name) for name in ordered}


def _cases(
    root: Path, dataset: Dataset, channels: Mapping[str, int], glioma: bool
) -> tuple[list[FileCase], list[Problem]]:
    tests = [Entry(image=entry) if isinstance(entry, str) else entry for entry in dataset.test or ()]
    problems = []
    if tests and not any(_present(root / entry.image) for entry in tests):
        what = f"none of the {len(tests)} test cases is here, so they are left out"
        problems.append(Problem("", root / "imagesTs", "note", what, "fetch imagesTs if they are wanted"))
        tests = []
    cases: dict[str, FileCase] = {}
    for entry in [*dataset.training, *tests]:
        image, label = root / entry.image, root / entry.label if entry.label else None
        if image.name.startswith("."):
            continue
        case_id = layout.stem(image.name)
        there = {file: _present(file) for file in (image, label) if file}
        for what, file in (("image", image), ("label", label)):
            if file and not there[file]:
                remedy = "fetch it again, or take the case out of dataset.json"
                problems.append(Problem(case_id, file, "error", f"the {what} is missing", remedy))
        if case_id in cases:
            what = "dataset.json names two cases of this id"
            problems.append(Problem(case_id, image, "error", what, "keep one entry, or rename one of the files"))
            continue
        count = len(channels)
        files = {name: ImageFile(there[image], index if count > 1 else None, count) for name, index in channels.items()}
        files = files if there[image] else {}
        cases[case_id] = FileCase(case_id, _patient(case_id, glioma), files, there.get(label))
    return list(cases.values()), problems


def _present(file: Path) -> Path | None:
    """The file, or the same one packed or unpacked."""
    other = file.with_name(file.name.removesuffix(".gz") if file.suffix == ".gz" else file.name + ".gz")
    return next((path for path in (file, other) if path.is_file()), None)


def _patient(case_id: str, glioma: bool) -> str:
    start, _, number = case_id.rpartition("_")
    return f"{start}_{_PAIRS.get(number, number)}" if glioma and start.upper() == "BRATS" else case_id


def _left_out(root: Path, cases: Sequence[FileCase]) -> list[Problem]:
    """Images that lie there but are not named in dataset.json."""
    named = {file.path for case in cases for file in case.files.values()}
    folders = {path.parent for path in named}
    names = {path.name for folder in folders for path in folder.iterdir() if path.is_file() and path not in named}
    extra = sorted(name for name in names if re.fullmatch(r"[^.].*\.nii(\.gz)?", name))
    if not extra:
        return []
    what = f"does not name {few(extra)}, so they are left out"
    return [Problem("", root / "dataset.json", "note", what, "add what is wanted to dataset.json")]
