"""Cohorts in the layout of the Medical Segmentation Decathlon: ``dataset.json``, ``imagesTr``, ``labelsTr``, …

Brain tumours (Task01) are recognised by the names that ``dataset.json`` gives to the labels and brought to the
internal convention of glioma: the Decathlon's 1 is oedema, 2 non-enhancing, 3 enhancing. Other tasks keep their values
and names. A cohort is called by the ``name`` in ``dataset.json`` and its number of labelled cases, wherever it lies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError

from gbmlib.cohorts import layouts
from gbmlib.cohorts.case import FileCase, ImageFile
from gbmlib.cohorts.cohort import GLIOMA
from gbmlib.cohorts.layouts import Layout, naming, placed
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


Model = TypeVar("Model", bound=BaseModel)


class Entry(BaseModel):
    """Where a case's image and its label lie."""

    image: str
    label: str | None = None


class Dataset(BaseModel, extra="allow"):
    """The content of ``dataset.json``; a test case may be a path alone."""

    name: str = ""
    modality: Annotated[dict[int, str], Field(min_length=1)]
    labels: dict[Annotated[int, Field(ge=0, le=255)], str]
    training: Annotated[list[Entry], Field(min_length=1)]
    test: list[Entry | str] | None = None


def scan(path: str) -> Layout:
    """The layout that ``dataset.json`` names, with the files that exist.

    Raises:
        CaseError: no such folder, several tasks in it, no usable ``dataset.json``.
    """
    root = task_folder(path, layouts.existing(path, "msd"), "msd")
    file = root / "dataset.json"
    dataset = read(file, Dataset)
    convention = naming.convention(dataset.labels, "Decathlon", file)
    glioma = convention.labels == GLIOMA
    modalities = naming.channels(dataset.modality, glioma, file)
    cases, problems = _cases(root, dataset, modalities, glioma)
    return Layout(
        kind="msd",
        place=root,
        family=family_name("msd", dataset.name),
        cases=cases,
        modalities=tuple(modalities),
        problems=(
            *problems,
            *layouts.doubtful_modalities(file, modalities),
            *_not_read(dataset, file),
            *_left_out(root, cases),
        ),
        recognise=lambda labels: convention,
        skull_stripped=glioma,
    )


def family_name(kind: str, name: str) -> str:
    """The name of a cohort before its number of cases."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return "-".join(filter(None, (kind, TASKS.get(letters, letters))))


def task_folder(path: str, root: Path, kind: str) -> Path:
    """The folder that holds dataset.json: the root itself, or the only such folder below it."""
    tasks = [folder for folder, _, files in layouts.walk(root) if "dataset.json" in files]
    if root in tasks or len(tasks) == 1:
        return root if root in tasks else tasks[0]
    if tasks:
        choice = " or ".join(f"{kind}:{task}" for task in tasks[:12])
        raise CaseError(f"{kind}:{path} holds {len(tasks)} data sets; choose one: {choice}")
    if (root.parent / "dataset.json").is_file():
        raise CaseError(f"{kind}:{path} has no dataset.json, but the folder above it has: open {kind}:{root.parent}")
    brats = any(re.search(r"[_-](flair|t2f)\.nii", name) for _, _, files in layouts.walk(root) for name in files)
    advice = f"its files look like BraTS: open brats:{root}" if brats else f"it holds {layouts.listing(root)}"
    raise CaseError(f"{kind}:{path}: no dataset.json in {root}; {advice}")


def read(file: Path, model: type[Model]) -> Model:
    """A ``dataset.json``; raises :class:`CaseError` where it cannot be used."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if model is Dataset and '"channel_names"' in text:
            raise CaseError(f"{file} is in the layout of nnU-Net v2, not the Decathlon's; open nnunet:{file.parent}")
        return model.model_validate_json(text)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise CaseError(f"{file} cannot be used: {few(faults)}; correct it, or fetch the task again") from None
    except (OSError, UnicodeError) as error:
        raise CaseError(f"{file} cannot be read ({error}); fetch the task again") from error


def _cases(
    root: Path, dataset: Dataset, modalities: Mapping[str, int], glioma: bool
) -> tuple[tuple[FileCase, ...], list[Problem]]:
    source, count = root / "dataset.json", len(modalities)
    tests = [Entry(image=entry) if isinstance(entry, str) else entry for entry in dataset.test or ()]
    notes = layouts.labels_of_tests(sum(entry.label is not None for entry in tests), source)
    if tests and not any(layouts.present(placed(root, entry.image)) for entry in tests):
        what = f"none of the {len(tests)} test cases is here, so they are left out"
        notes.append(Problem("", root / "imagesTs", "note", what, "fetch imagesTs if they are wanted"))
        tests = []

    def case(entry: Entry) -> FileCase:
        image = placed(root, entry.image)
        files = {name: ImageFile(image, index if count > 1 else None, count) for name, index in modalities.items()}
        case_id = layouts.stem(image.name)
        patient = naming.patient_of(case_id) if glioma else case_id
        return FileCase(case_id, patient, files, placed(root, entry.label) if entry.label else None)

    listed = [*map(case, dataset.training), *(replace(case(entry), label_file=None) for entry in tests)]
    split = layouts.present(root / "imagesTr" / f"{listed[0].id}_0000.nii.gz") if listed else None
    if split and not layouts.present(listed[0].reference):
        raise CaseError(f"msd:{root} has a file for each channel, as nnU-Net has, such as {split}; open nnunet:{root}")
    visible = [one for one in listed if not one.reference.name.startswith(".")]
    cases, problems = layouts.listed_cases(root, source, visible)
    return cases, [*notes, *problems]


def _not_read(dataset: Dataset, file: Path) -> list[Problem]:
    """Lists in ``dataset.json`` under names that are not known, such as "validation"."""
    return [
        Problem("", file, "note", f"the key {key!r} ({len(value)} entries) is not read", "nothing, if it is not wanted")
        for key, value in (dataset.model_extra or {}).items()
        if isinstance(value, list | dict) and value
    ]


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
