"""Prepared cases on disk, mapped into memory: a training begins at once, and what fits no memory is read as needed.

An entry is a folder with ``images.npy``, ``label.npy`` where there is a label, and ``entry.json``. Its name is the
case's id and a digest of all that decides the result: the content of the case's files, every parameter of
``preprocess.pipeline.prepare``, and the version of the numerics. So nothing is ever out of date; what is no longer
asked for lies there until :func:`clear`.

An entry appears whole or not at all; of two processes that ask for one at once, one makes it and the other waits. Each
time an entry is opened its checksums are verified, and what is damaged is made anew.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import inspect
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout

import gbmlib
from gbmlib.cohorts import Case, FileCase, layout
from gbmlib.cohorts.phantom import GENERATOR, PhantomCase
from gbmlib.preprocess import pipeline
from gbmlib.preprocess.pipeline import Prepared, Statistics

#: Bumped by hand whenever an entry is laid out otherwise, or preparing gives other voxels for the same parameters.
FORMAT = 1

ENTRY = "entry.json"
ARRAYS = ("images", "label")

#: What the names of unfinished entries and of locks begin with.
_MARK = ".gbm-"

#: How much of an array a checksum takes at once.
_PIECE = 2**22


def prepared(case: Case, folder: str | Path, **how: Any) -> Prepared:
    """``preprocess.pipeline.prepare`` with ``how`` as its parameters, from disk where it was done before.

    Args:
        folder: of the cache; made where it is missing. Any number of cohorts and parameters share one.

    Returns:
        The same, bit for bit; its arrays are mapped to the files, copy-on-write: what is written into them stays in
        this process and never reaches the disk.

    Raises:
        CaseError, ValueError: as ``prepare``.
        OSError: the folder cannot be written to; says how much the cache holds.
        TypeError: a parameter that ``prepare`` does not have.
    """
    folder, key = Path(folder), key_of(case, **how)
    entry = folder / f"{_plain(case.id)}-{key}"
    found = _open(entry, key)
    if found is None:
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder, entry.name)
            lock.acquire()
        try:
            found = _open(entry, key)  # by another process, while this one waited
            if found is None:
                made = pipeline.prepare(case, **how)
                with _writing(folder):
                    _make(entry, made, key)
                found = _open(entry, key)
        finally:
            lock.release()
    if found is None:
        raise OSError(f"{entry} was written and cannot be read back; check the disk, or choose another folder")
    return found


def key_of(case: Case, **how: Any) -> str:
    """The digest of all that decides what ``preprocess.pipeline.prepare`` makes of a case with these parameters."""
    bound = inspect.signature(pipeline.prepare).bind(case, **how)
    bound.apply_defaults()
    said = {name: _said(value) for name, value in bound.arguments.items() if name != "case"}
    said |= {"content": _content(case), "format": FORMAT, "numerics": gbmlib.NUMERICS}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:20]


def size_mb(folder: str | Path) -> float:
    """How much a cache holds on disk, in MB (2^20 bytes), unfinished entries included; 0 where there is none."""
    total = 0
    for part in _parts(Path(folder)):
        for file in part.glob("*"):
            with contextlib.suppress(OSError):  # another process has finished or cleared it meanwhile
                total += file.stat().st_size
    return total / 2**20


def clear(folder: str | Path) -> None:
    """Delete every entry of a cache, and what killed processes have left; nothing else that lies in the folder.

    What is being made at this moment stays, and so do the locks, which are empty files. Arrays that are still in use
    stay readable where the system lets a mapped file be deleted (Windows does not).
    """
    for part in list(_parts(Path(folder))):
        name = part.name.removeprefix(_MARK).rpartition(".")[0] if part.name.startswith(_MARK) else part.name
        with contextlib.suppress(Timeout), _lock(part.parent, name, timeout=0):
            shutil.rmtree(part, ignore_errors=True)


def _parts(folder: Path) -> Iterator[Path]:
    """The folders in a folder that are a cache's own: entries, and unfinished ones."""
    if folder.is_dir():
        mine = (part for part in folder.iterdir() if part.name.startswith(_MARK) or (part / ENTRY).is_file())
        yield from (part for part in mine if part.is_dir())


