"""A number with its noun, as every text of the study has it; it imports nothing, so records and pages can share it."""


def counted(number: float | str, noun: str) -> str:
    """``1 case``, ``2 cases``; a number in words of its own counts as several: ``30 or 60 epochs``.

    Args:
        noun: one that takes an s.
    """
    return f"{number} {noun}{'' if number in (1, '1') else 's'}"
