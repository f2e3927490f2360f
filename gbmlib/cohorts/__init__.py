"""Cohorts: sets of cases with one set of modalities and one label convention.

A cohort is opened by a *spec*: ``phantom:cases=24,spacing=3,seed=0``, ``brats:PATH`` or ``msd:PATH``; one that was
packed to travel (``cohorts.packed``) by ``packed:PATH``. Its *name* says
what it is without saying where it lies (``brats2018-19``), so a configuration that holds a name means the same on
every machine. A name that holds no path (phantoms) opens by itself; any other opens once :func:`open_cohort` has seen
its spec in this process, or when the environment variable ``GBM_COHORTS`` lists the spec (several: separated by ``;``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from gbmlib.cohorts.case import Case, FileCase, ImageFile
from gbmlib.cohorts.check import check
from gbmlib.cohorts.cohort import GLIOMA, Cohort
from gbmlib.cohorts.problems import CaseError, Problem, Report

__all__ = [
    "GLIOMA",
    "Case",
    "CaseError",
    "Cohort",
    "FileCase",
    "ImageFile",
    "Problem",
    "Report",
    "check",
    "open_cohort",
    "place_of",
]

_places: dict[str, str] = {}


def open_cohort(spec: str, modalities: Sequence[str] | None = None) -> Cohort:
    """Open a cohort by its spec or by a name that is known here.

    Args:
        spec: ``kind:rest`` as above, or a name.
        modalities: keep only these channels, in this order; all by default.

    Raises:
        CaseError: no such kind, folder or name; modalities that the cohort lacks; an unknown label convention.
    """
    cohort = _open(place_of(spec))
    _places[cohort.name] = cohort.spec
    return cohort if modalities is None else cohort.with_modalities(modalities)


def place_of(name: str) -> str:
    """The spec behind a cohort's name; a spec is returned as it is."""
    if ":" in name:
        return name
    failed = [] if name in _places else _learn(os.environ.get("GBM_COHORTS", ""))
    if name not in _places:
        raise CaseError(
            f"cohort {name!r} is the name of a data set that this process has not opened; open it by its place "
            f"(brats:PATH or msd:PATH) first, or list that place in GBM_COHORTS. Known here: {sorted(_places)}"
            + "".join(f"\nGBM_COHORTS: {error}" for error in failed)
        )
    return _places[name]


def _learn(specs: str) -> list[CaseError]:
    """Learn the names of the cohorts of a list of specs; returns why some could not be opened."""
    failed = []
    for spec in filter(None, map(str.strip, specs.split(";"))):
        try:
            cohort = _open(spec)
        except CaseError as error:
            failed.append(error)
        else:
            _places.setdefault(cohort.name, cohort.spec)
    return failed


def _open(spec: str) -> Cohort:
    kind, _, rest = spec.partition(":")
    if kind == "phantom":
        from gbmlib.cohorts import phantom

        return phantom.cohort(rest)
    if kind == "brats":
        from gbmlib.cohorts import brats

        return brats.cohort(rest)
    if kind == "msd":
        from gbmlib.cohorts import decathlon

        return decathlon.cohort(rest)
    if kind == "packed":
        from gbmlib.cohorts import packed

        return packed.cohort(rest)
    raise CaseError(f"cohort {spec!r}: unknown kind {kind!r}; use phantom:…, brats:PATH, msd:PATH or packed:PATH")
