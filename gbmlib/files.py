"""Numbers and tables as every text of the study has them; the study is not imported, so all of it can share them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def counted(number: float | str, noun: str) -> str:
    """``1 case``, ``2 cases``; a number in words of its own counts as several: ``30 or 60 epochs``.

    Args:
        noun: one that takes an s.
    """
    return f"{number} {noun}{'' if number in (1, '1') else 's'}"


def minutes(seconds: float) -> str:
    """``0.5``, ``9.0``, ``12``: minutes, below ten with a decimal."""
    return f"{seconds / 60:.0f}" if seconds >= 600 else f"{seconds / 60:.1f}"


def millimetres(spacing: Sequence[float]) -> str:
    """``1.5 x 3 x 3 mm``, spacing (z, y, x); ``3 mm`` where all axes share it."""
    sizes = [f"{size:.3g}" for size in spacing]
    return f"{sizes[0] if len(set(sizes)) == 1 else ' x '.join(sizes)} mm"


def markdown_table(head: Sequence[str], lines: Iterable[Iterable[str]]) -> str:
    """A table in Markdown: what its columns are called, and a line for each row."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ("---",) * len(head), *lines))
