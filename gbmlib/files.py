"""What every room shares: files that are written whole or not at all, places in the repository, numbers as text."""

from __future__ import annotations

import difflib
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: The repository, wherever a program is started, and what the study publishes in it.
REPOSITORY = Path(__file__).resolve().parents[1]
RECORDS, FACTS, CASES, NETWORKS, CLAIMS = (
    REPOSITORY / "book" / name for name in ("records", "facts", "cases", "networks", "claims.yml")
)


@contextmanager
def written(path: str | Path) -> Iterator[Path]:
    """Write a file or a folder whole or not at all: the block writes to the path it is given, which then is renamed.

    The given path lies beside ``path``, with the same ending, and does not exist yet. After a failure nothing is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    old = unfinished.with_name(f"{unfinished.name}.old")
    remove(unfinished)
    try:
        yield unfinished
        for file in [unfinished, *unfinished.rglob("*")]:
            if file.is_file():
                with file.open("r+b") as content:
                    os.fsync(content.fileno())
        if path.is_dir():  # which cannot be replaced in one step
            path.replace(old)
        unfinished.replace(path)
    finally:
        remove(unfinished)
        remove(old)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def counted(count: float | str, noun: str) -> str:
    """``1 case``, ``2 cases``; a number in words of its own counts as several: ``30 or 60 epochs``.

    Args:
        noun: one that takes an s.
    """
    return f"{count} {noun}{'' if count in (1, '1') else 's'}"


def number(value: float, digits: int = 3) -> str:
    """A number with so many decimals at most, a half rounded up: 1.37, 0.768, 400."""
    whole, rest = divmod(math.floor(value * 10**digits + 0.5), 10**digits)
    return f"{whole:,}" + (f".{rest:0{digits}d}".rstrip("0") if rest else "")


def sizes(values: Sequence[float], digits: int = 3) -> str:
    """``320 x 232``."""
    return " x ".join(number(value, digits) for value in values)


def listed(names: Sequence[str]) -> str:
    """``z, y and x``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def few(names: Sequence[str], limit: int = 5) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'norm'?``, the nearest of some names; empty where none is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def minutes(seconds: float) -> str:
    """``0.5``, ``9.0``, ``12``: minutes, below ten with a decimal."""
    return f"{seconds / 60:.0f}" if seconds >= 600 else f"{seconds / 60:.1f}"


def millimetres(spacing: Sequence[float]) -> str:
    """``1.5 x 3 x 3 mm``, spacing (z, y, x); ``3 mm`` where all axes share it."""
    steps = [f"{step:.3g}" for step in spacing]
    return f"{steps[0] if len(set(steps)) == 1 else ' x '.join(steps)} mm"


def markdown_table(head: Sequence[str], lines: Iterable[Iterable[str]]) -> str:
    """A table in Markdown: what its columns are called, and a line for each row."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ("---",) * len(head), *lines))
