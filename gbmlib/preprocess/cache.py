"""Prepared cases on disk, mapped into memory: a training begins at once, and what fits no memory is read as needed.

An entry is a folder with ``images.npy``, ``label.npy`` where there is a label, and ``entry.json``. Its name is the
case's id and a digest of all that decides the result: the content of the case's files, every parameter of
``preprocess.pipeline.prepare``, and the version of the numerics. So nothing is ever out of date.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

import gbmlib
from gbmlib.cohorts import Case
from gbmlib.files import written
from gbmlib.preprocess import pipeline
from gbmlib.preprocess.grids import Prepared
from gbmlib.preprocess.normalise import Statistics

#: Bumped by hand whenever an entry is laid out otherwise, or preparing gives other voxels for the same parameters.
FORMAT = 1

ENTRY = "entry.json"


def prepared(case: Case, folder: str | Path, **how: Any) -> Prepared:
    """``preprocess.pipeline.prepare`` with ``how`` as its parameters, from disk where it was done before.

    Of two processes that ask for a case at once, one prepares it and the other waits.

    Args:
        folder: of the cache; made where it is missing. Any number of cohorts and parameters share one.

    Returns:
        The same, bit for bit; its arrays are mapped to the files, copy-on-write: what is written into them stays in
        this process and never reaches the disk.

    Raises:
        CaseError, ValueError: as ``prepare``.
        OSError: the folder cannot be written to.
        TypeError: a parameter that ``prepare`` does not have.
    """
    entry = Path(folder) / f"{_plain(case.id)}-{key_of(case, **how)}"
    cached = _open(entry)
    if cached is not None:
        return cached
    entry.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(entry.with_name(f".{entry.name}.lock")):
        cached = _open(entry)  # by another process, while this one waited
        if cached is None:
            _write(entry, pipeline.prepare(case, **how))
            cached = _open(entry)
    if cached is None:
        raise OSError(f"{entry} was written and cannot be read back; check the disk, or choose another folder")
    return cached


def key_of(case: Case, **how: Any) -> str:
    """The digest of all that decides what ``preprocess.pipeline.prepare`` makes of a case with these parameters."""
    bound = inspect.signature(pipeline.prepare).bind(case, **how)
    bound.apply_defaults()
    decides = {name: _plain_json(value) for name, value in bound.arguments.items() if name != "case"}
    decides |= {"content": case.content(), "format": FORMAT, "numerics": gbmlib.NUMERICS}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:20]


def _write(entry: Path, case: Prepared) -> None:
    header = {
        "id": case.id,
        "box": [[side.start, side.stop] for side in case.box],
        "native_shape": list(case.native_shape),
        "axes": list(case.axes),
    }
    with written(entry) as folder:
        folder.mkdir()
        np.save(folder / "images.npy", case.images)
        if case.label is not None:
            np.save(folder / "label.npy", case.label)
        (folder / ENTRY).write_text(json.dumps(header, indent=1))


def _open(entry: Path) -> Prepared | None:
    """The prepared case of an entry; None where there is none, or where files are missing or cut short."""
    try:
        header = json.loads((entry / ENTRY).read_text())
        images = np.load(entry / "images.npy", mmap_mode="c")
        label = np.load(file, mmap_mode="c") if (file := entry / "label.npy").exists() else None
        box, axes = tuple(slice(*ends) for ends in header["box"]), tuple(header["axes"])
        return Prepared(header["id"], images, label, box, tuple(header["native_shape"]), axes)
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _plain_json(value: Any) -> Any:
    """A parameter as JSON; parameters of equal meaning give equal JSON."""
    if isinstance(value, Statistics):
        return {name: [array.shape, _digest(array)] for name, array in value.arrays().items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, np.float32).tobytes()).hexdigest()


def _plain(name: str) -> str:
    """A case's id as part of a file name, whatever it is."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)[:80]
