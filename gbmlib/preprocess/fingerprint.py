"""Fingerprints of data sets for the planner: the sizes of the cases, their spacings and their intensities.

A fingerprint is measured once (:func:`fingerprint`), kept as JSON, and is all that ``planner.plan`` reads,
so a reader plans for a data set whose images lie elsewhere.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gbmlib.cohorts import Case, CaseError, Cohort, open_cohort
from gbmlib.files import written
from gbmlib.preprocess import normalise, pipeline

KINDS = ("MR", "CT")

#: More voxels than this along an axis, or more cases: somebody mixed up units.
LARGEST, MOST = 100_000, 10_000_000


@dataclass(frozen=True)
class Intensities:
    """Intensities of one channel over every foreground voxel of every case (Isensee et al. 2018, section 2.2).

    Attributes:
        low, high: the 0.5 and 99.5 percentiles, interpolated linearly.
        mean, deviation: of all of them, the deviation divided by n.
    """

    low: float
    high: float
    mean: float
    deviation: float


@dataclass(frozen=True)
class Fingerprint:
    """A data set in numbers.

    One shape and one spacing with ``cases=`` stand for a data set of which the medians alone are known, such as the
    seven of Isensee et al. (2018, table 1).

    Attributes:
        shapes: (z, y, x) of each case in voxels, after cropping to what is not zero.
        spacings: (z, y, x) of each case in mm.
        kinds: ``"MR"`` or ``"CT"`` for each channel.
        cases: how many training cases there are; by default as many as shapes.
        labels: how many classes there are, background not counted.
        kept: voxels after cropping over voxels before, both summed over the cases; None: not measured.
        intensities: for each channel those of a CT, None for any other; empty: not measured.
        name: of the data set.
        note: where the numbers come from, and under which licence.
        digest: of the data (``Cohort.fingerprint``): a published fingerprint is of these alone; empty: not known.

    Raises:
        ValueError: everything that is wrong with these, in one message.
    """

    shapes: tuple[tuple[int, int, int], ...]
    spacings: tuple[tuple[float, float, float], ...]
    kinds: tuple[str, ...] = ("MR",)
    cases: int | None = None
    labels: int = 1
    kept: float | None = None
    intensities: tuple[Intensities | None, ...] = ()
    name: str = ""
    note: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            where = f"the fingerprint {self.name}".rstrip()
            raise ValueError(f"{where} is no data set:" + "".join(f"\n- {problem}" for problem in problems))
        put = object.__setattr__  # frozen for everybody else
        put(self, "shapes", tuple(tuple(int(size) for size in shape) for shape in self.shapes))
        put(self, "spacings", tuple(tuple(float(step) for step in spacing) for spacing in self.spacings))
        put(self, "kinds", tuple(self.kinds))
        put(self, "cases", len(self.shapes) if self.cases is None else int(self.cases))
        put(self, "intensities", tuple(self.intensities))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """The median spacing (z, y, x) in mm, each axis by itself: what every case is resampled to."""
        return tuple(float(step) for step in np.median(np.array(self.spacings), axis=0))

    @property
    def median_shape(self) -> tuple[int, int, int]:
        """The median (z, y, x) over cases of what they measure at the median spacing; a half goes to the even number.

        A ratio that is whole but for the noise of floating point counts as whole.
        """
        at_median = np.array(self.shapes) * (np.array(self.spacings) / np.array(self.spacing))
        rounded = np.maximum(np.rint(np.round(at_median, 6)), 1)
        return tuple(round(size) for size in np.median(rounded, axis=0).tolist())

    def to_json(self) -> str:
        """As JSON, a case a line."""
        values = dataclasses.asdict(self)
        cases = {key: values.pop(key) for key in ("shapes", "spacings")}
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in values.items()]
        for key, rows in cases.items():
            lines.append(f'  "{key}": [\n' + ",\n".join(f"    {json.dumps(row)}" for row in rows) + "\n  ]")
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """Read what :meth:`to_json` gave.

        Raises:
            ValueError: no JSON, entries that are unknown or missing, or values that are no data set's.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ValueError(f"a fingerprint is JSON, but this cannot be read: {error}") from error
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) - known or not {"shapes", "spacings"} <= set(values):
            has = sorted(values) if isinstance(values, dict) else type(values).__name__
            raise ValueError(f"a fingerprint has shapes and spacings, and of {sorted(known)} no other; this has {has}")
        several = values.get("intensities") or ()
        try:
            values["intensities"] = tuple(values and Intensities(**values) for values in several)
        except TypeError as error:
            raise ValueError(f"intensities: {error}; each is null, or has low, high, mean and deviation") from error
        return cls(**values)

    def write(self, path: str | Path) -> Path:
        """Write it as JSON, whole or not at all; returns the path."""
        with written(path) as unfinished:
            unfinished.write_text(self.to_json(), encoding="utf-8")
        return Path(path)

    @classmethod
    def read(cls, path: str | Path) -> Fingerprint:
        """Read a file that :meth:`write` wrote.

        Raises:
            ValueError: as :meth:`from_json`, with the file's name.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def fingerprint(cohort: Cohort, progress: bool = True) -> Fingerprint:
    """Measure the training cases of a cohort: those that have a label. Images are read one after another, CT twice.

    Raises:
        CaseError: no case has a label; cases that cannot be read or are zero throughout, all of them together; CT
            without a labelled voxel.
    """
    kinds = cohort.modality_kinds or ("MR",) * len(cohort.modalities)
    labelled = cohort.labelled
    if not labelled:
        raise CaseError(f"cohort {cohort.name} has no case with a label, so there is nothing to plan a training for")
    shapes, faults = [], []
    for case in tqdm(labelled, "fingerprint", unit="case", disable=not progress, leave=False):
        try:
            box = pipeline.nonzero_box(case.images(), case.id)
        except CaseError as error:
            faults.append(str(error))
        else:
            shapes.append(tuple(side.stop - side.start for side in box))
    if faults:
        raise CaseError("\n".join(faults))
    before = sum(math.prod(case.shape) for case in labelled)
    return Fingerprint(
        shapes=tuple(shapes),
        spacings=tuple(case.spacing for case in labelled),
        kinds=kinds,
        labels=len(cohort.labels),
        kept=round(sum(map(math.prod, shapes)) / before, 6),
        intensities=_intensities(labelled, kinds) if "CT" in kinds else (),
        name=cohort.name,
        digest=cohort.fingerprint,
    )


def _intensities(cases: Sequence[Case], kinds: Sequence[str]) -> tuple[Intensities | None, ...]:
    """Intensities of the channels that are CT, as ``preprocess.normalise.statistics`` has them."""
    ct = normalise.statistics(cases, "ct")
    rows = np.stack([ct.low, ct.high, ct.mean, ct.deviation])[:, :, 0, 0, 0].T.tolist()
    return tuple(Intensities(*row) if kind == "CT" else None for kind, row in zip(kinds, rows, strict=True))


def path_of(cohort_name: str, folder: str | Path) -> Path:
    """Where the published fingerprint of a cohort lies, if it does."""
    return Path(folder) / f"fingerprint-{cohort_name}.json"


def publish(spec: str, folder: str | Path) -> Path:
    """Measure a cohort and write its fingerprint into a folder of published records, whole or not at all."""
    measured = fingerprint(open_cohort(spec))
    return measured.write(path_of(measured.name, folder))


def _problems(data: Fingerprint) -> list[str]:
    """The problems of a fingerprint's values."""
    wrong = []
    if not len(data.shapes):
        wrong.append("shapes is empty; give one (z, y, x) for each case, or the median and cases=")
    if len(data.shapes) != len(data.spacings):
        wrong.append(
            f"there are {len(data.shapes)} shapes and {len(data.spacings)} spacings; give one of each for a case"
        )
    fault = _first(data.shapes, lambda size: size == int(size) and 1 <= size <= LARGEST)
    if fault is not None:
        wrong.append(
            f"shapes[{fault}] is {data.shapes[fault]}; it takes three whole numbers of voxels, 1 to "
            f"{LARGEST:,} (z, y, x)"
        )
    fault = _first(data.spacings, lambda step: math.isfinite(step) and 1e-6 <= step <= 1e6)
    if fault is not None:
        wrong.append(f"spacings[{fault}] is {data.spacings[fault]}; it takes three positive numbers of mm (z, y, x)")
    if not data.kinds or isinstance(data.kinds, str) or any(kind not in KINDS for kind in data.kinds):
        wrong.append(f"kinds is {data.kinds!r}; it takes 'MR' or 'CT' for each channel, as in kinds=('MR', 'MR')")
    if data.cases is not None and not (_whole(data.cases) and max(1, len(data.shapes)) <= data.cases <= MOST):
        wrong.append(f"cases is {data.cases!r}; it takes a whole number, of shapes ({len(data.shapes)}) or more")
    if not _whole(data.labels) or not 1 <= data.labels <= 255:
        wrong.append(f"labels is {data.labels!r}; it takes the number of classes without the background, 1 to 255")
    if data.kept is not None and not 0 < data.kept <= 1:
        wrong.append(f"kept is {data.kept!r}; it takes the share of voxels that cropping keeps, over 0 and at most 1")
    if data.intensities and len(data.intensities) != len(data.kinds):
        wrong.append(f"there are intensities of {len(data.intensities)} channels and kinds of {len(data.kinds)}")
    return wrong


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _first(rows: Iterable[Any], is_right: Any) -> int | None:
    """The number of the first row that is not three values of the right kind."""
    for number, row in enumerate(rows):
        try:
            right = len(row) == 3 and all(is_right(value) for value in row)
        except (TypeError, ValueError):
            right = False
        if not right:
            return number
    return None
