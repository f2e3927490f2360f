"""What names a phantom cohort: ``phantom:cases=24,spacing=3,seed=0``, read, checked and written in one way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gbmlib.cohorts.case import CaseError

ALLOWED = (
    "Allowed are cases=N (1 to 100000), spacing=MM (0.5 to 10, or three of them, z x y x x, as in 3x1x1) and seed=N "
    "(0 or more), as in phantom:cases=24,spacing=3,seed=0"
)


@dataclass(frozen=True)
class Spec:
    """What a phantom cohort's spec says: number of cases, spacing (z, y, x) in mm, seed."""

    cases: int = 24
    spacing: tuple[float, float, float] = (3.0, 3.0, 3.0)
    seed: int = 0

    @classmethod
    def parse(cls, rest: str) -> Spec:
        """Read ``cases=24,spacing=3,seed=0``, or any part of it in any order.

        Raises:
            CaseError: unknown, repeated or invalid keys; all of them are named, with what is allowed.
        """
        values, problems = {}, []
        for item in filter(None, (part.strip() for part in rest.split(","))):
            key, _, text = (part.strip() for part in item.partition("="))
            try:
                if key in values:
                    raise ValueError("is given twice")
                values[key] = _READERS[key](text)
            except KeyError:
                problems.append(f"{key!r} is unknown")
            except ValueError as error:
                problems.append(f"{key}={text} {error}")
        if problems:
            raise CaseError(f"phantom:{rest}: {'; '.join(problems)}. {ALLOWED}")
        return cls(**values)

    @property
    def name(self) -> str:
        """The canonical form, however it was written."""
        steps = [str(step).removesuffix(".0") for step in self.spacing]
        spacing = steps[0] if len(set(steps)) == 1 else "x".join(steps)
        return f"phantom:cases={self.cases},spacing={spacing},seed={self.seed}"


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"is not a whole number from {low} to {high}")
        return int(text)

    return read


def _spacing(text: str) -> tuple[float, float, float]:
    try:
        steps = [float(part) for part in text.split("x")]
    except ValueError:
        steps = []
    if len(steps) not in (1, 3) or not all(0.5 <= step <= 10 for step in steps):
        raise ValueError("is not one number from 0.5 to 10, or three")
    return tuple(steps * 3) if len(steps) == 1 else tuple(steps)


_READERS = {"cases": _whole(1, 100_000), "spacing": _spacing, "seed": _whole(0, 2**63 - 1)}
