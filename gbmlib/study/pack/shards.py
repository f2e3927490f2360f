"""Records packed for the way home: a few tar files of limited size, in which each record is a compressed tar.

A record travels whole or not at all, and is taken in only where it is what its name says.
"""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from gbmlib.files import written
from gbmlib.study.records import FILES, Record, RecordError

#: Of a shard, in bytes, and how many there may be; one more is there for a moment while one is written.
LIMIT, SHARDS = 16_000_000, 6

#: A member of a tar takes a header and is filled up to a block; the most that may follow the last one.
_BLOCK, _END = 512, 11_264

_RECORD, _BESIDE = ".record.tar.xz", ".beside.tar"


@dataclass
class Shards:
    """Finished records in a folder's few files, which are whole at every moment.

    Attributes:
        folder: for ``records-1.tar``, ``records-2.tar``, …
        limit: of a file, in bytes.
        number: of files at most.
        left_out: what had no room, by name.
    """

    folder: Path
    limit: int = LIMIT
    number: int = SHARDS
    left_out: list[str] = field(default_factory=list)
    _shards: list[list[tuple[str, bytes]]] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Add the record, without what lies beside it."""
        self._add(record.id + _RECORD, lzma.compress(_tar(record.path, FILES)))

    def add_beside(self, record: Record) -> None:
        """Add what a run keeps beside its record: weights, predictions, probabilities."""
        names = sorted(path.name for path in record.path.iterdir() if path.name not in FILES)
        files = (path for path in record.path.rglob("*") if path.is_file())
        if sum(path.stat().st_size for path in files) > self.limit:
            self.left_out.append(record.id + _BESIDE)
        else:
            self._add(record.id + _BESIDE, _tar(record.path, names))

    def _add(self, name: str, content: bytes) -> None:
        sizes = [_END + sum(_size(member) for _, member in shard) + _size(content) for shard in [*self._shards, []]]
        number = next((number for number, size in enumerate(sizes) if size <= self.limit), self.number)
        if number == self.number:
            self.left_out.append(name)
            return
        if number == len(self._shards):
            self._shards.append([])
        self._shards[number].append((name, content))
        self._write(number)

    def _write(self, number: int) -> None:
        path = self.folder / f"records-{number + 1}.tar"
        with written(path) as unfinished, tarfile.open(unfinished, "w") as archive:
            for name, content in self._shards[number]:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def _size(content: bytes) -> int:
    """The bytes that a member takes in a tar."""
    return _BLOCK - (-len(content) // _BLOCK) * _BLOCK


def _tar(folder: Path, names: Iterable[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.add(folder / name, name)
    return buffer.getvalue()


def take(folder: str | Path, to: str | Path, beside: bool = False) -> dict[str, str]:
    """Take records in from the shards in a folder; those that are there already, byte for byte, are passed over.

    Args:
        to: a folder of records, such as ``book/records``.
        beside: also what lies beside the records, where it came along.

    Returns:
        What became of each record: "taken", "there already", or why it was refused. A different record of the same name
        is never overwritten.

    Raises:
        RecordError: there is no shard, or one is damaged.
    """
    folder, to = Path(folder), Path(to)
    shards = sorted(folder.glob("records-*.tar"))
    if not shards:
        raise RecordError(f"{folder} holds no records-1.tar; give the folder that a pack was run with as --out")
    records: dict[str, dict[str, bytes]] = {}
    for shard in shards:
        try:
            with tarfile.open(shard) as archive:
                for entry in archive:
                    name, _, kind = Path(entry.name).name.partition(".")
                    records.setdefault(name, {})[f".{kind}"] = archive.extractfile(entry).read()
        except (tarfile.TarError, OSError, AttributeError) as error:
            raise RecordError(f"{shard} is damaged ({error}); copy it again") from error
    to.mkdir(parents=True, exist_ok=True)
    return {name: _take(name, parts, to, beside) for name, parts in records.items()}


def _take(name: str, parts: dict[str, bytes], to: Path, beside: bool) -> str:
    with tempfile.TemporaryDirectory(dir=to, prefix=f".{name}.{os.getpid()}.") as temporary:
        unfinished = Path(temporary) / name
        try:
            _extract(lzma.decompress(parts[_RECORD]), unfinished)
            verify(Record(unfinished))
            if beside and _BESIDE in parts:
                _extract(parts[_BESIDE], unfinished)
        except (RecordError, tarfile.TarError, lzma.LZMAError, EOFError, OSError, KeyError) as error:
            return f"refused: {error}"
        final = to / name
        if not final.exists():
            unfinished.replace(final)
            return "taken"
        if differ := [file for file in FILES if not _same(final / file, unfinished / file)]:
            return f"refused: {final} is there with another {', '.join(differ)}; move it away to take this one"
        if beside:
            for path in unfinished.iterdir():
                if not (final / path.name).exists():
                    path.replace(final / path.name)
        return "there already"


def verify(record: Record) -> None:
    """Check that a record is whole and is what its name says.

    Raises:
        RecordError: a file is missing or cannot be read, a table is empty, or the configuration has another name.
    """
    if missing := [name for name in FILES if not (record.path / name).is_file()]:
        raise RecordError(f"record {record.id} lacks {', '.join(missing)}; run it again")
    try:
        experiment, provenance = record.experiment, record.provenance
        tables = {
            "cases.csv": record.cases,
            **({} if record.id.startswith("ensemble-") else {"history.csv": record.history}),
        }
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise RecordError(f"record {record.id} cannot be read ({error}); run it again") from error
    if experiment.id != record.id:
        raise RecordError(f"record {record.id} holds the configuration of {experiment.id}: {experiment.canonical}")
    if lacking := [name for name in ("fingerprint", "numerics", "commit", "device") if name not in provenance]:
        raise RecordError(f"record {record.id} does not say its {', '.join(lacking)} (provenance.json); run it again")
    if empty := [name for name, table in tables.items() if table.empty]:
        raise RecordError(f"record {record.id} has nothing in {', '.join(empty)}; run it again")


def _extract(content: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()
