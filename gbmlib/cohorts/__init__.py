"""Cohorts: sets of cases with one set of modalities and one label convention.

A cohort is opened by a *spec*: ``phantom:cases=24,spacing=3,seed=0``, ``brats:PATH``, ``msd:PATH``, ``nnunet:PATH`` or
``table:PATH.csv`` (``cohorts.layouts``); one that was packed to travel (``cohorts.packed``) by ``packed:PATH``. Its
*name* says what it is without saying where it lies (``brats2018-19``), so a configuration that holds a name means the
same on every machine. A name that holds no path (phantoms) opens by itself; any other opens once :func:`open_cohort`
has seen its spec in this process, or when the environment variable ``GBM_COHORTS`` lists the spec (several: separated
by ``;``).
"""

from gbmlib.cohorts.case import Case, FileCase, ImageFile
from gbmlib.cohorts.check import check
from gbmlib.cohorts.cohort import GLIOMA, Cohort
from gbmlib.cohorts.opening import open_cohort, place_of
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
