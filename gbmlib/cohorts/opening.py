"""Opening a cohort by its spec or its name, and remembering where a name's data lies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from gbmlib.cohorts import layouts
from gbmlib.cohorts.cohort import Cohort
from gbmlib.cohorts.problems import CaseError
from gbmlib.files import listed

#: Kinds of specs and their readers, modules of this room: ``cohort`` opens what stands behind the colon; readers of
#: people's own files have ``scan`` instead, which notes every fault in a ``layouts.Layout``.
KINDS = {
    "phantom": "phantom",
    "brats": "layouts.brats",
    "msd": "layouts.decathlon",
    "nnunet": "layouts.nnunet",
    "table": "layouts.table",
    "packed": "packed",
}

#: What this process has opened: by name, then by spec.
_opened: dict[str, dict[str, Cohort]] = {}


def open_cohort(spec: str, modalities: Sequence[str] | None = None) -> Cohort:
    """Open a cohort by its spec or by a name that is known here.

    Args:
        spec: ``kind:rest`` as ``gbmlib.cohorts`` has it, or a name.
        modalities: keep only these channels, in this order; all by default.

    Raises:
        CaseError: no such kind, folder or name; a name that two data sets share; modalities that the cohort lacks; an
            unknown label convention.
    """
    cohort = _open(place_of(spec))
    return cohort if modalities is None else cohort.with_modalities(modalities)


def opened(name: str) -> Cohort | None:
    """The cohort of a name that this process has opened, if it has; raises :class:`CaseError` as :func:`place_of`."""
    return _opened[name][place_of(name)] if name in _opened else None


def place_of(name: str) -> str:
    """The spec behind a cohort's name; a spec is returned as it is.

    Raises:
        CaseError: the name is not known here, or this process has opened two data sets of that name.
    """
    if ":" in name:
        return name
    faults = [] if name in _opened else _learn(os.environ.get("GBM_COHORTS", ""))
    if name not in _opened and Path(name).exists():
        raise CaseError(f"{name} is a path; say how the data set is laid out, as in {spec_of(Path(name))}")
    if name not in _opened:
        raise CaseError(
            f"cohort {name!r} is no path here, and no data set of that name has been opened; open it by its place "
            f"(such as brats:PATH) first, or list that place in GBM_COHORTS"
            + (f". Opened are {listed(sorted(_opened))}" if _opened else "")
            + "".join(f"\nGBM_COHORTS: {error}" for error in faults)
        )
    first, *others = _opened[name].values()
    for other in others:
        if other.fingerprint != first.fingerprint:
            raise CaseError(
                f"cohort {name!r} is the name of two data sets, {first.spec} and {other.spec}, and their runs could "
                "not be told apart; start again with one of them, or give them different numbers of cases"
            )
    return first.spec


def spec_of(path: Path) -> str:
    """The spec of a folder or a table, by what lies there."""
    if path.suffix == ".csv":
        return f"table:{path}"
    description = path / "dataset.json"
    if not description.is_file():
        return f"brats:{path}"
    apart = any(path.glob("imagesTr/*_0000.nii*")) or "channel_names" in description.read_text(errors="replace")
    return f"nnunet:{path}" if apart else f"msd:{path}"


def _learn(specs: str) -> list[CaseError]:
    """Learn the names of the cohorts of a list of specs; returns why some could not be opened."""
    faults = []
    for spec in filter(None, map(str.strip, specs.split(";"))):
        try:
            _open(spec)
        except CaseError as error:
            faults.append(error)
    return faults


def reader_of(spec: str) -> ModuleType:
    """The module that reads a spec's kind.

    Raises:
        CaseError: no such kind.
    """
    kind = spec.partition(":")[0]
    if kind not in KINDS:
        raise CaseError(f"cohort {spec!r}: unknown kind {kind!r}; use one of {', '.join(KINDS)}, as in brats:PATH")
    return import_module(f"gbmlib.cohorts.{KINDS[kind]}")


def _open(spec: str) -> Cohort:
    reader, path = reader_of(spec), spec.partition(":")[2]
    cohort = layouts.cohort(reader.scan(path)) if hasattr(reader, "scan") else reader.cohort(path)
    _opened.setdefault(cohort.name, {})[cohort.spec] = cohort
    return cohort
