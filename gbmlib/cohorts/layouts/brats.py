"""Cohorts in the BraTS layouts, as released from 2017 on.

Two families of file names, each in any folders below the root (``HGG``/``LGG``, one folder a case, or none):

- ``ID_flair, ID_t1, ID_t1ce, ID_t2, ID_seg`` (2017 to 2021; .nii.gz, in 2019 and 2020 also .nii). Labels 1, 2, 4; or
  1, 2, 3, 4, the values of 2015, of which 3 (non-enhancing) is merged into 1 as the challenge did in 2017.
- ``ID-t2f, ID-t1n, ID-t1c, ID-t2w, ID-seg`` (2023 and later). Labels 1, 2, 3. The challenges for which 3 is the
  enhancing tumour are read; post-treatment labels (2024: 4 is the resection cavity) are refused.

The name of a cohort has its year where all ids begin alike: ``Brats17_``, ``Brats18_``, ``BraTS19_``, ``BraTS20_``,
``BraTS2021_``, ``BraTS-GLI-`` (2023); else it is plain ``brats``. Then follows the number of labelled cases.

Synonyms such as ``ID_t1gd`` (``naming.MODALITIES``) belong to neither family; a case that mixes the families is a
hospital's own, with the labels of the first. A file without an ID, ``flair.nii.gz``, has its folder's name for one.

A cohort has the modalities that any of its cases has, and every case must have all of these.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

from gbmlib.cohorts import layouts
from gbmlib.cohorts.case import FileCase, ImageFile
from gbmlib.cohorts.cohort import GLIOMA
from gbmlib.cohorts.layouts import Layout, naming
from gbmlib.cohorts.layouts.naming import Convention, patient_of
from gbmlib.cohorts.problems import CaseError, Problem
from gbmlib.files import few

MODALITIES = tuple(naming.MODALITIES)

#: The two families by their name for t1ce: what joins id and name, and the names in the order of MODALITIES.
FAMILIES = {
    "t1ce": ("_", ("flair", "t1", "t1ce", "t2")),
    "t1c": ("-", ("t2f", "t1n", "t1c", "t2w")),
}

YEARS = {"brats17_": 2017, "brats18_": 2018, "brats19_": 2019, "brats20_": 2020, "brats2021_": 2021, "brats-gli-": 2023}

#: Challenges of 2023 and later whose label 3 is enhancing tumour: adult and African glioma, metastases, meningioma.
#: Paediatric labels changed their meaning from one year to the next, so they are refused.
CHALLENGES = ("GLI", "SSA", "MET", "MEN")

#: So many labels with an enhancing tumour, and no 3, tell the values of 2017 from those of 2015.
ENOUGH = 5

_FAMILY = {name: family for family, (_, names) in FAMILIES.items() for name in names}
_NAMES = "|".join(re.sub("^(t[12])(?=.)", r"\1[_ -]?", name) for name in naming.SYNONYMS)
_FILE = re.compile(rf"((?P<id>.+?)[_-])?(?P<name>{_NAMES}|seg)\.nii(\.gz)?", re.IGNORECASE)


def scan(path: str) -> Layout:
    """The layout of a folder, complete or not.

    Raises:
        CaseError: no such folder, no BraTS files in it, or files of both families.
    """
    root = layouts.existing(path, "brats")
    files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    families: dict[str, dict[str, Path]] = defaultdict(dict)
    strays, hollow = [], []
    for folder, folders, names in layouts.walk(root):
        if not names and not folders:
            hollow.append(folder)
        for name in names:
            match = _FILE.fullmatch(name)
            if match:
                case_id = match["id"] or folder.name
                files[case_id][naming.modality(match["name"]) or "label"].append(folder / name)
                if family := _FAMILY.get(match["name"].lower()):
                    families[case_id].setdefault(family, folder / name)
            elif layouts.is_image(name):
                strays.append(folder / name)
    if not any(modality in of_case for of_case in files.values() for modality in MODALITIES):
        raise _wrong_place(path, root)
    family = _family(path, families.values())
    strays = _adopt(strays, files)
    # A hospital's own set may have two of the four throughout; what one case has, all must have.
    modalities = tuple(name for name in MODALITIES if any(name in of_case for of_case in files.values()))
    joint, names = FAMILIES[family]
    expected = ", ".join(f"ID{joint}{name}" for name in (*names, "seg"))
    problems = [
        problem for case_id in sorted(files) for problem in _faults(case_id, files[case_id], family, modalities)
    ]
    return Layout(
        kind="brats",
        place=root,
        family=_family_name(files),
        cases=tuple(_case(case_id, files[case_id]) for case_id in sorted(files)),
        modalities=modalities,
        problems=(
            *problems,
            *_nothing_in(hollow, files),
            *_mixture(root, files),
            *layouts.unread(root, strays, expected),
        ),
        recognise=partial(recognise, family, tuple(files)),
        skull_stripped=True,
    )


def _family(path: str, families: Collection[Mapping[str, Path]]) -> str:
    """The family of file names, from a file of each family in each case; that of 2017 where a case mixes them."""
    examples = {family: file for of_case in families for family, file in of_case.items()}
    if len(examples) > 1 and all(len(of_case) == 1 for of_case in families):
        raise CaseError(
            f"brats:{path} holds files of two releases that name and label differently: "
            f"{' and '.join(map(str, examples.values()))}; "
            "open the folder of one release, and the other as a cohort of its own"
        )
    return next(iter(examples)) if len(examples) == 1 else "t1ce"


def recognise(family: str, ids: Iterable[str], labels: Iterable[tuple[str, frozenset[int]]]) -> Convention:
    """The label convention of a cohort, from its file names and the values of its labels.

    No more labels are taken than needed: five that hold an enhancing tumour, or all where fewer do.

    Raises:
        CaseError: the values fit no convention, or more than one.
    """
    enhancing, other = (4, 3) if family == "t1ce" else (3, 4)
    others = {match[1] for match in (re.match(r"BraTS-([A-Z]+)-", name) for name in ids) if match} - set(CHALLENGES)
    seen: dict[str, frozenset[int]] = {}
    for case_id, values in () if others else labels:
        seen[case_id] = values
        clear = sum(enhancing in held for held in seen.values())
        if {3, 4} <= values or (clear >= ENOUGH and not any(other in held for held in seen.values())):
            break
    fault = _challenges(others) or _misfit(family, seen, enhancing)
    if fault:
        raise CaseError(f"label convention not recognised: {fault}")
    if any({3, 4} <= values for values in seen.values()):
        text = "BraTS 2015: 1 necrotic, 2 oedema, 3 non-enhancing, 4 enhancing; 3 is merged into 1, 4 becomes 3"
        return Convention({0: 0, 1: 1, 2: 2, 3: 1, 4: 3}, GLIOMA, text)
    if not seen:
        evidence = " (by the file names: no case has a label)"
    else:
        evidence = "" if _holders(seen, enhancing) else f" (by the file names: no label has {enhancing})"
    structures = f"1 necrotic and non-enhancing core, 2 oedema, {enhancing} enhancing tumour"
    if family == "t1ce":
        text = f"BraTS 2017 to 2021: {structures}; 4 becomes 3"
    else:
        text = f"BraTS 2023 and later: {structures}; kept as they are"
    return Convention({0: 0, 1: 1, 2: 2, enhancing: 3}, GLIOMA, text + evidence)


def _challenges(others: Collection[str]) -> str:
    """Why the labels of other challenges are refused; empty where there are none."""
    if not others:
        return ""
    return (
        f"the meaning of label values in the BraTS challenges {sorted(others)} is not that of glioma or changed "
        f"between years; known here are {list(CHALLENGES)}. Convert the labels to 1 necrotic and non-enhancing, 2 "
        "oedema, 3 enhancing, under names without that prefix"
    )


def _misfit(family: str, seen: dict[str, frozenset[int]], enhancing: int) -> str:
    """Why the values of labels fit no convention of a family of file names; empty where they do."""
    values = frozenset().union(*seen.values())
    both = [case_id for case_id, held in seen.items() if {3, 4} <= held]
    if family == "t1c" and 4 in values:
        return (
            f"the labels of {_holders(seen, 4)} hold 4. Files named -t1c (2023 and later) have 1, 2 and 3; a 4 is the "
            "resection cavity in the post-treatment data of 2024, or the enhancing tumour of 2017 to 2021 under new "
            "names. Take those cases out, or convert 4 to the value that it means"
        )
    if any(re.match(r"BraTS-[A-Z]+-", case_id) for case_id in both):
        return (
            f"the labels of {few(both)} hold 3 and 4 under ids of 2023 and later but file names of 2017 to 2021; a 4 "
            "is the resection cavity in the one and the enhancing tumour in the other. Give the files the names of "
            "their release"
        )
    if family == "t1ce" and 3 in values and 4 not in values:
        return (
            f"the labels of {_holders(seen, 3)} hold 3 but none holds 4. Files named _t1ce (2017 to 2021) have 4 for "
            "the enhancing tumour, and 3, besides 4, only with the values of 2015; a 3 without a 4 may be enhancing "
            "(2023 and later) or non-enhancing (2015). Convert 3 to the value that it means: 4 if enhancing, 1 if not"
        )
    if values & {1, 2, enhancing} == {1}:
        return (
            f"no label holds a value but 1 ({_holders(seen, 1)}), as masks of the whole tumour do; needed are 1 "
            f"necrotic and non-enhancing, 2 oedema, {enhancing} enhancing"
        )
    return ""


def _holders(seen: dict[str, frozenset[int]], value: int) -> str:
    return few([case_id for case_id, values in seen.items() if value in values])


def _case(case_id: str, files: dict[str, list[Path]]) -> FileCase:
    images = {modality: ImageFile(files[modality][0]) for modality in MODALITIES if modality in files}
    return FileCase(case_id, patient_of(case_id), images, files["label"][0] if "label" in files else None)


def _faults(case_id: str, files: dict[str, list[Path]], family: str, modalities: tuple[str, ...]) -> list[Problem]:
    joint, names = FAMILIES[family]
    some = next(iter(files.values()))[0]
    problems = [_rivals(case_id, modality, paths) for modality, paths in files.items() if len(paths) > 1]
    for modality, name in zip(MODALITIES, names, strict=True):
        if modality in modalities and modality not in files:
            expected = some.parent / f"{case_id}{joint}{name}.nii{'.gz' if some.suffix == '.gz' else ''}"
            remedy = "fetch the file, or take the case's other files out of the folder"
            problems.append(Problem(case_id, expected, "error", f"{modality} is missing", remedy))
    return problems


def _rivals(case_id: str, modality: str, paths: list[Path]) -> Problem:
    """Several files for one volume: harmless if they are one file, packed and unpacked side by side."""
    others = " and ".join(map(str, paths[1:]))
    if len({path.parent for path in paths}) == 1 and len({_checksum(path) for path in paths}) == 1:
        return Problem(case_id, paths[0], "note", f"{modality} is there twice, also as {others}", "remove one of them")
    what = f"{modality} is claimed by other files too: {others}"
    return Problem(case_id, paths[0], "error", what, "keep the right file, and one folder a case")


def _checksum(path: Path) -> bytes:
    """CRC and size of the content, packed or not: gzip's trailer, or the same made from a plain file."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        return content[-8:]
    return zlib.crc32(content).to_bytes(4, "little") + (len(content) % 2**32).to_bytes(4, "little")


