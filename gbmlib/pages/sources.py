"""Where the numbers of a page come from: a line under each cell of a chapter that shows something out of records.

Nobody has to declare it. A record tells when its scores or its history are read (``study.records.on_read``); when the
cell of a notebook that is executed for the book ends, the records that were read while it ran are named below what it
shows. So the line says what *was* used, whatever functions lie between. In JupyterLab there is no such line: there the
records are at hand themselves (``analysis.scores.provenance``).
"""

from __future__ import annotations

import html
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gbmlib.files import counted, minutes
from gbmlib.study.records import Record, on_read
from gbmlib.viewer.display import is_static

#: Of the list below the line.
COLUMNS = ("run", "what", "fold", "seed", "began (UTC)", "code", "minutes", "computed on")

#: What was read since the last cell ended, by id.
_read: dict[str, Record] = {}
_watched: list[Any] = []


def note(record: Record) -> None:
    """Remember that a record's numbers were read; outside a notebook that is executed for the book, nothing."""
    shell = _notebook()
    if shell is None:
        return
    if shell not in _watched:
        _watched.append(shell)
        shell.events.register("post_run_cell", _cell_ended)
    _read.setdefault(record.id, record)


on_read.append(note)


def _notebook() -> Any:
    """The IPython that executes a notebook for the book; None elsewhere, without importing IPython to find out."""
    if "IPython" not in sys.modules or not is_static():
        return None
    return sys.modules["IPython"].get_ipython()


def _cell_ended(result: Any) -> None:
    """Show where a cell's numbers come from, unless it failed or shows the runs themselves."""
    records = list(_read.values())
    _read.clear()
    shows_runs = getattr(getattr(result.result, "index", None), "name", None) == "run"
    if records and result.success and not shows_runs:
        sys.modules["IPython"].display.display(where_from(records))


@dataclass(frozen=True)
class Sources:
    """A line, and behind it the list of runs: a notebook shows it as HTML that opens with a click or a key."""

    records: tuple[Record, ...]

    def __str__(self) -> str:
        return line(self.records)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(value)}</td>" for value in row) + "</tr>" for row in rows(self.records)
        )
        # Focusable, as whoever has no mouse could not scroll it otherwise.
        return (
            f'<details class="gbm-sources"><summary>Where from: {html.escape(line(self.records))}</summary>'
            '<div class="gbm-sources-runs" tabindex="0" role="region" aria-label="The runs behind these numbers">'
            f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": f"Where from: {self}"}


def where_from(records: Iterable[Record]) -> Sources:
    """What is shown under the numbers of some records.

    Raises:
        ValueError: there are none.
    """
    found = tuple({record.id: record for record in records}.values())
    if not found:
        raise ValueError("numbers from no record at all; there is nothing to name")
    return Sources(found)


def line(records: Sequence[Record]) -> str:
    """How many records, from when, of which code, on which data, how many minutes, where computed, in a line."""
    made = [record.provenance for record in records]
    kinds = Counter(record.published for record in records)
    how_many = [counted(kinds[True], "published record")] * (kinds[True] > 0)
    how_many += [counted(kinds[False], "run") + " of the local store"] * (kinds[False] > 0)
    days = sorted(day for of in made if (day := _began(of)[:10]))
    days = list(dict.fromkeys(_day(day) for day in (days[:1] + days[-1:])))
    stale = sum(1 for record in records if record.stale())
    return "; ".join(
        [
            " and ".join(how_many),
            f"data {_listed(record.experiment.cohort for record in records)}",
            *(["made " + " to ".join(days)] * bool(days)),
            f"code {_listed(of.get('gbmlib', 'unknown') for of in made)}",
            f"{minutes(sum(of['seconds'] for of in made))} minutes in all on {_listed(of['device'] for of in made)}",
            *([f"{stale} made by another version of the numerics"] * bool(stale)),
        ]
    )


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """A row a record, of :data:`COLUMNS`."""
    found = []
    for record in records:
        of, made = record.experiment, record.provenance
        members = getattr(of, "members", None)
        found.append(
            (
                record.id,
                f"made of {counted(len(members), 'network')}" if members else of.model,
                str(of.fold),
                str(of.seed),
                _began(made)[:16].replace("T", " "),
                f"{made.get('gbmlib', 'unknown')}, commit {made.get('commit', 'unknown')}",
                minutes(made["seconds"]),
                made["device"],
            )
        )
    return found


def _began(made: dict[str, Any]) -> str:
    return made.get("began", "")


def _day(date: str) -> str:
    """``2026-01-31`` as people write it."""
    day = datetime.fromisoformat(date)
    return f"{day.day} {day:%B %Y}"


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted(set(map(str, values))))
