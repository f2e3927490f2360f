"""Faults of a data set, told so that they can be put right: the case, the file, what is wrong, the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from gbmlib.files import counted, few

#: An *error* keeps a case from being used; a *warning* lets it be used, with results that may mislead; a *note* is a
#: property of the data that is worth knowing.
SEVERITIES = ("error", "warning", "note")

#: So many different faults are told one by one; ``check --json`` has all.
SHOWN = 60


@dataclass(frozen=True)
class Problem:
    """One fault.

    Attributes:
        case: the case's id; empty where the whole data set is meant.
        file: the file or folder at fault; None where there is none.
        severity: one of :data:`SEVERITIES`.
        what: what is wrong.
        remedy: what to do about it.
    """

    case: str
    file: Path | None
    severity: str
    what: str
    remedy: str

    def __str__(self) -> str:
        place = " · ".join(filter(None, (self.case, str(self.file or ""))))
        return f"{place}: {self.what}; {self.remedy}"


class CaseError(ValueError):
    """A case or a data set cannot be used as it is; the message names the case, the file and a remedy.

    Attributes:
        problem: the same in parts, where one file is at fault.
    """

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem

    def __reduce__(self) -> tuple:
        return type(self), (str(self), self.problem)


def fault(case_id: str, file: Path, what: str, remedy: str) -> CaseError:
    """The error of one file."""
    message = f"{file} {what}; {remedy}"
    return CaseError(
        f"case {case_id}: {message}" if case_id else message, Problem(case_id, file, "error", what, remedy)
    )


def refuse(what: str, problems: Iterable[Problem], advice: str = "") -> None:
    """Raise one :class:`CaseError` that lists every error among the problems; do nothing where there is none."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        lines = [f"{what}: {counted(len(errors), 'problem')}", *(f"  - {problem}" for problem in errors[:SHOWN])]
        lines += [f"  and {len(errors) - SHOWN} more"] if len(errors) > SHOWN else []
        raise CaseError("\n".join([*lines, advice] if advice else lines))


@dataclass(frozen=True)
class Report:
    """All faults of a data set, worst first.

    Attributes:
        spec: the data set.
        name: the cohort's name; empty where none could be made out.
        cases: how many cases there are.
        labelled: how many of them have a label.
        convention: the label convention that was recognised.
        problems: in order of severity, then of cases.
        root: the folder that the printed file names are relative to.
    """

    spec: str
    name: str
    cases: int
    labelled: int
    convention: str
    problems: tuple[Problem, ...]
    root: Path | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many problems there are of each severity."""
        return {severity: sum(problem.severity == severity for problem in self.problems) for severity in SEVERITIES}

    @property
    def ok(self) -> bool:
        """Whether the data set can be used: it may have warnings and notes, but no error."""
        return not self.counts["error"]

    @property
    def summary(self) -> str:
        counts = ", ".join(counted(count, severity) for severity, count in self.counts.items())
        return f"{self.name or self.spec}: {counted(self.cases, 'case')}, {self.labelled} with a label; {counts}"

    def __str__(self) -> str:
        lines = [self.summary, *filter(None, [self.convention])]
        rows = self._rows()
        width = max((len(case) for _, case, *_ in rows), default=0)
        for severity, case, place, what, remedy in rows:
            lines.append(f"{severity:<7}  {case:<{width}}  {place + ': ' if place else ''}{what}")
            lines.append(f"{'':<{7 + 2 + width + 2}}→ {remedy}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cells = [("", "case", "file", "what", "remedy"), *self._rows()]
        columns = [[f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row] for row in cells]
        rows = "".join(f"<tr>{''.join(row)}</tr>" for row in columns)
        table = f"<table>{rows}</table>" if self.problems else ""
        lines = "<br>".join(escape(line) for line in (self.summary, self.convention) if line)
        return f"<p>{lines}</p>{table}"

    def as_json(self) -> dict:
        """The report for programs: every problem by itself, its file as a path; the keys do not change."""
        problems = [
            {"severity": p.severity, "case": p.case, "file": str(p.file or ""), "problem": p.what, "remedy": p.remedy}
            for p in self.problems
        ]
        counts = {"cases": self.cases, "labelled": self.labelled, "ok": self.ok}
        return {"spec": self.spec, "name": self.name, **counts, "convention": self.convention, "problems": problems}

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        """Severity, case, place, fault and remedy; one row for all that share a fault, and the first of many rows."""
        alike: dict[tuple[str, str, str], list[Problem]] = {}
        for problem in self.problems:
            alike.setdefault((problem.severity, problem.what, problem.remedy), []).append(problem)
        rows = []
        for (severity, what, remedy), problems in alike.items():
            cases = list(dict.fromkeys(problem.case for problem in problems))
            places = list(filter(None, map(self._place, problems))) or (cases if len(cases) > 1 else [])
            rows.append(
                (severity, cases[0] if len(cases) == 1 else f"{len(cases)} cases", few(places, 3), what, remedy)
            )
        rest = f"{len(rows) - SHOWN} more faults"
        return rows[:SHOWN] + ([("", "", "", rest, "check --json lists all")] if len(rows) > SHOWN else [])

    def _place(self, problem: Problem) -> str:
        if problem.file is None:
            return ""
        inside = self.root is not None and problem.file.is_relative_to(self.root) and problem.file != self.root
        return str(problem.file.relative_to(self.root) if inside else problem.file)