def _adopt(strays: list[Path], files: dict[str, dict[str, list[Path]]]) -> list[Path]:
    """Give a label that was released under its scanner's name (2020, case 355: W39_…_Segm.nii) to its folder's case.

    Returns:
        The files that stay strays.
    """
    homes = defaultdict(set)
    for case_id, of_case in files.items():
        for path in (path for paths in of_case.values() for path in paths):
            homes[path.parent].add(case_id)
    rest = []
    for stray in strays:
        case_id = min(homes[stray.parent], default="")
        alone = len(homes[stray.parent]) == 1 and "label" not in files[case_id]
        if alone and layouts.stem(stray.name).lower().endswith("_segm"):
            files[case_id]["label"].append(stray)
        else:
            rest.append(stray)
    return rest


def _nothing_in(hollow: list[Path], files: dict[str, dict[str, list[Path]]]) -> list[Problem]:
    """An empty folder beside the folders of cases is a case that was not unpacked."""
    beside = {paths[0].parent.parent for of_case in files.values() for paths in of_case.values()}
    remedy = "unpack the case again, or remove the folder"
    return [
        Problem(folder.name, folder, "error", "the folder is empty: all modalities are missing", remedy)
        for folder in hollow
        if folder.parent in beside and folder.name not in files
    ]


