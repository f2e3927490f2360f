"""Numbers as every text of the study has them; nothing is imported, so records and pages can share them."""


def counted(number: float | str, noun: str) -> str:
    """``1 case``, ``2 cases``; a number in words of its own counts as several: ``30 or 60 epochs``.

    Args:
        noun: one that takes an s.
    """
    return f"{number} {noun}{'' if number in (1, '1') else 's'}"


def minutes(seconds: float) -> str:
    """``0.5``, ``9.0``, ``12``: minutes, below ten with a decimal."""
    return f"{seconds / 60:.0f}" if seconds >= 600 else f"{seconds / 60:.1f}"
