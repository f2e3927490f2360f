"""The meaning of names of modalities, labels and cases. One place for the synonyms of all layouts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from gbmlib.cohorts.cohort import GLIOMA
from gbmlib.cohorts.problems import CaseError
from gbmlib.files import few

#: The images of a glioma, in the internal order, and what they are called; compared without case and separators.
MODALITIES = {
    "flair": ("flair", "t2f", "t2flair"),
    "t1": ("t1", "t1w", "t1n", "t1pre"),
    "t1ce": ("t1ce", "t1c", "t1gd", "t1gad", "t1post", "t1contrast", "t1wce", "t1wgd", "t1wpost", "cet1", "gdt1"),
    "t2": ("t2", "t2w"),
}
SYNONYMS = {synonym: modality for modality, synonyms in MODALITIES.items() for synonym in synonyms}

#: Last words of file names that may be labels; asked about, since masks of the brain are called so too.
_LABELS = {"mask", "label", "labels", "segmentation", "segm", "gt", "groundtruth", "roi", "lesion", "tumor", "tumour"}

#: CT, CTA, "CT venous", CBCT, "Computed Tomography"; but cT1 is MR, and PET/CT may be either of the two.
_CT = re.compile(r"(?<![a-z])(cb|ce|hr|ld|md|nc|ne)?ct(?![12])|comput\w*[ _-]?(assisted|axial)?[ _-]?tomogra")
_PERHAPS_CT = re.compile(r"(?<![a-z])(pet)?ct|tomogra")
_NOT_CT = re.compile(r"pet|emission|optical|coherence")

#: Words in a label's name and the internal value; a name must match exactly one.
_MEANINGS = {r"non.?enhanc|necro": 1, r"o?edema": 2, r"(?<!non)(?<!non.)enhanc": 3}

_VISIT = re.compile(r"(brats-[a-z]+-\d+)-\d{3}|(brats1[789]_.+)_\d+|(.*pat\d+)_\d+", re.IGNORECASE)

#: Cases of the Decathlon's Task01, by number, that are the same scan or patient.
_PAIRS = {"290": "007", "275": "001", "293": "002", "278": "010", "288": "013", "280": "015"}


@dataclass(frozen=True)
class Convention:
    """A convention of label files: each value of a file to the internal one, the internal meanings, and a sentence."""

    values: Mapping[int, int]
    labels: Mapping[int, str]
    text: str


def modality(name: str) -> str | None:
    """The glioma's modality that a name means: "t1ce" for ``T1-Gd``; None where it means none."""
    return SYNONYMS.get(re.sub(r"[\s_+.-]", "", name.lower()))


def channels(names: Mapping[int, str], glioma: bool, source: Path) -> dict[str, int]:
    """Channel names, lower-cased, to their index; of a glioma the internal names, in the internal order.

    Raises:
        CaseError: two channels of one name; ``source`` is the file that names them.
    """
    named = [names[number].strip().lower() for number in sorted(names)]
    if glioma:
        named = [modality(name) or name for name in named]
    if len(set(named)) < len(named):
        raise CaseError(f"{source} cannot be used: give each channel a name of its own, not {few([*names.values()])}")
    order = [name for name in MODALITIES if name in named] if glioma else []
    return {name: named.index(name) for name in [*order, *(name for name in named if name not in order)]}


def kind(name: str) -> str:
    """``"CT"`` or ``"MR"`` (which stands for all that is not CT), from a modality's name."""
    return "CT" if _CT.search(name.lower()) and not _NOT_CT.search(name.lower()) else "MR"


def perhaps_ct(name: str) -> bool:
    """Whether a name that is not read as CT might mean it, as "PET/CT" does."""
    name = name.lower()
    return kind(name) == "MR" and bool(_PERHAPS_CT.search(name)) and not re.search(r"emission|optical|coherence", name)


def likely(stem: str) -> str:
    """What the name of an image file that is not read seems to mean: a modality, "label" or nothing."""
    words = re.split(r"[\s_.-]+", stem.lower())
    if words[-1] in _LABELS:
        return "" if "brain" in words else "label"
    return next((SYNONYMS[near] for near in get_close_matches(words[-1], SYNONYMS, 1, 0.75)), "")


def convention(names: Mapping[int, str], release: str, source: Path) -> Convention:
    """The convention of labels by their names: a glioma's are brought to the internal one, others kept as they are.

    Args:
        names: of the values, with or without the background's.
        release: what the convention is called after.
        source: the file that names the labels.

    Raises:
        CaseError: no label has a name, a value that is not from 1 to 255, or two labels of one name.
    """
    labels = {value: names[value] for value in sorted(names) if value}
    lowered = [name.strip().lower() for name in labels.values()]
    twice = sorted({name for name in lowered if lowered.count(name) > 1})
    if not labels or max(labels) > 255 or min(labels) < 0:
        values = f"{few([str(value) for value in labels])}, not" if labels else "no value"
        raise CaseError(f"{source} cannot be used: labels name {values} from 1 to 255; correct it")
    if twice:
        raise CaseError(f"{source} cannot be used: two labels are called {few(twice)}; give each a name of its own")
    meanings = {value: _meaning(name) for value, name in labels.items()}
    listing = ", ".join(f"{value} {name}" for value, name in labels.items())
    if set(meanings.values()) == set(GLIOMA):
        # The value that stands for the internal one when writing comes first; see FileCase.values.
        changes = "".join(f"; {value} becomes {meaning}" for value, meaning in meanings.items() if value != meaning)
        return Convention({0: 0, **meanings}, GLIOMA, f"{release}, brain tumours: {listing}{changes}")
    return Convention({value: value for value in (0, *labels)}, labels, f"{release}: {listing}; kept as they are")


def patient_of(case_id: str) -> str:
    """The patient behind a glioma's case id: without the number of the visit, where the release's ids carry one."""
    start, _, number = case_id.rpartition("_")
    if start.upper() == "BRATS" and number in _PAIRS:
        return f"{start}_{_PAIRS[number]}"
    match = _VISIT.fullmatch(case_id)
    return next(filter(None, match.groups())) if match else case_id


def _meaning(name: str) -> int | None:
    """The internal value of glioma that a label's name means, if it means exactly one."""
    values = [value for words, value in _MEANINGS.items() if re.search(words, name.lower())]
    return values[0] if len(values) == 1 else None
