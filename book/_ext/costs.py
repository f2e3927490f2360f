"""Sphinx extension: the directive ``costs``, what the published runs took in minutes and memory.

The table is made from ``book/records`` each time the page is built.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from docutils.nodes import Node
from sphinx.util.docutils import SphinxDirective

from gbmlib.files import counted, markdown_table, millimetres
from gbmlib.study import catalogue
from gbmlib.study.records import Record, Store

COLUMNS = ("network", "minutes a run", "memory", "runs", "cases", "computed on")
NETWORKS = {"vnet": "V-Net", "segvae": "Paper A's network", "unet": "U-Net"}


def table(records: Iterable[Record]) -> list[dict[str, str]]:
    """A row for each network, cohort, grid and device among the records of trained runs; keys are :data:`COLUMNS`.

    Minutes are those of a whole run (preparing, training, predicting and measuring every case): the median, and the
    least and the most where there are several runs. Memory is the most that any of the runs took at its peak: the whole
    process on a processor, tensors alone on a graphics card.
    """
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in catalogue.trained(records):
        groups[kind(record)].append(record)
    rows = ((network, *_measured(group), *rest) for (network, *rest), group in sorted(groups.items()))
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def markdown(records: Iterable[Record]) -> str:
    """:func:`table` as a Markdown table, and below it what all runs took together and what was not measured."""
    records = catalogue.trained(records)
    if not records:
        return "No run has been published yet, so there is nothing to go by."
    hours = sum(record.provenance["seconds"] for record in records) / 3600
    devices = sorted({record.provenance["device"] for record in records})
    text = f"All {len(records)} together: {hours:.3g} hours on {' and '.join(devices)}."
    if not any(record.on_graphics_card for record in records):
        text += " None was computed on a graphics card: what a run takes there has not been measured yet."
    rows = markdown_table(COLUMNS, (row.values() for row in table(records)))
    return f"{rows}\n\n{text}\n"


def kind(record: Record) -> tuple[str, str, str]:
    """A record's network, its cases and grid, and its device, in words."""
    run = record.experiment
    name = NETWORKS.get(run.model, run.model)
    if run.model == "unet":
        name = f"{'2D' if run.is_2d else '3D'} {name}" + (", second of a cascade" if run.previous else "")
    grid = "their own spacing" if run.spacing is None else millimetres(run.spacing)
    threads = "" if record.on_graphics_card else f", {counted(run.threads, 'thread')}"
    phantoms = run.cohort.startswith("phantom:")
    cases = f"{record.provenance['cases']} phantoms" if phantoms else run.cohort
    return name, f"{cases} at {grid}", record.provenance["device"] + threads


def _measured(records: list[Record]) -> tuple[str, str, str]:
    """The minutes and memory of runs of one kind, how many there are and of how many epochs, in words."""
    epochs = sorted({len(record.provenance["epoch_seconds"]) for record in records})
    minutes = [record.provenance["seconds"] / 60 for record in records]
    least, middle, most = (_minutes(value) for value in (min(minutes), median(minutes), max(minutes)))
    memory = max(record.provenance["peak_memory_mb"] for record in records)
    return (
        middle if least == most else f"{middle} ({least} to {most})",
        f"{memory / 1024:.1f} GiB",
        f"{len(records)}, of {' to '.join(map(str, dict.fromkeys((epochs[0], epochs[-1]))))} epochs",
    )


def _minutes(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


class Costs(SphinxDirective):
    """No arguments, no content: :func:`markdown` of the published records."""

    def run(self) -> list[Node]:
        published = Path(self.env.srcdir) / "book" / "records"
        for path in published.glob("*/provenance.json"):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(markdown(Store(published).all()))


def setup(app):
    app.add_directive("costs", Costs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
