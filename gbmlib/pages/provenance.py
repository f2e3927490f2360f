"""Where the numbers of a page come from: the records that a chapter shows, and which of them each cell read.

Nobody has to declare the latter. A record tells when its scores or its history are read (``study.records.on_read``);
when the cell of a notebook that is executed for the book ends, the records that were read while it ran are named below
what it shows. So the line says what *was* used, whatever functions lie between. In JupyterLab there is no such line:
there the records are at hand themselves (``analysis.scores.provenance``).
"""

from __future__ import annotations

import html
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gbmlib.analysis.scores import Groups
from gbmlib.files import NETWORKS, counted, minutes
from gbmlib.pages.text import Prose
from gbmlib.study import catalogue, records
from gbmlib.study.records import Record
from gbmlib.viewer.display import is_static

#: Of the list below the line.
COLUMNS = ("run", "what", "fold", "seed", "began (UTC)", "code", "minutes", "computed on")

# ------------------------------------------------------------------------------------- the records that a chapter shows


def absent(name: str) -> Prose:
    """That no record of a family of the catalogue is there, and the command that makes it."""
    return Prose(f"*No record of these runs is in the store yet. `{catalogue.command(name)}` makes them.*")


def missing(wanted: Iterable[str], groups: Mapping[str, Any]) -> list[Prose]:
    """Which labels of what was asked for have no record; empty where all have."""
    labels = [label for label in wanted if label not in groups]
    sentence = f"*Without a record, as it was not run or did not converge: {'; '.join(labels)}.*"
    return [Prose(sentence)] if labels else []


def about(shown: Groups | Iterable[Record]) -> Prose:
    """Where runs come from and how they were made, in a line."""
    shown = [record for group in shown.values() for record in group] if isinstance(shown, Mapping) else list(shown)
    first, runs = shown[0].experiment, [record.experiment for record in shown]
    spacing = " x ".join(f"{mm:g}" for mm in first.spacing) + " mm" if first.spacing else "each case's own spacing"
    length = counted(" or ".join(map(str, sorted({run.epochs for run in runs}))), "epoch")
    folds, seeds = (counted(len({getattr(run, name) for run in runs}), name) for name in ("fold", "seed"))
    return Prose(
        f"**{cohorts(shown)}** at {spacing}, {shown[0].provenance['cases']} cases; {counted(len(shown), 'run')} on "
        f"{folds} of {first.folds} with {seeds}, {length}; {cost(shown)}."
    )


def cohorts(shown: Iterable[Record]) -> str:
    """The names of the cohorts of some records."""
    return _listed(record.experiment.cohort for record in shown)


def cost(shown: Iterable[Record]) -> str:
    """``12 minutes in all on X, 4 cores``."""
    origins = [record.provenance for record in shown]
    seconds = sum(origin["seconds"] for origin in origins)
    return f"{minutes(seconds)} minutes in all on {_listed(origin['device'] for origin in origins)}"


# ---------------------------------------------------------------------------------------------- what each cell has read

#: What was read since the last cell ended, by id.
_read: dict[str, Record] = {}
_watched: list[Any] = []


def watch() -> None:
    """Name the records below every cell that reads some; outside a notebook executed for the book, nothing."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules and is_static() else None
    if shell is not None and shell not in _watched:
        _watched.append(shell)
        records.on_read.append(lambda record: _read.setdefault(record.id, record))
        shell.events.register("post_run_cell", _cell_ended)


def _cell_ended(result: Any) -> None:
    """Show where a cell's numbers come from, unless it failed or shows the runs themselves."""
    shown = list(_read.values())
    _read.clear()
    shows_runs = getattr(getattr(result.result, "index", None), "name", None) == "run"
    if shown and result.success and not shows_runs:
        sys.modules["IPython"].display.display(where_from(shown))


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


def where_from(shown: Iterable[Record]) -> Sources:
    """What is shown under the numbers of some records.

    Raises:
        ValueError: there are none.
    """
    each = tuple({record.id: record for record in shown}.values())
    if not each:
        raise ValueError("numbers from no record at all; there is nothing to name")
    return Sources(each)


def line(shown: Sequence[Record]) -> str:
    """How many records, from when, of which code, on which data, how many minutes, where computed, in a line."""
    kinds = Counter(record.published or record.path.parent == NETWORKS for record in shown)
    how_many = [counted(kinds[True], "published record")] * (kinds[True] > 0)
    how_many += [counted(kinds[False], "run") + " of the local store"] * (kinds[False] > 0)
    days = sorted(datetime.fromisoformat(day) for record in shown if (day := _began(record)[:10]))
    days = list(dict.fromkeys(f"{day.day} {day:%B %Y}" for day in days[:1] + days[-1:]))
    stale = sum(1 for record in shown if record.stale())
    clauses = [
        " and ".join(how_many),
        f"data {cohorts(shown)}",
        "made " + " to ".join(days) if days else "",
        f"code {_listed(record.provenance.get('gbmlib', 'unknown') for record in shown)}",
        cost(shown),
        f"{stale} made by another version of the numerics" if stale else "",
    ]
    return "; ".join(filter(None, clauses))


def rows(shown: Sequence[Record]) -> list[tuple[str, ...]]:
    """A row a record, of :data:`COLUMNS`."""
    table = []
    for record in shown:
        run, origin = record.experiment, record.provenance
        members = getattr(run, "members", None)
        table.append(
            (
                record.id,
                f"made of {counted(len(members), 'network')}" if members else run.model,
                str(run.fold),
                str(run.seed),
                _began(record)[:16].replace("T", " "),
                f"{origin.get('gbmlib', 'unknown')}, commit {origin.get('commit', 'unknown')}",
                minutes(origin["seconds"]),
                origin["device"],
            )
        )
    return table


def _began(record: Record) -> str:
    return record.provenance.get("began", "")


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted(set(map(str, values))))
