"""The spec of a phantom cohort: ``phantom:cases=24,spacing=3,seed=0``, read, checked and written in one way."""

from __future__ import annotations

from dataclasses import dataclass

from gbmlib.cohorts.problems import CaseError

ALLOWED = (
    "Allowed are cases=N (1 to 100000), spacing=MM (0.5 to 10, or three of them, z x y x x, as in 3x1x1) and seed=N "
    "(0 or more), as in phantom:cases=24,spacing=3,seed=0"
)


@dataclass(frozen=True)
class Spec:
    """The values of a phantom cohort's spec: number of cases, spacing (z, y, x) in mm, seed."""

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
        for item in filter(None, map(str.strip, rest.split(","))):
            key, _, text = map(str.strip, item.partition("="))
            if key not in _READERS:
                problems.append(f"{key!r} is unknown")
            elif key in values:
                problems.append(f"{key}={text} is given twice")
            else:
                values[key] = _READERS[key](text)
                if values[key] is None:
                    problems.append(f"{key}={text} is not allowed")
        if problems:
            raise CaseError(f"phantom:{rest}: {'; '.join(problems)}. {ALLOWED}")
        return cls(**values)

    @property
    def name(self) -> str:
        """The canonical form, however it was written."""
        steps = [str(step).removesuffix(".0") for step in self.spacing]
        spacing = steps[0] if len(set(steps)) == 1 else "x".join(steps)
        return f"phantom:cases={self.cases},spacing={spacing},seed={self.seed}"


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _cases(text: str) -> int | None:
    return number if (number := _whole(text)) is not None and 1 <= number <= 100_000 else None


def _spacing(text: str) -> tuple[float, float, float] | None:
    try:
        steps = [float(step) for step in text.split("x")]
    except ValueError:
        return None
    steps = steps * 3 if len(steps) == 1 else steps
    return tuple(steps) if len(steps) == 3 and all(0.5 <= step <= 10 for step in steps) else None


_READERS = {"cases": _cases, "spacing": _spacing, "seed": _whole}