def _years(ids: Iterable[str]) -> set[int | None]:
    return {next((year for start, year in YEARS.items() if name.lower().startswith(start)), None) for name in ids}


def _family_name(ids: Iterable[str]) -> str:
    years = _years(ids)
    return f"brats{years.pop() or ''}" if len(years) == 1 else "brats"


def _mixture(root: Path, ids: Iterable[str]) -> list[Problem]:
    years = sorted(filter(None, _years(ids)))
    if len(years) < 2:
        return []
    what = f"holds cases of several releases ({', '.join(map(str, years))}), which share patients under other names"
    return [Problem("", root, "warning", what, "open one release at a time, or folds may leak between patients")]


def _wrong_place(path: str, root: Path) -> CaseError:
    files = [folder / name for folder, _, names in layouts.walk(root) for name in names]
    tasks = [file.parent for file in files if file.name == "dataset.json"]
    if tasks:
        advice = f"it has the Decathlon's layout: open {' or '.join(f'msd:{task}' for task in tasks[:12])}"
    elif any(file.name.endswith(".mha") for file in files):
        advice = "the .mha files of BraTS 2012 to 2015 have to be converted to NIfTI under these names first"
    elif any(file.name.endswith((".zip", ".tar", ".tar.gz", ".tgz")) for file in files):
        advice = "unpack its archives first"
    else:
        advice = f"it holds {layouts.listing(root)}"
    return CaseError(f"brats:{path}: no files named ID_flair.nii.gz … or ID-t2f.nii.gz … in {root}; {advice}")