def _lock(folder: Path, name: str, timeout: float = -1) -> FileLock:
    return FileLock(folder / f"{_MARK}{name}.lock", timeout=timeout)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what to do where writing fails."""
    try:
        yield
    except OSError as error:
        what = f"the cache {folder} cannot be written to ({error.strerror or error}); it holds {size_mb(folder):.0f} MB"
        raise OSError(f"{what}: free some space (gbmlib.preprocess.cache.clear), or choose another folder") from error


def _make(entry: Path, made: Prepared, key: str) -> None:
    """Write an entry beside its place, then move it there. The caller holds the lock."""
    unfinished = entry.with_name(f"{_MARK}{entry.name}.{os.getpid()}")
    for left in entry.parent.glob(f"{_MARK}{glob.escape(entry.name)}.*"):
        if left.is_dir():  # by a process that was killed
            shutil.rmtree(left)
    arrays = {name: np.ascontiguousarray(array) for name in ARRAYS if (array := getattr(made, name)) is not None}
    said = {
        "key": key,
        "id": made.id,
        "box": [[part.start, part.stop] for part in made.box],
        "native_shape": list(made.native_shape),
        "axes": list(made.axes),
        "checksums": {name: _checksum(array) for name, array in arrays.items()},
    }
    try:
        unfinished.mkdir()
        for name, array in arrays.items():
            with _kept(unfinished / f"{name}.npy") as file:
                np.save(file, array)
        with _kept(unfinished / ENTRY) as file:
            file.write(json.dumps(said | {"checksum": _sum_of(said)}, indent=1).encode())
        if entry.exists():  # damaged, or it would have been opened
            shutil.rmtree(entry)
        unfinished.replace(entry)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def _kept(path: Path) -> Iterator[BinaryIO]:
    """A file to write, on the disk itself when it is closed."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _open(entry: Path, key: str) -> Prepared | None:
    """What an entry holds; None where there is none, or where it is damaged."""
    try:
        said = json.loads((entry / ENTRY).read_bytes())
        if said.pop("checksum") != _sum_of(said) or said["key"] != key:
            return None
        arrays = {name: np.load(entry / f"{name}.npy", mmap_mode="c") for name in said["checksums"]}
        if any(_checksum(array) != said["checksums"][name] for name, array in arrays.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None
    return Prepared(
        id=said["id"],
        images=arrays["images"],
        label=arrays.get("label"),
        box=tuple(slice(*ends) for ends in said["box"]),
        native_shape=tuple(said["native_shape"]),
        axes=tuple(said["axes"]),
    )


def _sum_of(said: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(said, sort_keys=True).encode()):08x}"


def _checksum(array: np.ndarray) -> str:
    """Of shape, type and every byte; a piece at a time, so that a mapped array is not read into memory as a whole."""
    found = zlib.crc32(f"{array.shape}{array.dtype.str}".encode())
    flat = array.reshape(-1).view(np.uint8)
    for start in range(0, flat.size, _PIECE):
        found = zlib.crc32(flat[start : start + _PIECE], found)
    return f"{found:08x}"


def _content(case: Case) -> str:
    """A digest of what a case's files hold and of how they are read (``cohorts.layout.digest``)."""
    if isinstance(case, FileCase):
        channels = [(name, file.channel) for name, file in case.files.items()]
        return f"{layout.digest([case])} {channels} {sorted(case.values.items())}"
    if isinstance(case, PhantomCase):
        return f"{case!r} generator {GENERATOR}"
    total = hashlib.sha256(f"{case.id} {tuple(case.spacing)}".encode())
    for array in (case.images(), case.label() if case.has_label else np.empty(0)):
        total.update(f"{array.shape}{array.dtype.str}".encode() + np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _said(value: Any) -> Any:
    """A parameter as JSON has it; what means the same says the same."""
    if isinstance(value, Statistics):
        return {name: [array.shape, _digest(array)] for name, array in value.arrays().items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_said(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, np.float32).tobytes()).hexdigest()


def _plain(name: str) -> str:
    """A case's id as part of a file name, whatever it is."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)[:80]
