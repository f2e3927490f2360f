"""Cohorts from a table, one row a case: ``case``, perhaps ``patient``, ``label``, and a column for each modality.

The file is CSV, with commas, semicolons or tabs. Paths are relative to its folder. The label's column may name the
values, as in ``label: 1 = oedema | 2 = necrosis | 4 = enhancing``; a glioma's names bring them to the internal
convention. Without names all labels are read, and each value is called by its number.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path

from gbmlib.cohorts import layouts
from gbmlib.cohorts.case import FileCase, ImageFile
from gbmlib.cohorts.cohort import GLIOMA
from gbmlib.cohorts.layouts import Layout, naming, placed
from gbmlib.cohorts.layouts.decathlon import family_name
from gbmlib.cohorts.layouts.naming import Convention
from gbmlib.cohorts.nifti import strange
from gbmlib.cohorts.problems import CaseError, Problem

#: Columns that are no modality, beside the label's.
OWN = ("case", "patient")

_LABEL = re.compile(r"label\s*(:.*)?", re.IGNORECASE)


def scan(path: str) -> Layout:
    """The layout that a table names, with the files that exist.

    Raises:
        CaseError: no such file, no table in it, or a table without a case, an id or an image.
    """
    file = Path(os.path.abspath(Path(path.strip()).expanduser()))
    rows = _rows(file)
    label = next((column for column in rows[0] if _LABEL.fullmatch(column)), "")
    named = re.findall(r"(\d+)\s*[= ]\s*([^|]+)", label.partition(":")[2])
    names = {int(value): name.strip() for value, name in named}
    convention = naming.convention(names, "Table", file) if named else None
    glioma = convention is not None and convention.labels == GLIOMA
    images = [column for column in rows[0] if column not in OWN and column != label]
    if "case" not in rows[0] or not images:
        raise CaseError(f"{file}: needs a column case and one for each modality, not {', '.join(rows[0])}")
    channels = naming.channels(dict(enumerate(images)), glioma, file)

    def case(row: dict[str, str]) -> FileCase:
        files = {name: row[images[index]] for name, index in channels.items()}
        return FileCase(
            row["case"],
            row.get("patient") or (naming.patient_of(row["case"]) if glioma else row["case"]),
            {name: ImageFile(placed(file.parent, path)) for name, path in files.items() if path},
            placed(file.parent, row[label]) if label and row[label] else None,
        )

    cases, problems = layouts.listed_cases(file.parent, file, map(case, rows))
    remedy = "name its file, or take the row out of the table"
    empty = [
        Problem(row["case"], file, "error", f"{image} is missing: its cell is empty", remedy)
        for row in rows
        for image in images
        if not row[image]
    ]
    return Layout(
        kind="table",
        place=file,
        family=family_name("table", file.stem),
        cases=cases,
        modalities=tuple(channels),
        problems=(*empty, *problems, *layouts.doubtful_modalities(file, channels)),
        recognise=lambda labels: convention or _by_values(labels, file),
        skull_stripped=glioma,
    )


def _rows(file: Path) -> list[dict[str, str]]:
    """The rows of a table, by column; what is missing is an empty text."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise CaseError(f"table:{file} cannot be read ({error}); give a CSV file") from error
    head, *_ = text.splitlines() or [""]
    reader = csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=head.count), skipinitialspace=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = [name.lower() if name.lower() in OWN else name for name in names]
    rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    rows = [row for row in rows if any(row.values())]
    if not rows or not all(row.get("case", "x") for row in rows):
        raise CaseError(
            f"table:{file}: " + ("a row has no case" if rows else "no rows below its head") + "; correct it"
        )
    return rows


def _by_values(labels: Iterable[tuple[str, frozenset[int]]], file: Path) -> Convention:
    """The values that the labels hold, each called by its number."""
    values = frozenset().union(*(held for _, held in labels)) - {0}
    if not values:
        return Convention({0: 0}, {}, "Table: no label")
    if len(values) > 100 or min(values) < 0:
        raise CaseError(f"{file}: a label is none: it {strange(values)}; name the file of the label map")
    return naming.convention({value: f"label {value}" for value in values}, "Table", file)
