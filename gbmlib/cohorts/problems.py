"""What can be wrong with a data set, said so that it can be put right: the case, the file, the fault, the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

#: An *error* keeps a case from being used; a *warning* lets it be used, with results that may mislead; a *note* is a
#: property of the data that is worth knowing.
SEVERITIES = ("error", "warning", "note")


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
        count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
        lines = [f"{what}: {count}", *(f"  - {problem}" for problem in errors)]
        raise CaseError("\n".join([*lines, advice] if advice else lines))


def few(names: Sequence[str], limit: int = 5) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


@dataclass(frozen=True)
class Report:
    """All that was found in a data set, worst first.

    Attributes:
        spec: the data set.
        name: the cohort's name; empty where none could be made out.
        cases: how many cases were found.
        labelled: how many of them have a label.
        convention: the label convention that was recognised.
        problems: everything found, in order of severity, then of cases.
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
    def errors(self) -> tuple[Problem, ...]:
        return self.of("error")

    @property
    def ok(self) -> bool:
        """Whether the data set can be used: it may have warnings and notes, but no error."""
        return not self.errors

    @property
    def counts(self) -> dict[str, int]:
        """How many problems there are of each severity."""
        return {severity: len(self.of(severity)) for severity in SEVERITIES}

    def of(self, severity: str) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == severity)

    @property
    def summary(self) -> str:
        counts = ", ".join(f"{n} {severity}{'' if n == 1 else 's'}" for severity, n in self.counts.items())
        cases = f"{self.cases} case{'' if self.cases == 1 else 's'}, {self.labelled} with a label"
        return f"{self.name or self.spec}: {cases}; {counts}"

    def __str__(self) -> str:
        lines = [self.summary, *filter(None, [self.convention])]
        width = max((len(problem.case) for problem in self.problems), default=0)
        for problem in self.problems:
            place = self._place(problem)
            head = f"{problem.severity:<7}  {problem.case:<{width}}  {place + ': ' if place else ''}{problem.what}"
            lines += [head, f"{'':<{7 + 2 + width + 2}}→ {problem.remedy}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("", "case", "file", "what", "remedy"))
        rows = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in cells) + "</tr>"
            for problem in self.problems
            for cells in [(problem.severity, problem.case, self._place(problem), problem.what, problem.remedy)]
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if self.problems else ""
        lines = "<br>".join(escape(line) for line in (self.summary, self.convention) if line)
        return f"<p>{lines}</p>{table}"

    def _place(self, problem: Problem) -> str:
        if problem.file is None:
            return ""
        inside = self.root is not None and problem.file.is_relative_to(self.root) and problem.file != self.root
        return str(problem.file.relative_to(self.root) if inside else problem.file)
